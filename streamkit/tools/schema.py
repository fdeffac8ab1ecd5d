"""JSON schemas of types and of functions' parameters, in one canonical form.

No titles; ``properties`` is always there; an object whose keys are known takes no others; what is optional is not in
``required`` and has its default where JSON can say it; ``X | None`` is ``anyOf`` with null; classes and enums are in
``$defs``. pydantic's types are as pydantic writes them, without titles.
"""

from __future__ import annotations

import copy
import inspect
import weakref
from typing import Any

from streamkit.errors import ConfigError
from streamkit.tools.schema_writer import CannotWriteError, SchemaWriter, name_of_type, object_schema
from streamkit.tools.signature import Signature

__all__ = ["parameters_schema", "schema_of"]

_schemas: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


def schema_of(hint: Any) -> dict[str, Any]:
    """Return the JSON schema of a type.

    It is made once a type: classes are remembered as long as they exist. What is returned is the caller's own.

    Args:
        hint: a class, or any type hint that a parameter may have.

    Raises:
        ConfigError: JSON cannot say it; the text has the path.
    """
    try:
        known = _schemas.get(hint)
    except TypeError:  # not hashable, or of a kind that cannot be referred to weakly
        return _schema_of(hint)
    if known is None:
        known = _schema_of(hint)
        if isinstance(hint, type):
            _schemas[hint] = known
    return copy.deepcopy(known)


def _schema_of(hint: Any) -> dict[str, Any]:
    writer = SchemaWriter()
    try:
        schema = writer.write(hint, "")
    except CannotWriteError as error:
        raise ConfigError(f"{name_of_type(hint)} has no JSON schema: {error}") from error
    # A root that can be read at once; a recursive type's definition stays beside it.
    return writer.with_definitions(writer.without_reference(schema))


def parameters_schema(signature: Signature) -> dict[str, Any]:
    """Return the schema of the object whose keys are a function's parameters.

    Raises:
        ConfigError: JSON cannot say the type of a parameter.
    """
    writer = SchemaWriter()
    properties: dict[str, Any] = {}
    required: list[str] = []
    others: Any = False
    for parameter in signature.parameters:
        try:
            schema = writer.parameter(parameter)
        except CannotWriteError as error:
            raise ConfigError(f"{signature.name} cannot be a tool: parameter {error}") from error
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            others = schema or True
            continue
        properties[parameter.name] = schema
        if parameter.default is inspect.Parameter.empty and parameter.kind is not inspect.Parameter.VAR_POSITIONAL:
            required.append(parameter.name)
    return writer.with_definitions(object_schema(properties, required, others))
