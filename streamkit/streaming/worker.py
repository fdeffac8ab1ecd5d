"""The body of the worker thread: ``read``, one function with one ``finally``.

The worker sends the request, decodes the response, and puts chunks into the channel. At every kind of end it puts one
outcome. It shares nothing with the consumer except ``StreamState``. It has no reference to the ``Stream``, so that
dropping the last reference to a stream ends the worker.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence

from streamkit.errors import APIError, ConfigError, ConnectError, StreamError, StreamkitError
from streamkit.providers.contract import Provider, class_of
from streamkit.streaming.attempt import Attempt
from streamkit.streaming.going_on import go_on
from streamkit.streaming.job import Job
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Halted, LimitReached
from streamkit.transport.failures import forget_origin
from streamkit.wire.secrets import mask, mask_error

__all__ = ["Origin", "read"]

_MOST_PLACES = 8  # lines of a traceback, the innermost ones
_MOST_TEXT = 2048  # characters of an error's text


class Origin(Exception):
    """A copy of an unexpected exception, as the cause of the ``StreamError`` that reports it.

    It has the exception's type, text and code locations. It has no frames, as they would keep the request alive.
    """


def read(state: StreamState, jobs: Sequence[Job]) -> None:
    """Read one stream from its request to its outcome: the body of the worker thread.

    Args:
        state: what is shared with the stream.
        jobs: one for each route, in the order in which they are tried.
    """
    outcome = Outcome("error", StreamError("the reader thread ended without an outcome"))
    tries: list[Attempt] = []  # the response of the last one may be open
    origin: Origin | None = None
    try:
        outcome = _read(state, jobs, tries)
    except ConfigError as error:
        outcome = Outcome("error", error)
    except BaseException as error:
        job = _job_of(state, tries, jobs)
        outcome = Outcome("error", StreamError(f"{_failing(job.provider)}: {_words(repr, error)}"))
        origin = Origin(mask(_places(error), job.request.secrets))
    finally:
        attempt = tries[-1] if tries else None
        if attempt is not None:
            attempt.hand_over_rest()
        outcome = _shown(outcome, _job_of(state, tries, jobs), origin, "" if attempt is None else attempt.why_last)
        _name_all(outcome, state)
        state.ended_at = time.monotonic()
        try:
            if attempt is not None and outcome.status == "complete":
                attempt.drain(before_waiting=lambda: state.channel.finish(outcome))
        finally:
            state.channel.finish(outcome)
            if attempt is not None:
                attempt.close()
            state.guard.release()


def _job_of(state: StreamState, tries: Sequence[Attempt], jobs: Sequence[Job]) -> Job:
    """Return the job that the worker is at; a route may have failed before its first try."""
    job = jobs[len(state.left)]
    return tries[-1].job if tries and tries[-1].job.route == job.route else job


def _read(state: StreamState, jobs: Sequence[Job], tries: list[Attempt]) -> Outcome:
    """Try the routes, one after the other, until one gives an outcome; after a first chunk no other one is tried.

    Args:
        state: what is shared with the stream.
        jobs: one for each route.
        tries: each try is appended to it; all but the last are closed.
    """
    *others, last = jobs
    for job, following in zip(others, jobs[1:], strict=True):
        result = _read_route(state, job, tries)
        if isinstance(result, Outcome):
            return result
        failure, why, measured = result
        if tries[-1].has_chunks or time.monotonic() >= state.deadlines.total_due:
            return tries[-1].failed(failure, why, measured=measured)
        tries[-1].close()
        state.leave_route(_told(failure, job, why), type(failure).__name__, following.route)
        state.name(following.subject())
    result = _read_route(state, last, tries)
    if isinstance(result, Outcome):
        return result
    failure, why, measured = result
    return tries[-1].failed(failure, why, measured=measured)


def _read_route(state: StreamState, job: Job, tries: list[Attempt]) -> Outcome | tuple[StreamError, str, bool]:
    """Try one route until one try gives an outcome, or no other try is allowed.

    Returns:
        The outcome; or the last error, why the request is not sent again, and whether ``measure`` was called with it.
    """
    free = True  # one try on a pooled connection that proves to be dead does not count
    number = 0  # tries that count: those that a gate turned away as well, or Retry would never end
    while True:
        attempt = Attempt(state, job)
        tries.append(attempt)
        failure = _outcome_or_error(attempt)
        if isinstance(failure, Outcome):
            return failure
        if state.stop_requested():
            return Outcome("cancelled")
        outcome = None if job.recoverer is None else go_on(state, attempt, failure, tries)
        if outcome is not None:
            attempt = tries[-1]
            if outcome.error is None or attempt.has_chunks:
                return outcome  # otherwise nothing was delivered, and it is as any other try that failed
        if attempt.found_dead_connection and free:
            free = False
            state.attempts -= 1
            job.transport.close_idle()  # if one is dead, the others probably are too
        else:
            number += 1
            delay = None if attempt.has_chunks else job.retry.delay(failure, number)
            if delay is None or time.monotonic() + delay >= state.deadlines.total_due:
                why = _why_no_other_try(failure, number, job, delay, has_chunks=attempt.has_chunks)
                return failure, attempt.why_last or why, outcome is not None
            state.deadlines.waiting()
            state.sleep(delay)
            if state.stop_requested():
                return Outcome("cancelled")
        attempt.close()


def _outcome_or_error(attempt: Attempt) -> Outcome | StreamError:
    try:
        return attempt.run()
    except Halted:
        return Outcome("cancelled")
    except LimitReached as reached:
        return reached.error
    except StreamError as error:
        return error


def _why_no_other_try(failure: StreamError, tries: int, job: Job, delay: float | None, *, has_chunks: bool) -> str:
    """Return the reason why the request is not sent again, "" if the error's class is the reason.

    Args:
        failure: the error of the last try.
        tries: the number of tries so far.
        job: the work of the stream.
        delay: the seconds to wait before another try, for which there is no time; ``None`` if ``Retry`` allows none.
        has_chunks: whether the last try gave a chunk.
    """
    retry = job.retry
    tried = "tried once" if tries == 1 else f"tried {tries} times"
    if not failure.retryable:
        return tried if isinstance(failure, ConnectError) or tries > 1 else ""
    if has_chunks:
        return "not tried again, as chunks had been delivered"
    if tries >= retry.attempts:
        return f"{tried}, the limit of Retry(attempts={retry.attempts})"
    asked = failure.retry_after if isinstance(failure, APIError) else None
    if asked is not None and asked > retry.max_retry_after:
        return f"the server asks to wait {asked:g} s, more than Retry(max_retry_after={retry.max_retry_after:g})"
    if delay is None or job.timeout.total is None:  # a subclass of Retry decides by itself
        return tried
    return f"{tried}, as Timeout(total={job.timeout.total:g}) leaves no time to try again"


def _shown(outcome: Outcome, job: Job, origin: Origin | None, why_last: str) -> Outcome:
    """Return the outcome with an error that says what to do, and no secret, and keeps no request; never raises."""
    error = outcome.error
    try:
        if isinstance(error, StreamkitError):
            mask_error(error, job.request.secrets)
            if isinstance(error, StreamError):
                job.explain(error, why_last)
            forget_origin(error)
            error.__cause__ = origin
    except Exception as failure:  # an error of another package's, with fields that are not what they should be
        text = f"{_failing(job.provider)}: {class_of(error)} cannot be shown: {type(failure).__name__}"
        return Outcome("error", StreamError(text))
    return outcome


def _told(failure: StreamError, job: Job, why: str) -> str:
    """Return why a route is left, without its secrets."""
    shown = _shown(Outcome("error", failure), job, None, why).error
    return "" if shown is None else _words(str, shown)


def _name_all(outcome: Outcome, state: StreamState) -> None:
    """Add to the error of the last route why those before it were left."""
    error, left = outcome.error, state.left
    if left and isinstance(error, StreamError) and error.args:
        causes = "".join(f"\nbefore it, {each.model} was tried: {each.why}" for each in left)
        error.args = (f"{error.args[0]}{causes}", *error.args[1:])


def _words(convert: Callable[[BaseException], str], error: BaseException) -> str:
    """Return the text of an error, which its class may fail to give."""
    try:
        return convert(error)
    except Exception:
        return type(error).__name__


def _failing(provider: Provider) -> str:
    """Return the text that names the code that failed: streamkit, or another package's provider."""
    if type(provider).__module__.startswith("streamkit."):
        return "streamkit failed by itself, please report it"
    return f"the provider {provider.name}, of the class {class_of(provider)}, failed by itself, please report it"


def _places(error: BaseException) -> str:
    """Return an error's type and text, and the code locations of its traceback, the innermost last."""
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), limit=-_MOST_PLACES, lookup_lines=False
    )
    places = [f"at {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([f"{type(error).__name__}: {_words(str, error)}"[:_MOST_TEXT], *places])
