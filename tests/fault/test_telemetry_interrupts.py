"""An interrupt wherever signals are handled: what was reported has one span, and none stays open."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from streamkit import Client
from streamkit.testing import Reply, Server, text_reply, tool_call_reply
from tests.fault.support import client_of, join_readers
from tests.fault.test_interrupts import interrupted_at

pytest.importorskip("opentelemetry.sdk")

from tests.telemetry_support import Memory

EVERY = 61  # each run takes milliseconds, and a busy machine several times that


def looks() -> str:
    """Look."""
    return "seen"


def by_stream(client: Client) -> None:
    for _ in client.stream("openai/m", "Hi"):
        pass


def by_run(client: Client) -> None:
    for _ in client.run("openai/m", "Hi", tools=[looks]):
        pass


def by_run_in_threads(client: Client) -> None:
    for _ in client.run("openai/m", "Hi", tools=[looks], parallel=2):
        pass


WAYS: dict[Callable[[Client], None], tuple[list[Reply], Counter[str]]] = {
    by_stream: ([text_reply("one two")], Counter({"chat m": 1})),
    by_run: (
        [tool_call_reply("looks", {}), text_reply("one two")],
        Counter({"chat m": 2, "execute_tool looks": 1, "invoke_agent": 1}),
    ),
}
WAYS[by_run_in_threads] = WAYS[by_run]


# The interpreter swallows an interrupt in a finalizer; streams have a second one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("take", WAYS, ids=lambda take: take.__name__)
def test_an_interrupt_wherever_signals_are_handled(take: Callable[[Client], None]) -> None:
    """No span is ended twice or stays open, wherever the program is interrupted from the start of its stream on."""
    replies, whole = WAYS[take]
    number, total = 0, 1
    while number < total:
        memory = Memory()
        with Server(*replies) as server, client_of(server, observers=[memory.telemetry]) as client:
            with interrupted_at(number, by_signals=True) as count, suppress(KeyboardInterrupt):
                take(client)
            if number == 0:
                total = count[0]
                assert whole == names(memory)
            gc.collect()
            join_readers()
        assert not Counter(memory.counts.ended) - Counter(set(memory.counts.ended)), number
        assert not names(memory) - whole, number
        assert "<Telemetry 0 open spans>" == repr(memory.telemetry), number
        number += EVERY
    assert total > 200


def names(memory: Memory) -> Counter[str]:
    """Return how many spans of each name have ended."""
    return Counter(span.name for span in memory.ended)
