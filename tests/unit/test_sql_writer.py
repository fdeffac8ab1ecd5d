"""`Writer`: one thread that writes for all, in as few transactions as possible; its errors, its end, its forks."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import ConfigError, MisuseError, StoreError
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.sql import forks
from streamkit.sql import writer as module
from streamkit.sql.writer import Outcome
from tests.unit.support import SOON

TABLE = sa.Table("notes", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[GatewayDatabase]:
    with closing(GatewayDatabase(tmp_path / "gateway.db")) as made:
        made.write(TABLE.create)
        yield made


def add(number: int) -> Callable[[sa.Connection], int]:
    def work(connection: sa.Connection) -> int:
        connection.execute(TABLE.insert().values(id=number))
        return number

    return work


def notes(database: GatewayDatabase) -> list[int]:
    return list(database.read(lambda connection: connection.execute(sa.select(TABLE.c.id)).scalars().all()))


class Held:
    """A work that the writer's thread is in the middle of until it is let go."""

    def __init__(self, database: GatewayDatabase) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: database.write(self._work))
        self._thread.start()
        assert self._begun.wait(SOON)

    def _work(self, connection: sa.Connection) -> None:
        self._begun.set()
        assert self._go.wait(SOON)

    def let_go(self) -> None:
        self._go.set()
        self._thread.join(SOON)


