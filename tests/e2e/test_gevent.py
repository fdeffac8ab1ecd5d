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
