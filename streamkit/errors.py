"""Every error a user can meet, drawn as a tree.

::

    StreamkitError                 picklable; no key in str(), repr() or a traceback's locals of ours
    |- ConfigError                 before any I/O: the call cannot work as it stands
    |- StreamError                 .partial (Completion)  .retryable
    |  |- ConnectError             no connection: name lookup, TCP, TLS or proxy
    |  |- StreamTimeout            also a TimeoutError; .phase connect|first|idle|total, .limit (seconds)
    |  |- BrokenStreamError        the connection was made and then failed
    |  |- TruncatedStreamError     the bytes ended without the provider's terminator
    |  |- ProtocolError            not an event stream, malformed JSON, something over its bound; .excerpt
    |  '- APIError                 .status .code .type .request_id .retry_after .body .in_stream
    |     |- BadRequestError       400, 413, 422
    |     |- AuthenticationError   401
    |     |- PaymentRequiredError  402
    |     |- PermissionDeniedError 403
    |     |- NotFoundError         404
    |     |- ConflictError         409
    |     |- RateLimitError        429
    |     '- ServerError           5xx
    |        '- OverloadedError    503, 529
    '- ChannelClosed               nothing more will come out of a channel
    MisuseError(RuntimeError)      a mistake in the calling program, outside the tree on purpose

``except StreamError`` catches all that can go wrong once a request was sent; what was received until then is
in ``.partial``. ``MisuseError`` is not caught by it: such code needs to be changed, not handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit.values.completion import Completion

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "BrokenStreamError",
    "ChannelClosed",
    "ConfigError",
    "ConflictError",
    "ConnectError",
    "MisuseError",
    "NotFoundError",
    "OverloadedError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "ServerError",
    "StreamError",
    "StreamTimeout",
    "StreamkitError",
    "TruncatedStreamError",
]


class StreamkitError(Exception):
    """Root of what the library raises; the message is the first argument.

    Attributes live in ``__dict__`` and every ``__init__`` needs the message alone, which is what lets
    ``pickle`` rebuild any of them in another process.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The text without any decoration."""
        return str(self.args[0]) if self.args else ""


class ConfigError(StreamkitError):
    """Say before any I/O that a call cannot work: unknown provider, missing key, impossible parameter."""


class ChannelClosed(StreamkitError):
    """Nothing more will come: the channel's end was reached, or its receiving end was closed."""


class MisuseError(RuntimeError):
    """A stream was used in a way that can never work, such as after ``close()`` or after a fork."""


class StreamError(StreamkitError):
    """Something went wrong after the request was on its way.

    Args:
        message: one sentence, with the remedy where there is one.
        partial: what was received before, as far as it was delivered.
        retryable: whether the same request may well succeed when sent again.
    """

    def __init__(self, message: str = "", *, partial: Completion | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        # None only on an error that no stream raised; in a handler around a stream it is always there.
        self.partial: Completion = partial  # type: ignore[assignment]
        self.retryable = retryable


class ConnectError(StreamError):
    """No connection could be made: name lookup, TCP, TLS or proxy."""


class StreamTimeout(StreamError, TimeoutError):
    """A limit of ``Timeout`` ran out.

    Args:
        phase: which limit: ``connect``, ``first``, ``idle`` or ``total``.
        limit: that limit, in seconds.
    """

    def __init__(
        self,
        message: str = "",
        *,
        phase: str = "",
        limit: float = 0.0,
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.phase = phase
        self.limit = limit


class BrokenStreamError(StreamError):
    """The connection was made and then failed: a reset, or a body that broke its own framing."""


class TruncatedStreamError(StreamError):
    """The bytes ended, in good order or not, before the provider said that the reply was over."""


class ProtocolError(StreamError):
    """The server sent something that is not what was asked for.

    Args:
        excerpt: the beginning of the offending bytes as text, at most 512 characters, keys masked.
    """

    def __init__(
        self,
        message: str = "",
        *,
        excerpt: str = "",
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.excerpt = excerpt


class APIError(StreamError):
    """The provider refused or failed, and said so: by an HTTP status or by an error inside a 200.

    Args:
        status: the HTTP status, or the one that the error inside a stream stands for; ``None`` if unknown.
        code: the provider's own code, if any.
        type: the provider's own type, if any.
        request_id: what to quote to the provider's support.
        retry_after: seconds that the provider asks to wait, if it does.
        body: the error as it was sent: decoded JSON, or text, at most 64 KiB.
        in_stream: whether it came inside a response that had begun with status 200.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,  # the provider's word for it
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        in_stream: bool = False,
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.status = status
        self.code = code
        self.type = type
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.in_stream = in_stream

    @staticmethod
    def class_for(status: int | None) -> type[APIError]:
        """Return the class that stands for an HTTP status."""
        if status is None:
            return APIError
        by_status = _CLASS_BY_STATUS.get(status)
        if by_status is not None:
            return by_status
        return ServerError if 500 <= status < 600 else APIError

    @staticmethod
    def is_retryable(status: int | None) -> bool:
        """Say whether a status is worth another try: 408, 409, 429 and 5xx are, other refusals are not."""
        return status in (408, 409, 429) or (status is not None and 500 <= status < 600)


class BadRequestError(APIError):
    """400, 413, 422: the request itself is at fault."""


class AuthenticationError(APIError):
    """401: the key is missing, wrong or revoked."""


class PaymentRequiredError(APIError):
    """402: no credit, or a spending limit was reached.

    What the provider does not say is ``None``; amounts are in USD.

    Args:
        limit: which limit: ``per-transaction``, ``daily``, ``monthly`` ...
        current: what was spent of it.
        requested: what this request would have added.
        max: where it is.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        in_stream: bool = False,
        partial: Completion | None = None,
        retryable: bool = False,
        limit: str | None = None,
        current: float | None = None,
        requested: float | None = None,
        max: float | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            code=code,
            type=type,
            request_id=request_id,
            retry_after=retry_after,
            body=body,
            in_stream=in_stream,
            partial=partial,
            retryable=retryable,
        )
        self.limit = limit
        self.current = current
        self.requested = requested
        self.max = max


class PermissionDeniedError(APIError):
    """403: the key may not do this."""


class NotFoundError(APIError):
    """404: no such model or endpoint."""


class ConflictError(APIError):
    """409: in conflict with another request."""


class RateLimitError(APIError):
    """429: too many requests or tokens in a period."""


class ServerError(APIError):
    """5xx: the provider failed."""


class OverloadedError(ServerError):
    """503, 529: the provider is overloaded or down for a while."""


_CLASS_BY_STATUS: dict[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitError,
    503: OverloadedError,
    529: OverloadedError,
}
