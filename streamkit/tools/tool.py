"""``Tool``: a function that a model may call, and ``tool``, which makes one of a plain function."""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, MisuseError
from streamkit.settings import shown
from streamkit.tools.functions import read_function
from streamkit.tools.signature import Context, Signature, context_of, name_of, require_function
from streamkit.tools.strict import strict_schema

if TYPE_CHECKING:
    from streamkit.tools.arguments import Bound
    from streamkit.tools.context import ToolContext

__all__ = ["Tool", "tool", "tools_of"]

# What every provider takes.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}\Z")
# What the tools of other libraries have beside a name.
_FOREIGN = (
    "args_schema",
    "params_json_schema",
    "function_schema",
    "input_schema",
    "inputSchema",
    "parameters",
    "inputs",
)

NeedsApproval: TypeAlias = bool | Callable[..., bool]


class Tool:
    """A function that a model may call; or only its description, for one that a browser or a person carries out.

    ``Tool.of(function)`` and ``@tool`` read everything from a function. ``Tool(...)`` takes the schema as it is::

        search = Tool("search", "Search the archive.", {"type": "object", "properties": {...}}, function=find)

    A tool can be called as its function can.

    Args:
        name: of letters, digits, ``_`` and ``-``, not beginning with a digit or ``-``, at most 64 characters.
        description: tells the model what it does and when to call it.
        parameters: the JSON schema of its arguments, an object. ``None``: as ``function`` has them, otherwise none.
        function: gets the arguments by name; one annotated ``ToolContext`` is filled in. ``None``: a call suspends
            the run until its result is given.
        needs_approval: whether a person has to approve each call, or a function that gets the arguments by name and
            says so.
        idempotent: whether a call may run again when it is not known whether it has run.
        strict: whether a provider is asked to hold the arguments to the schema. ``None``: what the provider does.

    Attributes:
        schema: the JSON schema of the arguments. Do not change it: tools of one function share it.
        declaration: the tool in OpenAI's shape, in strict form if ``strict`` is true. Do not change it.

    Raises:
        ConfigError: such a tool cannot be; the text says why and what to do.

    Threads: any; it never changes.
    """

    def __init__(
        self,
        name: str,
        description: str = "",
        parameters: Mapping[str, Any] | None = None,
        function: Callable[..., Any] | None = None,
        *,
        needs_approval: NeedsApproval = False,
        idempotent: bool = False,
        strict: bool | None = None,
    ) -> None:
        if callable(name):
            raise ConfigError(f"Tool(...) begins with the name; of a function, make it by Tool.of({name_of(name)})")
        self.name = _checked_name(name)
        self._signature: Signature | None = None
        self._context: Context | None = None
        self._read: Callable[[str], Bound] | None = None  # made when it is first needed
        if parameters is not None:
            self.schema = _checked_schema(name, parameters)
            self._context = None if function is None else context_of(function)
        elif function is not None:
            known = read_function(function)
            self.schema, self._signature, self._context = known.schema, known.signature, known.signature.context
            description = description or known.signature.description
        else:
            self.schema = {"type": "object", "properties": {}, "additionalProperties": False}
        self.description = description
        self.function = function
        self.needs_approval = needs_approval
        self.idempotent = idempotent
        self.strict = strict
        self._check_options()
        self.declaration = self._declaration()
        if function is not None:
            functools.update_wrapper(self, function, updated=())

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        needs_approval: NeedsApproval = False,
        idempotent: bool = False,
        strict: bool | None = None,
    ) -> Tool:
        """Make a tool of a function, a bound method, a ``functools.partial`` or an object with ``__call__``.

        The name is the function's, the description its docstring's text before the first section, the schema that of
        its type hints, with the descriptions that ``Annotated`` or the docstring has. It is read once a function.

        Args:
            name, description: in place of the function's own.
            needs_approval, idempotent, strict: as in ``Tool(...)``.

        Raises:
            ConfigError: it cannot be a tool: a class, ``async def``, a generator, a lambda without a name, a parameter
                of a type that JSON cannot say, or a name that providers refuse.
        """
        if isinstance(function, Tool):
            raise ConfigError(f"{function.name} is a tool already")
        _refuse_foreign(function)
        require_function(function)
        return cls(
            name_of(function) if name is None else name,
            "" if description is None else description,
            function=function.__func__ if isinstance(function, staticmethod) else function,
            needs_approval=needs_approval,
            idempotent=idempotent,
            strict=strict,
        )

    def __repr__(self) -> str:
        without = "" if self.function is not None else ", without a function"
        return f"<Tool {self.name}({', '.join(self.schema.get('properties', ()))}){without}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function as if it were no tool.

        Raises:
            MisuseError: the tool has none.
        """
        return self._callable()(*args, **kwargs)

    def bind(self, text: str) -> Bound:
        """Turn the arguments as a model wrote them into what the function takes.

        Raises:
            InvalidArgumentsError: they do not fit; its text tells the model all that is wrong.
        """
        if self._read is None:
            self._read = self._reader()
        return self._read(text)

    def _reader(self) -> Callable[[str], Bound]:
        arguments = late_import("streamkit.tools.arguments")
        if self._signature is not None:
            return functools.partial(arguments.bind, self._signature.parameters, name=self.name)
        read: Callable[[str], Bound] = arguments.SchemaBinder(self.schema, self.name).bind
        return read

    def bound_to(self, function: Callable[..., Any]) -> Tool:
        """Return the same tool, by name, description and schema, with another function.

        Raises:
            ConfigError: it cannot be called for a tool.
        """
        require_function(function)
        return Tool(
            self.name,
            self.description,
            self.schema,
            function,
            needs_approval=self.needs_approval,
            idempotent=self.idempotent,
            strict=self.strict,
        )

    def with_defaults(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments by name, with the defaults of those that are missing."""
        if self._signature is None:
            return dict(arguments)
        empty = inspect.Parameter.empty
        defaults = {each.name: each.default for each in self._signature.parameters if each.default is not empty}
        return {**defaults, **arguments}

    def call(self, bound: Bound, context: ToolContext | None = None) -> Any:
        """Call the function with bound arguments, and with the context where it takes one.

        Raises:
            MisuseError: the tool has no function.
        """
        function, wanted = self._callable(), self._context
        if wanted is None:
            return function(*bound.args, **bound.kwargs)
        args = bound.args
        if wanted.kind is inspect.Parameter.POSITIONAL_ONLY:
            args = (*args, *wanted.before[len(args) : wanted.index])  # by position, so those before it must be there
        elif wanted.kind is inspect.Parameter.KEYWORD_ONLY or len(args) <= wanted.index:
            return function(*args, **bound.kwargs, **{wanted.name: context})
        return function(*args[: wanted.index], context, *args[wanted.index :], **bound.kwargs)

    def _callable(self) -> Callable[..., Any]:
        if self.function is None:
            raise MisuseError(f"the tool {self.name} has no function: its result is given when the run is resumed")
        return self.function

    def _check_options(self) -> None:
        if not isinstance(self.description, str):
            raise ConfigError(f"{self.name}: description is text, not {self.description!r:.80}")
        if not isinstance(self.needs_approval, bool) and not callable(self.needs_approval):
            raise ConfigError(
                f"{self.name}: needs_approval is True, False or a function of the arguments, "
                f"not {self.needs_approval!r:.80}"
            )
        if inspect.iscoroutinefunction(self.needs_approval):
            raise ConfigError(f"{self.name}: needs_approval is an async function, and streamkit is synchronous")
        if not isinstance(self.idempotent, bool):
            raise ConfigError(f"{self.name}: idempotent is True or False, not {self.idempotent!r:.80}")
        if self.strict is not None and not isinstance(self.strict, bool):
            raise ConfigError(f"{self.name}: strict is True, False or None, not {self.strict!r:.80}")

    def _declaration(self) -> dict[str, Any]:
        function: dict[str, Any] = {"name": self.name, "description": self.description, "parameters": self.schema}
        if self.strict is not None:
            function["strict"] = self.strict
        if self.strict:
            try:
                function["parameters"] = strict_schema(self.schema)
            except ConfigError as error:
                raise ConfigError(f"{self.name}: {error.message}") from error
        return {"type": "function", "function": function}


