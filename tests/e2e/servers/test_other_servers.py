"""The relay under other servers: gunicorn's other workers, werkzeug, the standard library's, waitress; and Django."""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import (
    DONE,
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
    SOON,
    Browser,
    Held,
    Process,
    environment,
    free_port,
    get,
    gunicorn,
    wait_until_listening,
)

flask = pytest.importorskip("flask", reason="needs flask")

END = chunk_event(finish_reason="stop") + DONE

SERVERS = {
    "werkzeug": "from werkzeug.serving import run_simple as run\nrun('127.0.0.1', port, {app}, threaded=True)",
    "waitress": "from waitress import serve\nserve({app}, host='127.0.0.1', port=port, threads=8)",
    "wsgiref": (
        "import socketserver\nfrom wsgiref.simple_server import WSGIServer, make_server\n"
        "class Threaded(socketserver.ThreadingMixIn, WSGIServer): daemon_threads = True\n"
        "make_server('127.0.0.1', port, {app}, Threaded).serve_forever()"
    ),
}
APPS = {
    "flask": "from tests.e2e.servers.app import app",
    "bare": "from tests.e2e.servers.app import bare as app",
    "django": "from tests.e2e.servers.django_site import app",
}
HANDED_OVER = {"gthread", "sync", "gevent", "werkzeug"}  # the servers that hand over the client's socket


@contextmanager
def serving(server: str, app: str, upstream: Server, folder: Path) -> Iterator[int]:
    """Serve an application with a server for the block, and return its port."""
    if app == "django":
        pytest.importorskip("django", reason="needs django")
    if server in SERVERS:
        pytest.importorskip(server, reason=f"needs {server}")
        port = free_port()
        program = f"port = {port}\n{APPS[app]}\n{SERVERS[server].format(app='app')}"
        process = Process([sys.executable, "-c", program], folder / "server.log", env=environment(upstream.url))
        try:
            wait_until_listening(port, process)
            yield port
        except BaseException:
            print(process.text()[-4000:])
            raise
        finally:
            process.stop()
    else:
        if server == "gevent":
            pytest.importorskip("gevent", reason="needs gevent")
        module, _, name = APPS[app].removeprefix("from ").partition(" import ")
        with gunicorn(upstream, folder, worker=server, app=f"{module}:{name.split()[0]}") as process:
            yield process.port


@pytest.fixture
def answers() -> dict[str, Reply | Callable[[Request], Reply]]:
    """Replies in order; the server of a test looks them up."""
    return {}


EVERYWHERE = [
    ("gthread", "bare"),
    ("gthread", "django"),
    ("sync", "flask"),
    ("gevent", "flask"),
    ("gevent", "django"),
    ("werkzeug", "flask"),
    ("werkzeug", "bare"),
    ("waitress", "flask"),
    ("waitress", "bare"),
    ("wsgiref", "bare"),
    ("wsgiref", "django"),
]


