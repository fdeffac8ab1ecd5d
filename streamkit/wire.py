"""Values between a provider, which does no I/O, and the transport, which knows no provider."""

from __future__ import annotations

import email.utils
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import attrs
import orjson

from streamkit.errors import APIError, ProtocolError, StreamkitError

__all__ = [
    "MAX_ERROR_BODY",
    "HttpRequest",
    "Masked",
    "ResponseInfo",
    "mask",
    "mask_all",
    "mask_error",
    "parse_json",
    "place_of",
    "without_userinfo",
]

MAX_ERROR_BODY = 64 * 1024  # bytes of a refusal that are read, characters that are kept
_MOST_SHOWN = 2048  # characters of an error's text


class Masked(str):
    """A secret string whose ``repr`` does not show it.

    It stays a ``str`` all the way into the socket, so whatever prints a dict of headers or the locals of a
    frame, ours or a dependency's, prints asterisks.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def parse_json(text: str | bytes) -> Any:
    """Decode JSON, also what orjson refuses and servers send: half a character, NaN, control characters.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("nested too deep") from None


def mask_all(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return decoded JSON with the secrets masked in every string of it."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, list):
        return [mask_all(item, secrets) for item in value]
    if isinstance(value, dict):
        return {mask(key, secrets): mask_all(item, secrets) for key, item in value.items()}
    return value


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text without the secrets: some servers repeat the key they were sent."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def mask_error(error: StreamkitError, secrets: tuple[str, ...]) -> None:
    """Take the secrets out of what the server said, and cut it to what is kept: some repeat the key."""
    # Masked before they are cut, as half a key would no longer be found.
    error.args = tuple(mask(arg, secrets)[:_MOST_SHOWN] if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, ProtocolError):
        error.excerpt = mask(error.excerpt, secrets)[:512]
    elif isinstance(error, APIError):
        for name in ("code", "type", "request_id", "limit"):
            if text := getattr(error, name, None):
                setattr(error, name, mask(text, secrets))
        try:
            error.body = mask_all(error.body, secrets)
            if len(text := error.body if isinstance(error.body, str) else json.dumps(error.body)) > MAX_ERROR_BODY:
                error.body = text[:MAX_ERROR_BODY]
        except RecursionError:
            error.body = None


def without_userinfo(address: str) -> str:
    """Return an address, with or without a scheme, without the name and the password in it."""
    return re.sub(r"^([a-zA-Z][\w+.-]*://)?.*@", r"\1***@", address, flags=re.DOTALL)


def place_of(url: str) -> str:
    """Return scheme, host and path of a URL, or as much of it as it has: in the rest there may be secrets."""
    place = re.split("[?#]", url, maxsplit=1)[0]
    return re.sub(r"^((?:[a-zA-Z][\w+.-]*:)?//)[^/]*@", r"\1", place)


@attrs.frozen
class HttpRequest:
    """A request, ready to send.

    Attributes:
        url: absolute.
        headers: values that are secret are ``Masked``.
        body: the bytes to send.
        secrets: what must not appear in an error's text.
        direct: never through a proxy of the environment.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    secrets: tuple[Masked, ...] = attrs.field(default=(), repr=False)
    method: str = "POST"
    direct: bool = False


_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-generation-id", "apim-request-id", "x-amzn-requestid"),
    *("mistral-correlation-id", "x-github-request-id", "cf-ray"),
)


@attrs.frozen
class ResponseInfo:
    """What the response said of itself before its body.

    Attributes:
        status: the HTTP status.
        headers: names in lower case.
        arrived_at: when it came, in UTC.
    """

    status: int
    headers: Mapping[str, str]
    arrived_at: datetime = attrs.field(factory=lambda: datetime.now(timezone.utc))

    @property
    def request_id(self) -> str | None:
        """What to quote to the provider's support."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def rate_limit(self) -> dict[str, Any]:
        """The headers that tell of rate limits, such as ``x-ratelimit-remaining-tokens``."""
        return {name: value for name, value in self.headers.items() if "ratelimit" in name}

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, "" where none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date.

        Source: RFC 9110, 10.2.3; ``retry-after-ms`` as OpenAI and Azure send it.
        """
        seconds = _number(self.headers.get("retry-after-ms"))
        if seconds is not None:
            return seconds / 1000
        text = self.headers.get("retry-after")
        seconds = _number(text)
        if seconds is not None or text is None:
            return seconds
        try:
            date = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return max(0.0, (date - self.arrived_at).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
