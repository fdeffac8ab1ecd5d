"""What the requests of all providers have in common: headers, secrets, JSON, and the reading of a refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from streamkit.errors import APIError, ConfigError
from streamkit.providers.api_errors import api_error
from streamkit.providers.base import ChatRequest, made_with
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import Masked

__all__ = ["is_not_set_up", "masked_headers", "missing_key", "not_set_up", "post", "refusal", "searchable"]

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
        encoded = orjson.dumps({**body, **chat.extra_body})
    except TypeError as error:
        raise ConfigError(f"the request cannot be written as JSON: {error}") from error
    if b"null" in encoded:  # what orjson writes for them
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


def missing_key(kind: type, name: str, variable: str, argument: str = "api_key") -> ConfigError:
    """Return the error of a provider that needs a key and has none.

    Args:
        kind: its class.
        name: its name.
        variable: the environment variable that may have the key.
        argument: of the class, for the key.
    """
    passing = made_with(kind, name, argument)
    return not_set_up(f"{name} needs an API key: set the environment variable {variable}, or {passing}")


def not_set_up(message: str) -> ConfigError:
    """Return the error of a provider that nobody has set up here: it has no key, and nothing it was given is wrong."""
    error = ConfigError(message)
    vars(error)["not_set_up"] = True
    return error


def is_not_set_up(error: BaseException) -> bool:
    """Say whether an error is one of ``not_set_up``."""
    return "not_set_up" in vars(error)


def refusal(provider: str, info: ResponseInfo, body: bytes, variable: str | None) -> APIError:
    """Return the error that a response with a status other than 2xx stands for.

    Args:
        provider: its name.
        info: the head of the response.
        body: as much of it as is worth reading.
        variable: the environment variable that has the key, ``None`` where nobody can tell.
    """
    try:
        decoded = parse_json(body)
    except ValueError:
        decoded = body.decode("utf-8", "replace")
    error = api_error(provider, decoded, info.status)
    sure = None if info.request_id == info.headers.get("cf-ray") else info.request_id  # that one is Cloudflare's
    error.request_id = sure or error.request_id or info.request_id
    if info.retry_after is not None:
        error.retry_after = info.retry_after
    if info.status == 401 and variable is not None:
        error.args = (f"{error.message}; check the key in {variable}",)
    return error
