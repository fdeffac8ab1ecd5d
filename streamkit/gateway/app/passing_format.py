"""Write the events of a reply as they came, where the client speaks the provider's format: ``PassingFormat``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.errors import RequestError
from streamkit.providers.reply.passing import PassedEvent
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import Format, Refusal
from streamkit.web.formats.json_bytes import json_bytes
from streamkit.wire.json import parse_json

__all__ = ["PassingFormat", "ended"]


class PassingFormat(Format):
    """A format that writes passed events as they came, and any other chunk as the format inside does.

    Which of both a reply is shows with its first chunk: one provider answers one stream.

    Args:
        inner: the client's format.
        usage: whether usage is passed on, also where the client did not ask for it. It was asked for by us, for the
            ledger, and OpenAI's clients expect none they did not ask for.
        terminator: what a client waits for behind a whole reply, where the provider has left it out.
    """

    def __init__(self, inner: Format, *, usage: bool, terminator: bytes = b"") -> None:
        super().__init__()
        self._terminator = terminator
        self._inner = inner
        self._usage = usage
        self._begin: tuple[str, dict[str, Any]] = ("", {})
        self._begun = False  # whether ``begin`` of the format inside was called
        self._passes = False
        self._last = b""  # the event that ends the reply, held until the reply is paid for

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Of the response."""
        return self._inner.headers

    @property
    def tells_errors(self) -> bool:  # type: ignore[override]
        """Whether ``end`` can tell the client of an error."""
        return self._inner.tells_errors

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return nothing: passed events have a beginning of their own, and the first chunk shows which they are."""
        self._begin = (id, {"model": model, "created": created, "metadata": metadata, "calls": calls})
        return b""

    def _begun_bytes(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        id, named = self._begin
        return self._inner.begin(id, **named)

    def encode(self, chunk: Chunk) -> bytes:
        """Return the bytes for the next chunk."""
        event = chunk.raw
        if event.__class__ is PassedEvent:
            if event.last:
                self._last = _written(event.event, event.data)
                return b""
            self._passes = True
            if not self._usage and event.decoded:
                data = _without_usage(event.data)
                return _written(event.event, data) if data else b""
            return _written(event.event, event.data)
        if self._passes:  # what the library has read in an event that has passed
            return b""
        return self._begun_bytes() + self._inner.encode(chunk)

    def heartbeat(self) -> bytes:
        """Return bytes that say nothing."""
        return self._inner.heartbeat()

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the last bytes."""
        if status == "cancelled":  # not by the client, or it would not read this
            status, error = "error", ended()
        if self._passes and status == "complete":
            return self._last or self._terminator
        first = self._begun_bytes()
        last = self._inner.end(status, error, completion, time_to_first_token=time_to_first_token, reason=reason)
        return last if self._passes else first + last

    def refusal(self, error: BaseException) -> Refusal:
        """Return the response for an error that came before the first chunk."""
        return self._inner.refusal(error)


def ended() -> RequestError:
    """Return what a client is told whose reply the gateway has cancelled."""
    return RequestError("the gateway ends, and the reply with it; ask again", status=503, code="gateway_ends")


def _written(event: str, data: str) -> bytes:
    if "\n" in data:
        data = data.replace("\n", "\ndata: ")
    text = data.encode("utf-8", "replace")
    if event and event != "message":
        return b"event: %b\ndata: %b\n\n" % (event.encode("utf-8", "replace"), text)
    return b"data: %b\n\n" % text


def _without_usage(data: str) -> str:
    """Return an event without the usage in it, "" where it has nothing else."""
    try:
        shape = parse_json(data)
    except ValueError:
        return data
    if not isinstance(shape, dict) or not shape.get("usage"):
        return data
    if not shape.get("choices"):
        return ""
    del shape["usage"]
    return json_bytes(shape).decode()
