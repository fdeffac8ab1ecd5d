"""Go on with a reply that broke off, within its stream: ``go_on``."""

from __future__ import annotations

import time
from collections.abc import Callable

from streamkit.errors import StreamError
from streamkit.streaming.attempt import Attempt
from streamkit.streaming.job import Job, Recoverer
from streamkit.streaming.recovering import Part, broke_off
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Halted, LimitReached
from streamkit.wire.secrets import mask

__all__ = ["go_on"]


def go_on(state: StreamState, attempt: Attempt, failure: StreamError, tries: list[Attempt]) -> Outcome | None:
    """Go on with a reply that broke off, as often as its recoverer allows.

    Args:
        state: what is shared with the stream.
        attempt: the try that failed.
        failure: its error.
        tries: each further try is appended to it; all but the last are closed.

    Returns:
        The outcome. A reply that cannot be gone on with ends with the error that broke it off. ``None``, with nothing
        done, where there is no way to go on with such a reply.
    """
    recoverer, part = attempt.job.recoverer, attempt.part
    if recoverer is None or part is None:
        return None
    going_on = _GoingOn(state, attempt, part, recoverer, tries.append)
    return going_on.run() if going_on.finds_way(failure) else None


class _GoingOn:
    """One reply that is gone on with. The worker alone uses it."""

    def __init__(
        self,
        state: StreamState,
        attempt: Attempt,
        part: Part,
        recoverer: Recoverer,
        note: Callable[[Attempt], object],
    ) -> None:
        self._state = state
        self._job = attempt.job  # that of the first part
        self._attempt = attempt
        self._part = part
        self._recoverer = recoverer
        self._note = note
        self._broken: StreamError = StreamError()  # the error that broke the last part off
        self._following: tuple[Job, Part] | None = None
        self._number = 0
        self._why = ""

    def finds_way(self, broken: StreamError) -> bool:
        """Note the error that broke the last part off, and return whether there is a way to go on."""
        self._broken, self._why = broken, ""
        self._following = self._recoverer.following(self._job, self._part, broken)
        return self._following is not None

    def run(self) -> Outcome:
        self._attempt.measure(self._broken)
        try:
            while self._following is not None and self._number < self._recoverer.attempts:
                self._number += 1
                outcome = self._try(*self._following)
                if outcome is not None:
                    return outcome
        except Halted:
            return Outcome("cancelled")
        return self._attempt.failed(self._broken, self._why, measured=True)

    def _try(self, job: Job, part: Part) -> Outcome | None:
        """Send one request; return the outcome of a whole reply, or of a cancel.

        Raises:
            Halted: the stream was cancelled.
        """
        self._attempt.hand_over(self._part.closing())
        self._attempt.close()
        self._attempt = attempt = Attempt(self._state, job, part)
        self._note(attempt)
        failure: StreamError
        try:
            return attempt.run()
        except LimitReached as reached:
            failure = reached.error
        except StreamError as error:
            failure = error
        if self._state.stop_requested():
            raise Halted
        if part.begun:
            self._part = part
            attempt.measure(failure)
            self.finds_way(failure)
        else:
            self._unbegun(failure)
        return None

    def _unbegun(self, failure: StreamError) -> None:
        """Wait before another try, where a request to go on has failed and may succeed later."""
        why = mask(failure.message.partition("\n")[0], self._job.request.secrets)
        delay = self._job.retry.delay(failure, self._number)
        if delay is None and broke_off(failure):
            delay = 0.0  # it broke off before its first chunk; what may be sent is counted by the recoverer
        deadlines = self._state.deadlines
        if delay is None or time.monotonic() + delay >= deadlines.total_due or not self.finds_way(self._broken):
            self._following = None
        elif self._number < self._recoverer.attempts:
            deadlines.waiting()
            self._state.sleep(delay)
            if self._state.stop_requested():
                raise Halted
        self._why = f"it could not be gone on with: {why}"
