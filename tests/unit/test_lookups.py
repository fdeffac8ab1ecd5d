"""Name lookups: shared, few at once, ended at once by a limit or a cancel, and not cached."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from streamkit import Client, ConnectError, Retry, StreamTimeout, Timeout, providers
from streamkit.testing import Server, text_reply
from streamkit.transport import lookups
from streamkit.transport.lookups import look_up
from streamkit.transport.small_requests import Deadline, TimeIsUp
from tests.fault.support import NOISE, SOON, join_readers, readers

HERE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class Resolver:
    """Stands in for ``socket.getaddrinfo``: hangs until it is released, for all names or for one call of each."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.release = threading.Event()
        self.real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *more: int) -> object:
        if host == "127.0.0.1":
            return self.real(host, port, *more)
        self.asked.append(host)
        self.threads.add(threading.current_thread())
        assert self.release.wait(60)
        return self.real("127.0.0.1", port, *more)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.release.set()
    for thread in resolver.threads:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in resolver.threads)


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def client_for(name: str, server: Server, **settings: object) -> Client:
    url = server.url.replace("127.0.0.1", name)
    return Client([providers.OpenAI(api_key="k", base_url=url)], retry=Retry(1), **settings)  # type: ignore[arg-type]


def test_a_hundred_streams_make_one_lookup(resolver: Resolver) -> None:
    """While the resolver hangs, a name has one call; when it answers, all streams continue."""
    with Server(text_reply("Hi")) as server, client_for("far.test", server) as client:
        streams = [client.stream("openai/m", "Hi") for _ in range(100)]
        wait_until(lambda: lookups._lookups._newest and len(waiters()) == 100)
        assert resolver.asked == ["far.test"]
        resolver.release.set()
        assert {stream.collect().text for stream in streams} == {"Hi"}
        assert resolver.asked == ["far.test"]


def waiters() -> list[object]:
    return [waiter for lookup in lookups._lookups._newest.values() for waiter in lookup.waiters]


def test_lookups_of_many_names_take_few_threads(resolver: Resolver) -> None:
    """Streams to 100 hosts use few threads and end at their limits; a lookup without a waiter is not begun."""
    with Server(text_reply("Hi")) as server:
        clients = [client_for(f"host{number}.test", server) for number in range(100)]
        try:
            streams = [client.stream("openai/m", "Hi", timeout=Timeout(connect=1)) for client in clients]
            for stream in streams:
                with pytest.raises(StreamTimeout, match="no connection within 1 s"):
                    stream.collect()
            join_readers()
            assert len(resolver.threads) == len(resolver.asked) == 8
            assert waiters() == []
            resolver.release.set()
            assert client_for("last.test", server).complete("openai/m", "Hi").text == "Hi"
            assert len(resolver.asked) == 9
        finally:
            for client in clients:
                client.close()


def test_an_address_waits_for_nobody(resolver: Resolver) -> None:
    """Where all threads hang in lookups, a stream to an address goes through, and makes no lookup."""
    with Server(text_reply("Hi")) as server:
        hung = [client_for(f"host{number}.test", server) for number in range(10)]
        streams = [client.stream("openai/m", "Hi") for client in hung]
        wait_until(lambda: len(resolver.asked) == 8)
        with client_for("127.0.0.1", server) as client:
            assert client.complete("openai/m", "Hi").text == "Hi"
        for stream in streams:
            stream.cancel()
        join_readers()


def test_a_limit_ends_the_reader(resolver: Resolver) -> None:
    """At its limit a stream and its reader end, and the hanging lookup delays nothing."""
    with Server(text_reply("Hi")) as server, client_for("far.test", server) as client:
        began = time.monotonic()
        with pytest.raises(StreamTimeout) as caught:
            client.complete("openai/m", "Hi", timeout=Timeout(connect=0.2))
        assert time.monotonic() - began < 0.2 + NOISE
        assert caught.value.phase == "connect"
        join_readers()
        assert len(resolver.threads) == 1


def test_a_cancel_ends_the_reader(resolver: Resolver) -> None:
    """A cancel ends the stream and its reader, but not the lookup of another stream to the same host."""
    with Server(text_reply("Hi")) as server, client_for("far.test", server) as client:
        streams = [client.stream("openai/m", "Hi") for _ in range(2)]
        wait_until(lambda: len(waiters()) == 2)
        began = time.monotonic()
        streams[0].close()
        wait_until(lambda: len(readers()) == 1)
        assert time.monotonic() - began < 0.1 + NOISE
        resolver.release.set()
        assert streams[1].collect().text == "Hi"


def test_a_cancel_before_the_wait_is_not_lost(resolver: Resolver) -> None:
    hook = Deadline(SOON * 2)
    hook.halt()
    with pytest.raises(TimeIsUp):
        look_up("far.test", 80, 0, hook)
    assert waiters() == []


def test_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lookup gets the resolver's current answer."""
    answers = iter([HERE, [], HERE])
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked: next(answers))
    assert [look_up("far.test", 80, 0, Deadline(SOON)) for _ in range(3)] == [HERE, [], HERE]


def test_a_lookup_that_is_old_is_not_joined(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that lost one question answers the next one: who comes later does not wait for the first."""
    monkeypatch.setattr(lookups, "_JOINABLE_SECONDS", 0.0)
    with pytest.raises(TimeIsUp):
        look_up("far.test", 80, 0, Deadline(0.1))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked: HERE)
    assert look_up("far.test", 80, 0, Deadline(SOON)) == HERE


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError("label too long")])
def test_all_who_wait_hear_of_a_failure(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them gets an error of its own, which says the same."""
    release, caught = threading.Event(), []

    def fail(*asked: object) -> object:
        release.wait(SOON)
        raise error

    def look() -> None:
        try:
            look_up("far.test", 80, 0, Deadline(SOON * 2))
        except Exception as failure:
            caught.append(failure)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(waiters()) == 3)
    release.set()
    for thread in threads:
        thread.join(SOON)
    assert [repr(failure) for failure in caught] == [repr(error)] * 3
    assert len({id(failure) for failure in caught}) == 3


def test_an_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*asked: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with Server() as server, client_for("far.test", server) as client:
        with pytest.raises(ConnectError, match=r"the name of far.test:\d+ could not be looked up"):
            client.complete("openai/m", "Hi")


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no more threads, that is the error, and the next lookup tries again."""

    def refuse(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(lookups.OwnThread, "start", refuse)
        with pytest.raises(OSError, match="no thread could be started to look the name up"):
            look_up("localhost", 80, 0, Deadline(SOON))
    assert look_up("localhost", 80, socket.AF_INET, Deadline(SOON))[0][4] == ("127.0.0.1", 80)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_anew(resolver: Resolver) -> None:
    """The lookups of the parent are not waited for in the child, whose own go through."""
    with pytest.raises(TimeIsUp):
        look_up("far.test", 80, 0, Deadline(0.05))
    child = os.fork()
    if not child:
        socket.getaddrinfo = resolver.real
        found = look_up("localhost", 80, socket.AF_INET, Deadline(SOON))
        os._exit(0 if found[0][4] == ("127.0.0.1", 80) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", True), ("::1", True), ("fe80::1%lo", True), ("127.1", False), ("a.b", False), ("a\0b", False)],
)
def test_what_is_an_address(host: str, address: bool) -> None:
    assert lookups._is_address(host) is address
