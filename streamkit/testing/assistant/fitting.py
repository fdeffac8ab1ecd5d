"""Which tools fit a prompt: words of their names and descriptions against the words of the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.assistant.schemas import Schema
from streamkit.testing.assistant.words import stem, stems, words_of

__all__ = ["Part", "Tool", "asks_for_more", "fitting", "parts_of"]

_THRESHOLD = 2.0
_NAME, _DESCRIPTION, _REST, _COMMON_IN_NAME, _COMMON = (
    3.0,
    2.0,
    1.0,
    1.0,
    0.5,
)  # what a word weighs, by where the tool has it

# Words that many tools have in their names, so that they tell little by themselves.
_COMMON_WORDS = frozenset(
    map(
        stem,
        """get find list search fetch read write make create set run do add look up check value text data name
        item""".split(),
    )
)
# A tool with one of these in its name is called only if the prompt says so.
_GRAVE_WORDS = frozenset(map(stem, "delete remove cancel refund pay drop erase buy transfer charge".split()))

# What people say without the word that tools use for it.
_HINTS: tuple[tuple[str, str], ...] = (
    (r"\d\s*[-+*/×^]\s*\(?\d", "calculate calculator arithmetic expression compute evaluate"),
    (r"\b[A-Z]{3} (?:to|in|into) [A-Z]{3}\b", "currency convert exchange"),
    (r"\b(?:rain|raining|sunny|snow|umbrella|forecast|temperature|warm|cold)\b", "weather forecast"),
    (r"\b[\w.+-]+@[\w-]+\.\w+", "email mail"),
    (r"\b[\w-]+\.(?:txt|md|py|csv|json|pdf|toml|html)\b", "file path"),
    (r"\bplus\b|\bsum\b", "add sum"),
    (r"\btimes\b|\bmultiplied\b", "multiply"),
    (r"\bcost\b|\bhow much\b", "price"),
    (r"\bo'clock\b|\bwhat time\b", "time clock"),
)
_APART = re.compile(r"\"[^\"]*\"|“[^”]*”|(,\s+(?:and\s+)?|\s+and\s+|;\s*|[.?!]\s+|\n+)")


@attrs.frozen(eq=False)
class Tool:
    """A function that may be called.

    Attributes:
        weights: of the stems in its name, its description and its parameters.
    """

    name: str
    description: str
    schema: Schema
    weights: Mapping[str, float]

    @classmethod
    def of(cls, function: Mapping[str, Any]) -> Tool:
        """Return the tool of an entry of `tools`, in OpenAI's shape."""
        schema = function.get("parameters")
        schema = schema if isinstance(schema, Mapping) else {}
        description = str(function.get("description") or "")
        return cls(function["name"], description, schema, _weights(function["name"], description, schema))

    def score(self, said: Sequence[str]) -> float:
        """Return how well the tool fits some stems of a prompt."""
        named = set(stems(self.name)) or set(words_of(self.name))
        grave = named & _GRAVE_WORDS
        if grave and not grave & set(said):
            return 0.0
        score = sum(self.weights.get(one, 0.0) for one in set(said))
        return score + (2.0 if named <= set(said) else len(named & set(said)) / len(named))


@attrs.frozen
class Part:
    """A part of a prompt, between two commas, `and`s or full stops, and the tool that it is about."""

    text: str
    start: int
    tool: Tool | None


def _weights(name: str, description: str, schema: Schema) -> dict[str, float]:
    first, _, rest = description.partition(".")
    properties = schema.get("properties", {})
    inside = [rest, *properties]
    for described in (described for described in properties.values() if isinstance(described, Mapping)):
        listed = (value for value in described.get("enum", ()) if isinstance(value, str))
        inside += [str(described.get("description") or ""), *listed]
    weights: dict[str, float] = {}
    for text, weight in ((" ".join(inside), _REST), (first, _DESCRIPTION), (name, _NAME)):
        for one in stems(text):
            weights[one] = weight if one not in _COMMON_WORDS else _COMMON_IN_NAME if weight == _NAME else _COMMON
    return weights


def _said(text: str, tools: Sequence[Tool]) -> list[str]:
    """Return the stems of a text, and those that it hints at."""
    hinted = [stem(word) for pattern, words in _HINTS if re.search(pattern, text) for word in words.split()]
    named = [
        one for tool in tools if re.search(rf"(?<!\w){re.escape(tool.name)}(?!\w)", text) for one in stems(tool.name)
    ]
    return [*stems(text), *hinted, *named]


def fitting(text: str, tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools that a text asks for, the best first.

    The best one claims the words that speak for it, so that `look up order A-17` does not also call what else has to
    do with orders.
    """
    said = _said(text, tools)
    found: list[Tool] = []
    while said:
        left = [tool for tool in tools if tool not in found]
        scored = [(tool.score(said), -at, tool) for at, tool in enumerate(left)]
        score, _, best = max(scored, key=lambda one: one[:2], default=(0.0, 0, None))
        if best is None or score < _THRESHOLD:
            break
        found.append(best)
        said = [one for one in said if one not in best.weights]
    return found


def parts_of(text: str, tools: Sequence[Tool]) -> list[Part]:
    """Return the parts of a text, each with the tool that it is about: if none, that of the part before."""
    edges = [match.span(1) for match in _APART.finditer(text) if match.group(1)]
    starts, ends = [0, *(end for _, end in edges)], [*(start for start, _ in edges), len(text)]
    parts: list[Part] = []
    owner = None
    for start, end in zip(starts, ends, strict=True):
        said = _said(text[start:end], tools)
        best = max(tools, key=lambda tool: tool.score(said), default=None)
        if best is not None and best.score(said) >= _REST:
            owner = best
        parts.append(Part(text[start:end], start, owner))
    first = next((part.tool for part in parts if part.tool), None)
    return [attrs.evolve(part, tool=part.tool or first) for part in parts]


def asks_for_more(text: str) -> bool:
    """Return whether a text goes on with what was asked before: `And in Bergen?`."""
    words = words_of(text)
    return bool(words) and (
        words[0] in ("and", "also", "in", "for", "from") or words[:2] in (["what", "about"], ["how", "about"])
    )
