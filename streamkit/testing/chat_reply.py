"""Answer a chat completion request as one of the demo models, streamed or whole, at a pace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.chat_order import BadRequest, Order, read_order
from streamkit.testing.openai_events import DONE, chunk_event
from streamkit.testing.openai_replies import error_reply, json_reply, whole_body
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request
from streamkit.testing.steps import Paced, Wait

_LEAD_TOKENS = 2  # token times before the first token: a model reads before it talks


@attrs.frozen
class Choice:
    """One choice of a reply, and why it ends.

    Attributes:
        deltas: a delta of OpenAI's format a token time: `content`, or one piece of one of the `tool_calls`.
        finish_reason: "stop", "length" or "tool_calls".
    """

    deltas: Sequence[Mapping[str, Any]]
    finish_reason: str


Model = Callable[[Order], Sequence[Choice]]
"""A demo model: it returns as many choices as the order wants."""


def serve(request: Request, models: Mapping[str, Model], *, tokens_per_second: float) -> Reply:
    """Return the reply of the model that a request names.

    Args:
        request: `POST .../chat/completions` or `GET .../models`; anything else is a 404.
        models: by name; a name that is not here means the first.
        tokens_per_second: the pace, where the request has none; 0 sends all at once.
    """
    path = request.path.partition("?")[0].rstrip("/")
    if request.method == "GET" and path.endswith("/models"):
        return json_reply({"object": "list", "data": [_model_entry(name) for name in models]})
    if request.method != "POST" or not path.endswith("/chat/completions"):
        message = f"Unknown request URL: {request.method} {path}."
        return error_reply(404, message, code="unknown_url")
    first = next(iter(models))
    try:
        order = read_order(request, model=first, tokens_per_second=tokens_per_second)
        choices = models.get(order.model, models[first])(order)
    except BadRequest as problem:
        return error_reply(400, str(problem), param=problem.param)
    return _stream(order, choices) if order.stream else _whole(order, choices)


def text_choice(order: Order, tokens: Sequence[str]) -> Choice:
    """Return a choice of text, cut where the order's stop sequences or its limit of tokens say."""
    return cut([{"content": token} for token in tokens], "stop", order)


def cut(deltas: Sequence[Mapping[str, Any]], finish_reason: str, order: Order) -> Choice:
    """Return a choice that ends where the order's stop sequences or its limit of tokens say, or else as planned.

    Stop sequences are looked for in the text only, and what comes after one is left out, calls included.
    """
    text = "".join(delta.get("content", "") for delta in deltas)
    end = min((at for word in order.stop if (at := text.find(word)) >= 0), default=None)
    kept = deltas if end is None else [{"content": token} for token in _clip(deltas, end)]
    if order.max_tokens is not None and len(kept) > order.max_tokens:
        return Choice(kept[: order.max_tokens], "length")
    return Choice(kept, finish_reason if end is None else "stop")


def _clip(deltas: Sequence[Mapping[str, Any]], end: int) -> Iterator[str]:
    """Yield the tokens of text up to a place in it."""
    for token in (delta.get("content", "") for delta in deltas):
        if end <= 0:
            return
        yield token[:end]
        end -= len(token)


def _model_entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1763673600, "owned_by": "streamkit"}


def _usage(order: Order, choices: Sequence[Choice]) -> dict[str, int]:
    said = sum(len(choice.deltas) for choice in choices)
    return {
        "prompt_tokens": order.prompt_tokens,
        "completion_tokens": said,
        "total_tokens": order.prompt_tokens + said,
    }


def _stream(order: Order, choices: Sequence[Choice]) -> Reply:
    same = _envelope(order)
    begin = [chunk_event("", role="assistant", index=index, **same) for index in range(len(choices))]
    pace = order.seconds_a_token
    spoken = Paced(_spoken(choices, same), every=pace, first=pace * _LEAD_TOKENS)
    end = [chunk_event(finish_reason=choice.finish_reason, index=index, **same) for index, choice in enumerate(choices)]
    if order.include_usage:
        end.append(chunk_event(usage=_usage(order, choices), **same))
    return Reply([*begin, spoken, *end, DONE], headers=_headers())


def _spoken(choices: Sequence[Choice], same: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what goes out at each token time: the next delta of every choice that has one."""
    for at in range(max(len(choice.deltas) for choice in choices)):
        yield b"".join(
            chunk_event(**choice.deltas[at], index=index, **same)
            for index, choice in enumerate(choices)
            if at < len(choice.deltas)
        )


def _whole(order: Order, choices: Sequence[Choice]) -> Reply:
    messages = [_message(choice) for choice in choices]
    reasons = [choice.finish_reason for choice in choices]
    reply = json_reply(whole_body(messages, reasons, _usage(order, choices), **_envelope(order)))
    longest = max(len(choice.deltas) for choice in choices)
    seconds = order.seconds_a_token * (_LEAD_TOKENS + longest)
    return reply.but(before_head=[Wait(seconds)], headers=_headers())


def _message(choice: Choice) -> dict[str, Any]:
    """Return the message that the deltas of a choice add up to."""
    text = "".join(delta.get("content", "") for delta in choice.deltas)
    calls: dict[int, dict[str, Any]] = {}
    for piece in (piece for delta in choice.deltas for piece in delta.get("tool_calls", ())):
        if "id" in piece:
            calls[piece["index"]] = {"id": piece["id"], "type": "function", "function": dict(piece["function"])}
        else:
            calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    return {**message, "tool_calls": list(calls.values())} if calls else message


def _envelope(order: Order) -> dict[str, Any]:
    return {"id": f"chatcmpl-{os.urandom(12).hex()}", "created": int(time.time()), "model": order.model}


def _headers() -> dict[str, str]:
    return {"x-request-id": f"req_{os.urandom(12).hex()}"}
