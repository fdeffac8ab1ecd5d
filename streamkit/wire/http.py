"""HTTP request and response values, exchanged by providers, which do no I/O, and the transport."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import attrs

from streamkit.settings import LONGEST_WAIT
from streamkit.wire.secrets import Masked, mask_all

__all__ = ["HttpRequest", "ResponseInfo"]


@attrs.frozen
class HttpRequest:
    """A request, ready to send.

    Attributes:
        url: an absolute URL.
        headers: names and values; secret values are ``Masked``.
        body: the bytes to send.
        secrets: strings that must not appear in an error's text.
        method: the HTTP method.
        direct: whether to ignore the proxies of the environment.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)
    secrets: tuple[Masked, ...] = attrs.field(default=(), repr=False)
    method: str = "POST"
    direct: bool = False


_REQUEST_ID_HEADERS = (
    *("x-request-id", "request-id", "x-generation-id", "apim-request-id", "x-amzn-requestid"),
    *("x-litellm-call-id", "mistral-correlation-id", "x-github-request-id", "cf-ray"),
)


@attrs.frozen
class ResponseInfo:
    """The head of a response.

    Attributes:
        status: the HTTP status.
        headers: the headers, with names in lower case.
        arrived_at: when the head arrived, in UTC.
    """

    status: int
    headers: Mapping[str, str]
    arrived_at: datetime = attrs.field(factory=lambda: datetime.now(timezone.utc))

    def masked(self, secrets: tuple[str, ...]) -> ResponseInfo:
        """Return a copy with the secrets masked; some servers repeat the key in a header, such as the request id."""
        return attrs.evolve(self, headers=mask_all(dict(self.headers), secrets))

    @property
    def request_id(self) -> str | None:
        """The request id to quote to the provider's support, or ``None``."""
        return next((self.headers[name] for name in _REQUEST_ID_HEADERS if name in self.headers), None)

    @property
    def rate_limit(self) -> dict[str, Any]:
        """The headers about rate limits, such as ``x-ratelimit-remaining-tokens``."""
        return {name: value for name, value in self.headers.items() if "ratelimit" in name}

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; "" if the server sent none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str:
        """The charset of the media type in lower case; "" if the server sent none."""
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'").lower()
        return ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date.

        A number above ``LONGEST_WAIT`` counts as ``LONGEST_WAIT``; a missing or malformed header gives ``None``.

        Source: RFC 9110, 10.2.3; ``retry-after-ms`` as OpenAI and Azure send it.
        """
        seconds = _number(self.headers.get("retry-after-ms"))
        if seconds is not None:
            return min(seconds / 1000, LONGEST_WAIT)
        text = self.headers.get("retry-after")
        seconds = _number(text)
        if seconds is not None:
            return min(seconds, LONGEST_WAIT)
        if text is None:
            return None
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
    return number if number >= 0 else None
