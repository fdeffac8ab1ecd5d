"""Make the values of a pack of decoded JSON that was judged, and fill in what a lenient load lets be missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from streamkit.packs.guards import can_run
from streamkit.packs.sense import SYNTAX, items, mapping, texts
from streamkit.packs.values import (
    Media,
    ModelOverride,
    Pack,
    PackTool,
    Prompt,
    TestedModel,
    ToolPolicy,
    Validation,
    Variable,
)
from streamkit.values.problems import PackProblem as Problem
from streamkit.values.template import survey

__all__ = ["pack_of", "variable_of"]

_PARAMETERS = ("temperature", "max_tokens", "top_p", "top_k", "frequency_penalty", "presence_penalty")
_WHOLE = ("max_tokens", "top_k")


def pack_of(
    value: Mapping[str, Any], *, source: str, warnings: tuple[Problem, ...], registered: Collection[str]
) -> Pack:
    """Return the pack.

    Args:
        value: the decoded file, in which nothing is wrong but what is a warning.
        source: its path.
        warnings: what is wrong.
        registered: types of validators that the program has itself.
    """
    fragments = texts(value.get("fragments"))
    tools = {key: _tool(key, mapping(tool)) for key, tool in mapping(value.get("tools")).items()}
    agents = mapping(mapping(value.get("agents")).get("members"))
    syntax = _word(mapping(value.get("template_engine")), "syntax")
    return Pack(
        prompts={
            key: _prompt(key, mapping(prompt), fragments, tools, agents, registered)
            for key, prompt in mapping(value.get("prompts")).items()
        },
        fragments=fragments,
        tools=tools,
        warnings=warnings,
        source=source,
        syntax=syntax if SYNTAX.fullmatch(syntax) else "{{variable}}",
        metadata=mapping(value.get("metadata")),
        id=_word(value, "id"),
        name=_word(value, "name"),
        version=_word(value, "version"),
        description=_word(value, "description"),
    )


def _word(shape: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    """Return a text; what is missing or of another type was a warning."""
    value = shape.get(name)
    return value if isinstance(value, str) else otherwise


def _tool(key: str, tool: Mapping[str, Any]) -> PackTool:
    parameters = tool.get("parameters")
    if parameters is not None:
        parameters = {"type": "object", "properties": {}, **parameters}
    return PackTool(key, _word(tool, "description"), parameters)


def _prompt(
    key: str,
    prompt: Mapping[str, Any],
    fragments: Mapping[str, str],
    tools: Mapping[str, PackTool],
    agents: Collection[str],
    registered: Collection[str],
) -> Prompt:
    template = prompt["system_template"]
    declared = [variable_of(variable) for variable in items(prompt.get("variables"))]
    unknown = survey(template, fragments, {variable.name for variable in declared}).unknown_names
    policy = _policy(mapping(prompt.get("tool_policy")))
    names = [name for name in dict.fromkeys(items(prompt.get("tools"))) if name not in policy.blocklist]
    return Prompt(
        key=key,
        system_template=template,
        variables=(*declared, *(Variable(name) for name in unknown)),
        fragments=fragments,
        tools=tuple(tools[name] for name in names if name in tools),
        host_tools=tuple(name for name in names if name not in tools and name not in agents),
        tool_policy=policy,
        validators=tuple(_validators(items(prompt.get("validators")), registered)),
        parameters=_parameters(mapping(prompt.get("parameters"))),
        model_overrides={
            model: _override(mapping(override)) for model, override in mapping(prompt.get("model_overrides")).items()
        },
        tested_models=tuple(_tested(items(prompt.get("tested_models")))),
        media=_media(mapping(prompt["media"])) if "media" in prompt else None,
        id=_word(prompt, "id", key),
        name=_word(prompt, "name", key),
        version=_word(prompt, "version"),
        description=_word(prompt, "description"),
    )


def variable_of(shape: Mapping[str, Any]) -> Variable:
    """Return a variable as the file declares it."""
    default, validation = shape.get("default"), shape.get("validation")
    return Variable(
        name=shape["name"],
        type=_word(shape, "type", "string"),
        required=shape.get("required", True) and default is None,
        default=default,
        description=_word(shape, "description"),
        example=shape.get("example"),
        validation=None if validation is None else _validation(validation),
    )


def _validation(shape: Mapping[str, Any]) -> Validation:
    names = ("pattern", "min_length", "max_length", "minimum", "maximum")
    enum = shape.get("enum")
    return Validation(**{name: shape.get(name) for name in names}, enum=None if enum is None else tuple(enum))


def _policy(shape: Mapping[str, Any]) -> ToolPolicy:
    names = ("tool_choice", "max_rounds", "max_tool_calls_per_turn")
    given = {name: _whole(shape[name]) for name in names if name in shape}
    return ToolPolicy(**given, blocklist=tuple(items(shape.get("blocklist"))))


def _whole(value: Any) -> Any:
    """Return an integer for a number such as 500.0, which JSON Schema takes for one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parameters(shape: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _whole(shape[name]) if name in _WHOLE else shape[name] for name in _PARAMETERS if name in shape}


def _validators(shapes: list[Any], registered: Collection[str]) -> Iterator[Mapping[str, Any]]:
    for shape in map(mapping, shapes):
        type_, params = shape["type"], mapping(shape.get("params"))
        if shape.get("enabled", True) and can_run(type_, registered):
            if message := _word(shape, "message"):  # where an older schema has it
                params = {"message": message, **params}
            yield {
                "type": type_,
                "enabled": True,
                "fail_on_violation": shape.get("fail_on_violation", False),
                "params": params,
            }


def _override(shape: Mapping[str, Any]) -> ModelOverride:
    return ModelOverride(
        system_template=_word(shape, "system_template"),
        prefix=_word(shape, "system_template_prefix"),
        suffix=_word(shape, "system_template_suffix"),
        parameters=_parameters(mapping(shape.get("parameters"))),
    )


def _tested(shapes: list[Any]) -> Iterator[TestedModel]:
    for shape in map(mapping, shapes):
        provider, model = _word(shape, "provider"), _word(shape, "model")
        if provider and model:
            facts = {name: fact for name, fact in shape.items() if name not in ("provider", "model", "date")}
            yield TestedModel(provider=provider, model=model, date=_word(shape, "date"), facts=facts)


def _media(shape: Mapping[str, Any]) -> Media:
    others = ("enabled", "supported_types", "examples")
    return Media(
        enabled=shape.get("enabled", True),
        supported_types=tuple(items(shape.get("supported_types"))),
        limits={name: limits for name, limits in shape.items() if name not in others and isinstance(limits, dict)},
    )
