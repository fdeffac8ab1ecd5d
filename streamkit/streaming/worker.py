"""The thread that reads one stream: one function, one ``finally``.

It opens the request, decodes what arrives, and puts chunks into the channel; at the end, whatever the end,
it puts the outcome, once. Everything that it shares with the consumer is in ``StreamState``. It never holds the
``Stream``, so that dropping a stream ends it.
"""

from __future__ import annotations

import time

from streamkit.errors import ConfigError, StreamError
from streamkit.providers.contract import Provider, class_of
from streamkit.streaming.attempt import Attempt, Job
from streamkit.streaming.shared_state import Outcome, StreamState
from streamkit.streaming.stream_hook import Interrupt

__all__ = ["read"]

_FREE_TRIES = 2  # on pooled connections that turn out dead: nobody's failure, so they count for nothing


def read(state: StreamState, job: Job) -> None:
    """Read one stream from its request to its outcome: the body of the worker thread."""
    outcome = Outcome("error", StreamError("the worker ended without a word"))
    attempt: Attempt | None = None
    try:
        attempt = Attempt(state, job)
        attempt, outcome = _read(state, job, attempt)
    except ConfigError as error:
        outcome = Outcome("error", error)
    except BaseException as error:
        failure = StreamError(f"{_failing(job.provider)}: {error!r}")
        failure.__cause__ = error
        outcome = Outcome("error", failure)
    finally:
        state.ended_at = time.monotonic()
        try:
            if attempt is not None and outcome.status == "complete":
                attempt.drain(before_waiting=lambda: state.channel.finish(outcome))
        finally:
            state.channel.finish(outcome)
            if attempt is not None:
                attempt.close()
            state.guard.release()


def _read(state: StreamState, job: Job, attempt: Attempt) -> tuple[Attempt, Outcome]:
    """Try until a try ends in an outcome, and return that try as well, for its response is still open."""
    free = _FREE_TRIES
    while True:
        state.attempts += 1
        failure: StreamError | None
        try:
            return attempt, attempt.run()
        except Interrupt as interrupt:
            failure = interrupt.error
        except StreamError as error:
            failure = error
        if failure is None or state.stop_asked():
            return attempt, Outcome("cancelled")
        if attempt.found_dead_connection and free:
            free -= 1
            state.attempts -= 1
            job.transport.close_idle()  # where one is dead the others are likely to be
        else:
            delay = None if attempt.has_chunks else job.retry.delay(failure, state.attempts)
            if delay is None or time.monotonic() + delay >= state.deadlines.total_due:
                return attempt, attempt.failed(failure)
            state.deadlines.waiting()
            state.sleep(delay)
            if state.stop_asked():
                return attempt, Outcome("cancelled")
        attempt.close()
        attempt = Attempt(state, job)


def _failing(provider: Provider) -> str:
    """Return whose code failed: a provider of another package is to be reported there."""
    if type(provider).__module__.startswith("streamkit."):
        return "streamkit failed by itself, please report it"
    return f"the provider {provider.name} failed, which is {class_of(provider)}"
