"""What a log of replies does: ``Log``; its ``Record`` and ``Lease``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

import attrs

from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError, LogConflictError, LogError, WriterLostError
from streamkit.settings import LONGEST_WAIT, shown

__all__ = [
    "CONFLICTS",
    "Lease",
    "Limits",
    "Log",
    "LogStatus",
    "Record",
    "behind_the_end",
    "check_next",
    "checked_id",
    "checked_limits",
    "conflict",
    "deleted",
    "superseded",
    "trimmed",
    "unbroken",
    "vanished",
    "writer_lost",
]

#: ``absent``: nobody has begun to write, or it is over and forgotten. ``open``: its writer lives. ``ended``: it has its
#: outcome. ``lost``: its writer is gone without an outcome.
LogStatus = Literal["absent", "open", "ended", "lost"]

_Self = TypeVar("_Self", bound="Log")

#: Why an id has no room for a writer.
CONFLICTS = ("has a writer that lives", "was written before", "was deleted a moment ago")
_LONGEST_ID = 255


@attrs.frozen
class Record:
    """One entry of a log.

    Attributes:
        number: from 1, without gaps.
        text: JSON: a chunk, or the outcome.
        final: whether it is the outcome, the last record.
    """

    number: int
    text: str
    final: bool = False


@attrs.define(eq=False)
class Lease:
    """The right to write the log of one reply, as ``Log.begin`` returns it.

    Threads: one at a time uses it.

    Attributes:
        id: of the reply.
        token: of this writer, unique.
        last: the number of the last record that it has written.
    """

    id: str
    token: str
    last: int = 0


@attrs.frozen
class Limits:
    """The bounds of each log; see ``MemoryLog`` for their meaning."""

    lease: float
    keep: float
    max_records: int
    max_bytes: int


class Log(ABC):
    """Records of replies: each has one writer and any number of readers. Subclass it for a log of your own.

    A reply has an id, which the program chooses, such as a UUID. Its records have numbers from 1. The last one is the
    outcome: how the reply ended. ``publish`` writes them, and ``follow`` reads them.

    One writer holds the lease of an id. It renews the lease while it lives. If it is killed, the lease runs out, and
    readers get ``WriterLostError``. An id is written once: a second writer is refused while the first one lives, and
    afterwards as well. It may only take over an id whose first writer was lost before it wrote anything. So a task that
    is run again never adds a second reply to the first.

    A reader is never held by another one, and the writer by none.

    Threads: any, at the same time.

    Attributes:
        lease: seconds after which a writer that does not renew its lease counts as lost.
    """

    lease: float

    # -- writing -----------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self, id: str) -> Lease:
        """Become the writer of an id.

        Raises:
            LogConflictError: it has a writer, or was written already; nothing was changed.
            LogError: the log cannot be written now.
        """

    @abstractmethod
    def append(self, lease: Lease, records: Sequence[Record]) -> None:
        """Add records and renew the lease; with no records, only renew it.

        Args:
            lease: from ``begin``.
            records: with the numbers that follow. Those that the log has already are left out, so that it is safe to
                append the same records again after an interrupt.

        Raises:
            LogConflictError: the log was deleted, or somebody else has taken over.
            LogError: the log cannot be written now; the records may be appended again.
        """

    @abstractmethod
    def finish(self, lease: Lease, outcome: str) -> None:
        """Add the outcome, and give the lease up. Doing so again changes nothing.

        Raises:
            LogConflictError, LogError: as ``append`` does.
        """

    def release(self, lease: Lease) -> None:  # noqa: B027 - without it the lease runs out, which frees the id too
        """Give the lease up with nothing written; somebody else may begin. Readers wait as if nobody had begun.

        Does nothing if something was written.

        Raises:
            LogError: the log cannot be written now.
        """

    @abstractmethod
    def stopped(self, id: str, timeout: float | None = 0.0, *, halt: StopEvent | None = None) -> bool:
        """Return whether somebody asked to stop the reply; wait for that.

        Args:
            id: of the reply.
            timeout: seconds to wait; ``None`` for no limit.
            halt: ends the wait when it is set.

        Raises:
            LogError: the log cannot be read now.
        """

    # -- reading -----------------------------------------------------------------------------------------

    @abstractmethod
    def read(
        self, id: str, after: int = 0, timeout: float | None = None, *, halt: StopEvent | None = None
    ) -> Sequence[Record]:
        """Return the records after a number; wait until there is one.

        Args:
            id: of the reply. It need not have a writer yet.
            after: the number of the last record that the reader has; 0 for none.
            timeout: seconds to wait; ``None`` for no limit.
            halt: ends the wait when it is set.

        Returns:
            At least one record; none if the timeout passed, or if ``halt`` was set.

        Raises:
            WriterLostError: there are no more records, and there will be none.
            LogError: the log cannot be read now, was deleted or has expired; it does not have the next record any
                more, see ``max_records``; or ``after`` is the outcome, or behind it.
        """

    @abstractmethod
    def status(self, id: str) -> LogStatus:
        """Return the state of a log.

        Raises:
            LogError: the log cannot be read now.
        """

    # -- ending ------------------------------------------------------------------------------------------

    @abstractmethod
    def stop(self, id: str) -> bool:
        """Ask the writer to stop, wherever it runs; a writer that begins later stops at once.

        Returns:
            Whether a writer lives.

        Raises:
            LogError: the log cannot be written now.
        """

    @abstractmethod
    def delete(self, id: str) -> bool:
        """Forget all records of an id. Its writer is stopped, and its readers get a ``LogError``.

        The id is free again after two leases, once nobody can take a new reply for the old one.

        Returns:
            Whether there was something to forget.

        Raises:
            LogError: the log cannot be written now.
        """

    def close(self) -> None:  # noqa: B027 - a log may have nothing to close
        """Close connections that are open. The records stay."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def check_next(last: int, ended: bool, record: Record) -> None:
    """Check that a record may follow the last one.

    Raises:
        ConfigError: it has another number, or the last one is the outcome.
    """
    if ended or record.number != last + 1:
        what = "the outcome" if ended else "record"
        raise ConfigError(f"record {record.number} cannot follow {what} {last}")


