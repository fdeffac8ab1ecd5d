"""How the bytes of a URL arrive: a request, and the time of everything that came back."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import attrs
import click
import orjson

from streamkit.cli.addresses import secrets_in, shown
from streamkit.cli.verdict import judge
from streamkit.errors import ConfigError, ProtocolError, StreamError
from streamkit.transport.fetch import Deadline, TimeIsUp, redirected
from streamkit.transport.frames import framing_of
from streamkit.transport.http import Transport
from streamkit.wire import HttpRequest, Masked, mask_error, without_userinfo

__all__ = ["Probe", "probe", "verdict"]

_TELLING = ("server", "via", "x-accel-buffering", "cf-ray", "x-cache", "content-encoding", "transfer-encoding")
_SHORT = 8  # characters; shorter values are versions and flags, whose masking would only garble a text
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_MAX_BYTES = 64 * 1024 * 1024


@attrs.define(eq=False)
class Probe:
    """What was seen of one response; times in seconds from the start, ``None`` for what never came."""

    url: str
    connected: float | None = None
    headers_at: float | None = None
    first_byte: float | None = None
    first_event: float | None = None
    ended: float | None = None
    status: int | None = None
    content_type: str = ""
    telling_headers: dict[str, str] = attrs.field(factory=dict)
    reads: list[tuple[float, int]] = attrs.field(factory=list)  # when, and how many bytes
    events: list[float] = attrs.field(factory=list)
    brought: list[int] = attrs.field(factory=list)  # by each read, in events
    last_bytes: bytes = b""
    error: StreamError | None = None

    @property
    def gaps(self) -> list[float]:
        """Seconds between one event and the next."""
        return [after - before for before, after in pairwise(self.events)]

    @property
    def arrivals(self) -> list[tuple[float, int]]:
        """When the reads came that brought events, and how many."""
        return [(moment, events) for (moment, _), events in zip(self.reads, self.brought, strict=True) if events]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can have them."""
        gaps = sorted(self.gaps)
        return {
            "url": shown(self.url),
            "status": self.status,
            "content_type": self.content_type,
            "connected": self.connected,
            "headers": self.headers_at,
            "first_byte": self.first_byte,
            "first_event": self.first_event,
            "ended": self.ended,
            "reads": len(self.reads),
            "bytes": sum(size for _, size in self.reads),
            "events": len(self.events),
            "gap_median": statistics.median(gaps) if gaps else None,
            "gap_p95": gaps[int(len(gaps) * 0.95)] if gaps else None,
            "gap_longest": gaps[-1] if gaps else None,
            "response_headers": self.telling_headers,
            "error": None if self.error is None else str(self.error),
        }

    def lines(self) -> Iterator[tuple[str, str]]:
        """Iterate what people read, a name and a value each."""
        figures = self.to_dict()
        yield "status", f"{self.status or '-'} {self.content_type}".rstrip()
        for name in ("connected", "headers", "first_byte", "first_event", "ended"):
            yield name.replace("_", " "), _seconds(figures[name])
        yield "reads", f"{figures['reads']}, {figures['bytes']} bytes, {figures['events']} events"
        if self.gaps:
            median, p95, longest = (_seconds(figures[f"gap_{name}"]) for name in ("median", "p95", "longest"))
            yield "gaps", f"median {median}, 95 % {p95}, longest {longest}"
        for name, value in self.telling_headers.items():
            yield name, value


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.3f} s"


def probe(
    url: str,
    *,
    method: str | None,
    model: str,
    data: str | None,
    headers: Iterable[str],
    key_from: str | None,
    timeout: float,
) -> Probe:
    """Send one request, and time what comes back.

    Raises:
        click.UsageError: it cannot be sent as it stands.
        ConfigError: the variable for the key is not set.
    """
    request = _request(url, method, model, data, headers, key_from)
    seen = Probe(request.url)
    watch, transport, began = Deadline(timeout), Transport(), time.monotonic()
    try:
        reply = transport.open(request, watch)
        try:
            seen.connected = None if watch.sent_at is None else watch.sent_at - began
            seen.headers_at = time.monotonic() - began
            seen.status, seen.content_type = reply.info.status, reply.info.content_type
            seen.telling_headers = {name: reply.info.headers[name] for name in _TELLING if name in reply.info.headers}
            if 300 <= reply.info.status < 400:
                raise redirected(reply.info, "ask the right address")
            _read(reply.pieces(), seen, began)
        finally:
            reply.close()
    except TimeIsUp:
        seen.error = watch.error()
    except StreamError as error:
        seen.error = error
    finally:
        watch.guard.release()
        transport.close()
    if seen.error is None and seen.status is not None and seen.status >= 400:
        seen.error = ProtocolError(f"the server answers with {seen.status}", excerpt="")
    if seen.error is not None:
        mask_error(seen.error, request.secrets)
    return seen


