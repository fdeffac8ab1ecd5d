"""Our gateway beside its peers and beside bare relays, in one run, gateways in turns.

python tests/benchmarks/gateways.py --install DIR          # installs the peers below DIR, outside of the checkout
python tests/benchmarks/gateways.py [--peers DIR] [--rounds 3] [--quick] [--only NAME,NAME] [--json FILE]

The provider and the client of the streams are a process each, with one thread. Each chunk carries the moment at which
it was sent. In each round every gateway is started, measured and stopped; each figure is the median of the rounds'.

`direct` is the client at the provider, without a gateway: its column has what the measuring itself takes. Beside each
request and each load through a gateway some requests go to the provider directly, and what those took is subtracted,
p50 from p50 and p99 from p99, so that what else the machine does is in both. Processor time is that of a gateway's
whole process tree while all streams run, their starts and ends left out; memory is the proportional set size of the
tree. The last lines compare our figures with what they have to be.

--quick takes less than a minute: one short round beside nginx and bare Flask alone, to see what a change does.
--nice -15, for root, keeps what else runs on the machine out of the figures. A machine that is short of processors
shows lower processor times a chunk, as more is done by each wake-up: compare within a run only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from gateway_peers import GATEWAYS, HERE, LONGEST_START, Gateway, Running, free_port, install
from gateway_report import Figures, show
from gateway_tree import memory_mb, prefer, tree

GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread over each beat


class Direct(Gateway):
    """No gateway at all."""

    name = "direct"


class Sizes:
    """How much is measured."""

    def __init__(self, quick: bool) -> None:
        self.pairs = 30 if quick else 100  # requests for the time to the first token
        self.one = 1.5 if quick else 5.0  # seconds, as are all that follow
        self.short = 1.0 if quick else 3.0
        self.ramp = 0.7 if quick else 2.0  # in which the streams of a load begin
        self.steady = 2.0 if quick else 6.0  # in which all of them run
        self.grace = 2.0 if quick else 10.0  # after which a load is cut off
        self.silence = 3.0 if quick else 10.0


class Process:
    """A program of this folder that runs for the block."""

    def __init__(self, name: str, nice: int) -> None:
        self.command = [sys.executable, str(HERE / name)]
        self.nice = nice

    def __enter__(self) -> subprocess.Popen[str]:
        self.running = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        prefer(self.running.pid, self.nice)
        return self.running

    def __exit__(self, *_: object) -> None:
        self.running.kill()
        self.running.communicate()


class Bench:
    def __init__(self, load: subprocess.Popen[str], upstream: int, sizes: Sizes) -> None:
        self.load = load
        self.upstream = upstream
        self.sizes = sizes
        self.direct = Direct(upstream, Path(), None, 0).target(upstream)
        self.marks = 0

    # The client.

    def begin(self, job: dict[str, Any]) -> None:
        assert self.load.stdin is not None
        self.load.stdin.write(json.dumps(job) + "\n")
        self.load.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.load.stdout is not None
        found: dict[str, Any] = json.loads(self.load.stdout.readline())
        return found

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        self.begin(job)
        return self.answer()

    def prompt(self, count: int, every: float, before: float = 0, end: str = "done") -> str:
        self.marks += 1
        return f"count={count} every={every:g} before={before:g} end={end} mark=m{self.marks}"

    # The figures.

    def measure_start(self, running: Running, target: dict[str, Any]) -> float:
        """Return the seconds from the start of the process until it has given a reply."""
        running.wait()
        lane = {"turns": ["gateway"], "prompt": self.prompt(2, 0), "chunks": 2}
        while time.monotonic() < running.begun + LONGEST_START:
            found = self.ask({"targets": {"gateway": target}, "lanes": [lane], "seconds": 10})
            if found["targets"]["gateway"]["done"]:
                return time.monotonic() - running.begun
            time.sleep(0.05)
        raise TimeoutError(f"no reply: {found['targets']['gateway']['errors']}")

    def measure_first(self, target: dict[str, Any]) -> dict[str, Any]:
        turns = ["gateway", "direct"] * self.sizes.pairs
        lane = {"turns": turns, "prompt": self.prompt(2, 2), "chunks": 2}
        found = self.ask({"targets": self.both(target), "lanes": [lane], "seconds": 60})["targets"]
        return {"first": beside(found, "first")}

    def both(self, target: dict[str, Any]) -> dict[str, Any]:
        return {"gateway": target, "direct": self.direct}

    def measure_one(self, target: dict[str, Any]) -> dict[str, Any]:
        """One stream, and at the same time one from the provider."""
        count = int(self.sizes.one * 50)
        lanes = [
            {"turns": [name], "prompt": self.prompt(count, 20), "chunks": count, "at": at}
            for name, at in (("gateway", 0.0), ("direct", 0.01))
        ]
        seconds = self.sizes.one + self.sizes.grace
        found = self.ask({"targets": self.both(target), "lanes": lanes, "seconds": seconds})["targets"]
        return {"one": beside(found, "lag")}

    def measure_short(self, target: dict[str, Any]) -> dict[str, Any]:
        """Streams of ten chunks that come at once, eight clients that keep their connections."""
        lane = {"turns": ["gateway"], "prompt": self.prompt(10, 0), "chunks": 10, "keep": True}
        lane["until"] = self.sizes.short
        found = self.ask({"targets": {"gateway": target}, "lanes": [lane] * 8, "seconds": self.sizes.short + 5})
        gateway = found["targets"]["gateway"]
        return {"short": gateway["done"] / found["seconds"], "short errors": gateway["errors"]}

    def measure_many(self, name: str, target: dict[str, Any], streams: int, rate: int, process: int) -> dict[str, Any]:
        """Streams at once, and at the same time four from the provider."""
        sizes = self.sizes
        lasts = sizes.ramp + sizes.steady
        count = int(lasts * rate)
        every = 1000 / rate
        lanes = [
            {
                "turns": ["gateway"],
                "prompt": self.prompt(count, every),
                "chunks": count,
                # Clients are not in step: a ramp that gave all streams one beat would measure a burst a beat.
                "at": sizes.ramp * each / streams + each * GOLDEN % 1 * every / 1000,
            }
            for each in range(streams)
        ]
        if process:
            lanes += [
                {"turns": ["direct"], "prompt": self.prompt(count, every), "chunks": count, "at": sizes.ramp * each / 4}
                for each in range(4)
            ]
        job = {"targets": self.both(target), "lanes": lanes, "seconds": lasts + sizes.ramp + sizes.grace}
        processes = tree(process) if process else []
        job.update(processes=processes, watched="gateway", window=[sizes.ramp + 0.3, lasts - 0.2])
        self.begin(job)
        time.sleep(sizes.ramp + sizes.steady / 2)  # to look while all run
        memory = memory_mb(tree(process)) if process else None
        found = self.answer()
        gateway = found["targets"]["gateway"]
        window = found.get("window", {})
        figures = {
            name: beside(found["targets"], "lag"),
            f"{name} done": gateway["done"],
            f"{name} asked": streams,
            f"{name} share": gateway["chunks"] / (count * streams),  # of the chunks that came in time
            f"{name} errors": gateway["errors"],
            f"{name} memory": memory,
        }
        if process and window.get("chunks"):
            figures[f"{name} processor"] = window["processor"] * 1e6 / window["chunks"]
        return figures

    def measure_cancels(self, target: dict[str, Any]) -> dict[str, Any]:
        """Leave in each phase of a reply, and see when the provider is left."""
        silence = self.sizes.silence
        phases = {
            "mid-stream": self.prompt(round((silence + 5) * 20), 50),
            "before the first token": self.prompt(100, 50, silence),
            "whole reply": self.prompt(1, 0, silence),
            "upstream that hangs": self.prompt(5, 20, end="hang"),
        }
        lanes = [
            {"turns": ["gateway"], "prompt": prompt, "chunks": 0, "leave": 1.0, "stream": phase != "whole reply"}
            for phase, prompt in phases.items()
        ]
        found = self.ask({"targets": {"gateway": target}, "lanes": lanes, "seconds": 5})
        waiting, seconds = dict(phases), {}
        deadline = time.monotonic() + silence + (2 if silence < 5 else 5)
        while waiting and time.monotonic() < deadline:
            for phase, prompt in list(waiting.items()):
                seen = self.seen(prompt)
                if not seen or prompt not in found["left"]:
                    continue
                if seen["left"] is not None:
                    seconds[phase] = (seen["left"] - found["left"][prompt]) / 1e9
                if seen["left"] is not None or seen["over"]:
                    del waiting[phase]
            time.sleep(0.05)
        return {
            f"cancel {phase}": seconds.get(phase, math.inf)
            for phase, prompt in phases.items()
            if prompt in found["left"]  # it was answered otherwise
        }

    def seen(self, prompt: str) -> Any:
        mark = prompt.rpartition("mark=")[2]
        with urlopen(f"http://127.0.0.1:{self.upstream}/left/{mark}") as reply:
            return json.load(reply)

    def measure_direct(self) -> Figures:
        """What the measuring itself takes."""
        return {
            **self.measure_first(self.direct),
            **self.measure_one(self.direct),
            **self.measure_short(self.direct),
            **self.measure_many("hundred", self.direct, 100, 50, 0),
            **self.measure_many("three hundred", self.direct, 300, 20, 0),
        }

    def measure(self, gateway: Gateway, cancels: bool) -> Figures:
        """Take a round of a gateway; one that did not finish all its streams starts anew for what follows."""
        figures: Figures = {}
        with Turns(self, gateway) as turns:
            figures["start"] = turns.seconds
            figures["rest"] = memory_mb(tree(turns.process))
            figures.update(self.measure_first(turns.target))
            figures.update(self.measure_one(turns.target))
            if cancels:
                figures.update(self.measure_cancels(turns.target))
            figures.update(self.measure_short(turns.target))
            for name, streams, rate in (("hundred", 100, 50), ("three hundred", 300, 20)):
                figures.update(self.measure_many(name, turns.target, streams, rate, turns.process))
                if name == "hundred" and figures["hundred done"] < streams:
                    turns.again()
        return figures


class Turns:
    """A gateway that runs, and is started anew when it does not serve any more."""

    def __init__(self, bench: Bench, gateway: Gateway) -> None:
        self.bench = bench
        self.gateway = gateway

    def __enter__(self) -> Turns:
        port = free_port()
        self.running = Running(self.gateway, port)
        self.running.__enter__()
        self.process = self.running.process.pid
        self.target: dict[str, Any] = self.gateway.target(port)
        try:
            self.seconds = self.bench.measure_start(self.running, self.target)
        except BaseException:
            self.running.__exit__()
            raise
        return self

    def again(self) -> None:
        self.running.__exit__()
        self.__enter__()

    def __exit__(self, *_: object) -> None:
        self.running.__exit__()


def beside(targets: dict[str, Any], what: str) -> dict[str, Any]:
    """Return p50 and p99 through the gateway, and what was measured directly beside it."""
    return {"gateway": targets["gateway"][what], "direct": targets.get("direct", {}).get(what)}


def chosen(options: argparse.Namespace, folder: Path, upstream: int) -> tuple[list[Gateway], dict[str, str]]:
    """Return the gateways that are measured, and why the others are not."""
    wanted = options.only.split(",") if options.only else []
    if unknown := set(wanted) - {"direct"} - {kind.name for kind in GATEWAYS}:
        raise SystemExit(f"--only: {', '.join(sorted(unknown))}? There are {', '.join(each.name for each in GATEWAYS)}")
    found: list[Gateway] = []
    left_out: dict[str, str] = {}
    for kind in GATEWAYS:
        if wanted and kind.name not in wanted:
            continue
        gateway = kind(upstream, folder, options.peers, options.nice)
        if options.quick and not wanted and kind.name in SLOW:
            left_out[kind.name] = "--quick leaves it out unless --only names it"
        elif reason := gateway.missing():
            left_out[kind.name] = reason
        else:
            found.append(gateway)
    return found, left_out


SLOW = ("bare Starlette", "LiteLLM", "Portkey", "any-llm")


def prepared(gateways: Sequence[Gateway], left_out: dict[str, str]) -> list[Gateway]:
    found = []
    for gateway in gateways:
        try:
            gateway.folder.mkdir()
            gateway.prepare()
        except Exception as error:  # one gateway that cannot be set up must not cost the others' figures
            left_out[gateway.name] = f"could not be prepared: {error}"
        else:
            found.append(gateway)
    return found


def load_average() -> str:
    return f"{os.getloadavg()[0]:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", type=Path, metavar="DIR", help="install the peers below DIR, and end")
    parser.add_argument("--peers", type=Path, metavar="DIR", help="where --install put them")
    parser.add_argument("--rounds", type=int, help="3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", help="names of gateways, with commas")
    parser.add_argument("--nice", type=int, default=0, help="of all that is measured; below 0 needs root")
    parser.add_argument("--judge", default="streamkit", help="whose figures are compared with the targets")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of each round")
    options = parser.parse_args()
    if options.install:
        install(options.install)
        return
    if options.peers:
        options.peers = options.peers.resolve()
    with ExitStack() as stack:
        upstream = stack.enter_context(Process("gateway_upstream.py", options.nice))
        load = stack.enter_context(Process("gateway_load.py", options.nice))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        assert upstream.stdout is not None
        port = int(upstream.stdout.readline())
        bench = Bench(load, port, Sizes(options.quick))
        gateways, left_out = chosen(options, folder, port)
        gateways = prepared(gateways, left_out)
        sizes = {each.name: each.installed_mb() for each in gateways}
        versions = {each.name: each.version() for each in gateways}
        loads = [load_average()]
        rounds: dict[str, list[Figures]] = {"direct": [], **{each.name: [] for each in gateways}}
        for number in range(options.rounds or (1 if options.quick else 3)):
            progress(f"round {number + 1}: direct")
            rounds["direct"].append(bench.measure_direct())
            for gateway in gateways:
                progress(f"round {number + 1}: {gateway.name}")
                # What a client that left costs takes long to see, and does not vary: the first round is enough.
                cancels = number == 0 and (not options.quick or gateway.name == options.judge)
                try:
                    rounds[gateway.name].append(bench.measure(gateway, cancels))
                except OSError as error:  # one that does not start must not cost the others' figures
                    left_out[gateway.name] = f"{error}; its last lines: {last_lines(gateway)}"
            loads.append(load_average())
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "sizes": sizes, "versions": versions, "loads": loads}))
    rounds = {name: found for name, found in rounds.items() if found}
    show(rounds, sizes, versions, options.judge)
    for name, reason in left_out.items():
        print(f"{name}: left out, {reason}")
    loads_shown = ", ".join(loads)
    print(
        f"{len(rounds['direct'])} rounds at nice {options.nice} on {os.cpu_count()} cores; load average of a minute, "
        f"this run's own included, before it and after each round: {loads_shown}"
    )


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def last_lines(gateway: Gateway) -> str:
    with suppress(OSError):
        return " / ".join((gateway.folder / "output.txt").read_text(errors="replace").splitlines()[-3:])
    return ""


if __name__ == "__main__":
    main()
