"""What is wrong with a pack that its JSON schema cannot say: names without a meaning, cycles, values that cannot be.

The shape of the pack is the schema's affair; whatever has a wrong shape is passed over here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from streamkit.errors import ConfigError
from streamkit.packs.guards import guard_findings
from streamkit.packs.problems import Finding, Path, shown
from streamkit.packs.values import Validation
from streamkit.packs.variables import breaks_rule, is_of_type, same
from streamkit.validators.dialect import compiled
from streamkit.values.template import Kind, Piece, pieces_of, survey

__all__ = ["SYNTAX", "items", "mapping", "sense_findings", "texts"]

SYNTAX = re.compile(r"\{\{\s*[A-Za-z_][A-Za-z0-9_]*\s*\}\}")

_IGNORED = ("evals", "workflow", "agents", "skills", "compositions")
_IGNORED_IN_PROMPT = ("evals", "pipeline")
_TYPES = ("string", "number", "boolean", "object", "array")
_TEMPLATES_OF_OVERRIDE = ("system_template_prefix", "system_template", "system_template_suffix")


def mapping(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return an array; an empty one for anything else."""
    return value if isinstance(value, list) else []


def texts(value: Any) -> dict[str, str]:
    """Return the texts of an object, by key."""
    return {key: text for key, text in mapping(value).items() if isinstance(text, str)}


def sense_findings(pack: Mapping[str, Any], registered: Collection[str] = ()) -> list[Finding]:
    """Return all of it, once each.

    Args:
        pack: the decoded file.
        registered: types of validators that the program has itself.
    """
    prompts = {key: prompt for key, prompt in mapping(pack.get("prompts")).items() if isinstance(prompt, dict)}
    fragments = texts(pack.get("fragments"))
    pieces = {key: pieces_of(text) for key, text in fragments.items()}
    found = [Finding((name,), "ignored", f"{name} is read and ignored") for name in _IGNORED if name in pack]
    found += _of_engine(pack)
    found += _of_cycles(fragments, pieces, [_declared(prompt) for prompt in prompts.values()])
    for key, parts in pieces.items():
        found += _of_template(("fragments", key), parts, fragments)
    for key, prompt in prompts.items():
        path: Path = ("prompts", key)
        found += [
            Finding((*path, name), "ignored", f"{name} is read and ignored")
            for name in _IGNORED_IN_PROMPT
            if name in prompt
        ]
        for place, template in _templates_of(prompt):
            found += _of_template((*path, *place), pieces_of(template), fragments)
        found += _of_names(path, prompt, fragments)
        found += _of_variables((*path, "variables"), items(prompt.get("variables")))
        found += _of_tools(path, prompt, pack)
        found += _of_overrides((*path, "model_overrides"), mapping(prompt.get("model_overrides")))
        for index, validator in enumerate(items(prompt.get("validators"))):
            if _is_on(validator):
                found += guard_findings(validator, (*path, "validators", index), registered)
    return list(dict.fromkeys(found))


def _is_on(validator: Any) -> bool:
    """Return whether a validator of the right shape is switched on."""
    shape = mapping(validator)
    type_ = shape.get("type")
    is_whole = isinstance(type_, str) and bool(type_) and isinstance(shape.get("params", {}), dict)
    return is_whole and shape.get("enabled") is not False


def _of_engine(pack: Mapping[str, Any]) -> Iterator[Finding]:
    syntax = mapping(pack.get("template_engine")).get("syntax")
    if isinstance(syntax, str) and not SYNTAX.fullmatch(syntax):
        text = f"{shown(syntax)} is a syntax that is not known here; write variables as {{{{variable}}}}"
        yield Finding(("template_engine", "syntax"), "template_engine.syntax", text)


# -- templates -------------------------------------------------------------------------------------------


