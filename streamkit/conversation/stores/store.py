"""What a store of conversations does: ``Store``; and ``MemoryStore``."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import attrs

from streamkit.conversation.turns import ConversationState, Turn
from streamkit.errors import StoreConflictError
from streamkit.tools.claims import Claim, Claims, ClaimState, MemoryClaims
from streamkit.values.chunks import ToolResult

__all__ = ["Entry", "MemoryStore", "Store", "conflict"]


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
            The new version.

        Raises:
            StoreConflictError: the conversation has another version by now; nothing was changed.
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


def conflict(id: str, expected: int, found: int) -> StoreConflictError:
    """Return the error for a save on top of another version."""
    what = "was deleted" if not found else "was changed by somebody else"
    return StoreConflictError(
        f"the conversation {id!r} {what} in between (version {found} instead of {expected}); nothing was saved. "
        "Load it again, and ask again"
    )


class MemoryStore(Store):
    """Keeps conversations in this process.

    Owner of the fields: ``_lock`` guards ``_states``; ``_claims`` protects itself.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._states: dict[str, ConversationState] = {}
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
            turns[first_changed:] = state.turns[first_changed:]
            self._states[state.id] = attrs.evolve(state, turns=turns, version=expected + 1)
            return expected + 1

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
            return self._states.pop(id, None) is not None

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

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._states)} conversations>"
