"""What `demo/storyteller` says: a small model that needs no key, for first tries, examples and tests.

It answers `POST .../chat/completions`, streamed or whole, and `GET .../models`, in OpenAI's formats, and
always with the same story. Nothing is kept between requests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.openai_events import DONE, chunk_event, split_tokens
from streamkit.testing.openai_replies import error_reply, json_reply, whole_body
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request
from streamkit.testing.steps import Paced, Wait

MODEL = "storyteller"

STORY = """\
At the end of a long grey pier stood a lighthouse, and in the lighthouse lived a robot no taller \
than a teapot. Its name was Pip. Every evening Pip climbed the ninety-nine steps, polished the great \
lamp with a corner of its scarf, and counted the ships as they came home.

One night the fog was so thick that the light went no further than the window. Far below, a fishing \
boat was calling, and nobody could see it. So Pip took the smallest thing it owned, a brass whistle, \
and played the only tune it knew, one note at a time. The boat heard the first note and slowed down. \
It heard the second and turned. By the last one it was safe beside the pier.

"How did you find us?" asked the captain. "I did not," said Pip. "You found me. I only kept talking \
until you were here."
"""

_OPENINGS = (
    "A story, then, for “{}”.",
    "“{}”? That reminds me of a story.",
    "Here is the story that “{}” brings to mind.",
)
_OPENING_WITHOUT_TOPIC = "Here is a story."
_TOPIC_CHARACTERS = 60
_MOST_CHOICES = 128
_LEAD_TOKENS = 2  # token times before the first token: a model reads before it talks


class _BadRequest(Exception):
    """The body cannot be answered; `param` is the field that is to blame."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@attrs.frozen(kw_only=True)
class _Order:
    """A chat completion request, checked."""

    model: str
    prompt_tokens: int
    topic: str
    choices: int
    max_tokens: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    seconds_a_token: float


@attrs.frozen
class _Choice:
    """What is said in one choice, and why it ends."""

    tokens: Sequence[str]
    finish_reason: str


def tell(request: Request, *, tokens_per_second: float = 50.0) -> Reply:
    """Return the answer of the storyteller to a request.

    Args:
        request: the fields `messages`, `model`, `stream`, `stream_options`, `max_tokens`,
            `max_completion_tokens`, `n` and `stop` of its body are honoured, and `tokens_per_second`, which
            sets the pace of this one reply.
        tokens_per_second: the pace otherwise; 0 sends all at once.
    """
    path = request.path.partition("?")[0].rstrip("/")
    if request.method == "GET" and path.endswith("/models"):
        return json_reply({"object": "list", "data": [_model_entry()]})
    if request.method != "POST" or not path.endswith("/chat/completions"):
        message = f"Unknown request URL: {request.method} {path}."
        return error_reply(404, message, code="unknown_url")
    try:
        order = _read_order(request, tokens_per_second)
    except _BadRequest as problem:
        return error_reply(400, str(problem), param=problem.param)
    return _stream(order) if order.stream else _whole(order)


def _model_entry() -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": 1763673600, "owned_by": "streamkit"}


# The request.


def _read_order(request: Request, tokens_per_second: float) -> _Order:
    try:
        body = request.json()
    except ValueError:
        raise _BadRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise _BadRequest("The body of your request is not a JSON object.")
    texts = _message_texts(body)
    most = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    options = body.get("stream_options")
    return _Order(
        model=body["model"] if isinstance(body.get("model"), str) else MODEL,
        prompt_tokens=sum(len(split_tokens(text)) for _, text in texts),
        topic=_topic(next((text for role, text in reversed(texts) if role == "user"), "")),
        choices=_read_int(body, "n", 1, _MOST_CHOICES) or 1,
        max_tokens=_read_int(body, most, 1, None),
        stop=_read_stop(body),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        seconds_a_token=_read_pace(body, tokens_per_second),
    )


