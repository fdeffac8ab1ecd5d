"""Processes that spend at once, are killed, or lose their database: each reply is charged once, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streamkit.errors import RequestError, StoreError
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ledger import Ledger
from tests import postgres
from tests.fault import ledger_programs as programs
from tests.postgres import make_postgres

__all__ = ["make_postgres"]  # a fixture

KILLS = int(os.environ.get("STREAMKIT_LEDGER_KILLS", "5"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.db"
    make: Callable[[], str] = request.getfixturevalue("make_postgres")
    return make()


def test_fifty_threads_in_four_processes_spend_one_balance(url: str) -> None:
    """A balance that is worth 20 requests serves exactly 20, whoever asks at the same time, to the last nano."""
    found = programs.result_of(programs.start(programs.spend, url, 4, 50))
    assert programs.WORTH == sum(found["served"])
    assert programs.WORTH * programs.PRICE == found["paid"]
    assert [0, 0, programs.WORTH * programs.PRICE] == found["left"]
    assert [] == found["problems"]
    assert found["refused"] >= 200  # each thread came too late in the end


def test_workers_are_killed(url: str) -> None:
    """After `kill -9`, whenever it came, each reservation is settled or released, and what was told is so."""
    ends = programs.result_of(programs.start(programs.kill_workers, url, KILLS, 1), seconds=60 + 20 * KILLS)
    assert {"settled", "recovered"} <= set(ends)


def test_a_full_disk(tmp_path: Path) -> None:
    """On a full disk each call fails and leaves all as it was; repeated with the same id it is done, once."""
    path = tmp_path / "gateway.db"
    failures, (full, end), problems = programs.result_of(programs.start(programs.fill_the_disk, path))
    assert 5 == len(failures)
    for text in failures:
        assert text.startswith(f"the database 'sqlite:///{path}' cannot be written: ")
    assert [600, 400, 0] == full
    assert [605, 100, 300] == end
    assert [] == problems


def test_a_lock_that_is_not_given_up(tmp_path: Path) -> None:
    """Whoever waits for a lock for longer than `timeout` gets an error, and nothing was written."""
    path = tmp_path / "gateway.db"
    with closing(GatewayDatabase(path, timeout=0.5)) as database:
        ledger = Ledger(database)
        ledger.top_up(programs.ACCOUNT, 1000, id="first", by="test")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            programs.in_threads(lambda number: reserve_fails(ledger, f"r{number}"), 10)
            assert 1000 == ledger.balance(programs.ACCOUNT).available  # a reader does not wait
        programs.in_threads(lambda number: ledger.reserve(programs.PAYER, f"r{number}", 100, about=programs.ABOUT), 10)
        assert (0, 1000) == (
            ledger.balance(programs.ACCOUNT).available,
            ledger.balance(programs.ACCOUNT).reserved,
        )
        assert [] == ledger.check()


def reserve_fails(ledger: Ledger, id: str) -> None:
    with pytest.raises(StoreError, match="cannot be written"):
        ledger.reserve(programs.PAYER, id, 100, about=programs.ABOUT)


def test_postgresql_is_killed() -> None:
    """While the server is gone each call fails; repeated, each request is charged once, and the sums hold."""
    initdb, pg_ctl = postgres.program("initdb"), postgres.program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg")
    kills = max(1, KILLS // 4)
    with (
        postgres.running(initdb, pg_ctl) as query,
        closing(GatewayDatabase(f"postgresql:///postgres?{query}", timeout=10.0)) as database,
    ):
        ledger = Ledger(database)
        ledger.top_up(programs.ACCOUNT, 10**9, id="first", by="test")
        for number in range(kills):
            kill_server_while_spending(ledger, number, query, pg_ctl)
        charges = list(ledger.charges())
        assert kills * len(range(8)) * 20 == len(charges) == len({charge.request_id for charge in charges})
        assert {("settled", 500)} == {(charge.state, charge.amount) for charge in charges}
        balance = ledger.balance(programs.ACCOUNT)
        assert (10**9 - len(charges) * 500, 0) == (balance.available, balance.reserved)
        assert [] == ledger.check()


def kill_server_while_spending(ledger: Ledger, number: int, query: str, pg_ctl: str) -> None:
    """Have 8 threads spend, 20 requests each; kill the server when some have failed no more, and start it again."""
    some_done, is_killed = threading.Semaphore(0), threading.Event()

    def until_written(call: Callable[[], object]) -> None:
        while True:
            try:
                call()
            except StoreError:
                is_killed.set()
            else:
                some_done.release()
                return

    def spend(at: int) -> None:
        for count in range(20):
            id = f"{number}-{at}-{count}"
            until_written(lambda: ledger.reserve(programs.PAYER, id, 1000, about=programs.ABOUT))  # noqa: B023
            until_written(lambda: ledger.keep({id: 5}))  # noqa: B023
            until_written(lambda: ledger.settle(id, 500, outcome=programs.DONE))  # noqa: B023

    def kill() -> None:
        for _ in range(60):
            some_done.acquire()
        postgres.kill(query)
        assert is_killed.wait(60), "nobody noticed"
        postgres.start_again(query, pg_ctl)

    programs.in_threads(lambda at: kill() if at == 8 else spend(at), 9)


def test_more_than_the_balance_is_not_reserved(url: str) -> None:
    """A request that may cost more than there is gets what there is, where that is enough for it."""
    with closing(GatewayDatabase(url)) as database:
        ledger = Ledger(database)
        ledger.top_up(programs.ACCOUNT, 1000, id="first", by="test")
        assert 1000 == ledger.reserve(programs.PAYER, "a", 5000, least=10, about=programs.ABOUT).amount
        with pytest.raises(RequestError) as refused:
            ledger.reserve(programs.PAYER, "b", 5000, least=10, about=programs.ABOUT)
        assert (402, "insufficient_balance") == (refused.value.status, refused.value.code)
