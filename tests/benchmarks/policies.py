"""What gates cost: a stream with and without them, one passage alone, and a chunk, which pays nothing.

python tests/benchmarks/policies.py [--streams 400] [--rounds 7] [--redis unix:///path/to/socket]

Processor time of this process; the server has one of its own. Ratios are of the least of each in one
run, as other programs on the machine only add to it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from streamkit import Breaker, RateLimit, Retry, Stream, Timeout, Usage, providers
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.streaming.gates import Call, Gate, Result, Wait
from streamkit.streaming.job import Job
from streamkit.transport.transport import Transport

HERE = Path(__file__).parent
DONE = Result(sent=True, usage=Usage(input_tokens=10, output_tokens=20, total_tokens=30), time_to_first_chunk=0.1)
LONG = "word " * 20_000  # 100 KB
CHUNKS = 20_000


class Unwaiting(Wait):
    """A wait that is never needed."""

    def __init__(self) -> None:
        pass

    def wake(self) -> None:
        pass


def gates_of(redis: str | None) -> dict[str, Callable[[], Sequence[Gate]]]:
    """Return the gates that are measured, by name."""
    wide = 10**9
    made: dict[str, Callable[[], Sequence[Gate]]] = {
        "none": tuple,
        "breaker": lambda: [Breaker()],
        "requests": lambda: [RateLimit(requests=wide)],
        "requests, tokens, streams": lambda: [RateLimit(requests=wide, tokens=10**12, streams=wide)],
        "breaker and three limits": lambda: [
            Breaker(),
            RateLimit(requests=wide),
            RateLimit(tokens=10**12, by="model"),
            RateLimit(streams=wide, by="key"),
        ],
    }
    if redis is not None:
        made["requests on Redis"] = lambda: [RateLimit(requests=wide, per=1.0, storage=redis)]
    return made


def read(base: str, path: str, gates: Sequence[Gate], transport: Transport) -> None:
    """Read one stream to its end."""
    provider = providers.OpenAI(api_key="k", base_url=f"{base}/{path}")
    chat = ChatRequest("m", messages_of("Hi"))
    job = Job(chat, provider.request(chat), provider, transport, Timeout(), Retry(1), tuple(gates))
    for _ in Stream([job], buffer=256, buffer_bytes=1 << 20):
        pass


def processor_time(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(rounds: int, made: dict[str, Callable[[], Sequence[Gate]]], work: Callable[[Sequence[Gate]], None]) -> None:
    """Measure work with each set of gates, in turns, and print what each costs beside none."""
    figures: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(rounds):
        for name, make in made.items():
            gates = make()
            figures[name].append(processor_time(lambda gates=gates: work(gates)))  # type: ignore[misc]
    base = min(figures["none"])
    for name, taken in figures.items():
        least = min(taken)
        print(f"  {name:26} {least * 1000:9.1f} ms   {least / base:5.2f} of none")


def passages(gates: Sequence[Gate], count: int, messages: str) -> float:
    """Return the seconds of one passage through gates, by itself."""
    chat, wait = ChatRequest("m", messages_of(messages)), Unwaiting()
    began = time.process_time()
    for _ in range(count):
        call = Call("openai", chat, ("k",))
        for gate in gates:
            gate.enter(call, wait)
        for gate in gates:
            gate.sending(call)
        for gate in gates:
            gate.left(call, DONE)
    return (time.process_time() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--redis")
    options = parser.parse_args()
    made = gates_of(options.redis)
    print("one passage, by itself")
    for name, make in made.items():
        if name != "none":
            count = 300 if "Redis" in name else 3000
            brief, long = (passages(make(), count, messages) for messages in ("Hi", LONG))
            print(f"  {name:26} {brief * 1e6:9.1f} us   {long * 1e6:9.1f} us with a prompt of 100 KB")
    server = subprocess.Popen([sys.executable, str(HERE / "server.py")], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        base, transport = f"http://127.0.0.1:{int(server.stdout.readline())}", Transport()
        read(base, "ok", (), transport)
        print(f"{options.streams} streams of 10 chunks")

        def streams(gates: Sequence[Gate]) -> None:
            for _ in range(options.streams):
                read(base, "ok", gates, transport)

        compare(options.rounds, made, streams)
        print(f"one stream of {CHUNKS} chunks")
        compare(options.rounds, made, lambda gates: read(base, f"burst/{CHUNKS}", gates, transport))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
