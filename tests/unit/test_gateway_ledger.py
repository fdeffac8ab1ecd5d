"""The ledger of the gateway: amounts, balances, limits, ends, leases, reports, and its check."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import ConfigError, MisuseError, RequestError, StoreError
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ending import Recover
from streamkit.gateway.core.holders import Holder, Limits, Payer
from streamkit.gateway.core.leases import Now, machine_clock
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.money import MOST, NANO, nano_of, usd_of
from streamkit.gateway.core.records import About, Balance, Charge, Settlement, Usage
from tests.postgres import make_postgres
from tests.unit.support import SOON

__all__ = ["make_postgres"]  # a fixture

DAY = 86400
START = 1_800_000_000.0
TEAM = "team:t"
DONE = Settlement(provider="openai", model="m", input_tokens=7, output_tokens=5, cached_tokens=3, reasoning_tokens=2)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
def database(path: Path) -> Iterator[GatewayDatabase]:
    with closing(GatewayDatabase(path)) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(database: GatewayDatabase, clock: Clock) -> Ledger:
    ledger = Ledger(database, clock=clock)
    ledger.top_up(TEAM, 1000, id="first", by="test")
    return ledger


def payer(token: Limits | None = None, team: Limits | None = None, *, overdraft: bool = False) -> Payer:
    holders = (Holder("token:a", token or Limits()), Holder(TEAM, team or Limits()))
    return Payer(TEAM, holders, overdraft)


def about(**fields: str) -> About:
    return About(**{"token": "a", "team": "t", "model": "fast", "endpoint": "/v1/chat/completions", **fields})


def reserve(ledger: Ledger, id: str, amount: int, by: Payer | None = None, least: int | None = None) -> int:
    return ledger.reserve(by or payer(), id, amount, least=least, about=about()).amount


def spend(ledger: Ledger, id: str, amount: int, by: Payer | None = None) -> None:
    reserve(ledger, id, amount, by)
    ledger.settle(id, amount, outcome=DONE)


def refusal(call: Callable[[], object]) -> RequestError:
    with pytest.raises(RequestError) as refused:
        call()
    return refused.value


def recovered(ledger: Ledger) -> list[Charge]:
    """Recover until something was recovered."""
    pause, deadline = threading.Event(), time.monotonic() + SOON
    while not (charges := ledger.recover()):
        assert time.monotonic() < deadline
        pause.wait(0.01)
    return charges


def change(path: Path, statement: str) -> None:
    """Change the database as somebody with an editor would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


class TestMoney:
    @pytest.mark.parametrize(
        ("usd", "nano"),
        [("12.50", 12_500_000_000), ("0.000000001", 1), ("-3", -3 * NANO), (7, 7 * NANO), (Decimal("1e3"), 10**12)],
    )
    def test_an_amount_is_exact(self, usd: Any, nano: int) -> None:
        """Dollars as a text or a whole number become nano without rounding."""
        assert nano == nano_of(usd)

    @pytest.mark.parametrize("usd", ["1e-10", "0.0000000015", "nan", "inf", "x", "", 1.5, True, None, "1e10", "1e99"])
    def test_what_is_no_amount(self, usd: Any) -> None:
        """A float, something finer than a nano, and more than a billion dollars are refused."""
        with pytest.raises(ConfigError, match="an amount of dollars"):
            nano_of(usd)

    @given(st.integers(-MOST, MOST))
    def test_there_and_back(self, nano: int) -> None:
        """The text of an amount is exact, and has at least two digits after the point."""
        text = usd_of(nano)
        assert nano == nano_of(text)
        assert len(text.partition(".")[2]) >= 2


