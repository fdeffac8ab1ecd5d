"""The states of a run's calls in ``claims=``: ``RunClaims``."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

from streamkit.errors import StoreConflictError
from streamkit.observing.status import Status
from streamkit.tools.calls import PendingCall, digest_of
from streamkit.tools.claims import Claims, ClaimState
from streamkit.tools.results import Media
from streamkit.tools.rounds import Round

__all__ = ["RunClaims"]

_log = logging.getLogger("streamkit")


class RunClaims:
    """Says in ``claims=`` what a run does with its calls, each step before what it announces.

    Without claims it only says which functions may begin.

    Owner of the fields: ``_lock``, reentrant as a signal handler may cancel, guards all that change.

    Args:
        claims: where, or ``None``.
        id: under which they are held for this run, "" for none.
        resumed: whether the run goes on with a suspension.
        media: what the provider takes in a result.
        stopped: whether nothing new may begin.
    """

    def __init__(
        self, claims: Claims | None, id: str, *, resumed: bool, media: Media, stopped: Callable[[], bool]
    ) -> None:
        self._claims = claims
        self._id = id
        self._resumed = resumed
        self._media = media
        self._stopped = stopped
        self._lock = threading.RLock()
        self._unfinished: set[PendingCall] = set()  # whose function has begun and not ended, as far as is known
        self._moving = False
        self._marked = False
        self._released = False
        self._ended: Status | None = None  # how the run ended

    def name(self, this: Round) -> None:
        """Name a round's calls, and take up those that were begun before a crash."""
        claims = self._claims
        if claims is None:
            return
        counts: Counter[str] = Counter()
        for pending in this.calls:
            digest = digest_of(pending.call)
            counts[digest] += 1
            pending.claim_id = f"{this.number}:{digest}:{counts[digest]}"
        if not self._resumed:
            return  # nobody can have begun them
        known = claims.read(self._id)
        for pending in this.calls:
            claim = known.get(pending.claim_id)
            if claim is not None and pending.take_up(claim, None, self._media):
                self.move(pending, "done")

    def begin(self, pending: PendingCall) -> bool:
        """Say that a function begins; return whether it still may."""
        with self._lock:
            self._unfinished.add(pending)
            self._moving = True  # a signal handler that cancels meanwhile gives nothing up
            try:
                self.move(pending, "running")
                if not self._stopped():
                    pending.state = "running"
            finally:
                self._moving = False
                if pending.state != "running":
                    self._close(pending)
                    self._release()
        return pending.state == "running"

    def end(self, pending: PendingCall, over: bool) -> None:
        """Keep the result of a function that has ended; one that was left runs on.

        Threads: the consumer's; after the end of the run that of the function.
        """
        with self._lock:
            if not over or pending not in self._unfinished:
                return
            if self._ended is None and pending.result is not None and pending.state != "running":
                self.move(pending, "done")  # what fails ends the run
                self._unfinished.discard(pending)
                return
            self._close(pending)
            self._release()

    def move(self, pending: PendingCall, state: ClaimState) -> None:
        """Move a call on.

        Raises:
            StoreConflictError: somebody else has moved it.
        """
        if self._claims is None:
            return
        result = pending.result if state == "done" else None
        if not self._claims.move(self._id, pending.claim_id, pending.claimed, state, result):
            raise StoreConflictError(
                f"the call {pending.call.id!r} of the tool {pending.call.name!r} was moved on by somebody else; "
                "it was not made here"
            )
        pending.claimed = state

    def run_ended(self, status: Status) -> None:
        """Give the claims up, now or when the last function has ended. Another call finishes what was interrupted."""
        with self._lock:
            self._ended = status
            self._release()

    def _close(self, pending: PendingCall) -> None:
        """Keep what became of a call whose function is over, or was not begun after all; a failure is only logged."""
        self._unfinished.discard(pending)
        if pending.state == "running":
            return
        before: ClaimState = "waiting" if pending.decision is None else "approved"
        try:
            self.move(pending, before if pending.result is None else "done")
        except StoreConflictError:
            pass  # an interrupt has hidden that it was written already
        except Exception as error:
            kind, name = type(error).__name__, pending.call.name
            _log.warning("the result of a call of the tool %s could not be kept in claims=: %s", name, kind)

    def _release(self) -> None:
        """Give the claims up once the run has ended and no function runs, so that nobody resumes around one."""
        claims, status = self._claims, self._ended
        if claims is None or not self._id or status is None:
            return
        ended_in_order = status in ("complete", "suspended")
        if not ended_in_order:
            for pending in tuple(self._unfinished):  # some may have ended when nobody looked any more
                if pending.state != "running" and not self._moving:
                    self._close(pending)
        if self._released or self._moving or (self._unfinished and not ended_in_order):
            return
        if self._resumed and ended_in_order and not self._marked:
            claims.move(self._id, "", "waiting", "done")
            self._marked = True
        claims.release(self._id)
        self._released = True
        if not self._resumed and status != "suspended":
            claims.forget(self._id)  # as there is no suspension of this id