@pytest.fixture(params=EVERYWHERE, ids=["-".join(each) for each in EVERYWHERE])
def place(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A server, and an application."""
    server, app = request.param
    return server, app


def test_a_whole_life(place: tuple[str, str], tmp_path: Path) -> None:
    """Under each server: a chunk arrives before the next is sent, heartbeats come, an error is a status, a reply that
    the browser leaves ends, and nothing stays behind."""
    more, ready = threading.Event(), threading.Event()
    replies = [
        text_reply("First."),
        Reply([chunk_event("One"), WaitFor(more, SOON), chunk_event("Two"), END]),
        error_reply(429),
        Reply(before_head=[Wait(0.5)]).then(chunk_event("Late"), END),
        Reply([chunk_event("One"), Mark(ready), Wait(None)]),
        text_reply("Last."),
    ]
    with Server(*replies) as upstream, serving(*place, upstream, tmp_path) as port:
        held = Held(port, upstream)
        with Browser(port, "/stream/events") as browser:
            assert 200 == browser.head().status
            assert ("text/event-stream", "no") == (
                browser.response.headers["content-type"],
                browser.response.headers["x-accel-buffering"],
            )
            browser.read_until(b"One")
            more.set()
            assert b"event: done" in browser.read_until(b"event: done")
        assert (429, b"An error occurred.") == get(port, "/stream/events", Connection="close")
        late = get(port, "/stream/events?heartbeat=0.1&wait=0", Connection="close")[1]
        assert late.startswith(b": hb\n")
        assert b"Late" in late
        # Without the socket a failing write has to find out.
        beat = "1000" if place[0] in HANDED_OVER else "0.1"
        with Browser(port, f"/stream/events?heartbeat={beat}", Connection="close") as browser:
            browser.head()
            assert ready.wait(SOON)
        assert upstream.requests[4].gone.wait(SOON)
        held.check()
        assert (200, b"Last.") == get(port, "/stream/text", Connection="close")


PHASES: dict[str, Callable[[threading.Event], Reply]] = {
    "before the head": lambda ready: Reply(before_head=[Mark(ready), Wait(None)]),
    "in silence": lambda ready: Reply([chunk_event("One"), Mark(ready), Wait(None)]),
    "in mid-reply": lambda ready: Reply([chunk_event("One"), Mark(ready), Repeat(chunk_event("more"))]),
}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("server", ["sync", "gevent", "werkzeug"])
def test_a_client_that_leaves(server: str, phase: str, tmp_path: Path) -> None:
    """Where the server hands the client's socket over, no write is needed to find out, under gevent neither."""
    ready = threading.Event()
    with Server(text_reply("First."), PHASES[phase](ready)) as upstream:
        with serving(server, "flask", upstream, tmp_path) as port:
            held = Held(port, upstream)
            with Browser(port, "/stream/events?heartbeat=1000&wait=1000", Connection="close") as browser:
                assert ready.wait(SOON)
                if phase == "in silence":  # all is read, and nothing more will be written
                    browser.head()
                    browser.read_until(b"One")
            assert upstream.requests[1].gone.wait(SOON)
            held.check()


def test_fifty_browsers_under_gevent(tmp_path: Path) -> None:
    """One gevent worker streams to fifty browsers at once."""
    from concurrent.futures import ThreadPoolExecutor

    count = 50
    go_on, everybody = threading.Event(), threading.Barrier(count, action=lambda: go_on.set(), timeout=SOON)

    def browse(port: int) -> bytes:
        with Browser(port, "/stream/text", Connection="close") as browser:
            browser.head()
            first = browser.read_until(b"One")
            everybody.wait()
            return first + browser.read()

    with Server(Reply([chunk_event("One"), WaitFor(go_on, SOON), chunk_event("Two"), END])) as upstream:
        with serving("gevent", "flask", upstream, tmp_path) as port, ThreadPoolExecutor(count) as pool:
            assert [b"OneTwo"] * count == list(pool.map(browse, [port] * count))


def test_the_sync_worker_kills_long_replies(tmp_path: Path) -> None:
    """gunicorn's default worker serves one reply at a time, and kills it after `timeout` seconds: use gthread."""
    silent = Reply([chunk_event("One"), Wait(None)])
    with Server(silent) as upstream:
        with gunicorn(upstream, tmp_path, "--timeout", "1", worker="sync") as server:
            with Browser(server.port, "/stream/events?heartbeat=0.1", Connection="close") as browser:
                browser.head()
                assert b"event: done" not in rest_of(browser)
            assert upstream.requests[0].gone.wait(SOON)
            assert "WORKER TIMEOUT" in server.text()


def test_the_gthread_worker_does_not(tmp_path: Path) -> None:
    """The same timeout leaves the replies of gthread workers alone."""
    done = threading.Event()
    with Server(Reply([chunk_event("One"), WaitFor(done, SOON), END])) as upstream:
        with gunicorn(upstream, tmp_path, "--timeout", "1") as server:
            with Browser(server.port, "/stream/events?heartbeat=0.1", Connection="close") as browser:
                browser.head()
                for _ in range(30):  # of a tenth of a second, so three timeouts
                    browser.read_until(b": hb\n")
                done.set()
                browser.read_until(b"event: done")
            assert "WORKER TIMEOUT" not in server.text()


def rest_of(browser: Browser) -> bytes:
    """Return the bytes up to the end, be it a cut."""
    import http.client

    data: list[Any] = []
    try:
        while more := browser.response.read1(65536):
            data.append(more)
    except (http.client.IncompleteRead, ConnectionError):
        pass
    return b"".join(data)


@pytest.mark.parametrize("header", [{}, {"Content-Encoding": "identity"}], ids=["without the header", "with it"])
def test_django_compression_holds_back(header: dict[str, str]) -> None:
    """Django's GZipMiddleware keeps chunks until it has a block; a response that says `identity` it leaves alone."""
    pytest.importorskip("django", reason="needs django")
    from django.conf import settings
    from django.http import StreamingHttpResponse
    from django.middleware.gzip import GZipMiddleware
    from django.test import RequestFactory

    from streamkit.web.relay import relay
    from tests.unit.test_relay import client_of

    if not settings.configured:
        settings.configure()
    pause = threading.Event()
    reply = Reply([chunk_event("One"), WaitFor(pause, SOON), END])
    with Server(reply) as upstream, client_of(upstream) as client:
        relayed = relay(client.stream("openai/m", "Hi"), "events")
        answer = lambda request: StreamingHttpResponse(relayed, headers={**relayed.headers, **header})  # noqa: E731
        response = GZipMiddleware(answer)(RequestFactory().get("/", headers={"accept-encoding": "gzip"}))
        pieces, unpacker = iter(response.streaming_content), zlib.decompressobj(16 + zlib.MAX_WBITS)
        if header:
            assert b"One" in next(pieces)
            pause.set()
        else:
            assert not unpacker.decompress(next(pieces)), "the chunk is compressed by itself now"
            pause.set()  # without it the next piece would never come
            second = unpacker.decompress(next(pieces))
            if b"event: done" not in second:
                pytest.skip("this version of Django holds nothing back")
        response.close()
