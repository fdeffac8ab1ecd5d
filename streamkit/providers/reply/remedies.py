"""What to do about each class of error: ``remedy_for``; and the error for what no API sends: ``unexpected``."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from streamkit.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BrokenStreamError,
    ConflictError,
    ConnectError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
)
from streamkit.providers.reply.html_page import is_page, without_markup
from streamkit.wire.messages import with_remedy

__all__ = ["remedy_for", "unexpected"]

#: How to start the servers that run on the user's own machine, by the provider's name.
_START = {
    "litellm": "litellm --config FILE",
    "llamacpp": "llama-server -m FILE.gguf",
    "lmstudio": "lms server start",
    "ollama": "ollama serve",
    "vllm": "vllm serve MODEL",
}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST_TITLE = 80  # characters of a page's title
# OpenAI and services like it answer 429 for an account without credit, where waiting does not help.
_NO_CREDIT = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")
_CHECK_BOTH = "check the provider's base URL and the proxy settings"
_ADD_CREDIT = "add credit to the account of this key, or raise its spending limit"

_BY_CLASS: tuple[tuple[type[StreamError], str], ...] = (
    (TruncatedStreamError, "the server or a proxy ended it too early: ask again"),
    (BrokenStreamError, "the server, a proxy or the network ended the connection: ask again"),
    (BadRequestError, "change the messages or the options, as the same request fails again"),
    (PaymentRequiredError, _ADD_CREDIT),
    (ConflictError, "ask again in a while"),
    (ProtocolError, "the fault is the server's or a proxy's: ask again, and report it to the provider if it stays"),
    (ServerError, "the failure is the server's: ask again in a while"),
)


def remedy_for(
    error: StreamError, provider: str, model: str, url: str, *, key_variable: str | None = None, listed: bool = False
) -> str:
    """Return what to do about an error, "" if nothing general can be said.

    Args:
        provider: its name.
        model: "" for a request that is not about one.
        url: the request's URL.
        key_variable: the environment variable with the key, if known.
        listed: whether ``streamkit models`` knows the provider by this name.
    """
    if isinstance(error, ConnectError):
        return _about_connection(provider, url)
    if not model and isinstance(error, StreamTimeout):
        return "check the network and the provider's base URL"
    if not model and isinstance(error, BadRequestError):
        return "check the provider's base URL"
    if isinstance(error, APIError):
        if isinstance(error.body, str) and is_page(error.body):
            return _about_page(error)
        if (text := _about_status(error, provider, model, key_variable, listed)) is not None:
            return text
    return next((text for kind, text in _BY_CLASS if isinstance(error, kind)), "")


def _about_connection(provider: str, url: str) -> str:
    if urlsplit(url).hostname not in _LOOPBACK:
        return "check the network and the provider's base URL"
    if provider in _START:
        return f"is {provider} running? start it with `{_START[provider]}`"
    return "is the server running? start it, or check the provider's base URL"


def unexpected(kind: str, excerpt: str, expected: str) -> ProtocolError:
    """Return the error for a body of another media type than that of an API's answer. The caller masks it.

    Args:
        kind: the media type, "" if the server sent none.
        excerpt: the beginning of the body.
        expected: what should have come, such as "an event stream".
    """
    page = is_page(excerpt)
    title = f" ({without_markup(excerpt)[:_LONGEST_TITLE]!r})" if page else ""
    error = ProtocolError(f"the server sent {kind or 'no content type'}{title}, not {expected}", excerpt=excerpt)
    if page:
        return with_remedy(error, f"a web site or a proxy answered, not the API: {_CHECK_BOTH}")
    return with_remedy(error, "check that the provider's base URL is that of an API")


def _about_page(error: APIError) -> str:
    if error.status == 407:
        return "the proxy sent it: check the user and password of the proxy in HTTPS_PROXY"
    if isinstance(error, (ServerError, RateLimitError)):
        return "a gateway or proxy before the API sent this page of HTML: ask again in a while"
    return f"a web server or proxy sent this page of HTML, not the API: {_CHECK_BOTH}"


def _about_status(error: APIError, provider: str, model: str, key_variable: str | None, listed: bool) -> str | None:
    """Return what to do about an error whose status is not enough; ``None`` if its class is."""
    key = f"the key in {key_variable}" if key_variable else "the API key"
    if isinstance(error, AuthenticationError):
        return f"check {key}"
    if isinstance(error, PermissionDeniedError):
        return f"check what {key} may use, and the provider's base URL"
    if isinstance(error, NotFoundError):
        return _about_missing(provider, model, listed)
    if error.status == 405:
        return "check the provider's base URL"
    if isinstance(error, RateLimitError) and (error.code in _NO_CREDIT or error.type in _NO_CREDIT):
        return _ADD_CREDIT
    if isinstance(error, RateLimitError) or (isinstance(error, ServerError) and error.retry_after is not None):
        if error.retry_after is None:
            return "ask again in a while, and send fewer requests at a time"
        return f"wait {math.ceil(error.retry_after)} s and ask again" if error.retry_after else "ask again"
    return None


def _about_missing(provider: str, model: str, listed: bool) -> str:
    if not model:
        return "check the provider's base URL, such as for a missing /v1"
    if provider == "ollama":
        return f"fetch the model with `ollama pull {model}`, or list those that are there: `ollama list`"
    names = f" (`streamkit models --provider {provider}` lists them)" if listed else ""
    return f"check the model's name{names} and the provider's base URL"
