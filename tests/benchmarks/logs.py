"""What a log adds to a chunk, beside a stream that is read directly: processor time, and delay.

python tests/benchmarks/logs.py [--chunks 20000] [--url redis://...]

`processor` is the time of all threads of this process, by the chunk of the writer's stream. `delay` is the time from
the moment at which the stream has a chunk until a reader has it, of chunks that come every 5 ms. Chunks within 30 ms of
the last record wait for each other, so about half of that is on purpose; `at once` is without it. Without a URL it
starts Debian's redis-server, where there is one.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from streamkit import Chunk, ChunkStream, Log, MemoryLog, RedisLog, follow, publish
from tests.redis_server import RedisServer
from tests.unit.scripted import DONE, Scripted

EVERY = 0.005  # seconds between two chunks
PACED = 300  # chunks whose delay is measured


class Paced(Scripted):
    """A stream with a pause before each chunk, which has the moment as its text."""

    def __init__(self, given: list[Chunk], pause: float = EVERY) -> None:
        super().__init__(given)
        self._pause = pause

    def take(self, seconds: float | None = None) -> Chunk | None:
        threading.Event().wait(self._pause)
        chunk = super().take(seconds)
        if chunk is None or chunk.finished:
            return chunk
        return Chunk("text", text=f"{time.monotonic()} ", index=chunk.index)


def chunks(count: int) -> list[Chunk]:
    return [*(Chunk("text", text="token ", id="chatcmpl-0123456789", model="gpt-4o") for _ in range(count)), DONE]


def apart(count: int) -> list[Chunk]:
    """Return chunks of alternating choices, which are not joined, so that each has its own moment."""
    return [*(Chunk("text", text="token ", index=number % 2) for number in range(count)), DONE]


def processor(work: Callable[[], object], count: int) -> float:
    """Return the µs of processor time by the chunk."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e6 / count


def drain(stream: ChunkStream) -> int:
    return sum(1 for _ in stream)


def delays(log: Log, id: str, coalesce: float) -> list[float]:
    """Return how late a reader has each chunk, in ms."""
    source = Paced(apart(PACED))
    writer = threading.Thread(target=publish, args=(source, log, id), kwargs={"coalesce": coalesce})
    writer.start()
    found = []
    for chunk in follow(log, id):
        now = time.monotonic()
        found += [(now - float(moment)) * 1000 for moment in chunk.text.split()]
    writer.join()
    return sorted(found)


def measure(name: str, log: Log, count: int) -> None:
    """Print a line about a log."""
    given = chunks(count)
    written = processor(lambda: publish(Scripted(given), log, f"{name} joined"), count)
    alone = processor(lambda: publish(Scripted(apart(count)), log, f"{name} apart", coalesce=0), count)
    read = processor(lambda: drain(follow(log, f"{name} apart")), count)
    print(
        f"{name:10} processor by the chunk: written {written:6.1f} µs, as a record of its own {alone:6.1f} µs, "
        f"read {read:6.1f} µs"
    )
    for label, coalesce in (("", 0.03), (", at once", 0.0)):
        late = delays(log, f"{name}{label}", coalesce)
        p50, p99 = statistics.median(late), late[int(len(late) * 0.99)]
        print(f"{name:10} delay{label}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def many(url: str) -> None:
    """Print what 100 writers and 300 readers on one Redis see of each other: each writes five chunks a second.

    All of them are threads of one process, whose interpreter is the limit: it serves about 4000 deliveries a second.
    """
    writers, readers, count, pause = 100, 300, 30, 0.2
    late: list[float] = []
    log = RedisLog(url)
    redis: Any = log._client

    def used() -> float:
        info = redis.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def write(number: int) -> None:
        publish(Paced(apart(count), pause), log, f"many {number}", coalesce=0)

    def read(number: int) -> None:
        for chunk in follow(log, f"many {number % writers}"):
            now = time.monotonic()
            late.extend((now - float(moment)) * 1000 for moment in chunk.text.split())

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    threads += [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    before, own = used(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = sorted(late)
    p50, p99 = statistics.median(found), found[int(len(found) * 0.99)]
    print(
        f"{writers} writers, {readers} readers: {len(found)} deliveries, delay p50 {p50:.2f} ms, p99 {p99:.2f} ms; "
        f"by the delivery {(used() - before) * 1e6 / len(found):.0f} µs of Redis' processor time and "
        f"{(time.process_time() - own) * 1e6 / len(found):.0f} µs of this process'"
    )
    log.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--url", default="")
    options = parser.parse_args()
    direct = processor(lambda: drain(Scripted(chunks(options.chunks))), options.chunks)
    print(f"{'direct':10} processor by the chunk: {direct:6.1f} µs")
    with ExitStack() as stack:
        measure("MemoryLog", MemoryLog(), options.chunks)
        url = options.url
        if not url:
            server = RedisServer()
            stack.callback(server.remove)
            server.start()
            url = server.url
        measure("RedisLog", stack.enter_context(closing(RedisLog(url))), options.chunks)
        many(url)


if __name__ == "__main__":
    main()
