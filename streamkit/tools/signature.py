"""Stand-in until the real one is merged: ``Parameter``, ``Signature``, ``signature_of``."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import attrs

from streamkit.tools.context import ToolContext

__all__ = ["Parameter", "Signature", "signature_of"]


@attrs.frozen
class Parameter:
    """One parameter of a function."""

    name: str
    kind: inspect._ParameterKind
    hint: Any
    default: Any = inspect.Parameter.empty
    description: str = ""


@attrs.frozen
class Signature:
    """The parameters that a model sees, and the name of the one that it does not see."""

    parameters: tuple[Parameter, ...]
    context: str | None = None


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return the parameters of a function."""
    hints = typing.get_type_hints(function, include_extras=True)
    context, parameters = None, []
    for each in inspect.signature(function).parameters.values():
        hint = hints.get(each.name, Any)
        if hint is ToolContext or getattr(hint, "__name__", "") == "ToolContext":
            context = each.name
        else:
            parameters.append(Parameter(each.name, each.kind, hint, each.default))
    return Signature(tuple(parameters), context)