def _message_texts(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the role and the text of each message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _BadRequest("'messages' is a list of at least one message.", "messages")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise _BadRequest("Each of 'messages' is an object with a role.", "messages")
    return [(message["role"], _text_of(message.get("content"))) for message in messages]


def _text_of(content: object) -> str:
    """Return the text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _read_int(body: Mapping[str, Any], name: str, least: int, most: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (most or value):
        return value
    upper = "" if most is None else f" and at most {most}"
    raise _BadRequest(f"'{name}' is an integer of at least {least}{upper}, not {value!r}.", name)


def _read_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop") or ()
    words = (stop,) if isinstance(stop, str) else stop
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise _BadRequest("'stop' is a string or a list of strings.", "stop")
    return tuple(word for word in words if word)


def _read_pace(body: Mapping[str, Any], tokens_per_second: float) -> float:
    """Return the seconds a token takes."""
    pace = body.get("tokens_per_second", tokens_per_second)
    if isinstance(pace, bool) or not isinstance(pace, (int, float)) or not pace >= 0:
        raise _BadRequest(f"'tokens_per_second' is a number of at least 0, not {pace!r}.", "tokens_per_second")
    return 1 / pace if pace else 0.0


# The story.


def _topic(prompt: str) -> str:
    """Return what a prompt is about, on one line and clipped at a word."""
    line = " ".join(prompt.split())
    _, about, rest = line.partition(" about ")
    wanted = (rest if about else line).strip(" .!?\"'")
    if len(wanted) <= _TOPIC_CHARACTERS:
        return wanted
    return (wanted[:_TOPIC_CHARACTERS].rpartition(" ")[0] or wanted[:_TOPIC_CHARACTERS]) + "…"


def _choose(order: _Order, index: int) -> _Choice:
    """Return what a choice says: each one opens the story in its own way."""
    text = f"{_opening(order.topic, index)}\n\n{STORY.strip()}"
    end = min((at for word in order.stop if (at := text.find(word)) >= 0), default=len(text))
    tokens = split_tokens(text[:end])
    if order.max_tokens is not None and len(tokens) > order.max_tokens:
        return _Choice(tokens[: order.max_tokens], "length")
    return _Choice(tokens, "stop")


def _opening(topic: str, index: int) -> str:
    if not topic:
        return _OPENING_WITHOUT_TOPIC
    return _OPENINGS[index % len(_OPENINGS)].format(topic)


def _usage(order: _Order, choices: Sequence[_Choice]) -> dict[str, int]:
    said = sum(len(choice.tokens) for choice in choices)
    return {
        "prompt_tokens": order.prompt_tokens,
        "completion_tokens": said,
        "total_tokens": order.prompt_tokens + said,
    }


# The reply.


def _stream(order: _Order) -> Reply:
    choices = [_choose(order, index) for index in range(order.choices)]
    same = _envelope(order)
    begin = [chunk_event("", role="assistant", index=index, **same) for index in range(order.choices)]
    pace = order.seconds_a_token
    spoken = Paced(_spoken(choices, same), every=pace, first=pace * _LEAD_TOKENS)
    end = [chunk_event(finish_reason=choice.finish_reason, index=index, **same) for index, choice in enumerate(choices)]
    if order.include_usage:
        end.append(chunk_event(usage=_usage(order, choices), **same))
    return Reply([*begin, spoken, *end, DONE], headers=_headers())


def _spoken(choices: Sequence[_Choice], same: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield what goes out at each token time: the next token of every choice that has one."""
    for at in range(max(len(choice.tokens) for choice in choices)):
        yield b"".join(
            chunk_event(choice.tokens[at], index=index, **same)
            for index, choice in enumerate(choices)
            if at < len(choice.tokens)
        )


def _whole(order: _Order) -> Reply:
    choices = [_choose(order, index) for index in range(order.choices)]
    messages = [{"role": "assistant", "content": "".join(choice.tokens)} for choice in choices]
    reasons = [choice.finish_reason for choice in choices]
    reply = json_reply(whole_body(messages, reasons, _usage(order, choices), **_envelope(order)))
    longest = max(len(choice.tokens) for choice in choices)
    seconds = order.seconds_a_token * (_LEAD_TOKENS + longest)
    return reply.but(before_head=[Wait(seconds)], headers=_headers())


def _envelope(order: _Order) -> dict[str, Any]:
    return {"id": f"chatcmpl-{os.urandom(12).hex()}", "created": int(time.time()), "model": order.model}


def _headers() -> dict[str, str]:
    return {"x-request-id": f"req_{os.urandom(12).hex()}"}
