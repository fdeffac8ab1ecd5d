"""A program that closes all descriptors, as one that becomes a daemon does, while a client has connections."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamkit.testing import Reply, Request, Server, Wait, chunk_event, text_reply

PROGRAM = r"""
import gc, os, socket, sys
from streamkit import Client, StreamError, Timeout, providers

client = Client([providers.OpenAI("k", sys.argv[1])], timeout=Timeout(connect=5, first=5, idle=1), retry=1)
for each in [client.stream("openai/m", "together") for _ in range(4)]:
    each.collect()  # which leaves four idle connections
silent = client.stream("openai/m", "silent") if sys.argv[2] == "open" else None
if silent is not None:
    next(silent)
if sys.argv[2] == "forked":
    child = os.fork()
    if child:
        print("parent:", client.complete("openai/m", "Hi").text, os.waitpid(child, 0)[1], flush=True)
        os._exit(0)
os.closerange(3, 256)
# What the program opens next gets the numbers of the connections.
pairs = [socket.socketpair() for _ in range(8)]
print(*(client.complete("openai/m", "Hi").text for _ in range(6)))
if silent is not None:
    try:
        print([chunk.text for chunk in silent])
    except StreamError as error:
        print(error.partial.text, "failed")
    os._exit(0)
client.close()
del client
gc.collect()
for one, other in pairs:  # neither closed, nor written to
    other.send(b"x")
    assert one.recv(65536) == b"x"
    one.send(b"y")
    assert other.recv(65536) == b"y"
print("nothing was touched", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what tells sockets apart is Linux's")
@pytest.mark.parametrize(
    ("way", "printed"),
    [
        ("idle", "Hello Hello Hello Hello Hello Hello\nnothing was touched\n"),
        ("open", "Hello Hello Hello Hello Hello Hello\none failed\n"),
        ("forked", "Hello Hello Hello Hello Hello Hello\nnothing was touched\nparent: Hello 0\n"),
    ],
)
def test_descriptors_that_belong_to_other_files(way: str, printed: str) -> None:
    """New streams work, open ones fail, and files that got the connections' numbers are neither written nor closed."""

    def answer(request: Request) -> Reply:
        if b"silent" in request.body:
            return Reply([chunk_event("one"), Wait(None)])
        return text_reply("Hello", pause=0.05 if b"together" in request.body else 0)

    with Server(answer) as server:
        command = [sys.executable, "-W", "ignore:This process", "-c", PROGRAM, server.url, way]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (printed, "", 0) == (run.stdout, run.stderr, run.returncode)