class TestABalance:
    def test_a_request_from_its_reservation_to_its_charge(self, ledger: Ledger) -> None:
        """The amount is put aside, what was spent is charged, and the rest comes back."""
        assert Balance(1000, 0, 0) == ledger.balance(TEAM)
        assert 400 == reserve(ledger, "r", 400)
        assert Balance(600, 400, 0) == ledger.balance(TEAM)
        charge = ledger.settle("r", 150, outcome=DONE)
        assert (150, 400, 0, "settled") == (charge.amount, charge.reserved, charge.shortfall, charge.state)
        assert Balance(850, 0, 150) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_each_call_twice_is_once(self, ledger: Ledger) -> None:
        """The same id again gives the same answer, and changes nothing; the first end stands."""
        assert ledger.top_up(TEAM, 5, id="x", by="me") == ledger.top_up(TEAM, 5, id="x", by="me")
        first = ledger.reserve(payer(), "r", 400, about=about())
        assert first == ledger.reserve(payer(), "r", 999, about=about())
        charge = ledger.settle("r", 150, outcome=DONE)
        assert charge == ledger.settle("r", 151, outcome=DONE)
        ledger.release("r", outcome=DONE)
        assert attrs.evolve(first, state="settled") == ledger.reserve(payer(), "r", 400, about=about())
        assert Balance(855, 0, 150) == ledger.balance(TEAM)

    def test_a_release(self, ledger: Ledger) -> None:
        """All comes back, and the request is in the reports, with nothing spent."""
        reserve(ledger, "r", 400)
        ledger.release("r", outcome=Settlement(status=502))
        ledger.release("never reserved", outcome=DONE)
        (charge,) = ledger.charges()
        assert ("r", "released", 0, 502) == (charge.request_id, charge.state, charge.amount, charge.status)
        assert Balance(1000) == ledger.balance(TEAM)

    def test_more_than_was_reserved(self, ledger: Ledger) -> None:
        """It is taken from the balance as far as it goes; the gateway itself pays the rest."""
        reserve(ledger, "r", 400)
        reserve(ledger, "other", 500)
        charge = ledger.settle("r", 600, outcome=DONE)
        assert (600, 100) == (charge.amount, charge.shortfall)
        assert Balance(0, 500, 600) == ledger.balance(TEAM)
        assert [] == ledger.check()

    @pytest.mark.parametrize(("amount", "short"), [(499, 0), (500, 0), (501, 1), (502, 2)])
    def test_to_the_last_nano(self, amount: int, short: int, ledger: Ledger) -> None:
        """A balance never goes below zero, not by one nano."""
        reserve(ledger, "r", 400)
        ledger.top_up(TEAM, -500, id="out", by="test")
        assert short == ledger.settle("r", amount, outcome=DONE).shortfall
        assert max(500 - amount, 0) == ledger.balance(TEAM).available
        assert [] == ledger.check()

    def test_a_connection_that_is_lost_at_each_commit(self, ledger: Ledger, database: GatewayDatabase) -> None:
        """What was written before the connection was lost is not written twice."""
        dialect, lost = database._engine.dialect, []
        commit = dialect.do_commit

        def commit_and_lose(connection: Any) -> None:
            commit(connection)
            if lost:
                lost.pop()
                return
            lost.append(True)
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")  # so SQLAlchemy takes it for lost

        dialect.do_commit = commit_and_lose  # type: ignore[method-assign]
        ledger.top_up(TEAM, 5, id="x", by="me")
        assert 400 == reserve(ledger, "r", 400)
        ledger.keep({"r": 3})
        assert 150 == ledger.settle("r", 150, outcome=DONE).amount
        reserve(ledger, "s", 10)
        ledger.release("s", outcome=DONE)
        dialect.do_commit = commit  # type: ignore[method-assign]
        assert Balance(855, 0, 150) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_a_balance_that_is_not_limited(self, ledger: Ledger) -> None:
        """It is reserved and charged, and nothing is taken from what is in the account."""
        assert 5000 == reserve(ledger, "r", 5000, payer(overdraft=True))
        assert Balance(1000, 5000, 0) == ledger.balance(TEAM)
        assert 0 == ledger.settle("r", 7000, outcome=DONE).shortfall
        assert Balance(1000, 0, 7000) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_too_little(self, ledger: Ledger) -> None:
        """402 says what is there and what was asked for; with a least amount, as much as there is is reserved."""
        error = refusal(lambda: reserve(ledger, "r", 1001))
        assert (402, "insufficient_balance") == (error.status, error.code)
        assert {"current": 1000 / NANO, "requested": 1001 / NANO} == error.details
        assert 1000 == reserve(ledger, "r", 1001, least=1000)
        assert "insufficient_balance" == refusal(lambda: reserve(ledger, "s", 50, least=1)).code
        assert 0 == reserve(ledger, "free", 0)

    def test_withdrawals(self, ledger: Ledger) -> None:
        """What is available can be taken out, and not what is reserved."""
        reserve(ledger, "r", 400)
        assert 100 == ledger.top_up(TEAM, -500, id="out", by="me", note="back to them")
        assert "insufficient_balance" == refusal(lambda: ledger.top_up(TEAM, -101, id="more", by="me")).code
        assert 0 == ledger.top_up(TEAM, -100, id="more", by="me")
        with pytest.raises(ConfigError, match="used for another"):
            ledger.top_up(TEAM, -99, id="more", by="me")
        assert [] == ledger.check()

    def test_a_balance_has_an_end(self, ledger: Ledger) -> None:
        """No sum can leave the 64 bits of a column."""
        with pytest.raises(ConfigError, match=r"at most 1000000000\.00 USD"):
            ledger.top_up(TEAM, MOST, id="much", by="me")
        with pytest.raises(ConfigError, match="whole number of nano"):
            ledger.top_up(TEAM, MOST + 1, id="much", by="me")

    def test_a_top_up_is_audited(self, ledger: Ledger, path: Path) -> None:
        """Who did it, when, and to which account is written in the same transaction."""
        ledger.top_up(TEAM, -10, id="out", by="Ann", note="for \0 lunch")
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT at, by, action, subject, details FROM streamkit_gateway_audit").fetchall()
        details = '{"id": "out", "amount": -10, "available": 990, "note": "for  lunch"}'
        assert (START, "Ann", "balance.withdraw", TEAM, details) == rows[-1]

    @pytest.mark.parametrize("amount", [-1, 1.0, True, "1", None, MOST + 1])
    def test_what_is_no_amount(self, amount: Any, ledger: Ledger) -> None:
        """Amounts are whole numbers of nano."""
        reserve(ledger, "r", 1)
        calls: list[Callable[[], object]] = [
            lambda: reserve(ledger, "x", amount),
            lambda: ledger.settle("r", amount, outcome=DONE),
            lambda: ledger.keep({"r": amount}),
        ]
        for call in calls:
            with pytest.raises(ConfigError, match="whole number of nano"):
                call()

    @pytest.mark.parametrize("name", ["", "t", "user:x", "team:", "world", "x" * 300, "team:\0", "team:\ud800"])
    def test_what_is_no_account(self, name: str, ledger: Ledger) -> None:
        """Accounts are those of tokens and teams."""
        with pytest.raises(ConfigError, match="name of an account"):
            ledger.top_up(name, 1, id="x", by="me")

    def test_the_payer_and_the_request_belong_together(self, ledger: Ledger) -> None:
        """A request of another token or team than the payer's is a mistake, and so is an account of nobody."""
        for by, request in (
            (payer(), about(token="b")),
            (payer(), about(team="")),
            (Payer("team:x", payer().holders), about()),
        ):
            with pytest.raises(ConfigError, match="holders of a payer"):
                ledger.reserve(by, "r", 1, about=request)

    def test_what_was_never_reserved(self, ledger: Ledger) -> None:
        """Nobody would pay for it."""
        with pytest.raises(MisuseError, match="nothing was reserved"):
            ledger.settle("r", 1, outcome=DONE)

    def test_an_id_of_another_account(self, ledger: Ledger) -> None:
        """The id of a request belongs to one account."""
        reserve(ledger, "r", 1)
        other = Payer("token:a", payer().holders)
        with pytest.raises(ConfigError, match="used for another account"):
            ledger.reserve(other, "r", 1, about=about())

    def test_what_a_provider_says_never_stops_a_charge(self, ledger: Ledger) -> None:
        """Names and numbers that no column can have are cleaned; the amount is charged."""
        ledger.reserve(payer(), "r", 10, about=about(model="m\0" * 300, label="\ud800"))
        wild = Settlement(10**9, True, "p\0", "\udfff" * 400, 10**30, -5, float("inf"), None, float("nan"))  # type: ignore[arg-type]
        charge = ledger.settle("r", 10, outcome=wild)
        assert (10, 999, "p", 0, 0.0) == (
            charge.amount,
            charge.status,
            charge.provider,
            charge.output_tokens,
            charge.seconds,
        )
        assert [charge] == list(ledger.charges())


