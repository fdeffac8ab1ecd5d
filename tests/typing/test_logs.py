"""The types of logs; this file is only type-checked, never run."""

from __future__ import annotations

from streamkit import Client, Completion, FollowedStream, Log, MemoryLog, RedisLog, Timeout, follow, publish
from tests.typing.support import assert_type


def logs(client: Client) -> None:
    log: Log = MemoryLog(lease=15, keep=60.0, max_records=10, max_bytes=10)
    assert_type(publish(lambda: client.stream("openai/m", "x"), log, "a"), Completion)
    assert_type(publish(client.run("openai/m", "x"), log, "a", coalesce=0), Completion)
    stream = follow(log, "a")
    assert_type(stream, FollowedStream)
    assert_type(stream.id_of_last, int)
    follow(log, "a", "12", timeout=3)
    follow(log, "a", 12, timeout=Timeout(first=3))
    follow(log, "a", timeout=None)
    assert_type(log.stop("a"), bool)
    with RedisLog("redis://localhost", patience=3, username="x") as other:
        assert_type(other, RedisLog)
