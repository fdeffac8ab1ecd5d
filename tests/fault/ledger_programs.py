"""Programs that spend from a ledger, for the tests that run many of them, kill them, or take their disk away.

Each function that is a program takes what the test passes, and prints one JSON value.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import sqlalchemy as sa

from streamkit.errors import RequestError, StoreError
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Holder, Limits, Payer
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.records import About, Settlement

ROOT = Path(__file__).parents[2]
ACCOUNT = "team:t"
PAYER = Payer(ACCOUNT, (Holder("token:a"), Holder("team:t", Limits(day=10**15, streams=1000))))
ABOUT = About("a", "t", "openai/m", "/v1/chat/completions")
DONE = Settlement(provider="openai", model="m")
WORTH = 20  # requests that the balance is enough for
PRICE = 333_333_333


def start(program: Callable[..., object], *arguments: object) -> subprocess.Popen[str]:
    """Start a program of this module in a process of its own."""
    code = f"from tests.fault import ledger_programs as p; p.{program.__name__}(*{list(map(str, arguments))!r})"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path[:1], str(ROOT), *sys.path[1:]])},
    )


def result_of(process: subprocess.Popen[str], seconds: float = 240.0) -> Any:
    """Return what a program printed."""
    try:
        out, error = process.communicate(timeout=seconds)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert (0, "") == (process.returncode, error), error
    return json.loads(out)


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Do the work in so many threads, and raise the first error."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Teller:
    """Writes to a pipe what this process has come to; a line is written whole, or not at all."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, what: str, id: str = "", amount: int = 0) -> None:
        os.write(self._descriptor, f"{what}\t{id}\t{amount}\n".encode())


class Child:
    """A forked child that works; its lines are read until it has ended."""

    def __init__(self, work: Callable[[Teller], object]) -> None:
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._reader)
            _in_child(work, Teller(writer))
        os.close(writer)
        self._told = b""

    def read_until(self, what: str, times: int) -> None:
        """Read until it has told something so many times."""
        while self._told.count(b"\n" + what.encode() + b"\t") < times:
            piece = os.read(self._reader, 1 << 16)
            assert piece, f"it ended before it came to {what!r}: {self._told.decode()[-2000:]}"
            self._told += piece

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def lines(self) -> list[tuple[str, str, int]]:
        """Wait for its end, and return all that it has told."""
        while piece := os.read(self._reader, 1 << 16):
            self._told += piece
        os.close(self._reader)
        os.waitpid(self.pid, 0)
        lines = [line.split("\t") for line in self._told.decode().split("\n") if line]
        failed = [id for what, id, _ in lines if what == "failed"]
        assert not failed, failed
        return [(what, id, int(amount)) for what, id, amount in lines]


def _in_child(work: Callable[[Teller], object], tell: Teller) -> NoReturn:
    try:
        tell("begun")
        work(tell)
        os._exit(0)
    except BaseException:
        tell("failed", traceback.format_exc().replace("\n", " | ").replace("\t", " "))
    finally:
        os._exit(1)


# -- many that spend ---------------------------------------------------------------------------------------


def spend(url: str, processes: str, threads: str) -> None:
    """Have processes with threads spend one balance, until none is left; print how many requests each has served."""
    database = GatewayDatabase(url, timeout=60.0)
    ledger = Ledger(database)
    ledger.top_up(ACCOUNT, WORTH * PRICE, id="first", by="test")
    ready, go = os.pipe(), os.pipe()
    children = [
        Child(lambda tell, at=at: _spend(ledger, int(threads), at, tell, (ready[1], go)))  # type: ignore[misc]
        for at in range(int(processes))
    ]
    for _ in children:
        os.read(ready[0], 1)
    os.close(go[1])  # all begin at once
    lines = [child.lines() for child in children]
    served = [[amount for what, _, amount in each if what == "served"] for each in lines]
    refused = sum(what == "refused" for each in lines for what, _, _ in each)
    balance = ledger.balance(ACCOUNT)
    result = {
        "served": [len(each) for each in served],
        "paid": sum(map(sum, served)),
        "refused": refused,
        "left": [balance.available, balance.reserved, balance.spent],
        "problems": list(map(str, ledger.check())),
    }
    database.close()
    print(json.dumps(result))


def _spend(ledger: Ledger, threads: int, at: int, tell: Teller, pipes: tuple[int, tuple[int, int]]) -> None:
    ready, (go, ended) = pipes
    os.close(ended)
    all_here = threading.Barrier(threads, lambda: [os.write(ready, b"."), os.read(go, 1)])

    def work(number: int) -> None:
        all_here.wait(60)
        while True:
            id = f"{at}-{number}-{random.getrandbits(64)}"
            try:
                reserved = ledger.reserve(PAYER, id, PRICE, about=ABOUT).amount
            except RequestError as error:
                if error.code != "insufficient_balance":
                    raise
                tell("refused")
                if not ledger.balance(ACCOUNT).reserved:
                    return
                continue
            ledger.settle(id, reserved, outcome=DONE)
            tell("served", id, reserved)

    in_threads(work, threads)


# -- killed ------------------------------------------------------------------------------------------------

PHASES = ("reserving", "reserved", "kept", "settling", "settled")
_THREADS = 8
_KILLED = "a worker that is killed"


