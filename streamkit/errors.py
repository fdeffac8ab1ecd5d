"""All errors of the library, as a tree.

::

    StreamkitError                 picklable; no key in str(), repr() or a traceback's locals of ours
    |- ConfigError                 before any I/O: the call has to be changed
    |  |- PackError                a file of prompts that is refused; .problems
    |  |  '- RenderError           a prompt and the values of its variables do not fit; .code .names
    |  |- OwnerError              the conversation is another owner's
    |  '- RequestError             the body of a web request that cannot be taken; .status
    |- StreamError                 .partial (Completion)  .retryable
    |  |- ConnectError             no connection: name lookup, TCP, TLS or proxy
    |  |- StreamTimeout            also a TimeoutError; .phase connect|first|idle|total, .limit (seconds)
    |  |- BrokenStreamError        the connection was made and then failed
    |  |- TruncatedStreamError     the bytes ended without the provider's terminator
    |  |- ProtocolError            not an event stream, malformed JSON, a size over its bound; .excerpt
    |  |- StreamCancelledError     complete() or collect() was stopped before the reply was whole
    |  |- InvalidOutputError       the reply does not fit the type that was asked for; .problems .text
    |  |- ToolError                a tool's function failed, or the decision on a call; .call
    |  |- RunLimitError            a run with tools reached one of its limits; .limit
    |  |- ValidationError          a text broke the rule of a validator; .validator .reason
    |  |- CircuitOpenError         a Breaker turned the request away, as the service has failed; .provider .retry_after
    |  |- LocalLimitError          a RateLimit turned the request away; .limit .retry_after
    |  |- LogError                 the log of a reply cannot be read or written, or does not have what was asked for
    |  |  '- WriterLostError       the process that wrote the log has died; what it wrote was delivered
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
    |- StoreConflictError          somebody else went on from the same saved state
    |- StoreError                  a store cannot be read or written; nothing was lost
    |- BatchLimitError             a batch reached its max_cost or max_failures; .limit
    |- LogConflictError            somebody else writes the log of this reply, or has written it
    '- ChannelClosed               no more items will come out of a channel
    MisuseError(RuntimeError)      a mistake in the calling program; not a StreamkitError on purpose
    RecvTimeout(queue.Empty)       also a TimeoutError; recv() got no chunk within its timeout, and the stream goes on

``except StreamError`` catches every failure after a request was sent; ``.partial`` has the reply up to then. It does
not catch ``MisuseError``: such code needs to be changed, not handled. It does not catch ``RecvTimeout`` either: nothing
has failed.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamkit.values.completion import Completion
    from streamkit.values.messages import ToolCall
    from streamkit.values.problems import PackProblem, Problem

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "BatchLimitError",
    "BrokenStreamError",
    "ChannelClosed",
    "CircuitOpenError",
    "ConfigError",
    "ConflictError",
    "ConnectError",
    "InvalidOutputError",
    "LocalLimitError",
    "LogConflictError",
    "LogError",
    "MisuseError",
    "NotFoundError",
    "OverloadedError",
    "OwnerError",
    "PackError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RecvTimeout",
    "RenderError",
    "RequestError",
    "RunLimitError",
    "ServerError",
    "StoreConflictError",
    "StoreError",
    "StreamCancelledError",
    "StreamError",
    "StreamTimeout",
    "StreamkitError",
    "ToolError",
    "TruncatedStreamError",
    "ValidationError",
    "WriterLostError",
]


class StreamkitError(Exception):
    """Base class of the library's errors; the message is the first argument.

    Each error can be pickled: its attributes are in ``__dict__``, and its ``__init__`` needs no more than the message.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The message alone; ``str()`` may add to it."""
        return str(self.args[0]) if self.args else ""


class ConfigError(StreamkitError):
    """A call that cannot work, found before any I/O: unknown provider, missing key, wrong parameter."""


class PackError(ConfigError):
    """A file of prompts that cannot be used, because of what is in it, or because it cannot be read.

    Args:
        problems: what it is refused for, each with ``path``, ``rule`` and ``text``.
    """

    def __init__(self, message: str = "", *, problems: Sequence[PackProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class RenderError(PackError):
    """A prompt and the values of its variables do not fit.

    Args:
        code: ``type``, ``validation``, ``missing``, ``fragment_cycle``, ``placeholder``, ``unknown_fragment``,
            ``unknown_variable`` or ``too_long``.
        names: the variables, the fragments, or the placeholders as they are written; never a value.
    """

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        names: Sequence[str] = (),
        problems: Sequence[PackProblem] = (),
    ) -> None:
        super().__init__(message, problems=problems)
        self.code = code
        self.names = tuple(names)


class RequestError(ConfigError):
    """A web request that is refused: no JSON, another shape, over a limit, not allowed, not paid.

    The message may be shown to the sender: it names what is wrong by its place, and quotes no value.

    Args:
        status: the HTTP status to answer with: 400, 413 where it is too large.
        code: a word for programs, such as ``insufficient_balance``; "" for none.
        type: the kind of error in OpenAI's words, such as ``rate_limit_error``; "" for that of the status.
        param: the field of the body that is wrong; "" for none.
        headers: of the response, such as ``retry-after``.
        details: more fields of the error, JSON types.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 400,
        code: str = "",
        type: str = "",
        param: str = "",
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.type = type
        self.param = param
        self.headers = dict(headers or {})
        self.details = dict(details or {})


