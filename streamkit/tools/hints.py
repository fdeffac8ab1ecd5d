"""Type hints as objects: postponed ones evaluated, each by itself, and ``Annotated`` taken apart."""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

__all__ = ["bare", "class_hints", "fill_in", "resolve", "type_arguments"]

_INIT_VAR = re.compile(r"(?:\w+\.)?InitVar\[(.*)\]", re.DOTALL)  # Python 3.10 cannot evaluate it as text


def resolve(hint: Any, namespaces: Sequence[dict[str, Any]]) -> Any:
    """Return a hint with all that is text in it evaluated.

    Each hint is evaluated by itself, so that one name that exists for type checkers only costs nothing but its own.

    Args:
        hint: an annotation, or its text.
        namespaces: the global names to look in; the next one is tried where a name is missing.

    Raises:
        NameError: a name is in none of them. Its text is the one of the first namespace.
    """
    failure: NameError | None = None
    for namespace in namespaces or ({},):
        try:
            return _evaluated(hint, namespace)
        except NameError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _evaluated(hint: Any, namespace: dict[str, Any], local: dict[str, Any] | None = None) -> Any:
    class Holder:  # of a class, so that ClassVar and Final may stand in the text
        pass

    Holder.__annotations__ = {"hint": hint}
    return typing.get_type_hints(Holder, namespace, {} if local is None else local, include_extras=True)["hint"]


def class_hints(cls: type) -> dict[str, Any]:
    """Return the resolved hints of a class's attributes, those of its bases first.

    A class is found under its own name also where it was made inside a function, and so are classes inside it.

    Raises:
        NameError: a name cannot be found.
    """
    hints: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        namespace = getattr(sys.modules.get(base.__module__), "__dict__", {})
        local = {name: value for name, value in vars(base).items() if isinstance(value, type)}
        local |= {base.__name__: base, cls.__name__: cls}
        local |= {variable.__name__: variable for variable in getattr(base, "__type_params__", ())}
        for name, hint in inspect.get_annotations(base).items():
            if isinstance(hint, str) and (found := _INIT_VAR.fullmatch(hint)):
                hint = found[1]
            hints[name] = _evaluated(hint, namespace, local)
    return hints


def bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a hint without its ``Annotated``, and the metadata of that."""
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def type_arguments(cls: type, arguments: tuple[Any, ...] = ()) -> dict[Any, Any]:
    """Return what each type variable of a generic class and of its bases stands for.

    Args:
        cls: the class without its arguments, such as ``Box``.
        arguments: the types in brackets, such as ``(int,)``.
    """
    known = dict(zip(getattr(cls, "__parameters__", ()), arguments, strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and origin is not typing.Generic:
            inner = tuple(fill_in(argument, known) for argument in get_args(base))
            known = {**type_arguments(origin, inner), **known}
    return known


def fill_in(hint: Any, known: Mapping[Any, Any]) -> Any:
    """Return a hint with its type variables replaced by what they stand for; unknown ones stay."""
    if isinstance(hint, TypeVar):
        return known.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    if get_origin(hint) is None or not any(variable in known for variable in variables):
        return hint
    return hint[tuple(known.get(variable, variable) for variable in variables)]
