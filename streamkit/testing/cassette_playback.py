"""Read a cassette as replies for a server."""

from __future__ import annotations

import base64
import codecs
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from streamkit.testing.reply import Reply
from streamkit.testing.steps import Cut, Send, Step, Wait

__all__ = ["cassette_replies"]

_ENDS = ("complete", "cut", "left")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BREAK = re.compile(r"[\r\n\0]")

# What the server that plays a cassette says itself.
_FRAMING = {"content-length", "transfer-encoding", "connection", "keep-alive", "content-encoding", "date", "server"}


def cassette_replies(path: str | os.PathLike[str], *, timing: bool = False) -> list[Reply]:
    """Return the responses of a cassette in the order of their requests, for a ``Server`` to play.

    Args:
        timing: wait between the reads as long as it took then. Without, they come at once, each still a
            write of its own.

    Raises:
        ValueError: it is no cassette, or it holds no response.
        OSError: it cannot be read.
    """
    exchanges: dict[int, _Exchange] = {}
    for row, line in _lines(path):
        try:
            _take(line, exchanges)
        except ValueError as error:
            raise _no_cassette(path, f"line {row}: {error}") from error
    if not exchanges:
        raise _no_cassette(path, "it holds no response")
    return [exchange.reply(timing) for _, exchange in sorted(exchanges.items())]


@attrs.define(eq=False)
class _Exchange:
    """The parts of one exchange that were read so far."""

    status: int
    headers: dict[str, str]
    bodiless: bool
    reads: list[tuple[float, bytes]] = attrs.field(factory=list)
    end: tuple[float, str] | None = None

    def reply(self, timing: bool) -> Reply:
        steps: list[Step] = []
        last = 0.0
        for at, data in self.reads:
            if timing and at > last:
                steps.append(Wait(at - last))
            last = max(last, at)
            steps.append(Send(data))
        if timing and self.end is not None and self.end[0] > last:
            steps.append(Wait(self.end[0] - last))
        if self.end is None or self.end[1] != "complete":
            steps.append(Cut())
        headers = {name: value for name, value in self.headers.items() if name not in _FRAMING}
        return Reply(
            steps,
            status=self.status,
            content_type=headers.pop("content-type", None),
            headers=headers,
            framing="length" if self.bodiless else "chunked",
        )


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """Yield the number and the content of each line; blank ones are passed over, and a last one that was cut."""
    with open(path, "rb") as file:
        for row, raw in enumerate(file, 1):
            raw = raw.removeprefix(codecs.BOM_UTF8) if row == 1 else raw
            if not raw.strip():
                continue
            try:
                yield row, json.loads(raw.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                if raw.endswith(b"\n") or row == 1:
                    raise _no_cassette(path, f"line {row}: {error}") from error


def _no_cassette(path: str | os.PathLike[str], why: str) -> ValueError:
    return ValueError(f"{os.fspath(path)!r} is no cassette: {why}")


def _take(line: Any, exchanges: dict[int, _Exchange]) -> None:
    """Add one line.

    Raises:
        ValueError: it is none of a cassette.
    """
    number = line.get("exchange") if isinstance(line, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("it has no number of an exchange")
    if "response" in line:
        if number in exchanges:
            raise ValueError(f"exchange {number} has a head already")
        exchanges[number] = _head(line)
        return
    exchange = exchanges.get(number)
    if exchange is None:
        raise ValueError(f"exchange {number} has no head")
    if exchange.end is not None:
        raise ValueError(f"exchange {number} has ended already")
    at = line.get("at")
    if not isinstance(at, (int, float)) or isinstance(at, bool) or not 0 <= at < math.inf:
        raise ValueError('"at" is a number of seconds')
    if "end" not in line:
        exchange.reads.append((at, _bytes(line)))
    elif line["end"] in _ENDS:
        exchange.end = (at, line["end"])
    else:
        raise ValueError(f'"end" is one of {", ".join(_ENDS)}')


def _head(line: Mapping[str, Any]) -> _Exchange:
    request, response = line.get("request"), line["response"]
    if not isinstance(response, dict):
        raise ValueError('"response" is an object')
    status, headers = response.get("status"), response.get("headers", {})
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ValueError('"status" is a number from 200 on')
    if not isinstance(headers, dict) or not all(map(_can_be_sent, headers.items())):
        raise ValueError('"headers" is an object of strings that a header can carry')
    asked_for_head = isinstance(request, dict) and request.get("method") == "HEAD"
    return _Exchange(status, {name.lower(): value for name, value in headers.items()}, asked_for_head)


def _can_be_sent(header: tuple[str, Any]) -> bool:
    name, value = header
    return (
        _TOKEN.fullmatch(name) is not None
        and isinstance(value, str)
        and _BREAK.search(value) is None
        and all(ord(character) < 256 for character in value)
    )


def _bytes(line: Mapping[str, Any]) -> bytes:
    text, encoded = line.get("text"), line.get("base64")
    if isinstance(text, str) and encoded is None:
        return text.encode("utf-8")
    if isinstance(encoded, str) and text is None:
        return base64.b64decode(encoded, validate=True)
    raise ValueError('it has neither "text" nor "base64"')
