"""Show errors as one line on stderr that says what to do."""

from __future__ import annotations

from typing import Literal

import click

from streamkit.cli.output import one_line
from streamkit.errors import (
    AuthenticationError,
    BadRequestError,
    BrokenStreamError,
    ConnectError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RunLimitError,
    ServerError,
    StreamkitError,
    StreamTimeout,
    TruncatedStreamError,
    ValidationError,
)
from streamkit.wire.messages import remedy_of, what_happened

__all__ = ["Asked", "advised", "tell"]

Asked = Literal["reply", "models", "url", "url without key"]
"""The request that failed: for a reply, for a list of models, or of a probe."""

_LONGEST = 1000  # characters; a server may send 64 KiB of reasons

_BASE_URL = "the provider's base URL"

_SEND_A_KEY = "send a key with --key-from VARIABLE, or with -H 'NAME: VALUE'"
# Advice by class of error for the errors of a probe, whose messages have none; the first match is used.
_OF_PROBE: tuple[tuple[type[StreamkitError], str], ...] = (
    (ConnectError, "check the network and the URL"),
    (BrokenStreamError, "ask again"),
    (TruncatedStreamError, "ask again"),
    (ProtocolError, "check that the URL is that of an API"),
    (BadRequestError, "change what is asked with --model or --data"),
    (PaymentRequiredError, "check the credit with the provider"),
    (PermissionDeniedError, "check what the key may use"),
    (NotFoundError, "check the URL and the model's name"),
    (ServerError, "ask again in a while"),
)
_OF_PROBE_WITHOUT_KEY = ((AuthenticationError, _SEND_A_KEY), (PermissionDeniedError, _SEND_A_KEY), *_OF_PROBE)


def tell(text: str) -> None:
    """Write an error as one line on stderr."""
    line = one_line(text)
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    click.echo(f"streamkit: {line}", err=True)


def advised(error: StreamkitError, asked: Asked = "reply") -> str:
    """Return what went wrong and what to do about it."""
    message = what_happened(error) or type(error).__name__
    if isinstance(error, RunLimitError):
        message = message.partition("; RunLimits(")[0]  # the rest is for programs
    if isinstance(error, ValidationError):
        message = message.partition("; partial has")[0]
    advice = _advice(error, asked)
    return f"{message.rstrip('.')}; {advice}" if advice else message


def _advice(error: StreamkitError, asked: Asked) -> str:
    """Return what to do: as the error's message has it, or in terms of the command line."""
    if isinstance(error, StreamTimeout):  # the message advises a Python argument
        near = error.phase == "connect" or asked == "models"
        return f"check the network and {_BASE_URL}" if near else "give it more time with --timeout SECONDS"
    own = remedy_of(error)
    if asked in ("reply", "models"):
        return own
    if own:
        return own.replace(_BASE_URL, "the URL")
    if isinstance(error, RateLimitError):
        return (
            "wait a while and ask again"
            if error.retry_after is None
            else f"wait {error.retry_after:.0f} s and ask again"
        )
    if isinstance(error, AuthenticationError) and error.in_stream:
        return "check the API key"
    table = _OF_PROBE_WITHOUT_KEY if asked == "url without key" else _OF_PROBE
    return next((advice for kind, advice in table if isinstance(error, kind)), "")
