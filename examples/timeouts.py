"""Meet servers that fall silent at different moments, and limits that notice.

Silence in the middle is the usual one: the connection stands and nothing comes any more. Comments and pings
that a server sends meanwhile do not count as an answer, so they do not help it.
"""

import time

from streamkit import Client, StreamTimeout, Timeout, providers
from streamkit.testing import Send, Server, Wait, text_reply

speech = text_reply("Once upon a time there was a robot that", pause=0.05)
never_answers = speech.but(before_head=[Wait(None)])
falls_silent = speech.first(19).then(Wait(None))  # a step for each event, and one for each pause
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
