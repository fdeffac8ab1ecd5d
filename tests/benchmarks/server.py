"""A server for the benchmarks, in its own process: prints its port and serves until it is killed.

The path says what is sent: /burst/N, /each/N, /paced/N/MICROSECONDS, /tools, /ok.
"""

from __future__ import annotations

import threading
import time

from streamkit.testing import DONE, Output, Reply, Request, Send, Server, Step, chunk_event

END = chunk_event(finish_reason="stop") + DONE


class Stamped(Step):
    """Events at a steady rate, each with the moment at which it is sent, in nanoseconds, as its text."""

    def __init__(self, count: int, every: float) -> None:
        self.count = count
        self.every = every

    def play(self, out: Output) -> None:
        due = time.monotonic()
        for _ in range(self.count):
            due += self.every
            out.wait(due - time.monotonic())
            out.send(chunk_event(f"{time.monotonic_ns()} "))


def two_calls(round: int) -> bytes:
    """Two calls of `look_up`, the arguments in 14 pieces each, all in one write."""
    events = [chunk_event("", role="assistant")]
    for index in range(2):
        function = {"name": "look_up", "arguments": ""}
        call = {"index": index, "id": f"call_{round}_{index}", "type": "function", "function": function}
        events.append(chunk_event(tool_calls=[call]))
        text = f'{{"word": "word {round} {index}", "language": "Norwegian Bokmal"}}'
        for at in range(0, len(text), 4):
            events.append(chunk_event(tool_calls=[{"index": index, "function": {"arguments": text[at : at + 4]}}]))
    return b"".join(events) + chunk_event(finish_reason="tool_calls") + DONE


TOOL_ROUNDS = [two_calls(round) for round in range(3)]
TOOL_END = b"".join(chunk_event(f" word{number}") for number in range(100)) + END


def answer(request: Request) -> Reply:
    kind, *numbers = request.path.strip("/").split("/")
    if kind == "tools":
        results = sum(message["role"] == "tool" for message in request.json()["messages"])
        return Reply([Send(TOOL_ROUNDS[results // 2] if results < 6 else TOOL_END)])
    if kind == "burst":
        body = b"".join(chunk_event(f" word{number}") for number in range(int(numbers[0]))) + END
        return Reply([Send(body[at : at + 16384]) for at in range(0, len(body), 16384)])
    if kind == "each":
        event = chunk_event(" hello")
        return Reply([*[Send(event)] * int(numbers[0]), Send(END)])
    if kind == "paced":
        return Reply([Stamped(int(numbers[0]), int(numbers[1]) / 1e6), Send(END)])
    return Reply([Send(chunk_event(f" word{number}")) for number in range(10)] + [Send(END)])


if __name__ == "__main__":
    with Server(answer, remember=1) as server:
        print(server.port, flush=True)
        threading.Event().wait()
