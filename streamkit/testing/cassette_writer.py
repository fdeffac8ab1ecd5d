"""Cassettes: real traffic in a file, without its keys.

A cassette is JSON lines. Each exchange has a number, in the order of the requests; its lines are a head, then a
line for each read of the response with the seconds since the request came, then an end. Exchanges that ran at the
same time may be mixed, and a file that was cut is good up to there::

    {"exchange": 1, "request": {...}, "response": {...}}
    {"exchange": 1, "at": 0.31, "text": "data: {...}\\n\\n"}
    {"exchange": 1, "at": 0.55, "end": "complete"}
"""

from __future__ import annotations

import base64
import errno
import os
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TextIO

from streamkit.testing.openai_events import to_json
from streamkit.testing.scrubbing import HIDDEN, Scrubber, clean_form, clean_headers, clean_target, secrets_of

__all__ = ["CassetteWriter", "Exchange"]


class CassetteWriter:
    """Writes exchanges to a cassette, each line as soon as it is known.

    The file is begun anew with the first response, so that a cassette stays as it is where nothing was recorded.
    Lines go through to the file one by one: if the process is killed, what came before is there. A read that may
    end in the beginning of a key is held until the next ones decide, at most some events, and written with its time.

    Threads: exchanges may run at the same time; each is one thread's.

    Args:
        path: of the file. A new one is readable by its owner only.

    Attributes:
        failure: why a line could not be written, ``None`` as long as all could be.

    Raises:
        OSError: it cannot be written; its ``filename`` is the path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        _check_writable(self._path)
        self._lock = threading.Lock()  # guards the fields below
        self._file: TextIO | None = None
        self._closed = False
        self._number = 0
        self.failure: OSError | None = None

    def begin(self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> Exchange:
        """Give a request that arrived its number.

        Args:
            target: path and query.
            headers, body: secrets in them are looked for in all that follows.
        """
        with self._lock:
            self._number += 1
            number = self._number
        headers = list(headers)
        scrubber = Scrubber(secrets_of(target, headers, body))
        clean = clean_headers(headers, scrubber)
        content = _text(scrubber.clean(clean_form(body)))
        if "content-encoding" in clean and body:
            content = {"text": HIDDEN}  # a key in it could not be found
        request = {"method": method, "target": clean_target(target, scrubber), "headers": clean, **content}
        return Exchange(self, number, request, scrubber)

    def write(self, line: Mapping[str, Any]) -> None:
        """Write one line, through to the file."""
        with self._lock:
            if self._closed:
                return
            try:
                if self._file is None:
                    self._file = open(self._path, "w", encoding="utf-8", newline="\n", opener=_open_private)  # noqa: SIM115
                self._file.write(f"{to_json(line)}\n")
                self._file.flush()
            except OSError as error:
                self.failure = self.failure or error
                raise

    def close(self) -> None:
        """Close the file; what is still told is not written."""
        with self._lock:
            self._closed = True
            if self._file is not None:
                with suppress(OSError):  # what could not be written is in ``failure`` already
                    self._file.close()


class Exchange:
    """One exchange that is being written."""

    def __init__(self, writer: CassetteWriter, number: int, request: Mapping[str, Any], scrubber: Scrubber) -> None:
        self._writer = writer
        self._number = number
        self._request = request
        self._scrubber = scrubber

    def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Write what the request was, and how the response begins."""
        response = {"status": status, "headers": clean_headers(headers, self._scrubber, numbers=True)}
        self._writer.write({"exchange": self._number, "request": self._request, "response": response})

    def data(self, at: float, data: bytes) -> None:
        """Write one read of the response, ``at`` seconds after the request came."""
        self._write(self._scrubber.feed_at(at, data))

    def end(self, at: float, how: str) -> None:
        """Write the end: ``complete``, ``cut`` by the server, or ``left`` by the client."""
        self._write(self._scrubber.rest_at(at))
        self._writer.write({"exchange": self._number, "at": round(at, 6), "end": how})

    def _write(self, reads: Iterable[tuple[float, bytes]]) -> None:
        for at, safe in reads:
            if safe:
                self._writer.write({"exchange": self._number, "at": round(at, 6), **_text(safe)})


def _text(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _check_writable(path: str) -> None:
    """Raise an OSError for a path where nothing can be written, without touching what is there."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    folder = os.path.dirname(path) or os.curdir
    if folder == os.curdir and not _has_directory():
        raise FileNotFoundError(errno.ENOENT, "the current directory was deleted", path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", path)
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _has_directory() -> bool:
    """Return whether the current directory exists; of one that was deleted, all but its name is still there."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # prompts and answers are nobody else's either
