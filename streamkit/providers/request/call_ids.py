"""Ids of tool calls such as a provider takes, in place of those that came from elsewhere.

A conversation may go on with another provider than it began with, and most refuse ids that could not be their own.
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

_MADE = 9  # characters of an id that is made, which all of them take


def fitting(given: Iterable[str], rule: re.Pattern[str]) -> dict[str, str]:
    """Return an id that a provider takes for each of a conversation's: itself where that is one, or one that is made.

    The same id becomes the same in the next request, as the server's cache of prompts wants it, and two never become
    one.
    """
    given = set(given)
    ids = {id: id for id in given if rule.fullmatch(id)}
    taken = set(ids)
    for id in sorted(given - ids.keys()):
        text = id
        while (made := hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_MADE]) in taken:
            text += " "
        ids[id] = made
        taken.add(made)
    return ids


def turns_with_ids(conversation: Sequence[Turn], rule: re.Pattern[str]) -> list[Turn]:
    """Return turns whose calls and results have ids that a provider takes; a call without one stays without."""
    given = [*(call.id for turn in conversation for call in turn.calls), *(turn.call_id for turn in conversation)]
    ids = fitting((id for id in given if id), rule)

    def changed(turn: Turn) -> Turn:
        calls = tuple(attrs.evolve(call, id=ids.get(call.id, "")) for call in turn.calls)
        return attrs.evolve(turn, calls=calls, call_id=ids.get(turn.call_id or ""))

    return [changed(turn) for turn in conversation]


def messages_with_ids(messages: Sequence[Mapping[str, Any]], rule: re.Pattern[str]) -> list[Mapping[str, Any]]:
    """Return messages of the OpenAI shape with such ids; what is no text stays as it is."""
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
