"""Replace ids of tool calls that a provider would refuse.

A conversation may continue with another provider than it began with. Most providers refuse ids of a foreign form.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.providers.request.turns import Turn

__all__ = [
    "ANTHROPIC_IDS",
    "BEDROCK_IDS",
    "CHAT_IDS",
    "MISTRAL_IDS",
    "RESPONSES_IDS",
    "fitting",
    "messages_with_ids",
    "turns_with_ids",
]

# Source: the errors of each API ("should match pattern", "maximum length"; Mistral's has the code 3280), and
# ToolUseId in botocore's model of bedrock-runtime, read 2026-11-21.
ANTHROPIC_IDS = re.compile(r"[a-zA-Z0-9_-]{1,64}")
BEDROCK_IDS = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
CHAT_IDS = re.compile(r".{1,40}", re.DOTALL)
MISTRAL_IDS = re.compile(r"[a-zA-Z0-9]{9}")
RESPONSES_IDS = re.compile(r".{1,64}", re.DOTALL)

_LENGTH = 9  # characters of a made id; every provider accepts this length


def fitting(given: Iterable[str], rule: re.Pattern[str]) -> dict[str, str]:
    """Map each id of a conversation to one that the provider accepts: the id itself if possible, else a made one.

    An id maps to the same replacement in every request, so that the server's prompt cache keeps working. Two ids never
    map to one.
    """
    given = set(given)
    ids = {id: id for id in given if rule.fullmatch(id)}
    taken = set(ids)
    for id in sorted(given - ids.keys()):
        text = id
        while (made := _made(text)) in taken:
            text += " "
        ids[id] = made
        taken.add(made)
    return ids


def turns_with_ids(conversation: Sequence[Turn], rule: re.Pattern[str]) -> list[Turn]:
    """Return turns whose calls and results have ids that the provider accepts; a call without an id stays as it is.

    An id that names a second call is replaced from there on, as in a conversation that two others were joined into, or
    of a server that counts from 0 in each reply. Several calls of one id in one message take its results in order.
    """
    given = [*(call.id for turn in conversation for call in turn.calls), *(turn.call_id for turn in conversation)]
    ids = fitting((id for id in given if id), rule)
    taken = {*ids, *ids.values()}
    counts: dict[str, int] = {}
    waiting: dict[str, list[str]] = {}  # what was sent for each id of the last calls, the next to be answered first

    def sent(id: str) -> str:
        counts[id] = counts.get(id, 0) + 1
        return ids[id] if counts[id] == 1 else _again(id, counts[id], taken)

    def answered(id: str) -> str:
        left = waiting.get(id)
        if not left:
            return ids[id]
        return left.pop(0) if len(left) > 1 else left[0]

    changed = []
    for turn in conversation:
        calls = tuple(attrs.evolve(call, id=sent(call.id) if call.id else "") for call in turn.calls)
        pairs = [(given.id, call.id) for given, call in zip(turn.calls, calls, strict=True)]
        waiting |= {id: [made for other, made in pairs if other == id] for id, _ in pairs}
        call_id = answered(turn.call_id) if turn.call_id else None
        changed.append(attrs.evolve(turn, calls=calls, call_id=call_id))
    return changed


def _again(id: str, count: int, taken: set[str]) -> str:
    """Return an id for the second call of one id, or the third; the same one in every request."""
    text = f"{id} {count}"
    while (made := _made(text)) in taken:
        text += " "
    taken.add(made)
    return made


def _made(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]


def messages_with_ids(messages: Sequence[Mapping[str, Any]], rule: re.Pattern[str]) -> list[Mapping[str, Any]]:
    """Return OpenAI-shaped messages with ids that the provider accepts; an id that is not a string is not changed."""
    given = [call.get("id") for message in messages for call in message.get("tool_calls") or ()]
    given += [message.get("tool_call_id") for message in messages]
    ids = fitting((id for id in given if isinstance(id, str) and id), rule)

    def changed(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
        id = holder.get(field)
        return {**holder, field: ids[id]} if isinstance(id, str) and id in ids else holder

    made = [changed(message, "tool_call_id") for message in messages]
    return [
        {**message, "tool_calls": [changed(call, "id") for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in made
    ]
