"""Idle connections: the last put is the next used, old ones are closed, and no call waits."""

from __future__ import annotations

import queue

import pytest

from streamkit import Client, Retry, StreamTimeout, Timeout, providers
from streamkit.streaming.stream_hook import StreamHook
from streamkit.testing import Reply, Server, Wait, text_reply
from streamkit.transport.idle_connections import MOST_IDLE_SECONDS, IdleConnections


class Connection:
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(IdleConnections, "now", staticmethod(clock))
    return clock


def test_the_last_put_comes_first(clock: Clock) -> None:
    idle, first, second = IdleConnections(2), Connection(), Connection()
    idle.put(first)
    idle.put(None)  # what urllib3 fills a new pool with
    closed = Connection()
    closed.close()
    idle.put(closed)
    idle.put(second)
    assert idle.qsize() == 2
    with pytest.raises(queue.Full):
        idle.put(Connection(), block=False)
    assert [idle.get(), idle.get()] == [second, first]
    with pytest.raises(queue.Empty):
        idle.get()


def test_an_old_connection_is_closed_and_not_used(clock: Clock) -> None:
    """Each has its own age, and the old ones go when anything is put or taken."""
    idle, old, middle, young = IdleConnections(9), Connection(), Connection(), Connection()
    idle.put(old)
    clock.seconds = MOST_IDLE_SECONDS / 2
    idle.put(middle)
    clock.seconds = MOST_IDLE_SECONDS + 1
    idle.put(young)
    assert old.is_closed
    assert not middle.is_closed
    clock.seconds = MOST_IDLE_SECONDS * 1.5 + 1
    assert idle.get() is young
    assert middle.is_closed
    with pytest.raises(queue.Empty):
        idle.get()


def test_close_all(clock: Clock) -> None:
    idle, connections = IdleConnections(9), [Connection() for _ in range(3)]
    for connection in connections:
        idle.put(connection)
    idle.close_all()
    idle.close_all()
    assert all(connection.is_closed for connection in connections)
    assert repr(idle) == "<IdleConnections 0 of 9>"


def test_the_real_clock_goes_on() -> None:
    idle = IdleConnections(1)
    assert idle.now() <= idle.now()


def test_a_stream_does_not_use_an_old_connection(clock: Clock) -> None:
    """A connection serves one stream after another, but not after a long pause."""
    with Server(text_reply("Hi")) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)]) as client:
            for _ in range(2):
                client.complete("openai/m", "Hi")
            assert server.connections == 1
            clock.seconds += MOST_IDLE_SECONDS - 1
            client.complete("openai/m", "Hi")
            assert server.connections == 1
            clock.seconds += MOST_IDLE_SECONDS + 1
            client.complete("openai/m", "Hi")
            assert server.connections == 2
        server.wait_for_open_connections(0)


def silent(reply: Reply, count: int) -> list[Reply]:
    return [text_reply("Hi", pause=0.01)] * count + [reply, text_reply("Hi")]


@pytest.mark.parametrize(
    ("reply", "cancelled", "connections"),
    [
        (Reply(before_head=[Wait(None)]), False, 5),  # the three others are closed, and one is new
        (Reply(before_head=[Wait(None)]), True, 4),
        (Reply([Wait(None)]), False, 4),  # it lives: the head came
    ],
    ids=["a limit before any byte", "a cancel", "a limit after the head"],
)
def test_a_limit_on_a_used_connection_closes_the_idle_ones(reply: Reply, cancelled: bool, connections: int) -> None:
    """One that is dead has dead neighbours, which are not to cost another stream its limit; a slow reply has not."""
    with Server(*silent(reply, 4)) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(1)) as client:
            for stream in [client.stream("openai/m", "Hi") for _ in range(4)]:
                stream.collect()
                stream.close()
            assert server.connections == 4
            stream = client.stream("openai/m", "Hi", timeout=Timeout(first=60 if cancelled else 0.3))
            server.wait_for_requests(5)
            if cancelled:
                stream.close()
            else:
                with pytest.raises(StreamTimeout, match="no chunk within"):
                    stream.collect()
                stream.close()
            client.complete("openai/m", "Hi")
            assert server.connections == connections


def test_a_limit_that_the_consumer_saw_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It closes the idle connections as well, where the reader's thread did not get to run in time."""
    before_read = StreamHook.before_read
    with Server(*silent(Reply(before_head=[Wait(None)]), 2)) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(1)) as client:
            for stream in [client.stream("openai/m", "Hi") for _ in range(2)]:
                stream.collect()
                stream.close()
            monkeypatch.setattr(StreamHook, "before_read", lambda hook: before_read(hook) + 60)
            stream = client.stream("openai/m", "Hi", timeout=Timeout(first=0.3))
            with pytest.raises(StreamTimeout, match="no chunk within"):
                stream.collect()
            stream.close()
            monkeypatch.undo()
            client.complete("openai/m", "Hi")
            assert server.connections == 3
