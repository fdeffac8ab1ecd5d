"""``signature_of``: a function's parameters as a tool has them, with their types and descriptions."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import attrs
import msgspec

from streamkit.errors import ConfigError
from streamkit.tools.context import ToolContext
from streamkit.tools.docstring import Docstring, parse_docstring
from streamkit.tools.fields import fields_of, is_typed_dict
from streamkit.tools.hints import bare, resolve
from streamkit.tools.metadata import read_metadata
from streamkit.tools.pydantic_types import is_field_info

__all__ = ["Context", "Parameter", "Signature", "context_of", "name_of", "require_function", "signature_of"]


@attrs.frozen
class Parameter:
    """A parameter that the model gives a value for.

    Attributes:
        name: its name.
        kind: as ``inspect`` has it.
        hint: its type, with ``Annotated``; ``Any`` where there is none; for ``*args`` and ``**kwargs`` that of each.
        default: ``inspect.Parameter.empty`` if the model must give it.
        description: from ``Annotated``, otherwise from the docstring.
    """

    name: str
    kind: inspect._ParameterKind
    hint: Any = Any
    default: Any = inspect.Parameter.empty
    description: str = ""


@attrs.frozen
class Context:
    """The parameter that takes the ``ToolContext``.

    Attributes:
        name: its name.
        kind: as ``inspect`` has it.
        index: how many parameters stand before it.
        before: the defaults of those, for a call by position.
    """

    name: str
    kind: inspect._ParameterKind
    index: int
    before: tuple[Any, ...] = ()


@attrs.frozen
class Signature:
    """What a function takes.

    Attributes:
        name: the function's name.
        description: its docstring before the first section.
        parameters: those that the model gives values for.
        context: the one that takes the ``ToolContext``, or ``None``.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    context: Context | None = None


def signature_of(function: Any) -> Signature:
    """Read a function's signature, type hints and docstring.

    Arguments that a ``functools.partial`` has are not parameters any more.

    Raises:
        ConfigError: it cannot be a tool, or a type cannot be found; the text says which and what to do.
    """
    require_function(function)
    name = name_of(function)
    docstring = _docstring(function)
    parameters: list[Parameter] = []
    contexts: list[Context] = []
    for parameter in _parameters(function):
        hint = _hint(function, parameter)
        if _is_context(hint):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ConfigError(f"{name}: ToolContext is one parameter, not {parameter}")
            before = tuple(known.default for known in parameters)
            contexts.append(Context(parameter.name, parameter.kind, len(parameters), before))
            continue
        described = read_metadata(bare(hint)[1]).description or docstring.entries.get(parameter.name, "")
        if is_field_info(parameter.default):
            raise ConfigError(
                f"{name}: the default of {parameter.name!r} is a pydantic Field, which a plain call would pass on; "
                "write Annotated[..., Field(...)] and an ordinary default"
            )
        parameters += _expanded(Parameter(parameter.name, parameter.kind, hint, parameter.default, described))
    if len(contexts) > 1:
        raise ConfigError(f"{name}: two parameters are annotated ToolContext; a tool takes one")
    return Signature(name, docstring.text, tuple(parameters), contexts[0] if contexts else None)


def context_of(function: Any) -> Context | None:
    """Return the parameter that takes the ``ToolContext``, of a function whose other types do not matter.

    Raises:
        ConfigError: it cannot be a tool.
    """
    require_function(function)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError, NameError):
        return None
    for index, parameter in enumerate(parameters):
        try:
            hint = resolve(parameter.annotation, _namespaces(function))
        except Exception:  # noqa: S112 - any text may be an annotation, and whatever it raises, it is no ToolContext
            continue
        if _is_context(hint):
            before = tuple(known.default for known in parameters[:index])
            return Context(parameter.name, parameter.kind, index, before)
    return None


def name_of(function: Any) -> str:
    """Return a function's own name; that of its class for an object that can be called."""
    name = getattr(function, "__name__", None)
    if isinstance(name, str):
        return name
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return type(function).__name__


