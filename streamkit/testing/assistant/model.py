"""What `demo/assistant` says: a small model that calls tools and fills schemas, by rules and without a key.

It calls the tools whose names or descriptions fit the prompt, answers from their results, and writes JSON where a
schema is asked for. The same request always gets the same answer, but for the ids and what follows from today's date.
Nothing is kept between requests: what is still to be called follows from the messages.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamkit.testing.assistant.facts import facts_of
from streamkit.testing.assistant.filling import Filling, Source
from streamkit.testing.assistant.planning import Call, calls_of, steps_of
from streamkit.testing.assistant.repairing import repaired
from streamkit.testing.assistant.results import Outcome, known_values, sentence
from streamkit.testing.assistant.turn import Turn, read_turn
from streamkit.testing.assistant.words import stems
from streamkit.testing.chat_order import Order
from streamkit.testing.chat_reply import Choice, cut
from streamkit.testing.openai_events import split_tokens

__all__ = ["MODEL", "assist"]

MODEL = "assistant"

_WITHOUT_TOOLS = (
    "I am demo/assistant, a small model that runs inside your own program and follows plain rules. "
    "Give me tools, and I call those that fit your words, with arguments made from them. "
    "Give me a JSON schema as the response format, and I fill it from your text. "
    "I know nothing about the world, so your tools have to."
)
_NONE_FITS = "None of my tools fits that. I can use {}."
_BEFORE_CALLS = ("Let me look that up.", "Now the next step.", "Let me try that again.")
_CORRECTION = re.compile(
    r"\b(?:invalid|not valid|does not fit|do not fit|did not fit|mistakes?|try again)\b", re.IGNORECASE
)
_PIECES = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+$")


def assist(order: Order) -> list[Choice]:
    """Return what the assistant does: calls, JSON, or text; the same in each choice.

    Raises:
        BadRequest: tools, tool_choice or response_format are not as OpenAI's API has them.
    """
    turn = read_turn(order)
    text, calls = _next_calls(turn)
    if calls:
        return [cut([*_spoken(text), *_called(calls)], "tool_calls", order) for _ in range(order.choices)]
    if turn.output is not None:
        pieces = _PIECES.findall(_json(turn, turn.output))
        return [cut([{"content": piece} for piece in pieces], "stop", order) for _ in range(order.choices)]
    return [cut([*_spoken(_answer(turn))], "stop", order) for _ in range(order.choices)]


def _spoken(text: str) -> Iterator[Mapping[str, Any]]:
    yield from ({"content": token} for token in split_tokens(text))


def _called(calls: Sequence[Call]) -> Iterator[Mapping[str, Any]]:
    """Yield the deltas of some calls, one call after another, the arguments in pieces."""
    for index, call in enumerate(calls):
        function = {"name": call.name, "arguments": ""}
        id = f"call_{os.urandom(12).hex()}"
        yield {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}
        for piece in _PIECES.findall(json.dumps(call.arguments, ensure_ascii=False)):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


# Calls.


def _next_calls(turn: Turn) -> tuple[str, list[Call]]:
    """Return the calls to make now, none if all are made, and what to say before them."""
    if turn.choice == "none" or not turn.tools:
        return "", []
    if turn.outcomes and turn.outcomes[-1].status == "invalid":
        again = _again(turn)
        if again:
            return _BEFORE_CALLS[2], again
    if any(outcome.status != "ok" for outcome in turn.outcomes):
        return "", []  # no next step after one that went wrong
    planned = _planned(turn)
    calls = planned if turn.together else planned[:1]
    spoken = turn.choice == "auto"
    return (_BEFORE_CALLS[bool(turn.outcomes)] if spoken else ""), calls


def _planned(turn: Turn) -> list[Call]:
    """Return the calls of the first step that has some to make."""
    if turn.forced is not None:
        return [] if turn.outcomes else calls_of(turn.prompt, [turn.forced], turn.prompt, {})
    made = list(turn.outcomes)
    earlier: list[Outcome] = []  # of the steps before
    for text, tools in steps_of(turn.prompt, turn.tools, turn.last):
        left, here = [], []
        for call in calls_of(text, tools, turn.prompt, known_values(earlier)):
            # By name: a person may have changed the arguments.
            outcome = next((outcome for outcome in made if outcome.name == call.name), None)
            if outcome is None:
                left.append(call)
            else:
                made.remove(outcome)
                here.append(outcome)
        if left:
            return left
        earlier += here
    if turn.choice == "required" and not turn.outcomes:
        best = max(turn.tools, key=lambda tool: tool.score(stems(turn.prompt)))
        return calls_of(turn.prompt, [best], turn.prompt, {})
    return []


def _again(turn: Turn) -> list[Call]:
    """Return the calls whose arguments were wrong, with other ones: once, and only if there are others."""
    calls = []
    for outcome in (outcome for outcome in turn.outcomes if outcome.status == "invalid"):
        tool = turn.named(outcome.name)
        refused = [other for other in turn.outcomes if other.name == outcome.name and other.status == "invalid"]
        arguments = repaired(tool.schema, outcome) if tool is not None and len(refused) == 1 else None
        if arguments is not None:
            calls.append(Call(outcome.name, arguments))
    return calls


# Answers.


def _answer(turn: Turn) -> str:
    if turn.outcomes:
        return "\n".join(sentence(outcome) for outcome in _told(turn.outcomes))
    if turn.tools and turn.choice != "none":
        names = [tool.name for tool in turn.tools]
        return _NONE_FITS.format(" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])))
    return _WITHOUT_TOOLS


def _told(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes to tell of: not those that a second try has put right."""
    worked = {outcome.name for outcome in outcomes if outcome.status == "ok"}
    return [outcome for outcome in outcomes if outcome.status != "invalid" or outcome.name not in worked]


def _json(turn: Turn, schema: Mapping[str, Any]) -> str:
    """Return JSON that fits a schema, from the prompt and the results; a mere correction means the prompt before."""
    texts = [turn.prompt, *turn.earlier]
    prompt = next((text for text in texts if not _CORRECTION.search(text)), turn.prompt)
    results = [outcome.text for outcome in turn.outcomes if outcome.status == "ok" and outcome.text[:1] not in "{["]
    text = "\n".join([prompt, *results])
    ordinary = frozenset(one for name in _property_names(schema) for one in stems(name)) | frozenset(
        stems(_title(schema))
    )
    source = Source.of(text, ordinary, known_values(turn.outcomes))
    if set(schema) == {"type"}:
        return json.dumps(_any_object(text), ensure_ascii=False)
    filling = Filling(schema, source)
    value = filling.complete(schema)
    return json.dumps(value, ensure_ascii=False)


def _property_names(schema: Any) -> Iterator[str]:
    """Yield the names of properties anywhere in a schema."""
    for value in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from _property_names(value)
    if isinstance(schema, Mapping) and isinstance(schema.get("properties"), Mapping):
        yield from schema["properties"]


def _title(schema: Mapping[str, Any]) -> str:
    return f"{schema.get('title', '')} {schema.get('description', '')}"


def _any_object(text: str) -> dict[str, Any]:
    """Return the facts of a text by kind, for JSON without a schema."""
    found: dict[str, Any] = {"text": text}
    for fact in facts_of(text):
        found.setdefault(f"{fact.kind}s", []).append(fact.value)
    return found
