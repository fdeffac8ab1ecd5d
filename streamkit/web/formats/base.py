"""What every format does: ``Format``, which turns the chunks of one stream into the bytes of one response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import attrs

from streamkit.errors import (
    ConfigError,
    LogError,
    MisuseError,
    OverloadedError,
    RateLimitError,
    RequestError,
    StoreConflictError,
    StoreError,
    StreamError,
    StreamTimeout,
    ValidationError,
)
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.requests.request import Limits, WebRequest

__all__ = ["MASKED", "SSE_HEADERS", "Format", "Refusal", "ShowErrors"]

#: What a client is told of an error, unless it is asked to be shown. The AI SDK has the same words.
MASKED = "An error occurred."

#: Whether the text of an error is sent to the client; or a function that returns what is sent.
ShowErrors = bool | Callable[[BaseException], str]

_UNBUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}
SSE_HEADERS: Mapping[str, str] = {"content-type": "text/event-stream", **_UNBUFFERED}
#: A browser that guesses the type of text holds the first kilobyte back; and it must not take the text for HTML.
TEXT_HEADERS: Mapping[str, str] = {
    "content-type": "text/plain; charset=utf-8",
    **_UNBUFFERED,
    "x-content-type-options": "nosniff",
}


@attrs.frozen
class Refusal:
    """A whole response for a request of which no stream came.

    Attributes:
        status: the HTTP status.
        headers: its headers, in lower case.
        body: the error as the format's clients read it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Format(ABC):
    """The encoder of one stream: ``begin`` once, ``encode`` for each chunk, ``end`` once, ``heartbeat`` in between.

    Each returns bytes to be sent at once, often ``b""``. It does no I/O, and knows no clock: ids and times are given.

    Args:
        show_errors: whether the client is told what went wrong, or a function that returns what it is told; by default
            it is only told that something did. Errors of tools are the model's to read, and are not hidden.

    Attributes:
        headers: of the response, in lower case, without those that belong to a connection.
        tells_errors: whether ``end`` can tell the client of an error. Where it cannot, the server has to cut the
            connection, or the client takes half a reply for a whole one.

    Threads: one at a time.
    """

    headers: ClassVar[Mapping[str, str]] = SSE_HEADERS
    tells_errors: ClassVar[bool] = True

    def __init__(self, *, show_errors: ShowErrors = False) -> None:
        self._show_errors = show_errors

    @abstractmethod
    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return the first bytes.

        Args:
            id: of the message that the client makes of the stream. A reply that goes on where a message of the client's
                ended, after a decision on a call, has that message's id; so has a replay.
            model: that answers, for formats that name it.
            created: when the reply began, in seconds since 1970, for formats that say so.
            metadata: of the message, JSON types, for formats that have this.
            calls: of an earlier reply, whose results will come and which the client may not know: those of a suspension
                that goes on in a new message.
        """

    @abstractmethod
    def encode(self, chunk: Chunk) -> bytes:
        """Return the bytes for the next chunk; ``b""`` for one that says nothing in this format."""

    def encode_earlier(self, chunk: Chunk) -> bytes:
        """Return the bytes for a chunk of the same message from before this stream, between ``begin`` and the first."""
        return self.encode(chunk)

    def heartbeat(self) -> bytes:
        """Return bytes that say nothing: they show both ends that the connection lives.

        It is a comment without the blank line that some parsers take for an event.
        """
        return b": hb\n"

    @abstractmethod
    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the last bytes.

        Args:
            status: of the stream: ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout``, ``error``.
            error: that ended it.
            completion: of the stream, where the client is to be told the usage.
            time_to_first_token: in seconds, where the client is to be told.
            reason: of a cancel, for the client; formats that have no word for it leave it out.
        """

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = False
    ) -> WebRequest:
        """Read what this format's clients send.

        Args:
            body: as it came, or decoded.
            limits: what is too much.
            allow_system: whether the client may send instructions to the model, in ``system`` messages.

        Raises:
            RequestError: it cannot be taken; ``status`` is what to answer with.
        """
        raise ConfigError(f"{cls.__name__} reads no requests")

    def refusal(self, error: BaseException) -> Refusal:
        """Return the response for an error that came before the first chunk: a status, and the text as in a stream."""
        body = self.told(error).encode("utf-8", "replace")
        headers = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}
        if isinstance(error, RequestError):
            headers = {**error.headers, **headers}
        return Refusal(_status_of(error), headers, body)

    def told(self, error: BaseException | None) -> str:
        """Return what the client is told of an error."""
        if isinstance(error, RequestError):
            return str(error)
        if error is None or self._show_errors is False:
            return MASKED
        return str(error) if self._show_errors is True else str(self._show_errors(error))


def _status_of(error: BaseException) -> int:
    """Return the HTTP status for an error that came before anything was sent."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, RateLimitError):
        return 429
    if isinstance(error, OverloadedError):
        return 503
    if isinstance(error, StreamTimeout):
        return 504
    if isinstance(error, (StoreError, LogError)):
        return 503
    if isinstance(error, ValidationError):  # what the user asked is refused
        return 422
    if isinstance(error, (MisuseError, StoreConflictError)):
        return 409
    # The provider's other statuses are about our request, or our key; not about the client's.
    return 502 if isinstance(error, StreamError) else 500
