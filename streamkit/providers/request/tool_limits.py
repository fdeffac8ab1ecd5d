"""What providers take of a tool: its name, how many there are, and which JSON schemas.

What a provider does not know is rewritten where nothing is lost, and refused where something would be. Limits that
nobody has written down are left to the provider, whose error tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.request.schemas import Schema, closed, dereferenced, draft_7, inlined, without_synonyms
from streamkit.providers.request.turns import ToolSpec, tools_of
from streamkit.wire.loose_json import as_list, as_text

__all__ = [
    "ANTHROPIC",
    "BEDROCK",
    "BEDROCK_CLAUDE",
    "GEMINI",
    "MISTRAL",
    "OLLAMA",
    "OPENAI",
    "OPENAI_RESPONSES",
    "ToolLimits",
    "limited",
    "limited_shapes",
]

_UNIONS = ("allOf", "anyOf", "oneOf")


@attrs.frozen
class ToolLimits:
    """The limits of one provider.

    Attributes:
        name: the pattern that names of tools have to match; ``None`` for any name.
        most: how many tools one call may have; ``None`` for any number.
        property_name: the pattern that names of parameters, at the root, have to match; ``None`` for any name.
        root: keywords that the root of the parameters must not have, though they may stand below it; with any the root
            has to be an object as well.
        rewrite: what makes a schema one that the provider knows, without a loss.
        closed_when_strict: whether calls are held to closed schemas only. A strict tool whose schema cannot be closed
            is sent without ``strict``.
    """

    name: re.Pattern[str] | None = None
    most: int | None = None
    property_name: re.Pattern[str] | None = None
    root: tuple[str, ...] = ()
    rewrite: Callable[[Schema], Schema] = dereferenced
    closed_when_strict: bool = False


def _ollama(schema: Schema) -> Schema:
    return without_synonyms(inlined(schema))


_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
# The message of the API names both: "schema must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not'
# at the top level" (langchain-ai/langchainjs#9804, nspady/google-calendar-mcp#39), read 2026-11-27.
_OPENAI_ROOT = (*_UNIONS, "enum", "not")

#: Name: openai-python types/shared_params/function_definition.py. Number: "array too long. Expected an array with
#: maximum length 128" (keinsaasforever/better-chatbot#197). The 1,024 characters that a description once was limited
#: to (whoz-oss/coday#6, March 2025) are in no reference, and are not enforced here.
OPENAI = ToolLimits(_NAME, most=128, root=_OPENAI_ROOT)
#: Nobody has seen its number of tools limited.
OPENAI_RESPONSES = ToolLimits(_NAME, root=_OPENAI_ROOT)

#: Name: the API reference. Root: "input_schema does not support oneOf, allOf, or anyOf at the top level"
#: (anthropics/claude-code#27337). Names of parameters: "Property keys should match pattern" (aws-solutions-library-
#: samples/accelerated-intelligent-document-processing-on-aws#709, which found that only those at the root are looked
#: at). Read 2026-11-27.
ANTHROPIC = ToolLimits(
    re.compile(r"[a-zA-Z0-9_-]{1,128}"),
    property_name=re.compile(r"[a-zA-Z0-9_.-]{1,64}"),
    root=_UNIONS,
    closed_when_strict=True,
)

#: Name: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolSpecification.html, read 2026-11-27.
BEDROCK = ToolLimits(_NAME)
#: Models of Anthropic's on Bedrock have the limits of both.
BEDROCK_CLAUDE = attrs.evolve(ANTHROPIC, name=_NAME)

#: Name: FunctionDeclaration.name in google-genai 3.6. Neither field for a schema knows ``const``.
GEMINI = ToolLimits(re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,127}"), rewrite=without_synonyms)

#: Name, and a valid schema of draft 7: mistral-common 1.13 validator.py.
MISTRAL = ToolLimits(_NAME, rewrite=draft_7)

#: ToolProperty in api/types.go has no field for references, constants and ``oneOf``, which it drops.
OLLAMA = ToolLimits(rewrite=_ollama)


def limited(
    provider: str, tools: Sequence[ToolSpec | Mapping[str, Any]], limits: ToolLimits
) -> list[ToolSpec | Mapping[str, Any]]:
    """Return tools as a provider takes them; its own stay as they are.

    Raises:
        ConfigError: a limit cannot be kept without a loss; the message names tool, place and limit.
    """
    if limits.most is not None and len(tools) > limits.most:
        raise ConfigError(f"{provider} takes at most {limits.most} tools in a call, not {len(tools)}")
    return [_limited(provider, tool, limits) if isinstance(tool, ToolSpec) else tool for tool in tools]


def limited_shapes(
    provider: str, tools: Sequence[Mapping[str, Any]], limits: ToolLimits | None
) -> list[Mapping[str, Any]]:
    """Return tools of the OpenAI shape as a provider takes them; see ``limited``."""
    if limits is None:
        return list(tools)
    read = tools_of(tools)
    return [_written(*pair) for pair in zip(tools, read, limited(provider, read, limits), strict=True)]


def _written(shape: Mapping[str, Any], before: Any, after: Any) -> Mapping[str, Any]:
    if before == after:
        return shape
    changed = {"parameters": after.parameters, **({"description": after.description} if after.description else {})}
    return {**shape, "function": {**shape["function"], **changed}}


def _limited(provider: str, tool: ToolSpec, limits: ToolLimits) -> ToolSpec:
    if limits.name is not None and not limits.name.fullmatch(tool.name):
        raise ConfigError(f"{provider} takes names of tools that match {limits.name.pattern}; rename {tool.name!r}")
    schema, condition = _rooted(provider, tool, limits)
    schema = limits.rewrite(schema)
    for name in _names(schema):
        if limits.property_name is not None and not limits.property_name.fullmatch(name):
            raise ConfigError(
                f"{provider} takes names of parameters that match {limits.property_name.pattern}; rename {name!r} of "
                f"the tool {tool.name}"
            )
    strict = tool.strict
    if strict and limits.closed_when_strict:
        held = closed(schema)
        schema, strict = (schema, None) if held is None else (held, True)
    description = " ".join(each for each in (tool.description, condition) if each)
    return attrs.evolve(tool, parameters=schema, description=description, strict=strict)


def _names(schema: Schema) -> list[str]:
    properties = schema.get("properties")
    return [str(name) for name in properties] if isinstance(properties, Mapping) else []


def _rooted(provider: str, tool: ToolSpec, limits: ToolLimits) -> tuple[Schema, str]:
    """Return parameters with a root that the provider takes, and what has to be said in the description instead."""
    schema = dereferenced(tool.parameters)
    if not limits.root:
        return schema, ""
    if "type" not in schema and ("properties" in schema or any(union in schema for union in _UNIONS)):
        schema = {"type": "object", **schema}
    conditions: list[str] = []
    for keyword in (keyword for keyword in limits.root if keyword in schema):
        rest = {name: value for name, value in schema.items() if name != keyword}
        inner = as_list(schema[keyword])
        branches = [dereferenced({**_definitions(schema), **each}) for each in inner if isinstance(each, Mapping)]
        whole = len(branches) == len(inner)
        if keyword in ("anyOf", "oneOf") and whole and branches[1:] and all(map(_is_condition, branches)):
            many = "exactly one" if keyword == "oneOf" else "at least one"
            sets = "; ".join(" and ".join(map(str, each["required"])) for each in branches)
            conditions.append(f"Of these, {many} has to be given: {sets}.")
            schema = rest
            continue
        merged = _merged(rest, branches) if whole and (keyword == "allOf" or len(branches) == 1) else None
        if merged is None:
            raise ConfigError(
                f"{provider} takes no {keyword} at the root of a tool's parameters, but inside one of them; change the "
                f"tool {tool.name}"
            )
        schema = merged
    if schema.get("type") != "object":
        raise ConfigError(f"{provider} takes parameters of the type 'object'; change the tool {tool.name}")
    return schema, " ".join(conditions)


def _definitions(schema: Schema) -> dict[str, Any]:
    return {name: schema[name] for name in ("$defs", "definitions") if name in schema}


def _is_condition(branch: Schema) -> bool:
    """Return whether a branch says only which parameters have to be given."""
    about = branch.keys() - {"title", "description", "$defs", "definitions"}
    return about == {"required"} and bool(as_list(branch["required"]))


def _merged(schema: Schema, branches: Sequence[Schema]) -> Schema | None:
    """Return one schema for all of these, ``None`` where they say different things of one matter."""
    merged = dict(schema)
    for branch in branches:
        for keyword, value in branch.items():
            before = merged.get(keyword, value)
            if keyword == "additionalProperties":
                return None  # it counts the properties of its own schema only
            if keyword == "properties" and isinstance(before, Mapping) and isinstance(value, Mapping):
                if any(before.get(name, each) != each for name, each in value.items()):
                    return None
                merged[keyword] = {**before, **value}
            elif keyword == "required":
                merged[keyword] = list(dict.fromkeys([*as_list(before), *as_list(value)]))
            elif keyword == "description" and before != value:
                merged[keyword] = f"{as_text(before)} {as_text(value)}"
            elif before != value:
                return None
            else:
                merged[keyword] = value
    return None if "additionalProperties" in schema and branches else merged
