"""Under gevent's monkey-patching everything works the same, with greenlets for threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from streamkit.testing import Repeat, Reply, Server, Wait, chunk_event, error_reply, text_reply

pytest.importorskip("gevent")

PROGRAM = """
    import warnings
    from gevent import monkey
    monkey.patch_all()
    import queue, sys, threading, time
    import streamkit
    from streamkit import Client, Retry, StopEvent, StreamTimeout, Timeout, providers
    client = Client([providers.OpenAI(api_key="k", base_url=sys.argv[1])], retry=Retry(2, backoff=0.01))
"""


def run(server: Server, body: str) -> str:
    program = textwrap.dedent(PROGRAM) + textwrap.dedent(body)
    result = subprocess.run([sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert result.returncode == 0
    return result.stdout


def test_streams_complete_at_once() -> None:
    """50 streams at once complete, and 10 in a row use one connection."""
    with Server(lambda request: text_reply(request.json()["messages"][0]["content"], pause=0.001)) as server:
        printed = run(
            server,
            """
            streams = [client.stream("openai/m", f"number {n}") for n in range(50)]
            print(all(s.collect().text == f"number {n}" for n, s in enumerate(streams)))
            """,
        )
        assert printed == "True\n"
        before = server.connections
        run(
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
def test_cancel_and_limits(reply: Reply) -> None:
    """A cancel from another greenlet, a stop event and the total limit end a stream in each phase."""
    with Server(reply) as server:
        printed = run(
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


def test_names_and_addresses() -> None:
    """Looking a name up and connecting let other greenlets run, and end at once when they are cancelled."""
    with Server(text_reply("Hi")) as server:
        printed = run(
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
