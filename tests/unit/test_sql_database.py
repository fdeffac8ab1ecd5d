"""`SQLDatabase`: tables that are made by steps, once, by however many processes; lost connections; its statements."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import ConfigError, StoreError
from streamkit.sql.database import SQLDatabase
from streamkit.sql.statements import ByKeys, Call, Statement, fetch, run
from streamkit.sql.turns import Turns
from streamkit.sql.versions import Steps, version_table
from tests.postgres import make_postgres
from tests.unit.support import SOON

__all__ = ["make_postgres"]  # a fixture

TABLES = sa.MetaData()
SCHEMA = version_table("test_schema", TABLES)
NOTES = sa.Table(
    "notes", TABLES, sa.Column("id", sa.String(9), primary_key=True), sa.Column("size", sa.BigInteger, nullable=False)
)


def make(connection: sa.Connection) -> None:
    TABLES.create_all(connection)


def add_column(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN colour VARCHAR(9) DEFAULT 'red'")


def database_of(url: str | Path, *steps: Callable[[sa.Connection], object], **options: Any) -> SQLDatabase:
    return SQLDatabase(
        url,
        Steps(SCHEMA, steps or [make]),
        user="the test",
        example="test",
        in_memory="no",
        **{"timeout": SOON, **options},
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/test.db"
    made: Callable[[], str] = request.getfixturevalue("make_postgres")
    return made()


@pytest.fixture
def database(url: str) -> Iterator[SQLDatabase]:
    with closing(database_of(url)) as made:
        yield made


def add(id: str, size: int = 0) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(NOTES.insert().values(id=id, size=size))


def rows(connection: sa.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM notes ORDER BY id")]


def versions(connection: sa.Connection) -> list[int]:
    return list(connection.execute(sa.select(SCHEMA.c.version).order_by(SCHEMA.c.version)).scalars())


class TestSteps:
    def test_an_older_version_is_changed(self, url: str) -> None:
        """Steps that a database has not seen are done at its first use, in their order, and what was there stays."""
        with closing(database_of(url, make)) as old:
            old.write(add("a"))
        with closing(database_of(url, make, add_column)) as new:
            assert [("a", 0, "red")] == new.read(rows)
            assert [1, 2] == new.read(versions)
        with closing(database_of(url, make)) as old, pytest.raises(ConfigError, match=r"newer .* \(version 2, this"):
            old.read(rows)

    def test_a_step_that_fails(self, url: str) -> None:
        """It leaves nothing behind, and is tried again at the next use."""

        def fails(connection: sa.Connection) -> None:
            connection.exec_driver_sql("ALTER TABLE notes ADD COLUMN half VARCHAR(9)")
            raise ConfigError("no")

        with closing(database_of(url, make, fails)) as database, pytest.raises(ConfigError, match="no"):
            database.read(rows)
        with closing(database_of(url, make)) as old:
            assert [1] == old.read(versions)
        with closing(database_of(url, make, add_column)) as new:
            new.write(add("a"))
            assert [("a", 0, "red")] == new.read(rows)

    def test_many_at_once(self, url: str) -> None:
        """However many use a new database at the same moment, each step is done once, and nobody fails."""
        all_here, errors = threading.Barrier(12), []

        def use(database: SQLDatabase) -> None:
            try:
                all_here.wait(SOON)
                database.write(add(f"t{threading.get_ident() % 10**7}"))
            except BaseException as error:
                errors.append(error)

        with ExitStack() as stack:
            databases = [stack.enter_context(closing(database_of(url, make, add_column))) for _ in range(12)]
            threads = [threading.Thread(target=use, args=(each,)) for each in databases]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
            assert [] == errors
            assert [1, 2] == databases[0].read(versions)
            assert 12 == len(databases[0].read(rows))

    def test_many_processes_at_once(self, tmp_path: Path) -> None:
        """Processes that make the tables of one file at the same moment do not disturb one another."""
        code = (
            "import sys\nfrom tests.unit import test_sql_database as t\ninput()\n"
            "d = t.database_of(sys.argv[1], t.make, t.add_column)\nd.write(t.add(sys.argv[2]))\nd.close()"
        )
        root = Path(__file__).parents[2]
        path = os.pathsep.join([str(Path(sys.modules["streamkit"].__file__ or "").parents[1]), str(root)])
        command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "test.db")]
        environment = {**os.environ, "PYTHONPATH": path}
        processes = [
            subprocess.Popen([*command, str(at)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
            for at in range(4)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert [b""] * 4 == [process.communicate(timeout=SOON)[1] for process in processes]
        with closing(database_of(tmp_path / "test.db", make, add_column)) as database:
            assert [str(at) for at in range(4)] == [row[0] for row in database.read(rows)]

    def test_tables_without_a_version(self, url: str) -> None:
        """They are made if one is missing, and left alone otherwise."""
        made = []

        def count(connection: sa.Connection) -> None:
            made.append(1)
            make(connection)

        for _ in range(2):
            database = SQLDatabase(
                url, Steps(None, [count], [NOTES]), user="u", example="e", in_memory="no", timeout=SOON
            )
            with closing(database):
                assert [] == database.read(rows)
        assert [1] == made


class TestTransactions:
    def test_a_key_that_is_taken(self, database: SQLDatabase) -> None:
        """The caller learns of it, and nothing was written."""
        database.write(add("a"))

        def two(connection: sa.Connection) -> None:
            add("b")(connection)
            add("a")(connection)

        with pytest.raises(exc.IntegrityError):
            database.write(two)
        assert ["a"] == [row[0] for row in database.read(rows)]

    def test_the_servers_defaults_do_not_matter(self, make_postgres: Callable[[], str]) -> None:
        """Each statement sees what others have committed, also where a server's default is stricter."""
        url = f"{make_postgres()}&options=-c%20default_transaction_isolation%3Dserializable"
        with closing(database_of(url, timeout=7.0)) as database:
            for name, value in (("transaction_isolation", "read committed"), ("lock_timeout", "7s")):
                assert value == database.read(
                    lambda connection, name=name: connection.exec_driver_sql(f"SHOW {name}").scalar()
                )  # type: ignore[misc]

    def test_what_postgresql_rolls_back_is_done_again(self, make_postgres: Callable[[], str]) -> None:
        """Of two transactions in a deadlock one is rolled back, or both; they are done again, and both are written."""
        with closing(database_of(make_postgres())) as database:
            for id in "ab":
                database.write(add(id))
            both, errors, tries = threading.Barrier(2), [], []

            def work(first: str, second: str) -> None:
                def change(connection: sa.Connection) -> None:
                    tries.append(first)
                    for id in (first, second):
                        connection.execute(NOTES.update().where(NOTES.c.id == id).values(size=NOTES.c.size + 1))
                        if id == first and tries.count(first) == 1:
                            both.wait(SOON)

                try:
                    database.write(change)
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=work, args=pair) for pair in ("ab", "ba")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
            assert [] == errors
            assert [("a", 2), ("b", 2)] == database.read(rows)
            assert len(tries) >= 3

    @pytest.mark.parametrize(("failures", "done"), [(4, True), (5, False)])
    def test_rolled_back_again_and_again(
        self, failures: int, done: bool, make_postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A transaction that others are in the way of is done again a few times, and then it is an error."""
        with closing(database_of(make_postgres())) as database:
            once, tries = database._once, []

            def in_the_way(work: Any, **options: Any) -> Any:
                tries.append(work)
                if options["writes"] and len(tries) <= failures:
                    return once(lambda connection: connection.exec_driver_sql(DEADLOCK), **options)
                return once(work, **options)

            database.write(add("a"))
            monkeypatch.setattr(database, "_once", in_the_way)
            if done:
                database.write(add("b"))
            else:
                with pytest.raises(StoreError, match="cannot be written: made up"):
                    database.write(add("b"))
            assert 5 == len(tries)
            assert [("a", 0), ("b", 0)][: 1 + done] == database.read(rows)


DEADLOCK = "DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END $$"


class TestStatements:
    SELECT = Statement(lambda _dialect: sa.select(NOTES).where(NOTES.c.size > 3, NOTES.c.id == sa.bindparam("of")))
    ADD = Statement(lambda _dialect: sa.insert(NOTES), ["id", "size"])
    READ = ByKeys(lambda condition: sa.select(NOTES.c.id).where(condition).order_by(NOTES.c.id), NOTES.c.id)

    def test_they_do_what_sqlalchemy_does(self, database: SQLDatabase) -> None:
        """Statements with constants and parameters run together, once or for many rows, and give their rows."""
        many = [{"id": f"n{at}", "size": at} for at in range(9)]
        calls = [Call(self.ADD, many), Call(self.ADD, []), self.ADD({"id": "one", "size": 2**62})]
        database.write(lambda connection: run(connection, calls))
        wanted = [self.SELECT({"of": "n5"}), None, self.SELECT({"of": "n2"}), self.SELECT({"of": "one"})]
        found = database.read(lambda connection: fetch(connection, wanted))
        assert [[("n5", 5)], [], [], [("one", 2**62)]] == found
        for count in range(9):
            keys = [f"n{at}" for at in range(count)]
            call = self.READ(keys)
            found = database.read(lambda connection, call=call: fetch(connection, [call]))  # type: ignore[misc]
            assert [[(key,) for key in keys]] == found

    @pytest.mark.parametrize("before", [0, 2])
    def test_their_errors_are_sqlalchemys(self, before: int, database: SQLDatabase) -> None:
        """A key that is taken, and a statement that is wrong, are told apart; no error has the values."""
        database.write(lambda connection: run(connection, [self.ADD({"id": "a", "size": 1})]))
        others = [self.ADD({"id": f"b{at}", "size": 1}) for at in range(before)]
        with pytest.raises(exc.IntegrityError):
            database.write(lambda connection: run(connection, [*others, self.ADD({"id": "a", "size": 1}), *others]))
        wrong = Statement(lambda _dialect: sa.text("SELECT nothing FROM nowhere WHERE x = :secret"))
        with pytest.raises(StoreError, match="cannot be read") as caught:
            database.read(lambda connection: fetch(connection, [None] * before + [wrong({"secret": "SECRET"})]))
        assert "SECRET" not in f"{caught.value}{caught.value.__cause__}"
        assert ["a"] == [row[0] for row in database.read(rows)]

    def test_a_connection_that_was_cut(self, make_postgres: Callable[[], str]) -> None:
        """A transaction whose connection is lost is done again, on another one."""
        psycopg = pytest.importorskip("psycopg")
        url = make_postgres()
        with closing(database_of(url)) as database:
            tries: list[int] = []

            def work(connection: sa.Connection) -> None:
                tries.append(1)
                if len(tries) == 1:
                    pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                    with psycopg.connect(url) as admin:
                        admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
                run(connection, [self.ADD({"id": "a", "size": 1}), self.ADD({"id": "b", "size": 1})])

            database.write(work)
            assert 2 == len(tries)
            assert [("a", 1), ("b", 1)] == database.read(rows)


class TestTurns:
    def test_one_process_after_the_other(self, tmp_path: Path) -> None:
        """A turn begins when that of another process is over, also where that was killed."""
        path = str(tmp_path / "turn")
        code = (
            "import sys, time\nfrom streamkit.sql.turns import Turns\n"
            "with Turns(sys.argv[1]).turn():\n    print('in it', flush=True)\n    sys.stdin.read()"
        )
        turns, began = Turns(path), threading.Event()
        with subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            assert b"in it\n" == other.stdout.readline()

            def take() -> None:
                with turns.turn():
                    began.set()

            thread = threading.Thread(target=take)
            thread.start()
            assert not began.wait(0.05)
            other.kill()
            assert began.wait(SOON)
            thread.join(SOON)
        assert 0o600 == stat.S_IMODE(os.stat(path).st_mode)
        turns.close()
        with turns.turn():  # it is opened again
            pass
        turns.close()

    def test_a_parent_that_was_killed(self, tmp_path: Path) -> None:
        """Its turn ends with it, though a child that it has forked lives on."""
        path = str(tmp_path / "turn")
        code = (
            "import os, sys, signal\nfrom streamkit.sql.turns import Turns\nturns = Turns(sys.argv[1])\n"
            "with turns.turn():\n    pass\n"
            "if not os.fork():\n    sys.stdin.read()\n    os._exit(0)\n"
            "with turns.turn():\n    os.kill(os.getpid(), signal.SIGKILL)"
        )
        command = [sys.executable, "-c", code, path]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
            assert -9 == parent.wait(SOON)
            began = threading.Event()

            def take() -> None:
                with Turns(path).turn():
                    began.set()

            thread = threading.Thread(target=take)
            thread.start()
            assert began.wait(SOON)
            thread.join(SOON)

    def test_without_permission(self, tmp_path: Path) -> None:
        """Where the file cannot be made, the database's own lock has to do."""
        with Turns(str(tmp_path / "missing" / "turn")).turn():
            pass


def test_a_lock_of_a_new_file(tmp_path: Path) -> None:
    """A file that somebody else holds cannot be prepared; the error says so, after the timeout."""
    path = tmp_path / "test.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        with closing(database_of(path, timeout=0.1)) as database:
            with pytest.raises(StoreError, match="cannot be read: database is locked"):
                database.read(rows)
            other.execute("COMMIT")
            assert [] == database.read(rows)
