"""How far each call of a suspended run has come, shared by whoever may resume it: ``Claims``.

A call is ``waiting``, then ``approved``, then ``running``, then ``done``. Each step is written before what it
announces, by compare-and-swap: so a function never runs twice, however often its suspension is resumed, in one process
or several.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, MisuseError, StoreConflictError
from streamkit.values.chunks import ToolResult

__all__ = ["Claim", "ClaimState", "Claims", "FileClaims", "MemoryClaims"]

ClaimState = Literal["waiting", "approved", "running", "done"]

_VERSION = 1
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


@attrs.frozen
class Claim:
    """How far one call has come.

    Attributes:
        state: ``waiting`` for a decision, ``approved``, ``running`` or ``done``.
        result: the result of a call that is done, so that who goes on after a crash has it.
    """

    state: ClaimState
    result: ToolResult | None = None


class Claims(ABC):
    """Where the states of calls are kept. Subclass it to keep them in a store of your own.

    Threads: any, at the same time.
    """

    @abstractmethod
    def hold(self, id: str) -> bool:
        """Become the only one who moves the calls of a suspension, until ``release`` or the end of the process.

        Args:
            id: of the suspension.

        Returns:
            False if somebody who is alive holds it.
        """

    @abstractmethod
    def release(self, id: str) -> None:
        """Let others hold it; do nothing if it is not held."""

    @abstractmethod
    def read(self, id: str) -> Mapping[str, Claim]:
        """Return the state of each call by its id; a call that is not in it is waiting.

        The empty id stands for the suspension itself: it is ``done`` once a run that resumed it has ended.
        """

    @abstractmethod
    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """Set the state of a call if it is the expected one, durably; return whether it was.

        Args:
            id: of the suspension, which the caller holds.
            call_id: any text that stands for the call, or the empty one.
            expected: the state so far.
            state: the new one.
            result: with ``done``.
        """

    @abstractmethod
    def forget(self, id: str) -> None:
        """Delete the states of a suspension that will not be resumed any more.

        Raises:
            StoreConflictError: somebody holds it.
        """


class MemoryClaims(Claims):
    """Keeps the states in this process: a suspension is resumed once here, and nothing is known of other processes.

    Owner of the fields: ``_lock`` guards both.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: set[str] = set()
        self._states: dict[str, dict[str, Claim]] = {}

    def hold(self, id: str) -> bool:
        """See ``Claims``."""
        with self._lock:
            if id in self._held:
                return False
            self._held.add(id)
            return True

    def release(self, id: str) -> None:
        """See ``Claims``."""
        with self._lock:
            self._held.discard(id)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``."""
        with self._lock:
            return dict(self._states.get(id, {}))

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``."""
        with self._lock:
            states = self._states.setdefault(id, {})
            if states.get(call_id, Claim("waiting")).state != expected:
                return False
            states[call_id] = Claim(state, result)
            if not call_id and state == "done":
                self._states[id] = {"": states[""]}  # nobody needs the results any more
            return True

    def forget(self, id: str) -> None:
        """See ``Claims``."""
        with self._lock:
            if id in self._held:
                raise _being_resumed(id)
            self._states.pop(id, None)

    def __repr__(self) -> str:
        return f"<MemoryClaims, {len(self._states)} suspensions>"


# The suspensions that this process holds in folders, each with its locked file. A lock of the operating system is the
# process's, so it keeps other processes out, and not other threads.
_held_files: dict[Path, int] = {}
_files_lock = threading.RLock()


