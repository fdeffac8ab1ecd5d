"""Helpers of the tests of gates: requests, streams through gates, and many threads under a clock that they share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from streamkit import Retry, Stream, Timeout, providers
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.streaming.gates import Call, Gate, Wait
from streamkit.streaming.job import Job
from streamkit.streaming.stream_hook import Halted
from streamkit.testing import Server
from streamkit.transport.transport import Transport
from tests.unit.support import SOON


def call_of(tokens: int = 0, *, provider: str = "openai", model: str = "gpt-4o", key: str = "sk-1") -> Call:
    """Return a request that may take so many tokens for its reply, and 5 for its prompt."""
    params = {"max_tokens": tokens} if tokens else {}
    return Call(provider, ChatRequest(model, messages_of("Hi"), params), (key,))


def job_of(server: Server, gates: Sequence[Gate], *, name: str = "m", **options: Any) -> Job:
    """Return a route to a server."""
    provider = providers.OpenAI(api_key="sk-SECRET", base_url=server.url)
    chat = ChatRequest(name, messages_of("Hi"))
    timeout, retry = options.get("timeout", Timeout()), options.get("retry", Retry(1))
    return Job(chat, provider.request(chat), provider, Transport(), timeout, retry, tuple(gates))


def stream_of(*jobs: Job, **options: Any) -> Stream:
    """Start a stream."""
    return Stream(jobs, buffer=256, buffer_bytes=1 << 20, **options)


class World:
    """A clock that moves on when all threads wait, to the moment at which the first of them goes on.

    It fails where all wait and none would ever go on: a wake-up is lost.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.condition = threading.Condition()
        self.waiting: set[VirtualWait] = set()
        self._live = 0
        self._errors: list[BaseException] = []

    def clock(self) -> float:
        return self.now

    def run(self, tasks: Iterable[Callable[[], object]]) -> None:
        """Run each in a thread of its own until all are over."""
        tasks = list(tasks)
        self._live = len(tasks)
        threads = [threading.Thread(target=self._run, args=(task,), daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        with self.condition:
            while self._live:
                settled = self.condition.wait_for(lambda: len(self.waiting) == self._live, SOON)
                assert settled, f"{self._live} threads live, {len(self.waiting)} wait"
                if self._live:
                    self._move_on()
        for thread in threads:
            thread.join(SOON)
        if self._errors:
            raise self._errors[0]

    def _move_on(self) -> None:
        at = min(each.due for each in self.waiting)
        assert at < math.inf, f"all {self._live} threads wait for ever"
        self.now = max(self.now, at)
        for each in [each for each in self.waiting if each.due <= self.now]:
            each.release()

    def _run(self, task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:
            self._errors.append(error)
        with self.condition:
            self._live -= 1
            self.condition.notify_all()

    def sleep(self, seconds: float) -> None:
        VirtualWait(self)(seconds)


class VirtualWait(Wait):
    """The wait of one request in a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._woken = self._go = self._cancelled = False
        self.due = math.inf
        self.waits = 0

    def __call__(self, seconds: float = math.inf) -> None:
        world = self._world
        with world.condition:
            self.waits += 1
            if not self._woken and not self._cancelled:
                self._go, self.due = False, world.now + max(seconds, 0.0)
                world.waiting.add(self)
                world.condition.notify_all()
                assert world.condition.wait_for(lambda: self._go, SOON)
            self._woken = False
            if self._cancelled:
                raise Halted

    def release(self) -> None:
        """Let it go on; the caller holds the condition."""
        self._go = True
        self._world.waiting.discard(self)
        self._world.condition.notify_all()

    def wake(self) -> None:
        with self._world.condition:
            self._woken = True
            if self in self._world.waiting:
                self._woken = False
                self.release()

    def cancel(self) -> None:
        with self._world.condition:
            self._cancelled = True
        self.wake()


class NoWait(Wait):
    """A wait that fails: the request is to pass at once."""

    def __init__(self) -> None:
        pass

    def __call__(self, seconds: float = math.inf) -> None:
        raise AssertionError(f"it had to wait {seconds} s")

    def wake(self) -> None:
        pass


def most_in_a_window(passed: Iterable[tuple[float, int]], per: float) -> tuple[int, int]:
    """Return the most requests, and the most tokens, in any window, which does not have its end."""
    events = sorted(passed)
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(events))
    requests = tokens = begin = count = total = 0
    for at, size in events:
        count, total = count + 1, total + size
        while events[begin][0] + per <= at:
            count, total = count - 1, total - events[begin][1]
            begin += 1
        requests, tokens = max(requests, count), max(tokens, total)
    return requests, tokens
