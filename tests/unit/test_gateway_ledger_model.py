"""The ledger beside a plain model of it: any order of its calls, repeats, crashes and clocks that jump."""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from streamkit.errors import RequestError
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Holder, Limits, Payer
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.records import About, Balance, Settlement
from tests.postgres import make_postgres

__all__ = ["make_postgres"]  # a fixture

DAY, HOUR, MINUTE, LEASE = 86400, 3600, 60, 10.0
START = 1_800_000_000.0
ENDED = Settlement(provider="p", model="m")

TEAM = Holder("team:t", Limits(day=60, month=90, streams=3))
OWN = Payer("token:own", (Holder("token:own", Limits(request=25)),))
FIRST = Payer("team:t", (Holder("token:first"), TEAM))
SECOND = Payer("team:t", (Holder("token:second", Limits(day=40, streams=2)), TEAM))
RICH = Payer("token:rich", (Holder("token:rich", Limits(month=70)), TEAM), overdraft=True)
PAYERS = (OWN, FIRST, SECOND, RICH)
ACCOUNTS = ("token:own", "team:t", "token:rich")


@attrs.define
class Request:
    """A reservation of the model, and its charge."""

    payer: Payer
    reserved: int
    lease: float
    known: int | None = None
    state: str = "open"
    amount: int = 0
    short: int = 0
    at: float = 0.0


class Model:
    """What the ledger is to do, in memory, by the book."""

    def __init__(self) -> None:
        self.available = dict.fromkeys(ACCOUNTS, 0)
        self.requests: dict[str, Request] = {}
        self.topups: dict[str, tuple[str, int, int]] = {}
        self.now, self.ticks = START, 0.0

    def of(self, holder: Holder, state: str = "") -> list[Request]:
        return [
            each
            for each in self.requests.values()
            if holder.name in [h.name for h in each.payer.holders] and (each.state == "open") == (state == "open")
        ]

    def spent(self, holder: Holder, seconds: int, width: int) -> int:
        first = math.floor((self.now - seconds) / width) * width
        return sum(each.amount for each in self.of(holder) if each.at >= first)

    def reserve(self, payer: Payer, id: str, wanted: int, least: int) -> int | str:
        if id in self.requests:
            return self.requests[id].reserved
        rooms = [] if payer.overdraft else [(self.available[payer.account], "insufficient_balance")]
        for holder in payer.holders:
            limits, under_way = holder.limits, self.of(holder, "open")
            if limits.streams is not None and len(under_way) >= limits.streams:
                return "too_many_streams"
            held = sum(each.reserved for each in under_way)
            for most, used in (
                (limits.request, 0),
                (limits.day, held + self.spent(holder, DAY, MINUTE)),
                (limits.month, held + self.spent(holder, 30 * DAY, HOUR)),
            ):
                if most is not None:
                    rooms.append((max(most - used, 0), "spending_limit_exceeded"))
        room, code = min(rooms, key=lambda each: each[0])
        amount = min(wanted, room)
        if amount < min(wanted, least):
            return code
        self.requests[id] = Request(payer, amount, self.ticks + LEASE)
        self.take(payer, amount)
        return amount

    def take(self, payer: Payer, amount: int) -> int:
        """Take from an account as far as it goes; return what is missing."""
        if payer.overdraft:
            return 0
        taken = min(amount, self.available[payer.account])
        self.available[payer.account] -= taken
        return amount - taken

    def end(self, id: str, amount: int, state: str) -> Request:
        request = self.requests[id]
        if request.state == "open":
            request.at = self.now
            self.take(request.payer, -request.reserved)
        elif request.state == "recovered":
            self.take(request.payer, request.short - request.amount)
        else:
            return request
        request.short = self.take(request.payer, amount)
        request.amount, request.state = amount, state
        return request

    def keep(self, known: dict[str, int]) -> set[str]:
        for id, amount in known.items():
            request = self.requests.get(id)
            if request is not None and request.state == "open":
                request.known, request.lease = amount, self.ticks + LEASE
        return {id for id in known if id not in self.requests or self.requests[id].state != "open"}

    def recover(self) -> dict[str, int]:
        over = [id for id, each in self.requests.items() if each.state == "open" and self.ticks >= each.lease]
        return {id: self.end(id, self.requests[id].known or 0, "recovered").amount for id in over}

    def top_up(self, account: str, amount: int, id: str) -> int | str:
        if id in self.topups:
            same = self.topups[id][:2] == (account, amount)
            return self.topups[id][2] if same else "another"
        if self.available[account] + amount < 0:
            return "insufficient_balance"
        self.available[account] += amount
        self.topups[id] = (account, amount, self.available[account])
        return self.available[account]

    def balance(self, account: str) -> Balance:
        mine = [each for each in self.requests.values() if each.payer.account == account]
        return Balance(
            self.available[account],
            sum(each.reserved for each in mine if each.state == "open"),
            sum(each.amount for each in mine if each.state != "open"),
        )


AMOUNTS = st.integers(0, 40)


