"""Cassettes: real traffic in a file, without its keys, and back again as replies.

A cassette is JSON lines. Each exchange has a number; its lines are a head, then a line for each read of the
response with the seconds since the request came, then an end. Exchanges that ran at the same time may be mixed,
and a file that was cut is good up to there::

    {"exchange": 1, "request": {...}, "response": {...}}
    {"exchange": 1, "at": 0.31, "text": "data: {...}\\n\\n"}
    {"exchange": 1, "at": 0.55, "end": "complete"}
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from streamkit.testing.events import to_json
from streamkit.testing.script import Cut, Reply, Send, Step, Wait

__all__ = ["CassetteWriter", "cassette_replies"]

_SECRET_HEADER = re.compile(r"(?i).*(authorization|key|token|secret|cookie|organization|project|account|session).*")
_NO_SECRET = {"anthropic-version", "content-length"}
_SECRET_PARAMETER = re.compile(r"(?i)(key|token|api[-_]?key|access_token|sig|signature|x-amz-.*)")
_HIDDEN = "***"
_SHORT = 8  # characters; shorter values are words, which would be taken out of everything


class _Scrubber:
    """Takes secrets out of bytes that come in pieces, also where a piece ends in the middle of one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret.encode() for secret in sorted(secrets, key=len, reverse=True)]
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Return what is safe to write so far; the beginning of what may be a secret is held back."""
        data = self._without(self._held + data)
        longest = max((len(secret) for secret in self._secrets), default=1) - 1
        held = next(
            (
                size
                for size in range(min(longest, len(data)), 0, -1)
                if any(secret.startswith(data[-size:]) for secret in self._secrets)
            ),
            0,
        )
        self._held = data[len(data) - held :]
        return data[: len(data) - held]

    def rest(self) -> bytes:
        """Return what was held back, at the end: the beginning of a secret is one itself."""
        held, self._held = self._held, b""
        return _HIDDEN.encode() if len(held) >= _SHORT else held

    def _without(self, data: bytes) -> bytes:
        for secret in self._secrets:
            data = data.replace(secret, _HIDDEN.encode())
        return data


class CassetteWriter:
    """Writes exchanges to a cassette, each line as soon as it is known.

    Threads: exchanges may run at the same time; each is one thread's.

    Args:
        path: of the file; it is begun anew.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed in close()
        os.chmod(path, 0o600)  # prompts and answers are nobody else's either
        self._lock = threading.Lock()  # guards the file and the number
        self._number = 0

    def begin(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        status: int,
        response_headers: Mapping[str, str],
    ) -> Exchange:
        """Write the head of an exchange.

        Args:
            target: path and query.
            headers, body: of the request; secrets in them are looked for in all that follows.
        """
        with self._lock:
            self._number += 1
            number = self._number
        secrets = _secrets(target, headers)
        text = _cleaned(body, secrets)
        request = {"method": method, "target": _clean_target(target, secrets), "headers": _clean(headers, secrets)}
        response = {"status": status, "headers": _clean(response_headers, secrets)}
        exchange = Exchange(self, number, secrets)
        self.write({"exchange": number, "request": {**request, **text}, "response": response})
        return exchange

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line, through to the file."""
        with self._lock:
            if not self._file.closed:
                self._file.write(f"{to_json(line)}\n")
                self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


class Exchange:
    """One exchange that is being written."""

    def __init__(self, writer: CassetteWriter, number: int, secrets: list[str]) -> None:
        self._writer = writer
        self._number = number
        self._scrubber = _Scrubber(secrets)

    def data(self, at: float, data: bytes) -> None:
        """Write one read of the response, ``at`` seconds after the request came."""
        if safe := self._scrubber.feed(data):
            self._writer.write({"exchange": self._number, "at": round(at, 6), **_text(safe)})

    def end(self, at: float, how: str) -> None:
        """Write the end: ``complete``, ``cut`` by the server, or ``left`` by the client."""
        if rest := self._scrubber.rest():
            self._writer.write({"exchange": self._number, "at": round(at, 6), **_text(rest)})
        self._writer.write({"exchange": self._number, "at": round(at, 6), "end": how})


def cassette_replies(path: str | os.PathLike[str], *, timing: bool = False) -> list[Reply]:
    """Return the responses of a cassette in the order of their requests, for a ``Server`` to play.

    Args:
        timing: wait between the reads as long as it took then. Without, they come at once, each still a
            write of its own.

    Raises:
        ValueError: it is no cassette.
    """
    heads: dict[int, dict[str, Any]] = {}
    steps: dict[int, list[Step]] = {}
    last: dict[int, float] = {}
    ended: dict[int, str] = {}
    for line in _lines(path):
        number = line["exchange"]
        if "response" in line:
            heads[number], steps[number], last[number] = line["response"], [], 0.0
            continue
        if timing and line["at"] > last[number]:
            steps[number].append(Wait(line["at"] - last[number]))
        last[number] = line["at"]
        if "end" in line:
            ended[number] = line["end"]
        else:
            steps[number].append(Send(_bytes(line)))
    return [_reply(head, steps[number], ended.get(number) == "complete") for number, head in sorted(heads.items())]


def _reply(head: Mapping[str, Any], steps: list[Step], complete: bool) -> Reply:
    headers = {name: value for name, value in head["headers"].items() if name not in _FRAMING}
    content_type = headers.pop("content-type", None)
    ending = [] if complete else [Cut()]
    return Reply([*steps, *ending], status=head["status"], content_type=content_type, headers=headers)


# What the server that plays a cassette says itself.
_FRAMING = {"content-length", "transfer-encoding", "connection", "keep-alive", "content-encoding", "date", "server"}


def _lines(path: str | os.PathLike[str]) -> Iterable[dict[str, Any]]:
    begun: set[int] = set()
    with open(path, encoding="utf-8") as file:
        for row, text in enumerate(file, 1):
            try:
                line = json.loads(text)
                number = line["exchange"]
                if "response" in line:
                    begun.add(number)
                elif number not in begun or not isinstance(line["at"], (int, float)):
                    raise ValueError("it has no head")
            except (ValueError, KeyError, TypeError) as error:
                if not text.endswith("\n"):
                    return  # it was cut here
                raise ValueError(f"{os.fspath(path)!r} is no cassette: line {row}: {error}") from error
            yield line


def _text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _bytes(line: Mapping[str, Any]) -> bytes:
    if "text" in line:
        return str(line["text"]).encode("utf-8")
    try:
        return base64.b64decode(str(line.get("base64", "")), validate=True)
    except binascii.Error:
        return b""


def _is_secret(name: str) -> bool:
    return bool(_SECRET_HEADER.fullmatch(name)) and name.lower() not in _NO_SECRET


def _secrets(target: str, headers: Mapping[str, str]) -> list[str]:
    found = {value.removeprefix("Bearer ").strip() for name, value in headers.items() if _is_secret(name)}
    found |= {value for name, value in parse_qsl(urlsplit(target).query) if _SECRET_PARAMETER.fullmatch(name)}
    return [secret for secret in found if len(secret) >= _SHORT]


def _clean_target(target: str, secrets: Iterable[str]) -> str:
    parts = urlsplit(target)
    query = [
        (name, _HIDDEN if _SECRET_PARAMETER.fullmatch(name) else value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    return _hidden(parts._replace(query=urlencode(query, safe="*")).geturl(), secrets)


def _clean(headers: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    return {
        name.lower(): _HIDDEN if _is_secret(name) else _hidden(str(value), secrets) for name, value in headers.items()
    }


def _cleaned(data: bytes, secrets: Iterable[str]) -> dict[str, str]:
    scrubber = _Scrubber(secrets)
    return _text(scrubber.feed(data) + scrubber.rest())


def _hidden(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text
