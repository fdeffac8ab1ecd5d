"""The functions that ``--tool`` names, as tools that are asked about before each call."""

from __future__ import annotations

import copy
import difflib
import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from streamkit.cli.output import one_line
from streamkit.errors import ConfigError
from streamkit.tools.tool import Tool, tools_of

__all__ = ["tools_named"]

_FORM = "--tool is written MODULE:FUNCTION, such as --tool weather:forecast"


def tools_named(names: Iterable[str]) -> list[Tool]:
    """Import what ``--tool`` names; modules in the current directory come first, as for ``python -m``.

    Each tool needs approval, whatever its function says.

    Args:
        names: ``module:function`` each.

    Raises:
        click.UsageError: one cannot be imported, or cannot be a tool.
    """
    names = list(names)
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = [_named(name) for name in names]
    try:
        tools_of(found)
    except ConfigError as error:
        raise click.UsageError(f"--tool: {error.message}") from None
    return found


def _named(name: str) -> Tool:
    _refuse_file(name)
    module, colon, path = name.partition(":")
    if not colon or not module or not path:
        raise click.UsageError(f"{_FORM}, not {name!r}")
    value = _attribute(_imported(name, module), module, path)
    try:
        given = value if isinstance(value, Tool) else Tool.of(value)
    except ConfigError as error:
        raise click.UsageError(f"--tool {name}: {error.message}") from None
    if given.function is None:
        raise click.UsageError(f"--tool {name}: this tool has no function to run")
    # A tool never changes, and this one may be used by the module that it comes from.
    own = copy.copy(given)
    own.needs_approval = True
    return own


def _refuse_file(name: str) -> None:
    """Raise a UsageError that says which module a file is."""
    file, _, path = name.partition(":")
    if file.endswith(".py") or "/" in file or os.sep in file:
        module = ".".join(part for part in Path(file).with_suffix("").parts if part not in ("/", ".", ".."))
        raise click.UsageError(f"--tool takes a module and no file: --tool {module}:{path or 'FUNCTION'}")


def _imported(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module == missing or module.startswith(f"{missing}."):
            raise click.UsageError(
                f"--tool {name}: there is no module {missing}, neither in {os.getcwd()} nor among the installed ones"
            ) from None
        raise click.UsageError(
            f"--tool {name}: {module} cannot be imported: it imports {missing or one_line(str(error))}, "
            "which is not installed"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever its code raises, SystemExit among it
        raise click.UsageError(
            f"--tool {name}: {module} cannot be imported: {type(error).__name__}: {one_line(str(error))}{_place(error)}"
        ) from None


def _place(error: BaseException) -> str:
    """Return the file and line that raised, where that is no file of the import system's."""
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not file.startswith("<frozen ") and Path(file).parent.name != "importlib" and file != __file__:
            place = f" ({os.path.relpath(file)}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place


def _attribute(module: ModuleType, name: str, path: str) -> Any:
    value: Any = module
    for part in path.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            known = [each for each in dir(value) if callable(getattr(value, each, None)) and not each.startswith("_")]
            near = difflib.get_close_matches(part, known, 1)
            hint = f"; the nearest name is {near[0]}" if near else ""
            where = name if value is module else f"{name}:{path.rpartition('.')[0]}"
            raise click.UsageError(f"--tool {name}:{path}: {where} has no {part}{hint}") from None
    return value
