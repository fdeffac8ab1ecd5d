"""The relay under gunicorn's workers: many browsers at once, those that leave, errors, stops, and nothing left over."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamkit.testing import (
    DONE,
    Cut,
    Mark,
    Repeat,
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
)
from tests.e2e.servers.support import SOON, Browser, Gunicorn, Held, get, gunicorn, left, raw_connection

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

SILENCE = "heartbeat=1000&wait=1000"  # so that only the watched socket can tell that the client has left
END = chunk_event(finish_reason="stop") + DONE

PHASES: dict[str, Callable[[threading.Event], Reply]] = {
    "before the head": lambda ready: Reply(before_head=[Mark(ready), Wait(None)]),
    "before the first token": lambda ready: Reply([chunk_event(""), Mark(ready), Wait(None)]),
    "in silence": lambda ready: Reply([chunk_event("One"), Mark(ready), Wait(None)]),
    "in mid-reply": lambda ready: Reply([chunk_event("One"), Mark(ready), Repeat(chunk_event("more"))]),
}


@pytest.fixture
def answers() -> dict[str, Reply | Callable[[Request], Reply]]:
    """Replies by question; the server of a test looks them up."""
    return {}


@pytest.fixture
def upstream(answers: dict[str, Reply]) -> Iterator[Server]:
    """The model: it replies to a question as the test says, and otherwise repeats it."""

    def answer(request: Request) -> Reply:
        question = request.json()["messages"][-1]["content"]
        return answers[question] if question in answers else text_reply(f"You said {question}.")

    with Server(answer) as server:
        yield server


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves(phase: str, answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """A closed connection ends the request to the model at once, without any write, in each phase."""
    ready = threading.Event()
    answers["leave"] = PHASES[phase](ready)
    with gunicorn(upstream, tmp_path) as server:
        held = Held(server.port, upstream)
        with Browser(server.port, f"/stream/events?ask=leave&{SILENCE}") as browser:
            assert ready.wait(SOON)
            if phase == "in silence":  # all is read, and nothing more will be written
                browser.head()
                browser.read_until(b"One")
        asked = upstream.requests[-1]
        gone_after = time.monotonic()
        assert asked.gone.wait(SOON)
        assert time.monotonic() - gone_after < 5, "a second is promised, on a machine that is not busy"
        held.check()


def test_a_client_that_leaves_with_a_full_window(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """The same while the server waits in a write that the client does not take."""
    stuck = threading.Event()
    answers["flood"] = Reply([Repeat(chunk_event("x" * 10_000))])
    with gunicorn(upstream, tmp_path) as server:
        held = Held(server.port, upstream)
        with raw_connection(server.port, receive_buffer=4096) as client:
            client.sendall(f"GET /stream/events?ask=flood&{SILENCE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            asked = upstream.wait_for_requests(2)[1]
            wait_until_stuck(server, stuck)
        assert asked.gone.wait(SOON)
        held.check()


def wait_until_stuck(server: Gunicorn, never: threading.Event) -> None:
    """Wait until the worker process uses no processor time: it waits for the client, and the model for it."""
    worker = left(server.port)["pid"]
    used, same = -1, 0
    deadline = time.monotonic() + SOON
    while same < 10:
        now = ticks(worker)
        same, used = (same + 1, used) if now == used else (0, now)
        assert time.monotonic() < deadline, "it goes on writing"
        never.wait(0.05)


def ticks(pid: int) -> int:
    """Return the processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_four_who_left_take_nothing_down(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """As many abandoned requests as there are threads leave all threads free."""
    answers["think"] = Reply(before_head=[Wait(None)])
    with gunicorn(upstream, tmp_path, threads=4) as server:
        for number in range(1, 5):
            with Browser(server.port, f"/stream/events?ask=think&{SILENCE}"):
                upstream.wait_for_requests(number)
        status, body = get(server.port, "/stream/text?ask=hello")
        assert (200, b"You said hello.") == (status, body)


@pytest.mark.parametrize(
    ("theirs", "ours"), [(429, 429), (503, 503), (401, 502), (500, 502)], ids=["429", "503", "401", "500"]
)
def test_an_error_before_the_first_chunk(
    theirs: int, ours: int, answers: dict[str, Reply], upstream: Server, tmp_path: Path
) -> None:
    """A refusal is a status with a short text of ours, never a page of HTML, in each format."""
    answers["refuse"] = error_reply(theirs)
    with gunicorn(upstream, tmp_path) as server:
        for format in ("ui", "events", "text", "data", "openai"):
            status, body = get(server.port, f"/stream/{format}?ask=refuse")
            assert ours == status
            assert b"An error occurred." in body
            assert b"<" not in body
        assert 200 == get(server.port, "/stream/text?ask=hello")[0]


def test_an_error_in_mid_reply(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """A torn reply is told of in the format's words; in plain text the connection is cut, and no client takes it for
    whole."""
    answers["torn"] = Reply([chunk_event("Half of"), Cut()])
    with gunicorn(upstream, tmp_path) as server:
        status, body = get(server.port, "/stream/ui?ask=torn")
        assert (200, True) == (status, b'{"type":"error","errorText":"An error occurred."}' in body)
        with Browser(server.port, "/stream/text?ask=torn") as browser:
            assert 200 == browser.head().status
            with pytest.raises(http.client.IncompleteRead):
                browser.read()


def test_two_hundred_browsers(upstream: Server, answers: dict[str, Reply], tmp_path: Path) -> None:
    """One worker process streams to two hundred browsers: all have their first chunk before any has its last, each has
    its whole reply and nobody else's, and nothing is left over."""
    count = 200
    all_here, everybody = threading.Event(), threading.Barrier(count, action=lambda: all_here.set(), timeout=SOON)
    for number in range(count):
        events = [chunk_event(f"n{number} "), WaitFor(all_here, SOON), *[chunk_event(f"{each} ") for each in range(20)]]
        answers[f"n{number}"] = Reply([*events, END])

    def browse(number: int) -> str:
        with Browser(server.port, f"/stream/text?ask=n{number}&heartbeat=60") as browser:
            assert 200 == browser.head().status
            first = browser.read_until(b" ")
            everybody.wait()
            return (first + browser.read()).decode()

    with gunicorn(upstream, tmp_path, threads=count + 8) as server, ThreadPoolExecutor(count) as pool:
        held = Held(server.port, upstream)
        rest = "".join(f"{each} " for each in range(20))
        assert [f"n{number} {rest}" for number in range(count)] == list(pool.map(browse, range(count)))
        held.check()


def test_nothing_is_left_behind(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """After hundreds of replies, those among them that were left, failed or torn, the process holds what it held."""
    ready = threading.Event()
    answers["leave"] = Reply([chunk_event("One"), Mark(ready), Wait(None)])
    answers["refuse"], answers["torn"] = error_reply(500), Reply([chunk_event("Half of"), Cut()])

    def one_of_each(_: int) -> None:
        get(server.port, "/stream/ui?ask=hello", Connection="close")
        get(server.port, "/stream/ui?ask=refuse", Connection="close")
        get(server.port, "/stream/ui?ask=torn", Connection="close")
        with Browser(server.port, "/stream/ui?ask=leave", Connection="close") as browser:
            browser.head()
            browser.read_until(b"One")

    with gunicorn(upstream, tmp_path) as server, ThreadPoolExecutor(4) as pool:
        held = Held(server.port, upstream)
        list(pool.map(one_of_each, range(60)))
        held.check()


def test_a_graceful_stop_in_mid_reply(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """A stopping gunicorn lets a reply come to its end, and then ends itself."""
    more = threading.Event()
    answers["long"] = Reply([chunk_event("One"), WaitFor(more, SOON), chunk_event(" two."), END])
    with gunicorn(upstream, tmp_path, stop_after=60) as server:
        with Browser(server.port, "/stream/text?ask=long") as browser:
            browser.head()
            first = browser.read_until(b"One")
            server.process.send_signal(signal.SIGTERM)
            wait_for_log(server, "Handling signal: term")
            more.set()
            assert b"One two." == first + browser.read()
        assert 0 == server.wait_for_end()


def test_a_stop_does_not_wait_for_ever(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """A reply that is longer than the graceful timeout is cut, its request to the model ends, and gunicorn too."""
    answers["endless"] = Reply([chunk_event("One"), Wait(None)])
    with gunicorn(upstream, tmp_path, stop_after=1) as server:
        with Browser(server.port, "/stream/events?ask=endless&heartbeat=0.2") as browser:
            browser.head()
            browser.read_until(b"One")
            server.process.send_signal(signal.SIGTERM)
            assert upstream.requests[-1].gone.wait(SOON)
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                browser.read()
        assert 0 == server.wait_for_end()


def wait_for_log(server: Gunicorn, words: str) -> None:
    deadline, never = time.monotonic() + SOON, threading.Event()
    while words not in server.text():
        assert time.monotonic() < deadline, server.text()
        never.wait(0.01)
