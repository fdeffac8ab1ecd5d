"""Bound the wait for servers that stop sending: before the first chunk, midway, and midway with pings.

Comments and pings are not chunks, so they do not reset a limit.
"""

import time

from streamkit import Client, StreamTimeout, Timeout, providers
from streamkit.testing import Send, Server, Wait, text_reply

speech = text_reply("Once upon a time there was a robot that", pause=0.05)
never_answers = speech.but(before_head=[Wait(None)])
falls_silent = speech.first(19).then(Wait(None))  # one step an event, and one a pause
pings_for_ever = speech.first(19).then(*[Send(": ping\n\n"), Wait(0.2)] * 50)

with Server(never_answers, falls_silent, pings_for_ever, speech) as server:
    provider = providers.OpenAI(api_key="", base_url=server.url, name="local")
    client = Client([provider], timeout=Timeout(connect=2, first=1, idle=1, total=10))

    for server_that in ("never answers", "falls silent", "sends pings for ever", "behaves"):
        print(f"A server that {server_that}: ", end="", flush=True)
        last = time.monotonic()
        try:
            for chunk in client.stream("local/storyteller", "Tell me a story"):
                print(chunk.text, end="", flush=True)
                last = time.monotonic()
            print(".")
        except StreamTimeout as error:
            print(f"\n  after {time.monotonic() - last:.1f} s: the limit {error.phase!r}, {error}")