def in_threads(calls: list[Callable[[], Any]], database: GatewayDatabase, then: Callable[[], None]) -> list[Any]:
    """Have each call wait for the writer, do something then, and return the results or the errors."""
    results: list[Any] = [None] * len(calls)

    def run(at: int) -> None:
        try:
            results[at] = calls[at]()
        except Exception as error:
            results[at] = error

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(calls))]
    for number, thread in enumerate(threads):
        thread.start()
        wait_until(lambda number=number: len(database._writer._waiting) > number)
    then()
    for thread in threads:
        thread.join(SOON)
    return results


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that no event tells of."""
    pause = threading.Event()
    for _ in range(int(SOON * 1000)):
        if holds():
            return
        pause.wait(0.001)
    raise AssertionError("it never came to that")


def commits(database: GatewayDatabase) -> list[int]:
    """Return a list that grows by each commit."""
    found: list[int] = []
    sa.event.listen(database._engine, "commit", lambda _connection: found.append(1))
    return found


class TestOneTransaction:
    def test_for_all_that_wait(self, database: GatewayDatabase) -> None:
        """What waits while a transaction is written is in the next one, all of it."""
        held, counted = Held(database), commits(database)
        results = in_threads([lambda n=n: database.write(add(n)) for n in range(20)], database, held.let_go)
        assert list(range(20)) == results == sorted(notes(database))
        assert 2 == len([1 for _ in counted]) - 1  # the one that was held, that of all, and the one that reads

    def test_whoever_fails_fails_alone(self, database: GatewayDatabase) -> None:
        """A work that raises has written nothing, and those beside it are written."""
        database.write(add(1))

        def half(connection: sa.Connection) -> None:
            connection.execute(TABLE.insert().values(id=7))
            raise ConfigError("no")

        held = Held(database)
        works: list[Callable[[sa.Connection], Any]] = [add(1), half, add(2)]
        calls = [lambda work=work: database.write(work) for work in works]  # type: ignore[misc]
        taken, refused, written = in_threads(calls, database, held.let_go)
        assert isinstance(taken, exc.IntegrityError)
        assert isinstance(refused, ConfigError)
        assert (2, [1, 2]) == (written, notes(database))

    def test_a_mistake_in_one_statement(self, database: GatewayDatabase) -> None:
        """An error that rolls the transaction back is raised for the work that made it; the others are written."""
        held = Held(database)

        def wrong(connection: sa.Connection) -> None:
            connection.execute(TABLE.insert().values(id=object()))

        calls: list[Callable[[], Any]] = [lambda: database.write(add(1)), lambda: database.write(wrong)]
        written, error = in_threads(calls, database, held.let_go)
        assert 1 == written
        assert isinstance(error, StoreError)

    def test_a_group(self, database: GatewayDatabase) -> None:
        """Operations of a group come to it together, and each caller gets its own outcome."""
        seen = []

        def group(connection: sa.Connection, items: Any) -> list[Outcome]:
            seen.append(list(items))
            return [Outcome(item * 2) if item else Outcome(error=ConfigError("nothing")) for item in items]

        held = Held(database)
        calls = [lambda n=n: database.write_in(group, n) for n in range(5)]
        first, *others = in_threads(calls, database, held.let_go)
        assert [[0, 1, 2, 3, 4]] == seen
        assert isinstance(first, ConfigError)
        assert [2, 4, 6, 8] == others

    def test_a_group_with_a_mistake_in_it(self, database: GatewayDatabase) -> None:
        """Where a whole group fails by one operation, each is done by itself."""

        def group(connection: sa.Connection, items: Any) -> list[Outcome]:
            return [Outcome(10 // item) for item in items]

        held = Held(database)
        results = in_threads([lambda n=n: database.write_in(group, n) for n in (5, 0, 2)], database, held.let_go)
        assert (2, 5) == (results[0], results[2])
        assert isinstance(results[1], ZeroDivisionError)

    def test_a_commit_that_fails(self, database: GatewayDatabase) -> None:
        """All of the transaction get an error of their own, and nothing of it was written."""

        held, dialect = Held(database), database._engine.dialect
        commit, good = dialect.do_commit, [1]  # that of the work which is held

        def fail(connection: Any) -> None:
            if not good:
                raise exc.OperationalError("COMMIT", None, OSError("database or disk is full"))
            commit(connection)
            good.pop()

        dialect.do_commit = fail  # type: ignore[method-assign]
        results = in_threads([lambda n=n: database.write(add(n)) for n in range(3)], database, held.let_go)
        dialect.do_commit = commit  # type: ignore[method-assign]
        assert {"StoreError"} == {type(error).__name__ for error in results}
        assert 3 == len({id(error) for error in results})
        assert "disk is full" in str(results[0])
        assert [] == notes(database)

    def test_a_key_that_another_process_took(self, database: GatewayDatabase) -> None:
        """A group whose key is taken meanwhile is done again, and sees then what is there."""
        tries = []

        def group(connection: sa.Connection, items: Any) -> list[Outcome]:
            tries.append(len(items))
            if len(tries) == 1:
                raise exc.IntegrityError("INSERT", None, ValueError("taken"))
            return [Outcome("seen") for _ in items]

        assert "seen" == database.write_in(group, 1)
        assert [1, 1] == tries


class TestItsThread:
    def test_ends_when_it_is_idle(self, database: GatewayDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a while without work it ends by itself; the next operation starts another one."""
        database.close()
        monkeypatch.setattr(module, "_IDLE", 0.0)
        database.write(add(1))
        wait_until(lambda: database._writer._thread is None)
        assert 2 == database.write(add(2))

    def test_ends_with_the_database(self, database: GatewayDatabase) -> None:
        """`close` waits for its end; the database can be used again."""
        database.write(add(1))
        thread = database._writer._thread
        assert thread is not None
        database.close()
        assert not thread.is_alive()
        assert 2 == database.write(add(2))

    def test_cannot_be_started(self, database: GatewayDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the system has no thread left, or the interpreter ends, the caller writes by itself."""
        database.close()

        def fail(_thread: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("streamkit.concurrency.own_thread.OwnThread.start", fail)
        assert 1 == database.write(add(1))
        assert [1] == notes(database)

    def test_does_not_wait_for_itself(self, database: GatewayDatabase) -> None:
        """A transaction within a transaction is a mistake that is told, and no deadlock."""
        with pytest.raises(MisuseError, match="cannot begin another one"):
            database.write(lambda _connection: database.write(add(1)))


class TestAWaitThatIsTooLong:
    @pytest.fixture
    def hurried(self, tmp_path: Path) -> Iterator[GatewayDatabase]:
        with closing(GatewayDatabase(tmp_path / "gateway.db", timeout=0.3)) as made:
            made.write(TABLE.create)
            yield made

    def test_before_it_was_begun(self, hurried: GatewayDatabase) -> None:
        """The caller gets an error within `timeout`, and the operation is never done."""
        go, begun = threading.Event(), threading.Event()

        def hold(_connection: sa.Connection) -> None:
            begun.set()
            go.wait(SOON)

        def held() -> None:
            with pytest.raises(StoreError, match="may be written still, so repeat it"):
                hurried.write(hold)

        thread = threading.Thread(target=held)
        thread.start()
        assert begun.wait(SOON)
        with pytest.raises(StoreError, match=r"no answer within 0\.3 s; nothing was written"):
            hurried.write(add(1))
        thread.join(SOON)
        go.set()
        assert 2 == hurried.write(add(2))
        assert [2] == notes(hurried)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_writer_of_its_own(database: GatewayDatabase) -> None:
    """A fork waits for a transaction; then the child writes by itself, and what waits in the parent is the parent's."""
    held = Held(database)

    def let_go() -> None:
        wait_until(lambda: forks._gate.forking > 0)
        held.let_go()

    def fork() -> int:
        helper = threading.Thread(target=let_go)
        helper.start()
        pid = os.fork()
        if not pid:
            try:
                assert (0, None) == (len(database._writer._waiting), database._writer._thread)
                database.write(add(1))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        helper.join(SOON)
        return pid

    pids: list[int] = []
    assert [2] == in_threads([lambda: database.write(add(2))], database, lambda: pids.append(fork()))
    assert 0 == os.waitpid(pids[0], 0)[1]
    assert 3 == database.write(add(3))
    assert [1, 2, 3] == notes(database)