class OwnerError(ConfigError):
    """The conversation of this id is another owner's; nothing was read or changed."""


class ChannelClosed(StreamkitError):
    """No more items will come: the channel's end was reached, or its receiving end was closed."""


class StoreConflictError(StreamkitError):
    """Somebody else went on from the same saved state, such as a suspension that is resumed twice; nothing was done."""


class StoreError(StreamkitError):
    """A store could not be read or written: a full disk, a lost connection, a lock, missing permission.

    The store has what it had before. What was to be saved is in the memory of the process, and the next save has it.
    """


class BatchLimitError(StreamkitError):
    """A batch reached one of its limits. All that had ended by then was delivered, and what is left was not asked.

    Args:
        limit: ``max_cost`` or ``max_failures``.
    """

    def __init__(self, message: str = "", *, limit: str = "") -> None:
        super().__init__(message)
        self.limit = limit


class LogConflictError(StreamkitError):
    """Somebody else writes the log of this reply, or has written it, or it was deleted while it was being written.

    An id is written once, so that a task that is run again never adds a second reply to the first.
    """


class MisuseError(RuntimeError):
    """Use of a stream that can never work, such as after ``close()``, after its end, or in a forked child."""


class RecvTimeout(queue.Empty, TimeoutError):
    """``recv(timeout)`` got no chunk in time; the stream stays open, and the next call may get one."""


