"""Send one request to a URL, and time everything that is received."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import attrs

from streamkit.cli.addresses import shown
from streamkit.cli.probe_request import is_api, probe_request
from streamkit.cli.verdict import judge
from streamkit.errors import APIError, StreamError
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.refusal import refusal
from streamkit.transport.framing import framing_of
from streamkit.transport.small_requests import Deadline, TimeIsUp, redirected
from streamkit.transport.transport import Transport
from streamkit.wire.json import parse_json
from streamkit.wire.loose_json import as_dict
from streamkit.wire.secrets import MAX_ERROR_BODY, mask_error

__all__ = ["Probe", "probe", "verdict"]

_TELLING = ("server", "via", "x-accel-buffering", "cf-ray", "x-cache", "content-encoding", "transfer-encoding")
_OF_KEYS = re.compile("auth|cookie|key|token", re.IGNORECASE)
_SERVER = "the server"
_MAX_BYTES = 64 * 1024 * 1024


@attrs.define(eq=False)
class Probe:
    """The observations of one response; times in seconds from the start, ``None`` if it never happened."""

    url: str
    keyed: bool = False  # whether a header went out that may have carried a key
    connected: float | None = None
    headers_at: float | None = None
    ended: float | None = None
    status: int | None = None
    content_type: str = ""
    telling_headers: dict[str, str] = attrs.field(factory=dict)
    reads: list[tuple[float, int]] = attrs.field(factory=list)  # when, and how many bytes
    events: list[float] = attrs.field(factory=list)
    brought: list[int] = attrs.field(factory=list)  # by each read, in events
    beginning: bytearray = attrs.field(factory=bytearray)  # of the body
    last_bytes: bytes = b""
    error: StreamError | None = None

    @property
    def first_byte(self) -> float | None:
        """The time of the first read with data."""
        return self.reads[0][0] if self.reads else None

    @property
    def first_event(self) -> float | None:
        """The time when the first event was complete."""
        return self.events[0] if self.events else None

    @property
    def gaps(self) -> list[float]:
        """Seconds between one event and the next."""
        return [after - before for before, after in pairwise(self.events)]

    @property
    def arrivals(self) -> list[tuple[float, int]]:
        """The time of each read that completed events, and their number."""
        return [(moment, events) for (moment, _), events in zip(self.reads, self.brought, strict=True) if events]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-compatible values."""
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
        """Iterate the lines shown to users, as name and value."""
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
    model: str | None,
    data: str | None,
    headers: Iterable[str],
    key_from: str | None,
    timeout: float,
) -> Probe:
    """Send one request, and time the response.

    Raises:
        click.UsageError, ConfigError: as ``probe_request`` does.
    """
    request = probe_request(url, method, model, data, headers, key_from)
    seen = Probe(request.url, keyed=any(map(_OF_KEYS.search, request.headers)))
    hook, transport, began = Deadline(timeout), Transport(), time.monotonic()
    try:
        reply = transport.open(request, hook)
        try:
            seen.headers_at = time.monotonic() - began
            seen.status, seen.content_type = reply.info.status, reply.info.content_type
            told = reply.info.masked(request.secrets).headers
            seen.telling_headers = {name: told[name] for name in _TELLING if name in told}
            if 300 <= reply.info.status < 400:
                raise redirected(reply.info, "ask the right address")
            _read(reply.pieces(), seen, began, api=is_api(urlsplit(request.url).path))
        finally:
            reply.close()
            if reply.info.status >= 400:  # however far its body came
                key = key_from or ("-H" if seen.keyed else None)
                seen.error = refusal(_SERVER, reply.info, bytes(seen.beginning), key)
    except TimeIsUp:
        error = hook.error()
        if seen.headers_at is not None:
            error.args = (f"not complete within {timeout:g} s",)
        seen.error = seen.error or error
    except StreamError as failure:
        seen.error = seen.error or failure
    finally:
        seen.connected = None if hook.sent_at is None else hook.sent_at - began
        hook.guard.release()
        transport.close()
    if seen.error is not None:
        mask_error(seen.error, request.secrets)
    return seen


def _read(pieces: Iterator[bytes], seen: Probe, began: float, *, api: bool) -> None:
    framing = framing_of(seen.content_type)
    if framing is None:
        for _ in _timed(pieces, seen, began):
            pass
        seen.error = _error_in("", bytes(seen.beginning), api=api)
    else:
        for event in framing(_timed(pieces, seen, began)):
            seen.events.append(time.monotonic() - began)
            seen.brought[-1] += 1
            seen.error = seen.error or _error_in(event.event, event.data, api=api)
    seen.ended = time.monotonic() - began


def _timed(pieces: Iterator[bytes], seen: Probe, began: float) -> Iterator[bytes]:
    """Iterate the pieces, up to a bound, and record each."""
    total = 0
    for data in pieces:
        seen.reads.append((time.monotonic() - began, len(data)))
        seen.brought.append(0)
        seen.beginning += data[: MAX_ERROR_BODY - len(seen.beginning)]
        seen.last_bytes = (seen.last_bytes + data[-4:])[-4:]
        total += len(data)
        if total > _MAX_BYTES:
            return
        yield data


def _error_in(kind: str, data: str | bytes, *, api: bool) -> APIError | None:
    """Return the error that an event, or a whole body, reports.

    Args:
        kind: the type of the event.
        data: what it carries.
        api: whether it came of an API for replies; elsewhere ``{"message": "half done", "status": "running"}`` is
            no error.
    """
    failed = kind == "error" or kind.startswith("exception:")  # the latter of AWS
    try:
        decoded = parse_json(data)
    except ValueError:
        return api_error(_SERVER, data, None, in_stream=True) if failed else None
    told = as_dict(decoded)
    for body in (told, as_dict(told.get("response"))):  # the latter of OpenAI's responses
        ordinary = {name: value for name, value in body.items() if name != "message" and (value or name != "error")}
        if reports_error(body if api else ordinary):
            return api_error(_SERVER, body, None, in_stream=True)
    return api_error(_SERVER, decoded, None, in_stream=True) if failed else None


def verdict(seen: Probe, *, with_error: bool = True) -> str:
    """Return in words whether the response was streamed, and what to do if not.

    Args:
        seen: the observations.
        with_error: whether to say which error there was.
    """
    if seen.error is not None:
        failed = f"failed: {seen.error.message.rstrip('.')}" if with_error else _failed(seen)
        if seen.connected is None:
            return failed
        return f"{failed}. Until then: {judge(seen.arrivals) if seen.events else 'no event came'}"
    if framing_of(seen.content_type) is None or not seen.content_type:
        return f"not a stream: the server sends {seen.content_type or 'no content type'}"
    torn = "" if _ends_whole(seen) else ". The last event has no empty line after it: it may have been cut off"
    return f"{judge(seen.arrivals)}{torn}"


def _failed(seen: Probe) -> str:
    """Return in a few words how far it went."""
    if isinstance(seen.error, APIError):
        return f"failed: the server answered {seen.error.status or 'with an error'}"
    return "failed: nothing was sent" if seen.connected is None else "failed"


def _ends_whole(seen: Probe) -> bool:
    """Return whether the body ends as its format requires; without a length, a cut looks like an end."""
    if seen.content_type != "text/event-stream" or not seen.last_bytes:
        return True
    return seen.last_bytes.replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")
