"""What the requests of all providers have in common: headers, secrets, JSON, and the reading of a refusal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.request.credentials import hidden
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import write_json
from streamkit.wire.secrets import Masked, WrongType

__all__ = ["hidden_headers", "masked_headers", "post", "searchable"]

_HEADERS = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",  # compression holds tokens back for nothing
    "Content-Type": "application/json",
}
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # a token, as RFC 9110 has it
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LONGEST_NAME = 40  # characters of a header's name that are shown where it is none
# Whose values are words of HTTP, which other headers and errors have as well.
_NOT_SECRET = frozenset(("accept", "accept-encoding", "accept-language", "cache-control", "content-type", "user-agent"))
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
    given = masked_headers(hidden_headers(chat.extra_headers))
    extra = {name: _header(name, value) for name, value in given.items()}
    own = {name: _header(name, value) for name, value in (headers or {}).items() if value is not None}
    all_headers = {**_HEADERS, **own, **extra}
    encoded, problem = b"", ""
    try:
        encoded = write_json({**body, **chat.extra_body})
    except TypeError as error:
        problem = str(error)  # without its frames, whose locals show the body
    if problem:
        raise ConfigError(f"the request cannot be written as JSON: {problem}")
    if b"null" in encoded:  # what is written for them
        odd = _odd_number({**body, **chat.extra_body}, "the request")
        if odd is not None:
            del encoded  # or it would show among the locals of the traceback
            raise ConfigError(f"{odd}, for which JSON has no word")
    hushed = (Masked(value) for name, value in extra.items() if name.lower() not in _NOT_SECRET)
    secrets = searchable([*hushed, key, *masked])
    return HttpRequest(url, all_headers, encoded, secrets)


def searchable(secrets: Iterable[Masked | None]) -> tuple[Masked, ...]:
    """Return the secrets that are long enough to be looked for in errors; others are words, or keys such as "none"."""
    return tuple(secret for secret in secrets if secret is not None and len(secret) >= _SHORT)


def hidden_headers(headers: object) -> dict[str, Masked | None] | WrongType:
    """Return a user's headers so that they do not show, as there may be secrets; ``masked_headers`` judges them."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        return WrongType.of(headers)
    return {_hidden_name(name): hidden(value) for name, value in headers.items()}


def _hidden_name(name: str) -> str:
    """Return the name of a header so that it does not show where it is none: a whole header may stand there."""
    return Masked(name) if isinstance(name, str) and not _NAME.fullmatch(name) else name


def masked_headers(headers: Mapping[str, Masked | None] | WrongType) -> dict[str, Masked | None]:
    """Return headers that ``hidden_headers`` hid.

    Raises:
        ConfigError: it is no dict.
    """
    if isinstance(headers, WrongType):
        raise ConfigError(f"headers is a dict, not {headers}")
    return dict(headers)


def _header(name: str, value: str | None) -> str:
    """Return a header's value without blanks around it, still ``Masked`` if it was.

    Raises:
        ConfigError: it cannot be sent.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        # Only the beginning of it: who writes 'Authorization: Bearer KEY' as a name has a key in it.
        shown = re.split(r"[:=\s]", name)[0][:_LONGEST_NAME] if isinstance(name, str) else type(name).__name__
        raise ConfigError(f"a header's name that begins with {shown!r} is no name of a header")
    if isinstance(value, WrongType) or not isinstance(value, str):
        kind = value if isinstance(value, WrongType) else type(value).__name__
        raise ConfigError(f"the header {name} is text, not {kind}")
    if _CONTROL.search(value):
        raise ConfigError(f"the header {name} holds a line break or another control character")
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"the header {name} has characters that no header can carry") from None
    return type(value)(value.strip(" \t"))


def _odd_number(value: Any, where: str) -> str | None:
    """Return the place of a number that JSON cannot express, and the number; ``None`` where there is none.

    It does not raise: the locals of its frames would show what stands beside the number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"{where} is {value}"
    inside: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        inside = [(f"{where}.{key}", inner) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)):
        inside = [(f"{where}[{number}]", inner) for number, inner in enumerate(value)]
    return next((odd for place, inner in inside if (odd := _odd_number(inner, place)) is not None), None)
