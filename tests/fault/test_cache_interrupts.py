"""Ctrl-C at any point of a reply that is kept, played or waited for: what is kept is whole, and nobody waits long."""

from __future__ import annotations

import pytest

from streamkit import MemoryCache
from streamkit.testing import Server, text_reply
from tests.fault.support import client_of, join_readers
from tests.fault.test_interrupts import interrupted_at

WORDS = ["one ", "two ", "three ", "four "]
TEXT = "".join(WORDS)


@pytest.mark.parametrize("by_signals", [True, False])
@pytest.mark.parametrize("kind", ["recorded", "played", "waiting"])
def test_an_interrupt_anywhere(kind: str, by_signals: bool) -> None:
    """What was taken is the beginning of the reply, the completion agrees, and what is kept is whole."""
    number, count = 1, [10**9]
    while number <= count[0]:
        taken: list[str] = []
        with (
            Server(lambda _: text_reply("", pieces=WORDS)) as server,
            client_of(server, policies=[MemoryCache(wait=0.0 if kind == "waiting" else 30.0)]) as client,
        ):
            others = []
            if kind == "played":
                client.complete("openai/m", "Hi")
            elif kind == "waiting":
                others.append(client.stream("openai/m", "Hi"))
            stream = None
            try:
                with interrupted_at(number, by_signals=by_signals) as count:
                    stream = client.stream("openai/m", "Hi")
                    while (chunk := stream.take()) is not None:
                        taken.append(chunk.text)
            except KeyboardInterrupt:
                pass
            if stream is not None:
                text = stream.completion.text
                assert TEXT.startswith("".join(taken))
                assert text.startswith("".join(taken))
                assert TEXT.startswith(text)
                while stream.status == "open":
                    chunk = stream.take()
                assert TEXT.startswith(stream.completion.text)
                stream.close()
            del stream
            again = client.stream("openai/m", "Hi")
            assert TEXT == again.collect().text, number
            for other in others:
                other.close()
        number += 1 + number // 3
    join_readers()