class TestLimits:
    def test_of_a_request(self, ledger: Ledger) -> None:
        """A request may not cost more; with a least amount it is cut down to the limit."""
        by = payer(Limits(request=50))
        error = refusal(lambda: reserve(ledger, "r", 51, by))
        assert (402, "spending_limit_exceeded") == (error.status, error.code)
        assert {"limit": "request", "current": 0.0, "requested": 51 / NANO, "max": 50 / NANO} == error.details
        assert 50 == reserve(ledger, "r", 51, by, least=10)

    @pytest.mark.parametrize("of", ["token", "team"])
    @pytest.mark.parametrize(("limit", "seconds"), [("day", DAY), ("month", 30 * DAY)])
    def test_of_a_time(self, of: str, limit: str, seconds: float, ledger: Ledger, clock: Clock) -> None:
        """What was spent and what is reserved counts, until it is older than the time."""
        by = payer(**{of: Limits(**{limit: 100})})
        spend(ledger, "a", 30, by)
        reserve(ledger, "b", 40, by)
        error = refusal(lambda: reserve(ledger, "c", 31, by))
        assert {"limit": limit, "current": 70 / NANO, "requested": 31 / NANO, "max": 100 / NANO} == error.details
        assert f"of this {of} for" in error.message
        assert 30 == reserve(ledger, "c", 31, by, least=1)
        ledger.release("c", outcome=DONE)
        ledger.settle("b", 10, outcome=DONE)
        assert 60 == reserve(ledger, "d", 60, by)
        ledger.release("d", outcome=DONE)
        clock.now += seconds - 1
        assert "spending_limit_exceeded" == refusal(lambda: reserve(ledger, "e", 61, by)).code
        clock.now += 3601  # an hour that is partly in it counts
        assert 100 == reserve(ledger, "e", 100, by)

    def test_without_a_balance(self, ledger: Ledger) -> None:
        """Limits hold where the balance has none."""
        by = payer(Limits(day=100), overdraft=True)
        assert 100 == reserve(ledger, "a", 5000, by, least=1)
        assert "day" == refusal(lambda: reserve(ledger, "b", 1, by)).details["limit"]

    def test_the_tightest_one_is_named(self, ledger: Ledger) -> None:
        """Of several that are too tight, the error names the one that leaves the least."""
        by = payer(Limits(request=500, day=300), Limits(month=200))
        assert "month" == refusal(lambda: reserve(ledger, "a", 2000, by)).details["limit"]

    @pytest.mark.parametrize("of", ["token", "team"])
    def test_streams_at_once(self, of: str, ledger: Ledger) -> None:
        """429 where too many requests are under way; one that ends makes room."""
        by = payer(**{of: Limits(streams=2)})
        reserve(ledger, "a", 1, by)
        reserve(ledger, "b", 1, by)
        error = refusal(lambda: reserve(ledger, "c", 1, by))
        assert (429, "too_many_streams", "1") == (error.status, error.code, error.headers["retry-after"])
        assert {"limit": "streams", "current": 2, "max": 2} == error.details
        assert 1 == reserve(ledger, "b", 1, by)  # the same one is no third
        ledger.settle("a", 1, outcome=DONE)
        assert 1 == reserve(ledger, "c", 1, by)

    def test_a_clock_that_was_set_back(self, ledger: Ledger, clock: Clock) -> None:
        """What was spent in what is now the future counts."""
        by = payer(Limits(day=100))
        spend(ledger, "a", 60, by)
        clock.now -= 3 * DAY
        assert 40 == reserve(ledger, "b", 100, by, least=1)
        assert [] == ledger.check()

    @settings(max_examples=6)
    @given(st.randoms(use_true_random=False))
    def test_no_time_has_more_than_its_limit(self, tmp_path_factory: Any, chance: random.Random) -> None:
        """Whichever 24 hours are looked at, and whichever 30 days, no more than the limit was spent in them."""
        clock = Clock()
        with closing(GatewayDatabase(tmp_path_factory.mktemp("ledger") / "gateway.db")) as database:
            ledger = Ledger(database, clock=clock)
            by = payer(Limits(day=100, month=700), overdraft=True)
            under_way: list[tuple[str, int]] = []
            for number in range(60):
                clock.now += chance.choice([0.1, 59.0, 600.0, 3 * 3600.0, 0.4 * DAY, 2.0 * DAY])
                with suppress(RequestError):
                    under_way.append((str(number), reserve(ledger, str(number), chance.randrange(1, 60), by, least=1)))
                if under_way and chance.random() < 0.7:
                    id, most = under_way.pop(chance.randrange(len(under_way)))
                    ledger.settle(id, chance.randint(most // 2, most), outcome=DONE)
            charges = [(charge.at, charge.amount) for charge in ledger.charges()]
            for seconds, limit in ((DAY, 100), (30 * DAY, 700)):
                sums = [sum(amount for at, amount in charges if end - seconds < at <= end) for end, _ in charges]
                assert max(sums, default=0) <= limit
            assert [] == ledger.check()


class TestLeases:
    def test_a_process_that_died(self, ledger: Ledger, clock: Clock) -> None:
        """Its requests are charged by what is known, marked as estimates, and released where nothing is known."""
        reserve(ledger, "known", 400)
        reserve(ledger, "unknown", 200)
        reserve(ledger, "alive", 100)
        assert frozenset({"gone"}) == ledger.keep({"known": 150, "gone": 3})
        clock.now += 9
        assert [] == ledger.recover()
        ledger.keep({"alive": 5})
        clock.now += 9
        charges = {charge.request_id: charge for charge in ledger.recover()}
        assert {"known", "unknown"} == set(charges)
        assert (150, True, "recovered", 18.0) == (
            charges["known"].amount,
            charges["known"].estimated,
            charges["known"].state,
            charges["known"].seconds,
        )
        assert (0, False) == (charges["unknown"].amount, charges["unknown"].estimated)
        assert [] == ledger.recover()
        assert Balance(750, 100, 150) == ledger.balance(TEAM)
        assert frozenset({"known"}) == ledger.keep({"alive": 6, "known": 160})

    @pytest.mark.parametrize(("amount", "left"), [(100, 900), (150, 850), (370, 630), (0, 1000)])
    def test_a_process_that_was_only_slow(self, amount: int, left: int, ledger: Ledger, clock: Clock) -> None:
        """Its own settlement corrects the charge, once."""
        reserve(ledger, "r", 400)
        ledger.keep({"r": 150})
        clock.now += 11
        ledger.recover()
        clock.now += 2 * DAY
        charge = ledger.settle("r", amount, outcome=DONE)
        assert (amount, "settled", False, START + 11) == (charge.amount, charge.state, charge.estimated, charge.at)
        assert charge == ledger.settle("r", 77, outcome=DONE)
        assert Balance(left, 0, amount) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_a_slow_process_and_no_money(self, ledger: Ledger, clock: Clock) -> None:
        """A correction takes what is there; what comes back goes to the gateway's own account first."""
        reserve(ledger, "r", 400)
        ledger.keep({"r": 450})
        reserve(ledger, "s", 580)
        clock.now += 5
        ledger.keep({"s": 1})
        clock.now += 6
        (charge,) = ledger.recover()
        assert (450, 30) == (charge.amount, charge.shortfall)
        assert Balance(0, 580, 450) == ledger.balance(TEAM)
        assert 40 == attrs.evolve(ledger.settle("r", 460, outcome=DONE)).shortfall
        assert [] == ledger.check()

    def test_a_shortfall_gets_its_money_back_first(self, ledger: Ledger, clock: Clock) -> None:
        """Where the true amount is less, the account gets only what it has paid."""
        reserve(ledger, "r", 1000)
        ledger.keep({"r": 1030})
        clock.now += 11
        assert 30 == ledger.recover()[0].shortfall
        charge = ledger.settle("r", 980, outcome=DONE)
        assert (980, 0) == (charge.amount, charge.shortfall)
        assert Balance(20, 0, 980) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_a_release_after_all(self, ledger: Ledger, clock: Clock) -> None:
        """A slow process whose request has cost nothing gives all of it back."""
        reserve(ledger, "r", 400)
        ledger.keep({"r": 150})
        clock.now += 11
        ledger.recover()
        ledger.release("r", outcome=Settlement(status=502))
        assert Balance(1000) == ledger.balance(TEAM)
        assert [] == ledger.check()

    def test_the_time_of_day_does_not_matter(self, database: GatewayDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        """On SQLite the machine's clock may be set by a year: no lease runs out by that, and none is prolonged."""
        if not machine_clock():
            pytest.skip("this system has no name for its boot")
        ledger = Ledger(database)
        ledger.top_up(TEAM, 1000, id="first", by="test")
        reserve(ledger, "r", 100)
        shifted = Ledger(database)
        shifted._clocks._clock = lambda: time.time() + 365 * DAY
        assert [] == shifted.recover()
        ticks = time.monotonic
        shifted._clocks._clock = lambda: time.time() - 365 * DAY
        shifted._clocks._ticks = lambda: ticks() + 11
        assert ["r"] == [charge.request_id for charge in shifted.recover()]

    def test_another_boot(self) -> None:
        """A lease of a clock that is not shared goes by the time of day."""
        now = Now(at=1000.0, clock="this boot", ticks=5.0)
        assert [False, True] == [now.is_over("this boot", until, 0.0) for until in (5.5, 5.0)]
        assert [False, True] == [now.is_over("another boot", 0.0, wall) for wall in (1000.5, 1000.0)]

    def test_on_postgresql_the_servers_clock_counts(self, make_postgres: Callable[[], str]) -> None:
        """A machine whose own clock is wrong neither ends a lease too early nor writes a wrong time."""
        with closing(GatewayDatabase(make_postgres())) as database:
            ledger = Ledger(database)
            ledger._clocks._clock = lambda: START * 2
            ledger.top_up(TEAM, 1000, id="first", by="test")
            reserve(ledger, "r", 100)
            assert [] == ledger.recover()
            assert abs(ledger.settle("r", 1, outcome=DONE).at - time.time()) < 3600
            assert [] == ledger.check()

    def test_one_that_was_kept_in_the_last_moment(self, ledger: Ledger) -> None:
        """A lease that was renewed after somebody saw that it had run out is safe."""
        reserve(ledger, "r", 100)
        assert [] == ledger._do(Recover(("r", "gone")))
        assert Balance(900, 100, 0) == ledger.balance(TEAM)

    def test_after_a_time_without_the_database(self, path: Path) -> None:
        """Processes that could not keep their requests are given a lease's time to do so."""
        with closing(GatewayDatabase(path, timeout=0.2)) as database, closing(GatewayDatabase(path)) as another:
            ledger, other = Ledger(database, lease=0.2), Ledger(another, lease=0.2)
            ledger.top_up(TEAM, 1000, id="first", by="test")
            reserve(ledger, "r", 100)
            with closing(sqlite3.connect(path, isolation_level=None)) as somebody:
                somebody.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError):
                    ledger.keep({"r": 5})
            assert [] == ledger.recover()
            assert frozenset() == ledger.keep({"r": 6})
            assert ["r"] == [charge.request_id for charge in recovered(other)]  # it has not failed there
            reserve(ledger, "s", 100)
            assert ["s"] == [charge.request_id for charge in recovered(ledger)]

    def test_many_at_once(self, ledger: Ledger, clock: Clock) -> None:
        """However many requests a process has left, all are found."""
        for number in range(120):
            reserve(ledger, f"r{number}", 1)
        ledger.keep({f"r{number}": 1 for number in range(120)})
        clock.now += 11
        assert 120 == len(ledger.recover())
        assert Balance(880, 0, 120) == ledger.balance(TEAM)

    def test_sums_that_nobody_needs_are_forgotten(self, ledger: Ledger, clock: Clock, path: Path) -> None:
        """Old minutes, hours and days of spending go; the check does not miss them."""
        spend(ledger, "a", 5)
        clock.now += 200 * DAY
        spend(ledger, "b", 5)
        ledger.recover()
        with closing(sqlite3.connect(path)) as connection:
            starts = connection.execute("SELECT DISTINCT start FROM streamkit_gateway_spending").fetchall()
        assert all(start > START + 100 * DAY for (start,) in starts)
        assert [] == ledger.check()


class TestReports:
    def fill(self, ledger: Ledger, clock: Clock) -> None:
        for number, (model, status) in enumerate([("fast", 200), ("fast", 499), ("smart", 200), ("fast", 200)]):
            id = f"r{number}"
            ledger.reserve(payer(), id, 100, about=about(model=model, label=f"label {number % 2}"))
            ledger.settle(id, 10 + number, outcome=attrs.evolve(DONE, status=status, estimated=status == 499))
            clock.now += 0.4 * DAY
        own = Payer("token:b", (Holder("token:b"),), overdraft=True)
        ledger.reserve(own, "own", 5, about=about(token="b", team=""))
        ledger.release("own", outcome=Settlement(status=502))

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_usage(self, kind: str, path: Path, clock: Clock, request: pytest.FixtureRequest) -> None:
        """Charges are added up by day, model, token, team, provider and label, of all or of one holder."""
        url = request.getfixturevalue("make_postgres")() if kind == "postgresql" else path
        with closing(GatewayDatabase(url)) as database:
            ledger = Ledger(database, clock=clock)
            ledger.top_up(TEAM, 1000, id="first", by="test")
            self.fill(ledger, clock)
            span = {"since": START, "until": START + 9 * DAY}
            days = ledger.usage(**span)
            assert ["2027-01-15", "2027-01-16"] == [day.key for day in days]
            assert [(2, 21), (3, 25)] == [(day.requests, day.amount) for day in days]
            assert Usage("fast", 4, 2, 1, 34, 21, 15, 9, 6) == ledger.usage(by="model", **span)[0]
            assert [("a", 46), ("b", 0)] == [(each.key, each.amount) for each in ledger.usage(by="token", **span)]
            assert [("", 0), ("t", 46)] == [(each.key, each.amount) for each in ledger.usage(by="team", **span)]
            labels = ledger.usage(TEAM, by="label", **span)
            assert [("label 0", 22), ("label 1", 24)] == [(each.key, each.amount) for each in labels]
            assert [1] == [each.requests for each in ledger.usage("token:b", **span)]
            assert [4] == [each.requests for each in ledger.usage("team:t", by="provider", **span)]
            assert [] == ledger.usage(since=0, until=START)
            for wrong in ("hour", "", "at; DROP TABLE"):
                with pytest.raises(ConfigError, match="usage is by day"):
                    ledger.usage(by=wrong, **span)  # type: ignore[arg-type]
            with pytest.raises(ConfigError, match="a holder is"):
                ledger.usage("t", **span)

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_the_export_has_each_charge_once(
        self, kind: str, path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        """Charges come in the order of time, in parts, also where many have the same moment."""
        monkeypatch.setattr("streamkit.gateway.core.reports._AT_ONCE", 3)
        url = request.getfixturevalue("make_postgres")() if kind == "postgresql" else path
        clock = Clock()
        with closing(GatewayDatabase(url)) as database:
            ledger = Ledger(database, clock=clock)
            ledger.top_up(TEAM, 1000, id="first", by="test")
            for number in range(10):
                spend(ledger, f"r{number}", number)
                clock.now += number % 4 == 3
            found = [(charge.at, charge.request_id) for charge in ledger.charges()]
            assert sorted(found) == found
            assert 10 == len(found)
            part = [charge.request_id for charge in ledger.charges("token:a", since=START + 1, until=START + 2)]
            assert ["r4", "r5", "r6", "r7"] == part
            assert [] == list(ledger.charges("token:b"))


class TestCheck:
    @pytest.mark.parametrize(
        ("statement", "rules"),
        [
            ("UPDATE streamkit_gateway_accounts SET available = available + 1 WHERE name = 'team:t'", {"balance"}),
            ("UPDATE streamkit_gateway_accounts SET available = -5 WHERE name = 'team:t'", {"balance", "negative"}),
            ("UPDATE streamkit_gateway_accounts SET reserved = 0", {"balance", "reserved"}),
            ("UPDATE streamkit_gateway_accounts SET spent = spent + 1 WHERE name = 'team:t'", {"balance", "spent"}),
            ("UPDATE streamkit_gateway_accounts SET streams = 7", {"streams"}),
            ("UPDATE streamkit_gateway_accounts SET open_amount = 7", {"open"}),
            ("DELETE FROM streamkit_gateway_accounts WHERE name = 'team:t'", {"balance", "account"}),
            (
                "DELETE FROM streamkit_gateway_entries WHERE account = 'spent/team:t' AND id = 'a'",
                {"sum", "movement", "balance", "charge"},
            ),
            ("DELETE FROM streamkit_gateway_entries WHERE kind = 'topup'", {"balance", "topup"}),
            (
                "INSERT INTO streamkit_gateway_entries VALUES (99, 'settle', 'x', 'team:t', 5, 0)",
                {"sum", "movement", "balance", "end"},
            ),
            ("DELETE FROM streamkit_gateway_charges", {"balance", "spent", "end", "limit"}),
            ("DELETE FROM streamkit_gateway_reservations", {"reserved", "open", "streams", "end"}),
            ("UPDATE streamkit_gateway_charges SET amount = amount + 1", {"charge", "spent", "limit"}),
            ("UPDATE streamkit_gateway_charges SET shortfall = 1", {"charge", "balance"}),
            ("UPDATE streamkit_gateway_reservations SET amount = 99", {"reserved", "open", "reservation"}),
            ("UPDATE streamkit_gateway_topups SET amount = 5", {"topup"}),
            ("UPDATE streamkit_gateway_spending SET amount = 5 WHERE width = 60", {"limit"}),
            ("UPDATE streamkit_gateway_reservations SET request_id = 'a'", {"end", "reservation"}),
        ],
    )
    def test_what_is_wrong_is_found(self, statement: str, rules: set[str], ledger: Ledger, path: Path) -> None:
        """A row that somebody has changed, added or deleted breaks a rule, and the problem names it."""
        spend(ledger, "a", 10)
        spend(ledger, "b", 20)
        reserve(ledger, "c", 30)
        reserve(ledger, "d", 1000, least=1)
        ledger.settle("d", 2000, outcome=DONE)
        assert [] == ledger.check()
        change(path, statement)
        assert rules <= {problem.rule for problem in ledger.check()}
        assert all(problem.rule in str(problem) and problem.subject in str(problem) for problem in ledger.check())

    def test_at_most_a_thousand(self, ledger: Ledger, path: Path) -> None:
        """A ledger that is wrong everywhere gives no endless list."""
        change(
            path,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO "
            "streamkit_gateway_entries (kind, id, account, amount, at) SELECT 'settle', i, 'team:t', 1, 0 FROM n",
        )
        assert 1000 == len(ledger.check())


@pytest.mark.parametrize("lease", [0, -1, None, "10"])
def test_a_lease_that_is_none(lease: Any, database: GatewayDatabase) -> None:
    """A lease is a number of seconds above 0."""
    with pytest.raises(ConfigError, match=r"Ledger\(lease"):
        Ledger(database, lease=lease)


def test_other_databases_are_refused() -> None:
    """The ledger keeps to databases that it is tested with."""
    with pytest.raises(ConfigError, match=r"SQLite or PostgreSQL, not in|driver for .* is not installed"):
        GatewayDatabase("mysql+pymysql://u:SECRET@h/d")
    with pytest.raises(ConfigError, match="needs a file"):
        GatewayDatabase("sqlite://")
    for timeout in (0, True, float("inf"), "1"):
        with pytest.raises(ConfigError, match="number of seconds above 0"):
            GatewayDatabase("x.db", timeout=timeout)  # type: ignore[arg-type]
