"""The file of ``save=``: each result as it ends, and what a second run needs not ask again.

A file has at most one record for each prompt. Records are appended, each in whole; a record that was torn, because the
process was killed or the disk was full, is the last one, and is cut off when the file is opened again. So are the
records of failures, which are asked again.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, MisuseError
from streamkit.values.completion import Completion

__all__ = ["Entry", "Form", "NotOfABatchError", "Record", "ResultFile", "TornError"]

_COPIED = 1024 * 1024  # bytes at once
_LOCKED_AT = 2**40  # on Windows, where a locked byte cannot be read, a byte that no file has


class NotOfABatchError(Exception):
    """A file has something that no batch wrote."""


class TornError(Exception):
    """A record was not written to its end, as its process ended."""


@attrs.frozen
class Entry:
    """What a file says of one prompt.

    Attributes:
        index: its place.
        digest: of the request; see ``requests.digest_of``.
        key: of the prompt, or "".
        answered: whether there is a whole reply.
        cost: of the reply in USD, ``None`` if unknown.
    """

    index: int
    digest: str
    key: str = ""
    answered: bool = True
    cost: float | None = None


@attrs.frozen
class Record:
    """An entry, and where it is: from one byte up to another. The head of a file has no entry."""

    start: int
    end: int
    entry: Entry | None


class Form(Protocol):
    """How a file is written."""

    @property
    def head(self) -> bytes:
        """What comes before the first record."""

    def records(self, file: BinaryIO) -> Iterator[Record]:
        """Iterate the whole records of a file from its beginning, and read a bounded part of it at once.

        Raises:
            TornError: after all whole records, if there is more than these.
            NotOfABatchError: there is something else.
        """

    def encode(self, entry: Entry, prompt: Any, completion: Completion | None, error: Exception | None) -> bytes:
        """Return a record."""

    def decode(self, record: bytes) -> tuple[Entry, Completion]:
        """Return what a record of a whole reply says, and the reply as far as the file has it."""


class ResultFile:
    """A file of results, open and locked.

    Owner of the fields: ``_lock`` guards ``_descriptor``. The others never change after ``__init__``.

    Args:
        path: of the file, made if it is not there.
        form: how it is written.
        by_key: whether prompts are found by their keys; else by their places.

    Attributes:
        cost: what its replies cost in USD, as far as that is known; ``None`` if it is of none.
        answered: how many replies it had when it was opened.

    Raises:
        ConfigError: it is not the file of a batch, or another process writes it.
        OSError: it cannot be opened.

    Threads: any thread may call any method.
    """

    def __init__(self, path: str | os.PathLike[str], form: Form, *, by_key: bool) -> None:
        self._path = os.path.realpath(path)
        self._form = form
        self._by_key = by_key
        self._lock = threading.RLock()
        self._descriptor: int | None = _open_locked(self._path)
        try:
            self._open(self._descriptor)
        except NotOfABatchError as error:
            self.close()
            raise ConfigError(f"{self._path} is not the file of a batch: {error}; name another one") from None
        except BaseException:
            self.close()
            raise
        _open_files.add(self)

    def _open(self, descriptor: int) -> None:
        found = _Contents.of(descriptor, self._form, self._by_key)
        if found.failures:
            self._descriptor = _replaced(self._path, descriptor, found.parts(self._form.head))
            os.close(descriptor)
            descriptor = self._descriptor
            found = _Contents.of(descriptor, self._form, self._by_key)
        if found.torn:
            os.ftruncate(descriptor, found.end)
        if not found.end:
            self._write(self._form.head)
        self._found = found
        self.cost, self.answered = found.cost, found.answered

    def find(self, index: int, key: str, digest: str) -> tuple[Entry, Completion] | None:
        """Return the reply to a prompt, ``None`` if there is none.

        Raises:
            ConfigError: it is the reply to another one, or to another model or with other parameters.
        """
        place = self._found.place(key if self._by_key else index)
        if place is None:
            return None
        entry, completion = self._form.decode(self._read(*place))
        if entry.digest != digest:
            self._refuse(f"the prompt {key!r}" if self._by_key else f"prompt {index}", entry.digest, digest)
        return entry, completion

    def _refuse(self, which: str, found: str, wanted: str) -> None:
        same_call = found.partition("-")[0] == wanted.partition("-")[0]
        other = "to another prompt" if same_call else "of another model, or with other parameters"
        advice = (
            ""
            if self._by_key
            else "; where prompts come and go, give each one a name by key= (--key on the command line)"
        )
        raise ConfigError(
            f"the reply to {which} in {self._path} is one {other}: name another file, or delete this one{advice}"
        )

    def _read(self, start: int, end: int) -> bytes:
        pieces = []
        with self._lock:
            if self._descriptor is None:
                raise MisuseError(f"{self._path} was closed")
            os.lseek(self._descriptor, start, os.SEEK_SET)  # what is written goes to the end anyway
            while start < end and (piece := os.read(self._descriptor, end - start)):
                pieces.append(piece)
                start += len(piece)
        return b"".join(pieces)

    def add(self, entry: Entry, prompt: Any, completion: Completion | None, error: Exception | None) -> bool:
        """Write a result; return whether it was, as a file that was closed takes no more.

        Raises:
            OSError: it cannot be written. Nothing more will be: what was written of it is the last, and is cut off
                when the file is opened again.
        """
        record = self._form.encode(entry, prompt, completion, error)
        with self._lock:
            if self._descriptor is None:
                return False
            try:
                self._write(record)
            except BaseException:
                self.close()
                raise
            return True

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        while data:
            data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Close the file, and unlock it. Closing again does nothing."""
        with self._lock:
            descriptor = self._descriptor
            if descriptor is not None:
                _unlock(descriptor)  # first, so that an interrupt leaves no lock
                self._descriptor = None
                os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:  # an interrupt came before anybody had it, for example
            self.close()

    def abandon(self) -> None:
        """Close the file in a forked child; the lock is the parent's."""
        self._lock = threading.RLock()  # a thread of the parent may have held the old one
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __repr__(self) -> str:
        return f"<ResultFile {self._path!r} {'closed' if self._descriptor is None else 'open'}>"


