"""Everything works under the monkey-patching of gevent and of eventlet, with greenlets in place of threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib.util import find_spec

import pytest

from streamkit.testing import Repeat, Reply, Server, Wait, chunk_event, error_reply, text_reply
from tests.fault.conftest import Certificate, certificate

__all__ = ["certificate"]  # a fixture

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    # It warns that it is deprecated; nothing else may warn.
    "eventlet": "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch(); "
    "warnings.simplefilter('error')",
}

PROGRAM = """
    import queue, sys, threading, time
    import streamkit
    from streamkit import Client, Retry, StopEvent, StreamTimeout, Timeout, providers
    client = Client([providers.OpenAI(api_key="k", base_url=sys.argv[1])], retry=Retry(2, backoff=0.01))
"""


@pytest.fixture(params=PATCHES)
def library(request: pytest.FixtureRequest) -> str:
    """The name of a library that patches the standard one; without it the test is skipped."""
    if find_spec(request.param) is None:  # not imported, as this process is not to be patched
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


def run(library: str, server: Server, body: str) -> str:
    program = f"{PATCHES[library]}\n{textwrap.dedent(PROGRAM)}{textwrap.dedent(body)}"
    result = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout


def test_streams_complete_at_once(library: str) -> None:
    """50 streams at once complete, and 10 in a row use one connection."""
    with Server(lambda request: text_reply(request.json()["messages"][0]["content"], pause=0.001)) as server:
        printed = run(
            library,
            server,
            """
            streams = [client.stream("openai/m", f"number {n}") for n in range(50)]
            print(all(s.collect().text == f"number {n}" for n, s in enumerate(streams)))
            """,
        )
        assert printed == "True\n"
        before = server.connections
        run(
            library,
            server,
            """
            for n in range(10):
                for chunk in client.stream("openai/m", "in a row"): pass
            """,
        )
        assert server.connections == before + 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(before_head=[Wait(None)]),
        Reply([Wait(None)]),
        Reply([Wait(None)], framing="close"),
        Reply([Repeat(chunk_event("x"))]),
        error_reply(503, headers={"Retry-After": "30"}),
    ],
    ids=["before the head", "in silence", "not chunked", "in a flood", "backing off"],
)
def test_cancel_and_limits(library: str, reply: Reply) -> None:
    """A cancel from another greenlet, a stop event and the total limit end a stream in each phase."""
    with Server(reply) as server:
        printed = run(
            library,
            server,
            """
            def ended(stream):
                done = threading.Event()
                threading.Thread(target=lambda: (list(stream), done.set())).start()
                return done
            stream = client.stream("openai/m", "Hi"); done = ended(stream); time.sleep(0.2); stream.cancel()
            print(done.wait(60), stream.status)
            stop = StopEvent()
            stream = client.stream("openai/m", "Hi", stop=stop); done = ended(stream); time.sleep(0.2); stop.set()
            print(done.wait(60), stream.status)
            stream = client.stream("openai/m", "Hi", timeout=0.3, retry=1)
            try:
                for chunk in stream: pass
                print("end")
            except StreamTimeout as error: print(error.phase)
            except streamkit.OverloadedError: print("total")
            """,
        )
        assert printed.splitlines() == ["True cancelled", "True cancelled", "total"]


def test_two_readers_of_one_descriptor(library: str) -> None:
    """Streams that are cancelled and started in turn reuse each other's descriptors, and each wait is its own."""
    silent = Reply([chunk_event("one"), Wait(None)])
    with Server(lambda request: silent if b"silent" in request.body else text_reply("Hello")) as server:
        printed = run(
            library,
            server,
            """
            for number in range(30):
                silent = [client.stream("openai/m", "silent") for _ in range(3)]
                for stream in silent: next(stream)
                for stream in silent: stream.cancel()
                assert client.complete("openai/m", "Hi").text == "Hello"
            merged = streamkit.merge([client.stream("openai/m", "Hi") for _ in range(9)])
            print(sorted({chunk.text for _, chunk in merged}))
            """,
        )
    assert "['', 'Hello']\n" == printed


def test_tls(library: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same over TLS: whole replies, and a cancel in silence."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    silent = Reply([chunk_event("one"), Wait(None)])
    answer = lambda request: silent if b"silent" in request.body else text_reply("Hello")  # noqa: E731
    with Server(answer, tls=certificate.context) as server:
        printed = run(
            library,
            server,
            """
            print(*(client.complete("openai/m", "Hi").text for _ in range(3)))
            stream = client.stream("openai/m", "silent")
            threading.Timer(0.1, stream.cancel).start()
            print([chunk.text for chunk in stream], stream.status)
            print(client.complete("openai/m", "Hi").text)
            """,
        )
    assert "Hello Hello Hello\n['one'] cancelled\nHello\n" == printed


def test_names_and_addresses(library: str) -> None:
    """Looking a name up and connecting let other greenlets run, and end at once when they are cancelled."""
    with Server(text_reply("Hi")) as server:
        printed = run(
            library,
            server,
            """
            import socket
            url = sys.argv[1].replace("127.0.0.1", "localhost")
            named = Client([providers.OpenAI(api_key="k", base_url=url)])
            print(named.complete("openai/m", "Hi").text)
            real, release = socket.getaddrinfo, threading.Event()
            def hang(*asked):
                release.wait(30)
                return real(*asked)
            socket.getaddrinfo = hang
            named.close()
            named = Client([providers.OpenAI(api_key="k", base_url=url)])
            streams = [named.stream("openai/m", "Hi") for _ in range(20)]
            time.sleep(0.1)
            began = time.monotonic()
            streams[0].close()
            print(streams[0]._worker.is_alive(), time.monotonic() - began < 5)
            release.set()
            print({stream.collect().text for stream in streams[1:]})

            listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(0)
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            silent = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            for end in ("cancel", "limit"):
                client = Client([providers.OpenAI(api_key="k", base_url=silent)])
                stream = client.stream("openai/m", "Hi", timeout=Timeout(connect=30 if end == "cancel" else 0.3))
                time.sleep(0.1)
                if end == "cancel":
                    stream.cancel()
                try:
                    print(list(stream))
                except StreamTimeout as error:
                    print(error.phase)
            """,
        )
        assert printed.splitlines() == ["Hi", "False True", "{'Hi'}", "[]", "connect"]