def checked_id(id: Any) -> str:
    """Return the id of a reply.

    Raises:
        ConfigError: it is no text of 1 to 255 characters.
    """
    if not isinstance(id, str) or not 0 < len(id) <= _LONGEST_ID:
        raise ConfigError(f"the id of a log must be text of 1 to {_LONGEST_ID} characters, not {shown(id)}")
    return id


def checked_limits(of: str, *, lease: Any, keep: Any, max_records: Any, max_bytes: Any) -> Limits:
    """Return the limits of a log.

    Raises:
        ConfigError: one of them has a wrong type, or is out of range.
    """
    for name, value in (("lease", lease), ("keep", keep)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_WAIT:
            raise ConfigError(f"{of}({name}=...) must be a number of seconds above 0, not {shown(value)}")
    if keep < lease:
        raise ConfigError(f"{of}(keep=...) must be at least lease, which is {lease:g} s, not {shown(keep)}")
    for name, value in (("max_records", max_records), ("max_bytes", max_bytes)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{of}({name}=...) must be an integer from 1, not {shown(value)}")
    return Limits(float(lease), float(keep), max_records, max_bytes)


def unbroken(id: str, records: Sequence[Record], after: int) -> Sequence[Record]:
    """Return the records, of which the first has to follow ``after``.

    Raises:
        LogError: records between were dropped.
    """
    if records and records[0].number != after + 1:
        raise trimmed(id, after, records[0].number)
    return records


def conflict(id: str, why: str) -> LogConflictError:
    """Return the error for a second writer; ``why`` is one of ``CONFLICTS``."""
    return LogConflictError(
        f"the reply {id!r} {why}; nothing was written. An id is written once: choose a new one for another reply"
    )


def deleted(id: str) -> LogError:
    """Return the error of a reader whose log was deleted."""
    return LogError(f"the log of the reply {id!r} was deleted")


def behind_the_end(id: str, last: int, after: int) -> LogError:
    """Return the error of a reader that asks for records behind the outcome."""
    return LogError(
        f"the log of the reply {id!r} ends with record {last}, and there is none after {after}: a reader has all, or "
        "its number is that of another reply"
    )


def superseded(id: str) -> LogConflictError:
    """Return the error of a writer that has lost its place."""
    return LogConflictError(f"the log of the reply {id!r} was deleted, or somebody else writes it now")


def trimmed(id: str, after: int, first: int) -> LogError:
    """Return the error for records that are not kept any more."""
    return LogError(
        f"the log of the reply {id!r} is longer than it may be: the records {after + 1} to {first - 1} were dropped. "
        "A larger max_records or max_bytes keeps them"
    )


def vanished(id: str) -> LogError:
    """Return the error of a reader whose log is not there any more."""
    return LogError(f"the log of the reply {id!r} is gone: it has expired, or was deleted")


def writer_lost(id: str, last: int, seconds: float) -> WriterLostError:
    """Return the error of a reader whose writer has died."""
    return WriterLostError(
        f"the writer of the reply {id!r} is gone: it has not renewed its lease of {seconds:g} s, and there is no "
        f"outcome after record {last}. Its process was killed, or has lost its connection to the log"
    )
