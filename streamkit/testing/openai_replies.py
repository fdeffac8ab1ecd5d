"""Ready-made replies in OpenAI's chat completions format: the good ones, and those that go wrong.

Each function returns a `Reply`, a value that `but`, `first` and `then` change further:

    text_reply("Hello world").but(framing="close", encoding="gzip")
    text_reply("Hello world").first(2).then(Reset())
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from streamkit.testing.encoding import Encoding, Framing
from streamkit.testing.openai_events import (
    COMPLETION_ID,
    CREATED,
    DONE,
    MODEL,
    USAGE,
    chunk_event,
    error_body,
    split_tokens,
    sse_event,
    to_json,
)
from streamkit.testing.reply import Reply
from streamkit.testing.steps import Cut, Repeat, Reset, Send, Step, Wait

# Streams.


def text_reply(
    text: str,
    *,
    pieces: Sequence[str] | None = None,
    finish_reason: str | None = "stop",
    usage: bool | Mapping[str, Any] = True,
    done: bool = True,
    model: str = MODEL,
    pause: float = 0.0,
) -> Reply:
    """Return a stream of text: a role chunk, the pieces, the finish chunk, the usage chunk, [DONE].

    Each event is one Send, and so one write.

    Args:
        text: the answer.
        pieces: the text as the chunks have it; None splits it into words.
        finish_reason: None leaves the finish chunk out.
        usage: True for `USAGE`, False for no usage chunk, or the usage itself.
        done: False leaves [DONE] out.
        model: the name that the chunks repeat.
        pause: seconds between two events.
    """
    events = [chunk_event("", role="assistant", model=model)]
    events += [chunk_event(piece, model=model) for piece in (split_tokens(text) if pieces is None else pieces)]
    return _stream([*events, *_ending(finish_reason, usage, done, model)], pause)


def tool_call_reply(
    name: str,
    arguments: str | Mapping[str, Any],
    *also: tuple[str, str | Mapping[str, Any]],
    text: str = "",
    id: str = "call_1",
    fragment: int = 8,
    finish_reason: str | None = "tool_calls",
    usage: bool | Mapping[str, Any] = True,
    done: bool = True,
    model: str = MODEL,
    pause: float = 0.0,
) -> Reply:
    """Return a stream that calls tools, the arguments in fragments.

    Args:
        name, arguments: the first call; a mapping becomes JSON, a string goes as it is, well-formed or not.
        also: further calls, (name, arguments) each, with ids "call_2" and so on.
        text: what the model says first.
        id: the id of the first call.
        fragment: characters of the arguments in a chunk.
        finish_reason, usage, done, model, pause: as for `text_reply`.
    """
    events = [chunk_event("" if text else None, role="assistant", model=model)]
    events += [chunk_event(piece, model=model) for piece in split_tokens(text)]
    for index, (called, given) in enumerate([(name, arguments), *also]):
        call_id = f"call_{index + 1}" if index else id
        raw = given if isinstance(given, str) else to_json(given)
        for delta in _tool_deltas(index, call_id, called, raw, fragment):
            events.append(chunk_event(model=model, tool_calls=[delta]))
    return _stream([*events, *_ending(finish_reason, usage, done, model)], pause)


def error_in_stream_reply(
    message: str = "The server had an error while processing your request",
    *,
    type: str | None = "server_error",
    code: str | int | None = None,
    after: str = "",
    event: str | None = None,
    body: object | None = None,
    done: bool = False,
) -> Reply:
    """Return a 200 with an error inside.

    Args:
        message, type, code: what OpenAI's error object says.
        after: text that comes before the error; with "" the error comes first.
        event: the name of the event, which some servers make "error".
        body: the whole data of the event instead, for the error shapes of other servers.
        done: True sends [DONE] after it, as some servers do.
    """
    error = error_body(message, type=type, code=code) if body is None else body
    begin = [chunk_event("", role="assistant")] if after else []
    begin += [chunk_event(piece) for piece in split_tokens(after)]
    return _stream([*begin, sse_event(error, event=event), *([DONE] if done else [])], 0.0)


def recording_reply(
    body: bytes,
    cuts: Iterable[int] = (),
    *,
    ends: Literal["finish", "cut", "reset"] = "finish",
    framing: Framing = "chunked",
    content_type: str = "text/event-stream",
    status: int = 200,
    pause: float = 0.0,
) -> Reply:
    """Return recorded bytes, cut at these offsets into writes of their own.

    Args:
        body: the recording.
        cuts: offsets in bytes, in any order; those outside the recording are left out.
        ends: "finish" the framing, or "cut" or "reset" the connection after the last byte.
        framing, content_type, status: as for `Reply`.
        pause: seconds between two writes. Without it a client that is slow may read several in one go.
    """
    edges = sorted({0, len(body), *(cut for cut in cuts if 0 < cut < len(body))})
    pieces = [body[start:end] for start, end in pairwise(edges)]
    last: dict[str, list[Step]] = {"finish": [], "cut": [Cut()], "reset": [Reset()]}
    steps = [*_pausing(pieces, pause), *last[ends]]
    # A length is that of the whole recording, whatever comes of it.
    length = len(body) if framing == "length" and ends != "finish" else None
    return Reply(steps, status=status, content_type=content_type, framing=framing, content_length=length)


def huge_event_reply(
    size: int, *, encoding: Encoding | None = None, framing: Framing = "chunked", filler: bytes = b"x"
) -> Reply:
    """Return one event with a text of `size` bytes, a multiple of 64 KiB, that is never built in memory.

    With encoding="gzip" it is a bomb: about a thousandth of its size on the wire.
    """
    block = filler * (65536 // len(filler))
    event = chunk_event("@")
    before, _, after = event.partition(b"@")
    steps = [Send(before), Repeat(block, max(1, size // len(block))), Send(after), Send(DONE)]
    return Reply(steps, encoding=encoding, framing=framing)


# Replies in one piece.


def json_reply(body: object, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON body with its Content-Length."""
    steps = [Send(to_json(body))]
    return Reply(steps, status=status, content_type="application/json", framing="length", headers=headers or {})


