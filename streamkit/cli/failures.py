"""Show errors as one line on stderr that says what to do."""

from __future__ import annotations

from collections.abc import Mapping
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
    ServerError,
    StreamkitError,
    StreamTimeout,
    TruncatedStreamError,
)

__all__ = ["Asked", "advised", "tell"]

Asked = Literal["reply", "models", "url", "url without key"]
"""The request that failed: for a reply, for a list of models, or of a probe."""

_LONGEST = 1000  # characters; a server may send 64 KiB of reasons

_Advice = tuple[tuple[type[StreamkitError], str], ...]

# Advice by class of error; the first match is used. Errors whose message has advice already are not listed.
_ADVICE: _Advice = (
    (ConnectError, "check the network and the provider's base URL"),
    (StreamTimeout, "check the network and the provider's base URL"),
    (BrokenStreamError, "ask again"),
    (TruncatedStreamError, "ask again"),
    (ProtocolError, "check that the provider's base URL is that of an API"),
    (BadRequestError, "change the prompt or the options"),
    (PaymentRequiredError, "check the credit with the provider"),
    (PermissionDeniedError, "check what the key may use"),
    (NotFoundError, "check the model's name and the provider's base URL"),
    (ServerError, "ask again in a while"),
)
_OF_URL: _Advice = (
    (ConnectError, "check the network and the URL"),
    (ProtocolError, "check that the URL is that of an API"),
    (BadRequestError, "change what is asked with --model or --data"),
    (NotFoundError, "check the URL and the model's name"),
)
_SEND_A_KEY = "send a key with --key-from VARIABLE, or with -H 'NAME: VALUE'"
# Advice for requests other than for a reply.
_ADVICE_BY_ASKED: Mapping[Asked, _Advice] = {
    "reply": (),
    "models": (
        (StreamTimeout, "check the network and the provider's base URL"),
        (BadRequestError, "check the provider's base URL"),
        (NotFoundError, "check the provider's base URL, such as for a missing /v1"),
    ),
    "url": _OF_URL,
    "url without key": ((AuthenticationError, _SEND_A_KEY), (PermissionDeniedError, _SEND_A_KEY), *_OF_URL),
}


def tell(text: str) -> None:
    """Write an error as one line on stderr."""
    line = one_line(text)
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}…"
    click.echo(f"streamkit: {line}", err=True)


def advised(error: StreamkitError, asked: Asked = "reply") -> str:
    """Return what went wrong and what to do about it."""
    message = error.message or type(error).__name__
    if isinstance(error, StreamTimeout):
        message = message.partition(";")[0]  # the rest advises a Python argument
    advice = _advice(error, asked)
    return f"{message.rstrip('.')}; {advice}" if advice else message


def _advice(error: StreamkitError, asked: Asked) -> str:
    if isinstance(error, RateLimitError):
        wait = "a while" if error.retry_after is None else f"{error.retry_after:.0f} s"
        return f"wait {wait} and ask again"
    if isinstance(error, ProtocolError) and "redirects" in error.message:
        return ""  # it says what to do
    advice = next((advice for kind, advice in _ADVICE_BY_ASKED[asked] if isinstance(error, kind)), "")
    if advice:
        return advice
    if isinstance(error, AuthenticationError) and error.in_stream:
        return "check the API key"
    if isinstance(error, StreamTimeout) and error.phase != "connect":
        return "give it more time with --timeout SECONDS"
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "")
