"""How the bytes of a URL arrive: a request, and the time of everything that came back."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import attrs
import click
import orjson

from streamkit.errors import ConfigError, ProtocolError, StreamError
from streamkit.transport.fetch import Deadline, TimeIsUp
from streamkit.transport.frames import framing_of
from streamkit.transport.http import Transport
from streamkit.wire import HttpRequest, Masked

__all__ = ["Probe", "probe", "verdict"]

_TELLING = ("server", "via", "x-accel-buffering", "cf-ray", "x-cache", "content-encoding", "transfer-encoding")
_LONG_WAIT = 0.5  # seconds before the first event that make a burst at the end suspicious
_MANY = 5  # events that say something about how they arrive
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
    error: StreamError | None = None

    @property
    def gaps(self) -> list[float]:
        """Seconds between one event and the next."""
        return [after - before for before, after in pairwise(self.events)]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can have them."""
        gaps = sorted(self.gaps)
        return {
            "url": self.url,
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
        ConfigError: it cannot be sent as it stands.
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
    return seen


def _read(pieces: Iterator[bytes], seen: Probe, began: float) -> None:
    def timed() -> Iterator[bytes]:
        total = 0
        for data in pieces:
            seen.reads.append((time.monotonic() - began, len(data)))
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
    seen.first_event = seen.events[0] if seen.events else None
    seen.ended = time.monotonic() - began


def _request(
    url: str, method: str | None, model: str, data: str | None, headers: Iterable[str], key_from: str | None
) -> HttpRequest:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"the URL is an absolute one such as https://host/v1, not {url!r}")
    sent = {"Accept": "text/event-stream, application/x-ndjson, application/json", "Accept-Encoding": "identity"}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.UsageError(f"a header is written 'NAME: VALUE', not {name!r}")
        sent[name.strip()] = Masked(value.strip())
    if key_from is not None:
        key = os.environ.get(key_from, "").strip()
        if not key:
            raise ConfigError(f"the environment variable {key_from} is not set")
        sent["Authorization"] = Masked(f"Bearer {key}")
    secrets = tuple(Masked(v.removeprefix("Bearer ")) for v in sent.values() if isinstance(v, Masked) and len(v) >= 8)
    if (method or ("GET" if data is None and not _is_api(parts.path) else "POST")) == "GET":
        return HttpRequest(url, sent, b"", secrets, method="GET")
    if _is_base(parts.path):
        url = f"{url.rstrip('/')}/chat/completions"
    asked = {"model": model, "messages": [{"role": "user", "content": "Count from 1 to 30."}], "stream": True}
    body = orjson.dumps(asked) if data is None else data.encode()
    return HttpRequest(url, {**sent, "Content-Type": "application/json"}, body, secrets)


def _is_base(path: str) -> bool:
    return path.rstrip("/").endswith(("/v1", "/v1beta", "/openai"))


def _is_api(path: str) -> bool:
    return _is_base(path) or path.rstrip("/").endswith(("/completions", "/responses", "/messages", "/chat"))


def verdict(seen: Probe) -> str:
    """Return whether the response came as a stream does, and what to do if not."""
    if framing_of(seen.content_type) is None or not seen.content_type:
        return f"not a stream: the server sends {seen.content_type or 'no content type'}"
    if len(seen.events) < _MANY:
        return f"only {len(seen.events)} events came, too few to tell"
    wait, span = seen.events[0], seen.events[-1] - seen.events[0]
    if wait >= _LONG_WAIT and span <= wait / 10:
        return (
            "buffered: nothing for a long time, then all events at once. Something between here and the model "
            "holds the stream back: a proxy (X-Accel-Buffering: no turns that off in nginx), compression, or a "
            "server that collects the answer first"
        )
    if len(seen.events) / max(1, len(seen.reads)) >= _MANY and span >= _LONG_WAIT:
        return "in bursts: several events with each read. Something on the way collects them before it sends on"
    return "streamed: events come one by one, as they are written"
