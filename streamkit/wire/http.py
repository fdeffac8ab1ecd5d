"""Values between a provider, which does no I/O, and the transport, which knows no provider."""

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
    *("x-litellm-call-id", "mistral-correlation-id", "x-github-request-id", "cf-ray"),
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

    def masked(self, secrets: tuple[str, ...]) -> ResponseInfo:
        """Return the same without the secrets: some servers repeat the key, also as the request's id."""
        return attrs.evolve(self, headers=mask_all(dict(self.headers), secrets))

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
    def charset(self) -> str:
        """The charset of the media type in lower case, "" where none was sent."""
        for parameter in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "charset":
                return value.strip().strip("\"'").lower()
        return ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait: ``retry-after-ms``, or ``Retry-After`` in seconds or as a date.

        A number beyond ``LONGEST_WAIT`` counts as that, however many digits it has.

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