@overload
def tool(
    function: Callable[..., Any],
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    idempotent: bool = False,
    strict: bool | None = None,
) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    idempotent: bool = False,
    strict: bool | None = None,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    needs_approval: NeedsApproval = False,
    idempotent: bool = False,
    strict: bool | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function: ``@tool``, ``@tool(needs_approval=True)`` or ``tool(function, name="...")``.

    Args:
        function: the function; it stays callable.
        name, description: in place of the function's own.
        needs_approval, idempotent, strict: as in ``Tool``.

    Raises:
        ConfigError: it cannot be a tool; the text says why and what to do.
    """
    make = functools.partial(
        Tool.of,
        name=name,
        description=description,
        needs_approval=needs_approval,
        idempotent=idempotent,
        strict=strict,
    )
    return make if function is None else make(function)


def tools_of(values: Iterable[Any]) -> list[Tool | Mapping[str, Any]]:
    """Return what was passed as ``tools=``: functions as tools, tools as they are.

    A dict in OpenAI's shape becomes a tool without a function. Any other dict is a provider's own tool, such as its
    search, and stays.

    Raises:
        ConfigError: one cannot be a tool, or two have one name.
    """
    if isinstance(values, (str, bytes, Mapping)) or callable(values):
        raise ConfigError(
            f"tools= is a list of functions, Tools and dicts, not {shown(values)}; put a single tool into a list"
        )
    found = [_tool_or_dict(value) for value in values]
    names: set[str] = set()
    for one in found:
        if isinstance(one, Tool):
            if one.name in names:
                raise ConfigError(f"two tools have the name {one.name!r}: give one another by tool(function, name=...)")
            names.add(one.name)
    return found


def _tool_or_dict(value: Any) -> Tool | Mapping[str, Any]:
    if isinstance(value, Tool):
        return value
    if isinstance(value, Mapping):
        return _of_dict(value) if value.get("type") == "function" else value
    return Tool.of(value)


def _refuse_foreign(value: Any) -> None:
    named = not isinstance(value, type) and isinstance(getattr(value, "name", None), str)
    if named and any(hasattr(value, attribute) for attribute in _FOREIGN):
        raise ConfigError(
            f"{type(value).__module__.partition('.')[0]}'s {type(value).__name__} is another library's tool: pass the "
            "function that it was made of, or streamkit.Tool(name, description, parameters, function)"
        )


def _of_dict(value: Mapping[str, Any]) -> Tool:
    declared = value.get("function", value)  # the Responses API has the same keys without the inner dict
    if not isinstance(declared, Mapping) or not isinstance(declared.get("name"), str):
        raise ConfigError(f'a dict with type "function" has a function with a name: {dict(value)!r:.80}')
    return Tool(
        declared["name"],
        declared.get("description") or "",
        declared.get("parameters"),
        strict=declared.get("strict"),
    )


def _checked_name(name: Any) -> str:
    if isinstance(name, str) and _NAME.match(name):
        return name
    if name == "<lambda>":
        raise ConfigError("a lambda has no name for the model: write a function, or tool(lambda ..., name='...')")
    raise ConfigError(
        f"{name!r:.100} cannot be the name of a tool: providers take a-z, A-Z, 0-9, _ and -, not beginning with a "
        "digit or -, 1 to 64 characters; give another by name="
    )


def _checked_schema(name: Any, schema: Any) -> dict[str, Any]:
    if isinstance(schema, type) or not isinstance(schema, Mapping):
        raise ConfigError(f"{name}: parameters is a JSON schema as a dict, not {schema!r:.80}")
    own = {"type": "object", "properties": {}, **copy.deepcopy(dict(schema))}
    if own["type"] != "object" or any(key in own for key in ("anyOf", "oneOf", "allOf", "$ref")):
        raise ConfigError(f'{name}: the root of parameters is of type "object", and combines no schemas')
    jsonschema = late_import("jsonschema")
    checker = jsonschema.validators.validator_for(own, jsonschema.Draft202012Validator)
    try:
        checker.check_schema(own)
    except jsonschema.SchemaError as error:
        raise ConfigError(f"{name}: parameters is no JSON schema: {error.message} at {error.json_path}") from error
    return own