def _work_for_ever(url: str, name: str, tell: Teller) -> None:
    """Reserve, keep and settle, and tell each step before and after it."""
    os.environ["PGAPPNAME"] = _KILLED
    ledger = Ledger(GatewayDatabase(url, timeout=60.0), lease=0.001)

    def work(number: int) -> None:
        for count in range(10_000):
            id, chance = f"{name}-{number}-{count}", random.Random(f"{name}-{number}-{count}")
            tell("reserving", id)
            reserved = ledger.reserve(PAYER, id, chance.randrange(1000, 5000), about=ABOUT).amount
            tell("reserved", id, reserved)
            for _ in range(chance.randrange(3)):
                known = chance.randrange(1000)
                tell("keeping", id, known)
                ledger.keep({id: known})
                tell("kept", id, known)
            if chance.random() < 0.2:
                tell("releasing", id, 0)
                ledger.release(id, outcome=Settlement(status=500))
                tell("released", id, 0)
            else:
                amount = chance.randrange(6000)
                tell("settling", id, amount)
                ledger.settle(id, amount, outcome=DONE)
                tell("settled", id, amount)

    in_threads(work, _THREADS)


def kill_workers(url: str, kills: str, seed: str) -> None:
    """Kill one or both of two workers again and again, in each phase; print how the requests have ended."""
    chance = random.Random(int(seed))
    database = GatewayDatabase(url, timeout=60.0)
    ledger = Ledger(database)
    ledger.top_up(ACCOUNT, 10**12, id="first", by="test")
    told: list[tuple[str, str, int]] = []
    for number in range(int(kills)):
        children = [Child(lambda tell, name=f"{number}{at}": _work_for_ever(url, name, tell)) for at in "ab"]  # type: ignore[misc]
        phase = PHASES[number % len(PHASES)]
        for child in children:
            child.read_until(phase, chance.randrange(1, 40))
        select.select([], [], [], chance.choice([0.0, chance.uniform(0, 0.01)]))  # so that it is killed anywhere
        for child in children:
            child.kill()
        for child in children:
            told += child.lines()
        _wait_for_server(database)
        ledger.recover()
        assert ledger.recover() == [], "what was recovered is recovered again"
        _check(ledger, told)
    states = [charge.state for charge in ledger.charges()]
    database.close()
    print(json.dumps({state: states.count(state) for state in sorted(set(states))}))


def _wait_for_server(database: GatewayDatabase) -> None:
    """Wait until PostgreSQL has ended what the killed workers had sent it: it may still commit that."""
    if database.is_sqlite:
        return
    query = sa.text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")
    deadline = time.monotonic() + 60
    while database.read(lambda connection: connection.execute(query, {"name": _KILLED}).scalar()):
        assert time.monotonic() < deadline, "the server does not notice that its clients are gone"
        select.select([], [], [], 0.01)


def _check(ledger: Ledger, told: Sequence[tuple[str, str, int]]) -> None:
    """Check that each request has one end, by what it told; that nothing else was charged; and the sums."""
    possible: dict[str, dict[str, set[int]]] = {}
    for what, id, amount in told:
        if id:
            possible.setdefault(id, {}).setdefault(what, set()).add(amount)
    charges = {charge.request_id: charge for charge in ledger.charges()}
    assert set(charges) <= set(possible), "a charge of a request that nobody has made"
    for id, steps in possible.items():
        charge = charges.get(id)
        if charge is None:
            assert "reserved" not in steps, f"{id} was reserved, and has neither a charge nor a reservation"
        elif charge.state == "recovered":
            assert not {"settled", "released"} & set(steps), f"{id} was settled, and recovered as well"
            assert charge.amount in steps.get("keeping", set()) | {0}, f"{id} costs what nobody said"
            assert charge.amount or not steps.get("kept"), f"{id} has lost what was kept"
        else:
            before = {"settled": "settling", "released": "releasing"}[charge.state]
            assert {charge.amount} == steps[before], f"{id} costs something else"
    balance = ledger.balance(ACCOUNT)
    assert (10**12, 0) == (balance.available + balance.spent, balance.reserved)
    assert sum(charge.amount for charge in charges.values()) == balance.spent
    assert not ledger.check()


# -- a disk that takes no more -----------------------------------------------------------------------------


def fill_the_disk(path: str) -> None:
    """Reserve, keep and settle on a disk that is full for a while; print the failures and the end."""
    database = GatewayDatabase(path, timeout=5.0)
    ledger = Ledger(database)
    ledger.top_up(ACCOUNT, 1000, id="first", by="test")
    ledger.reserve(PAYER, "open", 400, about=ABOUT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(f"{path}-wal"), resource.RLIM_INFINITY))
    failures = []
    calls: list[Callable[[], object]] = [
        lambda: ledger.reserve(PAYER, "new", 100, about=ABOUT),
        lambda: ledger.keep({"open": 7}),
        lambda: ledger.settle("open", 300, outcome=DONE),
        lambda: ledger.release("open", outcome=DONE),
        lambda: ledger.top_up(ACCOUNT, 5, id="second", by="test"),
    ]
    for call in calls:
        try:
            call()
        except StoreError as error:
            failures.append(str(error))
    full = ledger.balance(ACCOUNT)
    in_threads(lambda number: _fails(lambda: ledger.reserve(PAYER, f"t{number}", 1, about=ABOUT)), 8)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for call in (*calls, *calls):
        call()
    end = ledger.balance(ACCOUNT)
    problems = list(map(str, ledger.check()))
    database.close()
    figures = [[each.available, each.reserved, each.spent] for each in (full, end)]
    print(json.dumps([failures, figures, problems]))


def _fails(call: Callable[[], object]) -> None:
    try:
        call()
    except StoreError:
        return
    raise AssertionError("it was written on a full disk")
