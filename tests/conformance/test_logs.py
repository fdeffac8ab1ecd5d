"""Every log does the same, in memory and on Redis."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import given
from hypothesis import strategies as st

from streamkit import Log, MemoryLog, RedisLog
from tests.conformance.check_log import check_followers, check_log, plans_of_followers, some_pieces
from tests.redis_server import RedisServer, make_log, redis_server

__all__ = ["make_log", "redis_server"]  # fixtures


def test_in_memory() -> None:
    """A `MemoryLog` does all that a log has to do."""
    check_log(MemoryLog)


def test_on_redis(redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog]) -> None:
    """A `RedisLog` does all that a log has to do."""
    url = redis_server().url
    check_log(lambda **options: make_log(url, **options))


def test_on_redis_with_answers_that_are_lost(
    redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog]
) -> None:
    """What Redis did before the connection was lost is not done twice, and is no conflict with itself."""
    url = redis_server().url

    def forgetful(**options: Any) -> Log:
        log = make_log(url, **options)
        for name in ("begin", "append"):
            log._scripts[name] = lose_every_other_answer(log._scripts[name])
        return log

    def lose_every_other_answer(script: Callable[..., Any]) -> Callable[..., Any]:
        lost: list[bool] = []

        def call(**arguments: Any) -> Any:
            answer = script(**arguments)
            if not lost or lost.pop():
                lost.append(False)
                return answer
            lost.append(True)
            raise ConnectionResetError("the answer is lost")

        return call

    check_log(forgetful)


@hypothesis.settings(max_examples=60)
@given(some_pieces, plans_of_followers, st.sampled_from([0.0, 0.03]))
def test_followers_in_memory(pieces: list[tuple[str, int]], plans: list[list[int]], coalesce: float) -> None:
    """Followers that join, leave and come back anywhere get each chunk once, in order, as one that stayed does."""
    check_followers(MemoryLog(), "a", pieces, plans, coalesce)


def test_followers_on_redis(redis_server: Callable[[], RedisServer], make_log: Callable[..., RedisLog]) -> None:
    """The same on Redis, each with connections of its own."""
    url = redis_server().url
    log, numbers = make_log(url), itertools.count()

    @hypothesis.settings(max_examples=60)
    @given(some_pieces, plans_of_followers, st.sampled_from([0.0, 0.03]))
    def check(pieces: list[tuple[str, int]], plans: list[list[int]], coalesce: float) -> None:
        check_followers(log, f"reply {next(numbers)}", pieces, plans, coalesce)

    check()