class FileClaims(Claims):
    """Keeps the states in files of a folder: for any number of processes of one machine.

    Each suspension has a file of states, replaced as a whole and flushed to the disk, and a file that is locked by the
    process that holds it. The operating system releases the lock when the process ends, also by ``kill -9``.

    The files hold the results of the calls until a run that resumed the suspension has ended. They stay until
    ``forget``.

    Args:
        folder: made if it is not there; only for the user who runs the program.

    Raises:
        ConfigError: it is no folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).resolve()  # one name for one folder, see _held_files
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise ConfigError(f"FileClaims takes a folder, and {self._folder} is a file") from None

    def hold(self, id: str) -> bool:
        """See ``Claims``."""
        path = self._path(id, ".lock")
        with _files_lock:
            if path in _held_files:
                return False
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                if not _locked(descriptor):
                    os.close(descriptor)
                    return False
                if _is_at(descriptor, path):
                    _held_files[path] = descriptor
                    return True
                os.close(descriptor)  # the process that held it has deleted it meanwhile

    def release(self, id: str) -> None:
        """See ``Claims``."""
        path = self._path(id, ".lock")
        with _files_lock:
            descriptor = _held_files.get(path)
            if descriptor is None:
                return
            if os.name != "nt" and not self._path(id, ".json").exists():
                path.unlink(missing_ok=True)  # nothing is known of it
            del _held_files[path]
            os.close(descriptor)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``.

        Raises:
            ConfigError: the file is not one that this class wrote, or of a newer version.
        """
        path = self._path(id, ".json")
        try:
            shape = json.loads(path.read_text("utf-8"))
            if shape["version"] > _VERSION:
                raise ConfigError(f"{path} was written by a newer version of streamkit; upgrade to read it")
            return {call_id: _claim_of(claim) for call_id, claim in shape["calls"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{path} is no file of FileClaims: {type(error).__name__}") from error

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``.

        Raises:
            MisuseError: the suspension is not held by this process.
        """
        with _files_lock:
            if self._path(id, ".lock") not in _held_files:
                raise MisuseError("hold a suspension before moving its calls")
            states = dict(self.read(id))
            if states.get(call_id, Claim("waiting")).state != expected:
                return False
            states[call_id] = Claim(state, result)
            if not call_id and state == "done":
                states = {"": states[""]}  # nobody needs the results any more
            self._write(id, states)
            return True

    def forget(self, id: str) -> None:
        """See ``Claims``."""
        if not self.hold(id):
            raise _being_resumed(id)
        self._path(id, ".json").unlink(missing_ok=True)
        self.release(id)
        if os.name == "nt":  # where an open file cannot be deleted
            with contextlib.suppress(OSError):
                self._path(id, ".lock").unlink(missing_ok=True)

    def _path(self, id: str, suffix: str) -> Path:
        if not _ID.match(id):
            raise ConfigError("the id of a suspension has letters, digits, - and _, at most 64")
        return self._folder / f"{id}{suffix}"

    def _write(self, id: str, states: Mapping[str, Claim]) -> None:
        calls = {
            call_id: {"state": claim.state, "result": None if claim.result is None else claim.result.to_dict()}
            for call_id, claim in states.items()
        }
        text = json.dumps({"version": _VERSION, "calls": calls})
        descriptor, name = tempfile.mkstemp(prefix=f"{id}.", suffix=".new", dir=self._folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self._path(id, ".json"))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
        _sync_folder(self._folder)

    def __repr__(self) -> str:
        return f"<FileClaims {str(self._folder)!r}>"


def _being_resumed(id: str) -> StoreConflictError:
    return StoreConflictError(f"the suspension {id} is being resumed; nothing was deleted")


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.name == "nt" or os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _claim_of(shape: Mapping[str, Any]) -> Claim:
    result = shape["result"]
    if shape["state"] not in get_args(ClaimState):
        raise ValueError("an unknown state")
    return Claim(shape["state"], None if result is None else ToolResult.from_dict(result))


def _locked(descriptor: int) -> bool:
    """Lock a file for this process, without waiting; return False if another process has locked it."""
    try:
        if os.name == "nt":
            windows: Any = late_import("msvcrt")
            windows.locking(descriptor, windows.LK_NBLCK, 1)
        else:
            posix: Any = late_import("fcntl")
            posix.lockf(descriptor, posix.LOCK_EX | posix.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Flush a folder, so that a replaced file is found after a power cut; Windows has no such call."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _after_fork_in_child() -> None:
    """Forget what the parent holds: its locks are not the child's."""
    global _files_lock
    _files_lock = threading.RLock()
    for descriptor in _held_files.values():
        os.close(descriptor)
    _held_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