def whole_reply(
    text: str,
    *,
    finish_reason: str = "stop",
    usage: Mapping[str, Any] | None = USAGE,
    model: str = MODEL,
    id: str = COMPLETION_ID,
    created: int = CREATED,
    **message: Any,
) -> Reply:
    """Return a `chat.completion` that was not streamed; `message` adds keys to its message."""
    said = {"role": "assistant", "content": text, **message}
    return json_reply(whole_body([said], [finish_reason], usage, model=model, id=id, created=created))


def whole_body(
    messages: Sequence[Mapping[str, Any]],
    finish_reasons: Sequence[str],
    usage: Mapping[str, Any] | None,
    *,
    model: str,
    id: str,
    created: int,
) -> dict[str, Any]:
    """Return the body of a `chat.completion`, a choice for each message."""
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": reason}
        for index, (message, reason) in enumerate(zip(messages, finish_reasons, strict=True))
    ]
    return {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage,
    }


def error_reply(
    status: int,
    message: str = "This is the error that the script asked for.",
    *,
    type: str | None = None,
    code: str | int | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Return an HTTP error with OpenAI's error body; type None is the usual one of the status."""
    kind = type or ("server_error" if status >= 500 else "invalid_request_error")
    return json_reply(error_body(message, type=kind, code=code, param=param), status, headers=headers)


def html_reply(status: int = 200, text: str = "<!doctype html><title>Hello</title><p>No API here.") -> Reply:
    """Return a page of HTML, as a proxy or a wrong address would."""
    return Reply([text], status=status, content_type="text/html; charset=utf-8", framing="length")


def redirect_reply(location: str, status: int = 307) -> Reply:
    """Return a redirect to another place."""
    headers = {"Location": location}
    return Reply(status=status, content_type=None, framing="length", headers=headers)


def _tool_deltas(index: int, call_id: str, name: str, arguments: str, fragment: int) -> Iterator[dict[str, Any]]:
    function = {"name": name, "arguments": ""}
    yield {"index": index, "id": call_id, "type": "function", "function": function}
    for at in range(0, len(arguments), fragment):
        yield {"index": index, "function": {"arguments": arguments[at : at + fragment]}}


def _ending(finish_reason: str | None, usage: bool | Mapping[str, Any], done: bool, model: str) -> Iterator[bytes]:
    if finish_reason is not None:
        yield chunk_event(finish_reason=finish_reason, model=model)
    if usage is not False:
        yield chunk_event(usage=USAGE if usage is True else usage, model=model)
    if done:
        yield DONE


def _stream(events: Sequence[bytes], pause: float) -> Reply:
    return Reply(_pausing(events, pause))


def _pausing(pieces: Sequence[bytes], pause: float) -> list[Step]:
    """Return a Send for each piece, with a Wait before each but the first where there is a pause."""
    steps: list[Step] = []
    for piece in pieces:
        if steps and pause:
            steps.append(Wait(pause))
        steps.append(Send(piece))
    return steps