class _Contents:
    """Where the replies are in a file: places alone, and no text.

    Attributes:
        end: of the last whole record.
        torn: whether there is more after it.
        failures: how many records are of failures.
        cost, answered: see ``ResultFile``.
    """

    def __init__(self) -> None:
        self.end, self.torn, self.failures = 0, False, 0
        self.cost: float | None = None
        self.answered = 0
        self._by_key: dict[str, int] = {}  # the position in the arrays
        self._indexes, self._starts, self._ends = array("q"), array("q"), array("q")

    @classmethod
    def of(cls, descriptor: int, form: Form, by_key: bool) -> _Contents:
        """Read a file once.

        Raises:
            NotOfABatchError: something in it is not of a batch.
        """
        found = cls()
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)
            try:
                for record in form.records(file):
                    found._note(record, by_key)
            except TornError:
                found.torn = True
        found._sort()
        return found

    def _note(self, record: Record, by_key: bool) -> None:
        entry = record.entry
        self.end = record.end
        if entry is None:
            return
        if not entry.answered:
            self.failures += 1
            return
        if by_key:
            if not entry.key:
                raise NotOfABatchError("its records have no keys, and key= was given")
            self._by_key[entry.key] = len(self._starts)
        self._indexes.append(entry.index)
        self._starts.append(record.start)
        self._ends.append(record.end)
        self.answered += 1
        if entry.cost is not None:
            self.cost = (self.cost or 0.0) + entry.cost

    def _sort(self) -> None:
        if self._by_key:
            return  # found by position
        order = sorted(range(len(self._indexes)), key=self._indexes.__getitem__)
        self._indexes, self._starts, self._ends = (
            array("q", map(column.__getitem__, order)) for column in (self._indexes, self._starts, self._ends)
        )

    def place(self, of: int | str) -> tuple[int, int] | None:
        """Return where the reply to a prompt begins and ends; ``None`` if there is none."""
        if isinstance(of, str):
            at = self._by_key.get(of, -1)
        else:
            at = bisect_left(self._indexes, of)
            at = at if at < len(self._indexes) and self._indexes[at] == of else -1
        return None if at < 0 else (self._starts[at], self._ends[at])

    def parts(self, head: bytes) -> Iterator[tuple[int, int]]:
        """Iterate the parts of the file to keep: the head and the replies."""
        yield 0, len(head)
        yield from zip(self._starts, self._ends, strict=True)


def _open_locked(path: str) -> int:
    """Open a file and lock it.

    Raises:
        ConfigError: another process has locked it, or another batch of this one; or it is no file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{path} is no file")
            if not _locked(descriptor):
                raise ConfigError(f"{path} is being written by another batch, in this process or in another one")
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the process that held it has replaced it meanwhile


def _locked(descriptor: int) -> bool:
    """Lock a file, without waiting; return False if somebody else has locked it.

    Not by ``lockf``, whose lock goes when the program opens and closes the file elsewhere, as to look at it.
    """
    try:
        if os.name == "nt":
            windows: Any = late_import("msvcrt")
            os.lseek(descriptor, _LOCKED_AT, os.SEEK_SET)
            windows.locking(descriptor, windows.LK_NBLCK, 1)
        else:
            posix: Any = late_import("fcntl")
            posix.flock(descriptor, posix.LOCK_EX | posix.LOCK_NB)
    except OSError:
        return False
    return True


def _unlock(descriptor: int) -> None:
    """Unlock a file: a child that was forked just now may still have it open."""
    if os.name != "nt":
        posix: Any = late_import("fcntl")
        posix.flock(descriptor, posix.LOCK_UN)


def _is_at(descriptor: int, path: str) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.name == "nt" or os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _replaced(path: str, descriptor: int, kept: Iterable[tuple[int, int]]) -> int:
    """Put a file with some parts of an open one in its place, in one step; return it, open and locked.

    Raises:
        OSError: the disk is full, for example; the file is as it was.
    """
    folder, name = os.path.split(path)
    new, made = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)
    locked = None
    try:
        with open(new, "wb") as file, open(descriptor, "rb", closefd=False) as old:
            for start, end in kept:
                old.seek(start)
                while start < end and (piece := old.read(min(_COPIED, end - start))):
                    file.write(piece)
                    start += len(piece)
            file.flush()
            os.fsync(new)
        os.chmod(made, stat.S_IMODE(os.fstat(descriptor).st_mode))
        locked = _open_locked(made)  # before anybody else can find it
        os.replace(made, path)
    except BaseException:
        if locked is not None:
            os.close(locked)
        with suppress(OSError):
            os.unlink(made)
        raise
    return locked


_open_files: weakref.WeakSet[ResultFile] = weakref.WeakSet()


def _close_inherited() -> None:
    """Close the files in a forked child: it would keep the lock of a parent that was killed."""
    for file in list(_open_files):
        with suppress(OSError):
            file.abandon()
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)
