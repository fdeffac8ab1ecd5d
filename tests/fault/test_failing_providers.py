"""A provider of another package that fails in the middle of a reply costs nothing of what came before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from streamkit import Chunk, Client, ConfigError, Retry, StreamkitError, providers
from streamkit.providers import ChatRequest
from streamkit.testing import Reply, Server, Wait, chunk_event, error_reply
from tests.fault.support import join_readers, nothing_left

TWO = chunk_event("one ", role="assistant") + chunk_event("two ")


class Breaking:
    """A decoder that fails at the third event."""

    def __init__(self, inner: Any, error: BaseException) -> None:
        self._inner = inner
        self._error = error
        self._events = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def decode(self, event: Any) -> Sequence[Chunk]:
        self._events += 1
        if self._events == 3:
            raise self._error
        chunks: Sequence[Chunk] = self._inner.decode(event)
        return chunks


class Failing(providers.OpenAI):
    """A provider with that decoder."""

    def __init__(self, url: str, error: BaseException) -> None:
        super().__init__("k", url, name="failing")
        self._error = error

    def decoder(self, chat: ChatRequest) -> Any:
        return Breaking(super().decoder(chat), self._error)


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), ConfigError("mine"), SystemExit("mine")], ids=type)
def test_the_chunks_before_the_failure_are_delivered(error: BaseException) -> None:
    """What came in the same read, before the event at which the provider's code fails, is delivered first."""
    with nothing_left(), Server(Reply([TWO + chunk_event("three"), Wait(None)])) as server:
        with Client([Failing(server.url, error)]) as client:
            stream = client.stream("failing/m", "Hi")
            seen = []
            with pytest.raises(StreamkitError, match="mine"):
                for chunk in stream:
                    seen.append(chunk.text)
            assert ["one ", "two "] == seen
            assert ("error", "one two ") == (stream.status, stream.completion.text)
            join_readers()


def test_the_response_of_a_later_try_is_closed() -> None:
    """The connection of the try that fails is closed, although an earlier try had one of its own."""
    retry = Retry(2, backoff=0.01)
    with nothing_left(), Server(error_reply(503), Reply([TWO + chunk_event("three"), Wait(None)])) as server:
        with Client([Failing(server.url, ZeroDivisionError("mine"))], retry=retry) as client:
            stream = client.stream("failing/m", "Hi")
            with pytest.raises(StreamkitError, match="mine"):
                list(stream)
            assert server.requests[1].gone.wait(10)
            assert 2 == stream.stats.attempts
