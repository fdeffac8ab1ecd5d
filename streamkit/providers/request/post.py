"""What the requests of all providers have in common: headers, secrets, JSON, and the reading of a refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import write_json
from streamkit.wire.secrets import Masked

__all__ = ["masked_headers", "post", "searchable"]

_HEADERS = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",  # compression holds tokens back for nothing
    "Content-Type": "application/json",
}
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token, as RFC 9110 has it
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SHORT = 8  # characters; shorter values are versions and flags, whose masking would only garble an error's text


def post(
    url: str,
    body: Mapping[str, Any],
    chat: ChatRequest,
    *,
    headers: Mapping[str, str | None] | None = None,
    key: Masked | None = None,
    masked: tuple[Masked, ...] = (),
) -> HttpRequest:
    """Return the request that sends a body as JSON.

    Args:
        url: absolute.
        body: what is sent; ``chat.extra_body`` goes over it.
        chat: the call, for its extra headers.
        headers: beside the usual ones; those that are ``None`` are left out, secret ones are ``Masked``.
        key: the API key, to be kept out of errors. It is not sent by itself.
        masked: other secrets to be kept out of errors.

    Raises:
        ConfigError: a header cannot be sent, or the body is not JSON.
    """
    extra = {name: _header(name, value) for name, value in masked_headers(chat.extra_headers).items()}
    own = {name: _header(name, value) for name, value in (headers or {}).items() if value is not None}
    all_headers = {**_HEADERS, **own, **extra}
    try:
        encoded = write_json({**body, **chat.extra_body})
    except TypeError as error:
        raise ConfigError(f"the request cannot be written as JSON: {error}") from error
    if b"null" in encoded:  # what is written for them
        _check_numbers({**body, **chat.extra_body}, "the request")
    secrets = searchable([*map(Masked, extra.values()), key, *masked])
    return HttpRequest(url, all_headers, encoded, secrets)


def searchable(secrets: Iterable[Masked | None]) -> tuple[Masked, ...]:
    """Return the secrets that are long enough to be looked for in errors; others are words, or keys such as "none"."""
    return tuple(secret for secret in secrets if secret is not None and len(secret) >= _SHORT)


def masked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return a user's headers so that they do not show: there may be secrets among them.

    Raises:
        ConfigError: it is no dict.
    """
    if headers is not None and not isinstance(headers, Mapping):
        raise ConfigError(f"headers is a dict, not {type(headers).__name__}")
    return {name: Masked(value) if isinstance(value, str) else value for name, value in (headers or {}).items()}


def _header(name: str, value: str) -> str:
    """Return a header's value without blanks around it, still ``Masked`` if it was.

    Raises:
        ConfigError: it cannot be sent.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a header")
    if not isinstance(value, str):
        raise ConfigError(f"the header {name} is text, not {type(value).__name__}")
    if _CONTROL.search(value):
        raise ConfigError(f"the header {name} holds a line break or another control character")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"the header {name} has characters that no header can carry") from None
    return type(value)(value.strip(" \t"))


def _check_numbers(value: Any, where: str) -> None:
    """Raise a ConfigError for a number that JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}, for which JSON has no word")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_numbers(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            _check_numbers(inner, f"{where}[{number}]")
