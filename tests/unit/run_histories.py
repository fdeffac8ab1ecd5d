"""Whether every provider takes the history that a run has left, by the rules of ``tests/tool_cases``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from typing import Any

from streamkit import Message
from tests.tool_cases import rules

USER = {"role": "user", "content": "Go on"}


def refused_by(messages: Iterable[Message], before: Sequence[dict[str, Any]] = (USER,)) -> dict[str, Any]:
    """Return the families that refuse a run's messages before another one of the user's, with the broken rules.

    Args:
        messages: of the run.
        before: the history that the run was started with.
    """
    own = [message.to_dict() for message in messages]
    found = {}
    for family in rules.FAMILIES:
        history = bridged(family, [*before, *own, USER])
        if rules.accepts(family, history) is not True:
            found[family] = rules.judge(family, history)
    return found


def bridged(family: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a copy with what adapters change on what they send: it would be untrue in the history.

    Arguments that are no object become an empty one; Mistral and Bedrock's stricter models, which refuse a user's
    message right after a tool's, get an assistant's in between. A reply of nothing is not sent.
    """
    sent: list[dict[str, Any]] = []
    for message in copy.deepcopy(messages):
        if message["role"] == "assistant" and not message.get("tool_calls") and not message["content"].strip():
            continue
        for call in message.get("tool_calls", ()):
            if not _is_object(call["function"]["arguments"]):
                call["function"]["arguments"] = "{}"
        if family in ("mistral", "bedrock") and message["role"] == "user" and sent and sent[-1]["role"] == "tool":
            sent.append({"role": "assistant", "content": "I see."})
        sent.append(message)
    return sent


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=lambda word: None), dict)
    except (ValueError, RecursionError):
        return False
