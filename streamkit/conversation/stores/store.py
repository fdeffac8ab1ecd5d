"""What a store of conversations does: ``Store``; and ``MemoryStore``."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import attrs

from streamkit.conversation.turns import ConversationState, Turn
from streamkit.errors import StoreConflictError
from streamkit.tools.claims import Claim, Claims, ClaimState, MemoryClaims
from streamkit.values.chunks import ToolResult

__all__ = ["ClaimsOf", "Entry", "MemoryStore", "Store", "conflict", "first_version", "inside_store", "is_inside_store"]


@attrs.frozen
class Entry:
    """A conversation in the list of a store.

    Attributes:
        id: of the conversation.
        title: for people; "" for none.
        turns: how many.
        model: that is asked.
        changed_at: seconds since 1970.
        owner: whose it is; "" for nobody's.
    """

    id: str
    title: str
    turns: int
    model: str
    changed_at: float
    owner: str = ""


class Store(Claims):
    """Keeps conversations, and the states of their calls. Subclass it for a store of your own.

    Threads: any, at the same time; other processes as well, if it is kept outside of this one.
    """

    @abstractmethod
    def load(self, id: str) -> ConversationState | None:
        """Return a conversation with its version, ``None`` if there is none of this id.

        Raises:
            ConfigError: it was written by a newer version of streamkit, or is damaged.
            StoreError: the store cannot be read.
        """

    @abstractmethod
    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        """Keep a conversation, durably: when this returns, a crash loses nothing of it.

        Args:
            state: the whole of it.
            expected: the version on which it is based; 0 for a new one.
            first_changed: the number of the first turn that differs from that version; turns before it are as they
                were, so that a long conversation costs no more than a short one.

        Returns:
            The new version: one more than the expected one. A new conversation begins with a number that none of its
            id had before, see ``first_version``: so a save on top of one that was deleted and made anew is a conflict.

        Raises:
            ConfigError: something in it cannot be kept; nothing was changed.
            StoreConflictError: the conversation has another version by now; nothing was changed.
            StoreError: the store cannot be written; nothing was changed.
        """

    @abstractmethod
    def list(self, *, owner: str | None = None) -> Sequence[Entry]:
        """Return the conversations, the last changed first.

        Args:
            owner: only those of this owner; ``None`` for all.
        """

    @abstractmethod
    def delete(self, id: str) -> bool:
        """Delete a conversation and the states of its calls; return whether there was one."""

    def claims_of(self, id: str) -> Claims:
        """Return the claims for the calls of a conversation, so that ``delete`` finds them; by default the store."""
        return self


class ClaimsOf(Claims):
    """The claims for the calls of one conversation of a store.

    Args:
        store: keeps them.
        hold: in place of the store's own; it notes whose the suspension is.
    """

    def __init__(self, store: Store, hold: Callable[[str], bool]) -> None:
        self._store = store
        self._hold = hold

    def hold(self, id: str) -> bool:
        """See ``Claims``."""
        return self._hold(id)

    def release(self, id: str) -> None:
        """See ``Claims``."""
        self._store.release(id)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``."""
        return self._store.read(id)

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``."""
        return self._store.move(id, call_id, expected, state, result)

    def forget(self, id: str) -> None:
        """See ``Claims``."""
        self._store.forget(id)

    def __repr__(self) -> str:
        return f"<ClaimsOf {self._store!r}>"


def first_version() -> int:
    """Return the version of a new conversation: the time in us, which grows faster than any conversation."""
    return time.time_ns() // 1000


_inside = threading.local()  # depth: of the transactions of this thread


@contextmanager
def inside_store() -> Iterator[None]:
    """Mark a transaction. In the same thread, one that begins inside of it would wait for its locks for ever."""
    _inside.depth = getattr(_inside, "depth", 0) + 1
    try:
        yield
    finally:
        _inside.depth -= 1


def is_inside_store() -> bool:
    """Return whether this thread is in the middle of a transaction, such as where the garbage collector runs."""
    return getattr(_inside, "depth", 0) > 0


def conflict(id: str, expected: int, found: int) -> StoreConflictError:
    """Return the error for a save on top of another version."""
    what = "was deleted" if not found else "was changed by somebody else"
    return StoreConflictError(
        f"the conversation {id!r} {what} in between (version {found} instead of {expected}); nothing was saved. "
        "Load it again, and ask again"
    )


class MemoryStore(Store):
    """Keeps conversations in this process.

    Owner of the fields: ``_lock`` guards ``_states`` and ``_conversations``; ``_claims`` protects itself.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._states: dict[str, ConversationState] = {}
        self._conversations: dict[str, str] = {}  # by the id of a suspension that may have claims
        self._claims = MemoryClaims()

    def load(self, id: str) -> ConversationState | None:
        """See ``Store``."""
        with self._lock:
            state = self._states.get(id)
            return None if state is None else attrs.evolve(state, turns=list(state.turns))

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        """See ``Store``."""
        with self._lock:
            kept = self._states.get(state.id)
            found = 0 if kept is None else kept.version
            if found != expected:
                raise conflict(state.id, expected, found)
            turns: list[Turn] = [] if kept is None else kept.turns  # type: ignore[assignment]  # a list, by this class
            first = min(first_changed, len(turns))  # no gap, whatever the caller believes
            turns[first:] = state.turns[first:]
            version = expected + 1 if expected else first_version()
            self._states[state.id] = attrs.evolve(state, turns=turns, version=version)
            return version

    def list(self, *, owner: str | None = None) -> Sequence[Entry]:
        """See ``Store``."""
        with self._lock:
            entries = [
                Entry(state.id, state.title, len(state.turns), state.model, state.changed_at, state.owner)
                for state in self._states.values()
                if owner is None or state.owner == owner
            ]
        return sorted(entries, key=lambda entry: entry.changed_at, reverse=True)

    def delete(self, id: str) -> bool:
        """See ``Store``."""
        with self._lock:
            for suspension in [each for each, of in self._conversations.items() if of == id]:
                self._claims.release(suspension)
                self.forget(suspension)
            return self._states.pop(id, None) is not None

    def claims_of(self, id: str) -> Claims:
        """See ``Store``."""

        def hold(suspension: str) -> bool:
            with self._lock:
                self._conversations[suspension] = id
            return self._claims.hold(suspension)

        return ClaimsOf(self, hold)

    def hold(self, id: str) -> bool:
        """See ``Claims``."""
        return self._claims.hold(id)

    def release(self, id: str) -> None:
        """See ``Claims``."""
        self._claims.release(id)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``."""
        return self._claims.read(id)

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``."""
        return self._claims.move(id, call_id, expected, state, result)

    def forget(self, id: str) -> None:
        """See ``Claims``."""
        self._claims.forget(id)
        with self._lock:
            self._conversations.pop(id, None)

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._states)} conversations>"
