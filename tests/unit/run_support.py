"""Helpers of the tests of runs: a client for a scripted server, tools, and what a run gave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streamkit import Chunk, Client, Observer, Report, Retry, Run, RunReport, providers
from streamkit.testing import Server
from tests.unit.support import SOON

MODEL = "openai/m"


def client_of(server: Server, **options: Any) -> Client:
    """Return a client of one provider in OpenAI's format, which tries once and has no limits."""
    settings: dict[str, Any] = {"timeout": None, "retry": Retry(1), **options}
    return Client([providers.OpenAI(api_key="sk-SECRET", base_url=server.url)], **settings)


@contextmanager
def served(*replies: Any, **options: Any) -> Iterator[tuple[Client, Server]]:
    """Give a client, and the server that answers it."""
    with Server(*replies) as server, client_of(server, **options) as client:
        yield client, server


def kinds(chunks: list[Chunk]) -> list[str]:
    """Return the types of chunks, each once in a row."""
    return [chunk.type for number, chunk in enumerate(chunks) if not number or chunks[number - 1].type != chunk.type]


def results(chunks: list[Chunk]) -> list[tuple[str, str]]:
    """Return the ids and contents of the final results among chunks."""
    found = [chunk.tool_result for chunk in chunks if chunk.tool_result is not None]
    return [(result.call_id, result.content) for result in found if not result.preliminary]


def history(run: Run) -> list[tuple[str, Any]]:
    """Return the roles and contents of the messages of a run."""
    return [(message.role, message.content) for message in run.messages]


def sent(server: Server, number: int) -> list[dict[str, Any]]:
    """Return the messages of a request."""
    messages: list[dict[str, Any]] = server.requests[number].json()["messages"]
    return messages


def told(server: Server, number: int = 1) -> list[Any]:
    """Return what the model was told of its calls in a request."""
    return [message["content"] for message in sent(server, number) if message["role"] == "tool"]


def wait(event: threading.Event) -> None:
    """Wait for an event, bounded."""
    assert event.wait(SOON)


class Told(Observer):
    """Keeps the reports of streams and runs."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.streams: list[Report] = []
        self.runs: list[RunReport] = []

    def stream_started(self, report: Report) -> None:
        self.events.append(f"stream {report.round} started")

    def stream_ended(self, report: Report) -> None:
        self.events.append(f"stream {report.round} {report.status}")
        self.streams.append(report)

    def run_started(self, report: RunReport) -> None:
        self.events.append(f"run {report.status}")

    def run_ended(self, report: RunReport) -> None:
        self.events.append(f"run {report.status}")
        self.runs.append(report)


def numbered(count: int) -> list[tuple[str, dict[str, int]]]:
    """Return calls of ``step`` with the numbers from 2 on, for ``tool_call_reply``."""
    return [("step", {"number": number}) for number in range(2, count + 1)]


def recorder() -> tuple[Callable[[int], str], list[int]]:
    """Return a function ``step``, and the list of the numbers that it was called with."""
    seen: list[int] = []

    def step(number: int) -> str:
        """Make a step."""
        seen.append(number)
        return f"step {number}"

    return step, seen