def _templates_of(prompt: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield all templates of a prompt with their paths in it: its own, and those of its overrides."""
    if isinstance(prompt.get("system_template"), str):
        yield ("system_template",), prompt["system_template"]
    for model, override in mapping(prompt.get("model_overrides")).items():
        own = texts(override)
        yield from ((("model_overrides", model, name), own[name]) for name in _TEMPLATES_OF_OVERRIDE if name in own)


def _declared(prompt: Mapping[str, Any]) -> dict[str, None]:
    names = (mapping(variable).get("name") for variable in items(prompt.get("variables")))
    return dict.fromkeys(name for name in names if isinstance(name, str))


def _of_template(path: Path, pieces: Sequence[Piece], fragments: Mapping[str, str]) -> Iterator[Finding]:
    for kind, text in pieces:
        if kind is Kind.WRONG:
            yield Finding(path, "template.placeholder", f"{_cut(text)} is not a placeholder", name=text)
        elif kind is Kind.FRAGMENT and text not in fragments:
            yield Finding(path, "fragment.unknown", f"{shown(text)} is not defined in fragments", name=text)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


def _of_names(path: Path, prompt: Mapping[str, Any], fragments: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the bare names that mean nothing, in the prompt's templates and in the fragments that they reach."""
    if not isinstance(prompt.get("variables", []), list):
        return  # nobody knows what is declared
    declared = _declared(prompt)
    places: dict[Path, Sequence[Piece]] = {}
    for place, template in _templates_of(prompt):
        found = survey(template, fragments, declared)
        places |= {(*path, *place) if key is None else ("fragments", key): parts for key, parts in found.pieces.items()}
    for where, parts in places.items():
        for kind, text in parts:
            if kind is Kind.NAME and text not in declared and text not in fragments:
                reason = f"{shown(text)} is neither a declared variable nor a fragment"
                yield Finding(where, "template.undeclared", reason, name=text)


def _of_cycles(
    fragments: Mapping[str, str], pieces: Mapping[str, Sequence[Piece]], declared: Sequence[Collection[str]]
) -> Iterator[Finding]:
    """Yield each cycle of fragments at its first fragment in the order of the file.

    A bare name that every prompt declares is a variable, not a fragment.
    """
    names_of = {
        key: [
            text
            for kind, text in parts
            if text in fragments and (kind is Kind.FRAGMENT or (kind is Kind.NAME and not _is_variable(text, declared)))
        ]
        for key, parts in pieces.items()
    }
    left = dict(names_of)
    for key in names_of:
        way = _way_back(key, left)
        if way:
            yield Finding(("fragments", key), "fragment.cycle", " -> ".join(way))
        del left[key]  # any other cycle that it is in is told by now


def _is_variable(name: str, declared: Sequence[Collection[str]]) -> bool:
    return bool(declared) and all(name in names for names in declared)


def _way_back(start: str, names_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the shortest way from a fragment to itself, empty if there is none."""
    came_from: dict[str, str] = {}
    rest = [start]
    for key in rest:
        for name in names_of.get(key, ()):
            if name == start:
                way = [key]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return [*reversed(way), start]
            if name not in came_from and name in names_of:
                came_from[name] = key
                rest.append(name)
    return []


# -- variables -------------------------------------------------------------------------------------------


def _of_variables(path: Path, variables: Sequence[Any]) -> Iterator[Finding]:
    seen: set[str] = set()
    for index, each in enumerate(variables):
        variable, place = mapping(each), (*path, index)
        name = variable.get("name")
        if isinstance(name, str):
            if name in seen:
                yield Finding((*place, "name"), "variable.duplicate", f"{shown(name)} is declared twice")
            seen.add(name)
        validation = mapping(variable.get("validation"))
        rules = _rules(validation)
        yield from _of_validation((*place, "validation"), validation, rules)
        default = variable.get("default")
        if default is not None:
            yield from _of_default((*place, "default"), variable, default, rules)


def _rules(validation: Mapping[str, Any]) -> Validation:
    """Return the rules of a validation that have the right types and can be used."""
    numbers = {
        name: value
        for name in ("min_length", "max_length", "minimum", "maximum")
        if is_of_type("number", value := validation.get(name))
    }
    pattern, enum = validation.get("pattern"), validation.get("enum")
    return Validation(
        **numbers,
        pattern=pattern if isinstance(pattern, str) and _why_not(pattern) is None else None,
        enum=tuple(enum) if isinstance(enum, list) else None,
    )


def _why_not(pattern: str) -> str | None:
    try:
        compiled(pattern)
    except ConfigError as error:
        return str(error)
    return None


def _of_validation(path: Path, validation: Mapping[str, Any], rules: Validation) -> Iterator[Finding]:
    pattern = validation.get("pattern")
    if isinstance(pattern, str) and (reason := _why_not(pattern)):
        yield Finding((*path, "pattern"), "regex.invalid", reason)
    for least, most in (("minimum", "maximum"), ("min_length", "max_length")):
        low, high = getattr(rules, least), getattr(rules, most)
        if low is not None and high is not None and low > high:
            yield Finding(path, "variable.range", f"{least} is above {most}")


def _of_default(path: Path, variable: Mapping[str, Any], default: Any, rules: Validation) -> Iterator[Finding]:
    type_ = variable.get("type")
    if variable.get("required") is True:
        yield Finding(path, "variable.required_default", "a required variable cannot have a default")
    if type_ in _TYPES and not is_of_type(type_, default):
        yield Finding(path, "variable.default_type", f"the default is not of type {type_}")
        return
    if rules.enum is not None and not any(same(default, each) for each in rules.enum):
        yield Finding(path, "variable.default_not_in_enum", "the default is none of the allowed values")
    if breaks_rule(rules, default):
        yield Finding(path, "variable.default_invalid", "the default breaks the variable's validation")


# -- tools and models ------------------------------------------------------------------------------------


def _of_tools(path: Path, prompt: Mapping[str, Any], pack: Mapping[str, Any]) -> Iterator[Finding]:
    if not isinstance(pack.get("tools", {}), dict):
        return
    tools = mapping(pack.get("tools"))
    agents = mapping(mapping(pack.get("agents")).get("members"))
    for index, name in enumerate(items(prompt.get("tools"))):
        place = (*path, "tools", index)
        if not isinstance(name, str) or name in tools:
            continue
        if name in agents:
            yield Finding(place, "tool.agent", f"{shown(name)} is an agent, which is not run here")
        else:
            yield Finding(place, "tool.unknown", f"{shown(name)} is not defined in tools")
    for index, name in enumerate(items(mapping(prompt.get("tool_policy")).get("blocklist"))):
        if isinstance(name, str) and name not in tools:
            place = (*path, "tool_policy", "blocklist", index)
            yield Finding(place, "tool_policy.unknown_tool", f"{shown(name)} is not defined in tools")


def _of_overrides(path: Path, overrides: Mapping[str, Any]) -> Iterator[Finding]:
    known = {*_TEMPLATES_OF_OVERRIDE, "parameters"}
    for model, override in overrides.items():
        # Where there is an unknown key, that is what is wrong.
        if isinstance(override, dict) and override.keys() <= known and not any(override.values()):
            yield Finding((*path, model), "override.empty", "the override changes nothing")