class Machine(RuleBasedStateMachine):
    """Does everything in the model, and in one of two ledgers on one file, as two processes would."""

    ids = Bundle("ids")
    new_database: Callable[[], str]

    def __init__(self) -> None:
        super().__init__()
        url = type(self).new_database()
        self.model = Model()
        self.databases = [GatewayDatabase(url) for _ in range(2)]
        self.ledgers = [
            Ledger(each, clock=lambda: self.model.now, lease=LEASE, lease_clock=lambda: self.model.ticks)
            for each in self.databases
        ]
        self.turn = 0
        self.numbers = 0

    @property
    def ledger(self) -> Ledger:
        self.turn += 1
        return self.ledgers[self.turn % 3 % 2]

    def teardown(self) -> None:
        for each in self.databases:
            each.close()

    def new_id(self) -> str:
        self.numbers += 1
        return f"r{self.numbers}"

    def same(self, expected: int | str, call: Any) -> None:
        try:
            found = call()
        except RequestError as error:
            found = error.code
        assert expected == found

    def reserve_once(self, payer: Payer, id: str, wanted: int, least: int | None) -> None:
        expected = self.model.reserve(payer, id, wanted, wanted if least is None else least)
        token, team = payer.holders[0].name.removeprefix("token:"), "t" if TEAM in payer.holders else ""
        about = About(token, team, "m", "/v1")
        self.same(expected, lambda: self.ledger.reserve(payer, id, wanted, least=least, about=about).amount)

    @rule(target=ids, payer=st.sampled_from(PAYERS), wanted=AMOUNTS, least=st.none() | AMOUNTS)
    def reserve(self, payer: Payer, wanted: int, least: int | None) -> Any:
        id = self.new_id()
        self.reserve_once(payer, id, wanted, least)
        return id if id in self.model.requests else multiple()

    @rule(id=ids, wanted=AMOUNTS)
    def reserve_again(self, id: str, wanted: int) -> None:
        self.reserve_once(self.model.requests[id].payer, id, wanted, None)

    @rule(known=st.dictionaries(ids | st.just("unknown"), AMOUNTS, min_size=1))
    def keep(self, known: dict[str, int]) -> None:
        assert self.model.keep(known) == self.ledger.keep(known)

    @rule(id=ids, amount=AMOUNTS)
    def settle(self, id: str, amount: int) -> None:
        expected = self.model.end(id, amount, "settled")
        found = self.ledger.settle(id, amount, outcome=ENDED)
        assert (expected.amount, expected.short, expected.state) == (found.amount, found.shortfall, found.state)

    @rule(id=ids | st.just("unknown"))
    def release(self, id: str) -> None:
        if id in self.model.requests:
            self.model.end(id, 0, "released")
        self.ledger.release(id, outcome=Settlement(status=500))

    @rule(id=consumes(ids))
    def its_process_dies(self, id: str) -> None:
        """Nobody settles it any more."""

    @rule()
    def recover(self) -> None:
        assert self.model.recover() == {each.request_id: each.amount for each in self.ledger.recover()}
        assert [] == self.ledger.recover()

    @rule(payer=st.sampled_from(PAYERS), known=AMOUNTS, amount=AMOUNTS, spent_by_others=st.booleans())
    def its_process_is_slow(self, payer: Payer, known: int, amount: int, spent_by_others: bool) -> None:
        """Another one recovers it, and then it settles."""
        id = self.new_id()
        self.reserve_once(payer, id, 15, 1)
        if id not in self.model.requests:
            return
        self.keep({id: known})
        self.time_passes(LEASE)
        if spent_by_others:
            self.reserve_once(payer, self.new_id(), 1000, 0)
        self.recover()
        self.settle(id, amount)
        self.settle(id, amount + 1)

    @rule(account=st.sampled_from(ACCOUNTS), amount=st.integers(-60, 120))
    def top_up(self, account: str, amount: int) -> None:
        id = self.new_id()
        for _ in range(2):
            expected = self.model.top_up(account, amount, id)
            self.same(expected, lambda: self.ledger.top_up(account, amount, id=id, by="me"))

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0, 59.0, 3600.0, DAY - 1.0, DAY + 60.0, 15.0 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.model.now += seconds
        self.model.ticks += seconds

    @rule(seconds=st.sampled_from([-40.0 * DAY, -HOUR, -1.0, 15.0, 2.0 * DAY]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.model.now += seconds

    @invariant()
    def all_is_equal(self) -> None:
        for account in ACCOUNTS:
            assert self.model.balance(account) == self.ledger.balance(account)

    @invariant()
    def the_sums_hold(self) -> None:
        assert [] == self.ledger.check()
        assert all(available >= 0 for available in self.model.available.values())


@pytest.mark.parametrize(("kind", "examples"), [("sqlite", 25), ("postgresql", 4)])
def test_any_order(kind: str, examples: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Whatever is called in whatever order, twice, late or never: all balances are those of the model."""
    numbers = itertools.count()
    if kind == "sqlite":
        template = tmp_path / "template.db"
        with closing(GatewayDatabase(template)) as database:
            Ledger(database).recover()

    class OnThis(Machine):
        @staticmethod
        def new_database() -> str:
            if kind == "postgresql":
                url: str = request.getfixturevalue("make_postgres")()
                return url
            return str(shutil.copy(template, tmp_path / f"{next(numbers)}.db"))

    case = OnThis.TestCase()
    case.settings = settings(max_examples=examples, stateful_step_count=40, deadline=None)
    case.runTest()