class StreamError(StreamkitError):
    """A failure after the request was started.

    Args:
        message: one sentence, with the remedy if there is one.
        partial: the completion of the chunks that were delivered before.
        retryable: whether the same request may succeed when it is sent again.
    """

    def __init__(self, message: str = "", *, partial: Completion | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        # None only in an error that no stream raised. A stream sets it, so it is not typed as optional.
        self.partial: Completion = partial  # type: ignore[assignment]
        self.retryable = retryable


class ConnectError(StreamError):
    """No connection could be made: name lookup, TCP, TLS or proxy failed."""


class StreamTimeout(StreamError, TimeoutError):
    """A limit of ``Timeout`` ran out.

    Args:
        phase: the name of the limit: ``connect``, ``first``, ``idle`` or ``total``.
        limit: the limit, in seconds.
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
    """The connection was made and then failed, such as by a reset."""


class TruncatedStreamError(StreamError):
    """The bytes ended before the provider's terminator, whether the connection was closed cleanly or not."""


class ProtocolError(StreamError):
    """The server sent something else than the expected format.

    Args:
        excerpt: the beginning of the unexpected bytes as text, at most 512 characters, keys masked.
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


class StreamCancelledError(StreamError):
    """``complete()`` or ``collect()`` was stopped before the reply was whole; ``partial`` has what came.

    A loop over a cancelled stream raises nothing: it ends.
    """


class InvalidOutputError(StreamError):
    """A reply does not fit the type that ``response_format`` asked for, was refused, or was cut off.

    Args:
        problems: what does not fit, each with ``path`` and ``text``; empty where the reply is no answer at all.
        text: the text of the reply.
    """

    def __init__(
        self,
        message: str = "",
        *,
        problems: Sequence[Problem] = (),
        text: str = "",
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.problems = tuple(problems)
        self.text = text


class ToolError(StreamError):
    """A tool's function raised an exception, or its arguments were wrong, in a run with ``on_error="raise"``.

    Also a failure of ``approve=`` or ``needs_approval=``, in any run: a call never runs undecided.

    Args:
        call: the call. The function's own exception is the ``__cause__``.
    """

    def __init__(
        self,
        message: str = "",
        *,
        call: ToolCall | None = None,
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.call = call


class RunLimitError(StreamError):
    """A run with tools reached one of its ``RunLimits``, while the model still asked for tools.

    Args:
        limit: the name of the limit, such as ``rounds``.
    """

    def __init__(
        self, message: str = "", *, limit: str = "", partial: Completion | None = None, retryable: bool = False
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.limit = limit


class ValidationError(StreamError):
    """A text broke the rule of a validator with ``on_violation="raise"``; the model was cancelled.

    ``partial`` is the reply as far as it was allowed. It is empty where it was the user's text that broke the rule.

    Args:
        validator: the name of the validator.
        reason: which rule was broken, in English. It may quote the text.
    """

    def __init__(
        self,
        message: str = "",
        *,
        validator: str = "",
        reason: str = "",
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.validator = validator
        self.reason = reason


class CircuitOpenError(StreamError):
    """A ``Breaker`` turned the request away before it was sent, as the provider has failed too often.

    Args:
        provider: its name.
        retry_after: seconds after which a request is let through again.
    """

    def __init__(
        self,
        message: str = "",
        *,
        provider: str = "",
        retry_after: float | None = None,
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.provider = provider
        self.retry_after = retry_after


class LocalLimitError(StreamError):
    """A ``RateLimit`` turned the request away before it was sent; the provider's own refusal is a ``RateLimitError``.

    Args:
        limit: the limit that is reached: ``requests``, ``tokens``, ``streams``, or ``provider`` where it is the
            provider that asked to wait.
        retry_after: seconds after which there is room; ``None`` if that is unknown, as it is for ``streams``, or if
            the request can never fit.
    """

    def __init__(
        self,
        message: str = "",
        *,
        limit: str = "",
        retry_after: float | None = None,
        partial: Completion | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message, partial=partial, retryable=retryable)
        self.limit = limit
        self.retry_after = retry_after


class LogError(StreamError):
    """The log of a reply cannot be read or written, or does not have what was asked for.

    Its server is away for too long (``retryable`` is true), or the records were dropped, deleted, or have expired.
    """


class WriterLostError(LogError):
    """The process that wrote the log of a reply has died, or cannot reach the log; all that it wrote was delivered."""


class APIError(StreamError):
    """The provider reported an error: by an HTTP status, or inside a response with status 200.

    Args:
        status: the HTTP status, or the one equivalent to an error inside a stream; ``None`` if unknown.
        code: the provider's own error code, or ``None``.
        type: the provider's own error type, or ``None``.
        request_id: the id to quote to the provider's support, or ``None``.
        retry_after: the seconds that the provider asks to wait, or ``None``.
        body: the error as it was sent: decoded JSON, or text, at most 64 KiB.
        in_stream: whether the error came inside a response with status 200.
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
        """Return the error class for an HTTP status."""
        if status is None:
            return APIError
        by_status = _CLASS_BY_STATUS.get(status)
        if by_status is not None:
            return by_status
        return ServerError if 500 <= status < 600 else APIError

    @staticmethod
    def is_retryable(status: int | None) -> bool:
        """Return whether a request may be retried after this status: true for 408, 409, 429 and 5xx."""
        return status in (408, 409, 429) or (status is not None and 500 <= status < 600)


class BadRequestError(APIError):
    """400, 413, 422: the request is invalid."""


class AuthenticationError(APIError):
    """401: the key is missing, wrong or revoked."""


class PaymentRequiredError(APIError):
    """402: no credit, or a spending limit was reached.

    Amounts are in USD. What the provider does not report is ``None``.

    Args:
        limit: the name of the limit: ``per-transaction``, ``daily``, ``monthly`` ...
        current: the amount spent so far.
        requested: the amount that this request would add.
        max: the highest amount that the limit allows.
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
    """409: the request conflicts with another one."""


class RateLimitError(APIError):
    """429: too many requests or tokens within a period."""


class ServerError(APIError):
    """5xx: the provider failed."""


class OverloadedError(ServerError):
    """503, 529: the provider is overloaded or temporarily down."""


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
