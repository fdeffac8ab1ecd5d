"""A server for the benchmarks, in its own process: prints its port and serves until it is killed.

The path says what is sent: /burst/N, /each/N, /paced/N/MICROSECONDS, /ok.
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


def answer(request: Request) -> Reply:
    kind, *numbers = request.path.strip("/").split("/")
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