def _read(pieces: Iterator[bytes], seen: Probe, began: float) -> None:
    def timed() -> Iterator[bytes]:
        total = 0
        for data in pieces:
            seen.reads.append((time.monotonic() - began, len(data)))
            seen.brought.append(0)
            seen.last_bytes = (seen.last_bytes + data[-4:])[-4:]
            if seen.first_byte is None:
                seen.first_byte = seen.reads[0][0]
            total += len(data)
            if total > _MAX_BYTES:
                return
            yield data

    framing = framing_of(seen.content_type)
    for _ in framing(timed()) if framing is not None else timed():
        if framing is not None:
            seen.events.append(time.monotonic() - began)
            seen.brought[-1] += 1
    seen.first_event = seen.events[0] if seen.events else None
    seen.ended = time.monotonic() - began


def _request(
    url: str, method: str | None, model: str, data: str | None, headers: Iterable[str], key_from: str | None
) -> HttpRequest:
    path = _path_of(url)
    sent: dict[str, str] = {
        "Accept": "text/event-stream, application/x-ndjson, application/json",
        "Accept-Encoding": "identity",
    }
    sent.update(map(_header, headers))
    if key_from is not None:
        sent["Authorization"] = _bearer(key_from)
    secrets = [v.removeprefix("Bearer ") for v in sent.values() if isinstance(v, Masked)]
    masked = tuple(Masked(text) for text in (*secrets, *secrets_in(url)) if len(text) >= _SHORT)
    if (method or ("GET" if data is None and not _is_api(path) else "POST")) == "GET":
        return HttpRequest(url, sent, b"", masked, method="GET")
    if _is_base(path):
        url = urlsplit(url)._replace(path=f"{path.rstrip('/')}/chat/completions").geturl()
    asked = {"model": model, "messages": [{"role": "user", "content": "Count from 1 to 30."}], "stream": True}
    try:
        body = orjson.dumps(asked) if data is None else data.encode()
    except (UnicodeEncodeError, TypeError):
        raise click.UsageError("the body and the model's name are text in UTF-8") from None
    return HttpRequest(url, {"Content-Type": "application/json", **sent}, body, masked)


def _path_of(url: str) -> str:
    """Return the path of a URL.

    Raises:
        click.UsageError: no request could go there.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        fits = False
    if not fits:
        raise click.UsageError(
            f"the URL is an absolute one such as https://host/v1, not {without_userinfo(shown(url))!r}"
        )
    return parts.path


def _header(text: str) -> tuple[str, Masked]:
    """Return name and value of a header.

    Raises:
        click.UsageError: it cannot be sent.
    """
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()):
        raise click.UsageError("a header is written 'NAME: VALUE'")  # not as it was given: there may be a key in it
    if not _VALUE.fullmatch(value.strip()):
        raise click.UsageError(f"the header {name.strip()} has characters that no header can carry")
    return name.strip(), Masked(value.strip())


def _bearer(variable: str) -> Masked:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"the environment variable {variable} is not set")
    if not _VALUE.fullmatch(key):
        raise click.UsageError(f"the environment variable {variable} has characters that no header can carry")
    return Masked(f"Bearer {key}")


def _is_base(path: str) -> bool:
    return path.rstrip("/").endswith(("/v1", "/v1beta", "/openai"))


def _is_api(path: str) -> bool:
    return _is_base(path) or path.rstrip("/").endswith(("/completions", "/responses", "/messages", "/chat"))


def verdict(seen: Probe) -> str:
    """Return whether the response came as a stream does, and what to do if not."""
    if seen.error is not None:
        told = judge(seen.arrivals) if seen.events else "no event came"
        return f"failed: {seen.error.message.rstrip('.')}. Until then: {told}"
    if framing_of(seen.content_type) is None or not seen.content_type:
        return f"not a stream: the server sends {seen.content_type or 'no content type'}"
    torn = "" if _ends_whole(seen) else ". The last event has no empty line after it: it may have been cut off"
    return f"{judge(seen.arrivals)}{torn}"


def _ends_whole(seen: Probe) -> bool:
    """Say whether the body ends as one in its format does; without a length, a cut looks like an end."""
    if seen.content_type != "text/event-stream" or not seen.last_bytes:
        return True
    return seen.last_bytes.replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")
