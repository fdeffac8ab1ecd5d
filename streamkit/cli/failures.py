"""Errors as people read them: one line on stderr that says what to do."""

from __future__ import annotations

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
    ServerError,
    StreamkitError,
    StreamTimeout,
    TruncatedStreamError,
)

__all__ = ["advised", "tell"]

_LONGEST = 1000  # characters; a server may send 64 KiB of reasons

# What to do, by class of error; the first that fits counts. Those that say it themselves are not here.
_ADVICE: tuple[tuple[type[StreamkitError], str], ...] = (
    (ConnectError, "check the network and the provider's base URL"),
    (BrokenStreamError, "ask again"),
    (TruncatedStreamError, "ask again"),
    (ProtocolError, "check that the provider's base URL is that of an API"),
    (BadRequestError, "change the prompt or the options"),
    (PaymentRequiredError, "check the credit with the provider"),
    (PermissionDeniedError, "check what the key may use"),
    (NotFoundError, "check the model's name"),
    (ServerError, "ask again in a while"),
)


def tell(text: str) -> None:
    """Write an error as one line on stderr, whatever it is made of."""
    line = one_line(text)
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    click.echo(f"streamkit: {line}", err=True)


def advised(error: StreamkitError) -> str:
    """Return what went wrong and what to do about it."""
    message = error.message or type(error).__name__
    if isinstance(error, StreamTimeout):
        # What the library advises is an argument in Python.
        return f"{message.partition(';')[0]}; {_timeout_advice(error)}"
    advice = _advice(error)
    return f"{message.rstrip('.')}; {advice}" if advice else message


def _advice(error: StreamkitError) -> str:
    if isinstance(error, RateLimitError):
        wait = "a while" if error.retry_after is None else f"{error.retry_after:.0f} s"
        return f"wait {wait} and ask again"
    if isinstance(error, AuthenticationError) and error.in_stream:
        return "check the API key"
    if isinstance(error, ProtocolError) and "redirects" in error.message:
        return ""  # it says what to do
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")


def _timeout_advice(error: StreamTimeout) -> str:
    if error.phase == "connect":
        return "check the network and the provider's base URL"
    return "give it more time with --timeout SECONDS"
