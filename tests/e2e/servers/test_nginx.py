"""The relay behind nginx, with its default buffering and with the configuration of the examples."""

from __future__ import annotations

import http.client
import threading
import zlib
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
from tests.e2e.servers.support import (
    DEPLOYMENT,
    PLAIN_SITE,
    SOON,
    Browser,
    Held,
    get,
    gunicorn,
    nginx,
    nginx_command,
    raw_connection,
)

pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("gunicorn", reason="needs gunicorn")

END = chunk_event(finish_reason="stop") + DONE
SITES = {"plain": PLAIN_SITE, "ours": (DEPLOYMENT / "nginx.conf").read_text()}
FORMATS = ["ui", "events", "text", "data", "openai"]


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> str:
    """A configuration: the shortest one, and that of the examples."""
    nginx_command()
    return SITES[str(request.param)]


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


def test_chunks_arrive_as_they_are_sent(answers: dict[str, Reply], upstream: Server, site: str, tmp_path: Path) -> None:
    """The browser has a chunk before the model sends the next one, in each format."""
    go_on: dict[str, list[threading.Event]] = {}
    for format in FORMATS:
        go_on[format] = [threading.Event() for _ in range(3)]
        steps = [step for event in go_on[format] for step in (chunk_event("word "), WaitFor(event, SOON))]
        answers[format] = Reply([*steps, END])
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        for format in FORMATS:
            with Browser(port, f"/stream/{format}?ask={format}", **{"Accept-Encoding": "gzip"}) as browser:
                assert 200 == browser.head().status
                assert browser.response.headers["Content-Encoding"] is None
                for event in go_on[format]:
                    browser.read_until(b"word ")
                    event.set()
                browser.read()


def test_heartbeats_get_through(answers: dict[str, Reply], upstream: Server, site: str, tmp_path: Path) -> None:
    """Heartbeats reach the browser before the first token."""
    answers["think"] = Reply(before_head=[Wait(None)])
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        with Browser(port, "/stream/events?ask=think&heartbeat=0.05&wait=0") as browser:
            browser.head()
            for _ in range(3):
                browser.read_until(b": hb\n")


def test_a_proxy_ends_a_silent_connection(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """A proxy's limit for silence, here of three seconds, ends a reply without heartbeats, and none with them."""
    answers["think"] = Reply(before_head=[Wait(8)]).then(chunk_event("Thought."), END)
    site = SITES["ours"].replace("proxy_read_timeout 60s", "proxy_read_timeout 3s")
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        get(server.port, "/stream/text?ask=first")
        assert 504 == get(port, "/stream/events?ask=think&heartbeat=1000&wait=1000")[0]
        status, body = get(port, "/stream/events?ask=think&heartbeat=0.2&wait=0")
        assert (200, True) == (status, b"event: done" in body)


PHASES: dict[str, Callable[[threading.Event], Reply]] = {
    "before the head": lambda ready: Reply(before_head=[Mark(ready), Wait(None)]),
    "in silence": lambda ready: Reply([chunk_event("One"), Mark(ready), Wait(None)]),
    "in mid-reply": lambda ready: Reply([chunk_event("One"), Mark(ready), Repeat(chunk_event("more"))]),
}


@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves(
    phase: str, answers: dict[str, Reply], upstream: Server, site: str, tmp_path: Path
) -> None:
    """nginx closes its connection when the browser closes its own, and the model is cancelled at once."""
    ready = threading.Event()
    answers["leave"] = PHASES[phase](ready)
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        held = Held(server.port, upstream)
        with Browser(port, "/stream/events?ask=leave&heartbeat=1000&wait=1000") as browser:
            assert ready.wait(SOON)
            if phase == "in silence":  # all is read, and nothing more will be written
                browser.head()
                browser.read_until(b"One")
        assert upstream.requests[-1].gone.wait(SOON)
        held.check()


def test_errors(answers: dict[str, Reply], upstream: Server, site: str, tmp_path: Path) -> None:
    """A refusal keeps its status and its text; a torn reply does not look whole.

    In plain text that takes `proxy_http_version 1.1`: in HTTP/1.0 the end of the connection is the end of the reply.
    """
    answers["refuse"], answers["torn"] = error_reply(429), Reply([chunk_event("Half of"), Cut()])
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        assert (429, b"An error occurred.") == get(port, "/stream/ui?ask=refuse")
        assert b'"errorText":"An error occurred."' in get(port, "/stream/ui?ask=torn")[1]
        if "proxy_http_version 1.1" not in site:
            return
        with Browser(port, "/stream/text?ask=torn") as browser:
            browser.head()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                browser.read()


def test_a_client_that_reads_nothing(upstream: Server, answers: dict[str, Reply], site: str, tmp_path: Path) -> None:
    """nginx takes a few kilobytes more than such a client, and then the relay's bound holds."""
    answers["flood"] = Reply([Repeat(chunk_event("x" * 10_000))])
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        held = Held(server.port, upstream)
        with raw_connection(port, receive_buffer=4096) as client:
            client.sendall(b"GET /stream/ui?ask=flood&write_timeout=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert upstream.wait_for_requests(2)[1].gone.wait(SOON)
        held.check()


def test_two_hundred_browsers(upstream: Server, answers: dict[str, Reply], tmp_path: Path) -> None:
    """Two hundred browsers at once get their whole replies through nginx."""
    count = 200
    all_here, everybody = threading.Event(), threading.Barrier(count, action=lambda: all_here.set(), timeout=SOON)
    for number in range(count):
        answers[f"n{number}"] = Reply([chunk_event(f"n{number} "), WaitFor(all_here, SOON), chunk_event("end."), END])

    def browse(number: int) -> str:
        with Browser(port, f"/stream/text?ask=n{number}&heartbeat=60") as browser:
            assert 200 == browser.head().status
            first = browser.read_until(b" ")
            everybody.wait()
            return (first + browser.read()).decode()

    with gunicorn(upstream, tmp_path, threads=count + 8) as server, ThreadPoolExecutor(count) as pool:
        with nginx(server.port, tmp_path / "nginx") as port:
            held = Held(server.port, upstream)
            assert [f"n{number} end." for number in range(count)] == list(pool.map(browse, range(count)))
            held.check()


def test_compression_does_not_hold_back(answers: dict[str, Reply], upstream: Server, tmp_path: Path) -> None:
    """With text/event-stream among gzip_types nginx flushes each piece, as the response is not buffered."""
    go_on = [threading.Event() for _ in range(3)]
    steps = [step for event in go_on for step in (chunk_event("word "), WaitFor(event, SOON))]
    answers["zip"] = Reply([*steps, END])
    site = (
        SITES["ours"]
        .replace("gzip_types ", "gzip_types text/event-stream ")
        .replace("gzip on;", "gzip on; gzip_min_length 0;")
    )
    with gunicorn(upstream, tmp_path) as server, nginx(server.port, tmp_path / "nginx", site) as port:
        with Browser(port, "/stream/events?ask=zip", **{"Accept-Encoding": "gzip"}) as browser:
            assert "gzip" == browser.head().headers["Content-Encoding"]
            unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            for event in go_on:
                text = b""
                while b"word " not in text:
                    text += unpacker.decompress(browser.response.read1(65536))
                event.set()
            assert b"event: done" in unpacker.decompress(browser.read())
