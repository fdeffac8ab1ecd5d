"""Plain server-sent events, as an ``EventSource`` of a few lines reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import Format, ShowErrors
from streamkit.web.formats.growing_calls import output_of
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.requests.prompt_request import read_prompt_request
from streamkit.web.formats.requests.request import Limits, WebRequest

__all__ = ["EventsFormat"]


class EventsFormat(Format):
    """``data: {"content": ...}`` for each piece of text; named events for all else, which ``onmessage`` does not get.

    They are ``reasoning``, ``refusal``, ``tool_call``, ``tool_approval``, ``tool_result``, and at the end ``done`` or
    ``error``. The page has to close its ``EventSource`` at both: a browser connects again when a response ends. The
    browser's own errors of the connection have the same name, and no ``data``.

    Each event has the number of its chunk as its id, so that ``Last-Event-ID`` says which chunk was the last.

    Args:
        after: the number of the last chunk that the client has.
        reply: the id of the reply, where the client is to send that back as well. Then the ids are
            ``<reply>.<number>``, the first one comes before the first chunk, and the last one is ``<reply>.end``.
        reasoning: whether the model's reasoning is sent.
        show_errors: see ``Format``.
    """

    def __init__(
        self, *, after: int = 0, reply: str = "", reasoning: bool = True, show_errors: ShowErrors = False
    ) -> None:
        super().__init__(show_errors=show_errors)
        self._number = after
        self._reply = f"{reply}." if reply else ""
        self._reasoning = reasoning
        self._done: dict[str, Any] = {}

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return nothing, as the first event is the first piece of the reply; or an id without an event."""
        return b"%b\n" % self._id(str(self._number)) if self._reply else b""

    def encode(self, chunk: Chunk) -> bytes:
        """Return the event for a chunk."""
        self._number += 1
        if chunk.index:
            return b""
        if chunk.text:
            return b'%bdata: {"content":%b}\n\n' % (self._id(str(self._number)), text_bytes(chunk.text))
        if chunk.reasoning:
            return self._event("reasoning", {"content": chunk.reasoning}) if self._reasoning else b""
        if chunk.refusal:
            return self._event("refusal", {"content": chunk.refusal})
        delta, result = chunk.tool_call, chunk.tool_result
        if delta is not None:
            call = {"index": delta.index, "id": delta.id, "name": delta.name, "arguments": delta.arguments}
            return self._event(chunk.type, {**call, "round": chunk.round})
        if result is not None:
            shape = {"id": result.call_id, "name": result.name, "result": output_of(result), "error": result.error}
            return self._event("tool_result", {**shape, "preliminary": result.preliminary, "round": chunk.round})
        if chunk.finished:
            self._done = {"finish_reason": chunk.finish_reason}
        return b""

    def encode_earlier(self, chunk: Chunk) -> bytes:
        """Return the event for a chunk from before the stream, which does not count: a client cannot go on at it."""
        self._number -= 1
        return self.encode(chunk)

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return ``done``, also for a reply that was cancelled or waits, or ``error``."""
        if status not in ("complete", "suspended", "cancelled"):
            return self._event("error", {"message": self.told(error)}, last=True)
        reached = None if completion is None else completion.finish_reason  # a client that has all gets no more chunks
        done = {"status": status, "finish_reason": "cancelled" if status == "cancelled" else reached, **self._done}
        if completion is not None:
            usage = completion.usage.to_dict()
            del usage["cached_apart"], usage["cost"]
            done["usage"] = {name: value for name, value in usage.items() if value is not None}
        if time_to_first_token is not None:
            done["time_to_first_token"] = round(time_to_first_token, 3)
        if reason:
            done["reason"] = reason
        return self._event("done", done, last=True)

    def _id(self, number: str) -> bytes:
        return f"id: {self._reply}{number}\n".encode()

    def _event(self, name: str, data: Mapping[str, Any], *, last: bool = False) -> bytes:
        # No id without a number: an empty one would make the browser forget the last.
        id = self._id("end" if last and self._reply else str(self._number)) if self._number or self._reply else b""
        return b"%bevent: %b\ndata: %b\n\n" % (id, name.encode(), json_bytes(data))

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = False
    ) -> WebRequest:
        """Read the query of a GET, ``?prompt=...&id=...``; see ``Format``."""
        return read_prompt_request(body, limits or Limits())
