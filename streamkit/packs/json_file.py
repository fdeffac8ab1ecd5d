"""Read the JSON of a pack, from a file or a text, as the standard has it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs

from streamkit.packs.problems import Finding
from streamkit.values.json_text import decode_strict

__all__ = ["Document", "read"]

_BOM = "\ufeff"


@attrs.frozen
class Document:
    """What was read.

    Attributes:
        value: the decoded JSON; ``None`` where there is a finding of the rule ``file`` or ``json``.
        findings: what is wrong with the file itself.
        source: the path; empty for a text.
    """

    value: Any
    findings: tuple[Finding, ...]
    source: str


def read(source: str | os.PathLike[str]) -> Document:
    """Read a pack: a path, or the JSON itself, which begins with a bracket."""
    if isinstance(source, str) and source.lstrip(f"{_BOM} \t\r\n")[:1] in ("{", "["):
        return _decoded(source, "")
    path = os.fspath(source)
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        return _wrong("file", f"cannot be read: {error.strerror or error}", path)
    except UnicodeDecodeError:
        return _wrong("json", "the file is not in UTF-8", path)
    except ValueError as error:  # such as a null character in the path
        return _wrong("file", f"cannot be read: {error}", path)
    return _decoded(text, path)


def _decoded(text: str, source: str) -> Document:
    findings: tuple[Finding, ...] = ()
    if text.startswith(_BOM):
        text, findings = text[1:], (Finding((), "bom", "the file begins with a byte order mark"),)
    try:
        value = decode_strict(text)
    except RecursionError:
        return _wrong("json", "the JSON is nested too deep", source)
    except ValueError as error:
        return _wrong("json", _reason(text, error), source)
    return Document(value, findings, source)


def _reason(text: str, error: ValueError) -> str:
    """Return why a text is no JSON, with line and column where Python's own parser finds a mistake too."""
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as found:
        return f"{found.msg} at line {found.lineno}, column {found.colno}"
    except (ValueError, RecursionError) as found:
        return str(found)
    return str(error)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _wrong(rule: str, text: str, source: str) -> Document:
    return Document(None, (Finding((), rule, text),), source)