def require_function(function: Any) -> None:
    """Refuse whatever cannot be called as a tool's function.

    Raises:
        ConfigError: says why, and what to pass instead.
    """
    name = name_of(function)
    if isinstance(function, type):
        raise ConfigError(
            f"{name} is a class: pass a function that makes an instance, or, for a reply of this type, "
            "response_format= instead of a tool"
        )
    if isinstance(function, classmethod):
        raise ConfigError(f"{name} is a classmethod without its class: pass Class.{name}")
    if not callable(function):
        raise ConfigError(f"a tool is made of a function, not of {type(function).__name__} {function!r:.80}")
    called = _called(function)
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigError(
            f"{name} is async, and streamkit is synchronous: pass a plain function that calls asyncio.run({name}(...))"
        )
    if inspect.isgeneratorfunction(called):
        raise ConfigError(f"{name} is a generator, and a tool returns one result: return list(...) in a plain function")


def _called(function: Any) -> Any:
    """Return the function whose code runs at first, which may be wrapped in partials or be an object's ``__call__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, staticmethod):
        return function.__func__
    return function if hasattr(function, "__name__") else type(function).__call__


def _docstring(function: Any) -> Docstring:
    if isinstance(function, functools.partial):
        own = vars(function).get("__doc__")  # set by functools.update_wrapper
        return parse_docstring(own) if own else _docstring(function.func)
    text = _called(function).__doc__
    return parse_docstring(text if hasattr(function, "__name__") else text or type(function).__doc__)


def _parameters(function: Any) -> list[inspect.Parameter]:
    """Return the parameters that a call may give; what a partial gives by keyword is not among them."""
    name = name_of(function)
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            found = inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            found = inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{name} has no signature that Python can read: wrap it in a function with type hints and a docstring"
        ) from error
    parameters = list(found.parameters.values())
    while isinstance(function, functools.partial):
        parameters = [parameter for parameter in parameters if parameter.name not in function.keywords]
        function = function.func
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    if owner and not owner.endswith("<locals>") and inspect.isfunction(function) and parameters:
        first = parameters[0]
        if first.name in ("self", "cls") and first.annotation is inspect.Parameter.empty:
            raise ConfigError(
                f"{name} is a method without its object ({first.name}): make the tool of the bound method, as in "
                f"streamkit.tool(instance.{name})"
            )
    return parameters


def _namespaces(function: Any) -> list[dict[str, Any]]:
    """Return the global names of a function and of those around it, of the innermost first."""
    spaces: list[dict[str, Any]] = []
    inner = _called(function)
    while inner is not None:
        code = getattr(inner, "__func__", inner)
        names = getattr(code, "__globals__", None)
        if names is not None:
            variables = {variable.__name__: variable for variable in getattr(code, "__type_params__", ())}
            spaces.insert(0, {**names, **variables} if variables else names)
        inner = getattr(inner, "__wrapped__", None)
    return [*spaces, {"ToolContext": ToolContext, "streamkit": sys.modules["streamkit"]}]


def _hint(function: Any, parameter: inspect.Parameter) -> Any:
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    try:
        hint = resolve(parameter.annotation, _namespaces(function))
    except Exception as error:  # the text of an annotation is code, which may raise anything
        missing = isinstance(error, NameError)
        raise ConfigError(
            f"{name_of(function)}: the type of {parameter.name!r}, {parameter.annotation!r}, cannot be read ({error})"
            + ("; define or import it in the module, not in a function or under TYPE_CHECKING" if missing else "")
        ) from error
    return Any if isinstance(hint, (typing.ParamSpecArgs, typing.ParamSpecKwargs)) else hint


def _is_context(hint: Any) -> bool:
    inner, _ = bare(hint)
    if get_origin(inner) in (typing.Union, types.UnionType):
        return any(_is_context(option) for option in get_args(inner))
    return inner is ToolContext


def _expanded(parameter: Parameter) -> Iterator[Parameter]:
    """Yield the parameter, or a parameter for each key of ``**options: Unpack[SomeTypedDict]``."""
    inner, _ = bare(parameter.hint)
    packed = get_args(inner)[0] if str(get_origin(inner)).endswith("Unpack") else None
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD or not is_typed_dict(get_origin(packed) or packed):
        yield parameter
        return
    for field in fields_of(get_origin(packed) or packed, get_args(packed)) or ():
        default = inspect.Parameter.empty if field.required else msgspec.UNSET
        yield Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, field.hint, default, field.description)
