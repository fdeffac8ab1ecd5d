"""Every log does the same, in memory and on Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamkit import Log, MemoryLog, RedisLog
from tests.conformance.check_log import check_log
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
