"""Go on with a reply that broke off, within its stream: ``go_on``."""

from __future__ import annotations

import time

from streamkit.errors import StreamError
from streamkit.streaming.attempt import Attempt
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
    job, part = attempt.job, attempt.part
    recoverer = job.recoverer
    if recoverer is None or part is None:
        return None
    following = recoverer.following(job, part, failure)
    if following is None:
        return None
    broken, why, number = failure, "", 0
    attempt.measure(broken)
    try:
        attempt.hand_over(part.closing())
        while following is not None and number < recoverer.attempts:
            number += 1
            attempt.close()
            attempt = Attempt(state, *following)
            tries.append(attempt)
            try:
                return attempt.run()
            except LimitReached as reached:
                failure = reached.error
            except StreamError as error:
                failure = error
            if state.stop_requested():
                return Outcome("cancelled")
            if attempt.part is not None and attempt.part.begun:
                part, broken, why = attempt.part, failure, ""
                attempt.measure(broken)
                following = recoverer.following(job, part, broken)
                if following is not None and number < recoverer.attempts:
                    attempt.hand_over(part.closing())
                continue
            why = f"it could not be gone on with: {mask(_first_line(failure), job.request.secrets)}"
            delay = job.retry.delay(failure, number)
            if delay is None or time.monotonic() + delay >= state.deadlines.total_due:
                break
            following = recoverer.following(job, part, broken)
            if number < recoverer.attempts:
                state.deadlines.waiting()
                state.sleep(delay)
                if state.stop_requested():
                    return Outcome("cancelled")
    except Halted:
        return Outcome("cancelled")
    return attempt.failed(broken, why, measured=True)


def _first_line(error: StreamError) -> str:
    return error.message.partition("\n")[0]
