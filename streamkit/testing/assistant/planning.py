"""The calls that a prompt asks for, in the order of its steps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.assistant.facts import Fact
from streamkit.testing.assistant.filling import Filling, Source
from streamkit.testing.assistant.fitting import Tool, asks_for_more, fitting, parts_of
from streamkit.testing.assistant.schemas import branches, kind_of, resolve
from streamkit.testing.assistant.words import stems

__all__ = ["Call", "calls_of", "steps_of", "vocabulary"]

_THEN = re.compile(r"(?:[,.;]\s*)?\b(?:and\s+)?(?:then|after that|afterwards)\b,?\s*", re.IGNORECASE)
_MOST_CALLS = 8  # of one tool in one step


@attrs.frozen
class Call:
    """A call of a tool."""

    name: str
    arguments: Mapping[str, Any]


def steps_of(prompt: str, tools: Sequence[Tool], last: Tool | None = None) -> list[tuple[str, list[Tool]]]:
    """Return the steps of a prompt, which the word `then` parts, each with the tools that it asks for.

    Args:
        prompt: what the user said.
        tools: those that there are.
        last: the tool called last, which `And in Bergen?` means again.
    """
    steps = []
    for text in filter(None, (text.strip() for text in _THEN.split(prompt))):
        found = fitting(text, tools) or ([last] if last is not None and asks_for_more(text) else [])
        if found:
            steps.append((text, found))
            last = found[-1]
    return steps


def calls_of(text: str, found: Sequence[Tool], prompt: str, known: Mapping[str, Any]) -> list[Call]:
    """Return the calls of one step.

    Args:
        text: of the step.
        found: the tools that it asks for.
        prompt: all that the user said, for what the step leaves out: `then refund it`.
        known: values by name from results so far.
    """
    parts = parts_of(text, found)
    ordinary = vocabulary(found)
    calls = []
    for tool in found:
        own = " , ".join(part.text for part in parts if part.tool is tool)
        texts = [own or text, text, prompt]
        calls += _calls_of_tool(tool, list(dict.fromkeys(texts)), ordinary, known)
    return calls


def vocabulary(tools: Sequence[Tool]) -> frozenset[str]:
    """Return the words of tools, which are no names where a sentence begins with them."""
    return frozenset(one for tool in tools for one in (*stems(tool.name), *stems(tool.description)))


def _calls_of_tool(tool: Tool, texts: Sequence[str], ordinary: frozenset[str], known: Mapping[str, Any]) -> list[Call]:
    """Return one call, or one for each value where several are given for what has to be a single one."""
    text = texts[0]
    name, spread = _spread(tool, Filling(tool.schema, Source.of(text, ordinary, known)))
    if len(spread) < 2:
        return [Call(tool.name, _arguments(tool, texts, ordinary, known))]
    lead = text[: spread[0].start]
    starts = [_clause_start(text, fact, before) for fact, before in zip(spread, [None, *spread], strict=False)]
    calls = []
    for fact, start, end in zip(spread, starts, [*starts[1:], len(text)], strict=True):
        own = f"{text[start:end]} , {lead}"
        calls.append(Call(tool.name, _arguments(tool, [own, *texts], ordinary, known, {name: fact.text})))
    return calls[:_MOST_CALLS]


def _spread(tool: Tool, filling: Filling) -> tuple[str, list[Fact]]:
    """Return the required text property for which a text has several values, and these.

    Where another required property takes facts of the same kind, as the two ends of a journey do, there is none.
    """
    properties = tool.schema.get("properties", {})
    found: list[tuple[str, list[Fact]]] = []
    for name in (name for name in tool.schema.get("required", ()) if name in properties):
        schema = resolve(properties[name], tool.schema)
        if any(kind_of(one) == "string" for one in branches(schema, tool.schema)):
            facts = filling.mentioned(schema) or filling.candidates(schema, name, needed=True)
            found.append(
                (name, [fact for at, fact in enumerate(facts) if fact.text not in [one.text for one in facts[:at]]])
            )
    alone = [
        (name, facts)
        for name, facts in found
        if not any(
            name != other and {one.kind for one in facts} & {one.kind for one in others} for other, others in found
        )
    ]
    return max(alone, key=lambda one: len(one[1]), default=("", []))


def _clause_start(text: str, fact: Fact, before: Fact | None) -> int:
    """Return where the clause of a fact begins: after the comma or `and` that parts it from the one before."""
    if before is None:
        return 0
    between = [match.end() for match in re.finditer(r",|;|\band\b", text[before.end : fact.start])]
    return before.end + (between[0] if between else 0)


def _arguments(
    tool: Tool,
    texts: Sequence[str],
    ordinary: frozenset[str],
    known: Mapping[str, Any],
    fixed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the arguments of a call, from the first of some texts that has them."""
    filling: Filling | None = None
    for text in reversed(texts):
        filling = Filling(tool.schema, attrs.evolve(Source.of(text, ordinary, known), fixed=fixed or {}), filling)
    value = filling.complete({"type": "object", **tool.schema}) if filling else {}
    return value if isinstance(value, dict) else {}
