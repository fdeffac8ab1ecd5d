"""Time until a cancel or a timeout takes effect: milliseconds, median and worst of many.

python tests/benchmarks/ends.py [--rounds 50]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable

from streamkit import Client, StreamTimeout, Timeout, ToolContext, providers
from streamkit.testing import Mark, Repeat, Reply, Server, Wait, chunk_event, tool_call_reply

HELLO = chunk_event("Hello")

PHASES: dict[str, Callable[[threading.Event], Reply]] = {
    "before the headers": lambda ready: Reply(before_head=[Mark(ready), Wait(None)]),
    "in silence": lambda ready: Reply([HELLO, Mark(ready), Wait(None)]),
    "in silence, not chunked": lambda ready: Reply([HELLO, Mark(ready), Wait(None)], framing="close"),
    "in a flood": lambda ready: Reply([HELLO, Mark(ready), Repeat(HELLO)]),
}


def cancel(reply: Callable[[threading.Event], Reply]) -> tuple[float, float, float]:
    """Return seconds until cancel() is back, the loop has ended, and the server has seen it."""
    ready, ended = threading.Event(), []
    with Server(reply(ready)) as server:
        client = Client([providers.OpenAI(api_key="k", base_url=server.url)])
        stream = client.stream("openai/m", "Hi")

        def consume() -> None:
            for _ in stream:
                pass
            ended.append(time.monotonic())

        consumer = threading.Thread(target=consume)
        consumer.start()
        ready.wait(5)
        began = time.monotonic()
        stream.cancel()
        back = time.monotonic()
        consumer.join(5)
        gone = server.requests[0]
        gone.gone.wait(5)
        return back - began, ended[0] - began, (gone.gone_at or began) - began


def cancel_run(phase: str) -> tuple[float, float]:
    """Return seconds until cancel() of a run with tools is back, and until the loop over it has ended."""
    ready, ended, never = threading.Event(), [], threading.Event()

    def waits(context: ToolContext) -> str:
        ready.set()
        context.stop.wait(5)
        return "stopped"

    def ignores() -> str:
        ready.set()
        never.wait(5)
        return "late"

    call = tool_call_reply("ignores" if phase == "a function in a thread" else "waits", {})
    silent = Reply([HELLO, Mark(ready), Wait(None)])
    replies = {
        "text": [silent],
        "arguments": [call.first(2).then(Mark(ready), Wait(None))],
        "the second round": [tool_call_reply("plain", {}), Reply(before_head=[Mark(ready), Wait(None)])],
    }.get(phase, [call])

    def plain() -> str:
        return "now"

    with Server(*replies) as server:
        client = Client([providers.OpenAI(api_key="k", base_url=server.url)])
        parallel = 2 if phase == "a function in a thread" else 1
        run = client.run("openai/m", "Hi", tools=[waits, ignores, plain], parallel=parallel)

        def consume() -> None:
            for _ in run:
                pass
            ended.append(time.monotonic())

        consumer = threading.Thread(target=consume)
        consumer.start()
        ready.wait(5)
        began = time.monotonic()
        run.cancel()
        back = time.monotonic()
        consumer.join(5)
        never.set()
        return back - began, ended[0] - began


RUN_PHASES = ("text", "arguments", "a function that waits on its stop", "a function in a thread", "the second round")


def overrun(limit: float) -> float:
    """Return seconds by which an idle limit is late."""
    with Server(Reply([HELLO, Wait(None)])) as server:
        client = Client([providers.OpenAI(api_key="k", base_url=server.url)], timeout=Timeout(idle=limit))
        stream = client.stream("openai/m", "Hi")
        next(stream)
        began = time.monotonic()
        try:
            next(stream)
        except StreamTimeout:
            return time.monotonic() - began - limit
        raise AssertionError("no timeout")


def shown(figures: list[float]) -> str:
    return f"{statistics.median(figures) * 1e3:6.2f} (worst {max(figures) * 1e3:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    rounds = parser.parse_args().rounds
    for name, reply in PHASES.items():
        back, ended, gone = zip(*(cancel(reply) for _ in range(rounds)), strict=True)
        print(
            f"cancel {name:24} returns after {shown(list(back))} ms, loop ends {shown(list(ended))} ms, "
            f"server sees it {shown(list(gone))} ms"
        )
    for phase in RUN_PHASES:
        back, ended = zip(*(cancel_run(phase) for _ in range(rounds)), strict=True)
        print(f"cancel a run, {phase:33} returns after {shown(list(back))} ms, loop ends {shown(list(ended))} ms")
    print(f"an idle limit of 200 ms is late by {shown([overrun(0.2) for _ in range(max(5, rounds // 5))])} ms")


if __name__ == "__main__":
    main()
