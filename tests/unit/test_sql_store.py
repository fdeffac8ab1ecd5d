"""`SQLStore`: its URL, its file, its tables, forks, and what becomes of a process that held something."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit import ConfigError, MisuseError, SQLStore, StoreConflictError
from streamkit.conversation.owners import is_alive, over, this_process
from streamkit.conversation.stores.store import inside_store
from streamkit.conversation.turns import Owner
from streamkit.testing import Server, WaitFor, text_reply
from streamkit.tools.claims import Claim
from tests.conformance.check_store import state, turn
from tests.fault.support import client_of
from tests.unit.support import SOON


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLStore]:
    with closing(SQLStore(path)) as made:
        yield made


def change(path: Path, statement: str, *values: object) -> None:
    """Change the database as another program would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def in_child(work: Callable[[], object]) -> Any:
    """Return what a forked child finds."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.write(writer, json.dumps(work()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    assert 0 == os.waitpid(pid, 0)[1]
    return json.loads(text)


class TestItsUrl:
    @pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "sqlite+pysqlite:///{}"])
    def test_a_path_and_urls_are_the_same_file(self, form: str, store: SQLStore, path: Path) -> None:
        """A plain path is a file of SQLite."""
        store.save(state("x"), expected=0)
        with closing(SQLStore(form.format(path))) as other:
            assert ["x"] == [entry.id for entry in other.list()]

    def test_a_relative_path_stays_where_it_was(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path belongs to the folder in which the store was made."""
        monkeypatch.chdir(path.parent)
        with closing(SQLStore(path.name)) as store:
            monkeypatch.chdir("/")
            store.save(state("x"), expected=0)
        assert path.exists()

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("", "takes a URL or the path of a file, not an empty text"),
            (3, "takes a URL or the path of a file, not int"),
            ("sqlite://", "use MemoryStore"),
            ("sqlite:///:memory:", "use MemoryStore"),
            ("nonsense://u:SECRET@h/d", "SQLStore cannot use 'nonsense://u:"),
            ("post gres://u:SECRET@h", "cannot read its URL"),
            ("postgresql://u:SECRET@h:SECRET/d", "cannot read its URL"),
            ("mysql+pymysql://u:SECRET@h/d", "not installed: it is the Python module pymysql"),
            ("postgresql+asyncpg://u:SECRET@h/d", "asyncpg"),
        ],
    )
    def test_one_that_cannot_be_used(self, url: Any, text: str) -> None:
        """It is refused at once, without its password."""
        with pytest.raises(ConfigError, match=text) as caught:
            SQLStore(url)
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [frame for frame in frames if "/streamkit/" in frame.f_code.co_filename]
        assert ours
        assert "SECRET" not in f"{caught.value}{caught.value.__cause__}{[frame.f_locals for frame in ours]}"

    @pytest.mark.parametrize("timeout", [0, -1, True, "1", float("inf"), float("nan")])
    def test_a_timeout_that_is_none(self, timeout: Any, path: Path) -> None:
        """Only a number of seconds is one."""
        with pytest.raises(ConfigError, match="number of seconds above 0"):
            SQLStore(path, timeout=timeout)

    def test_its_password_is_not_shown(self) -> None:
        """`repr` has no password; nothing is connected to before the first use."""
        with closing(SQLStore("postgresql://u:SECRET@db.invalid/d")) as store:
            assert "<SQLStore 'postgresql+psycopg://u:***@db.invalid/d'>" == repr(store)

    def test_without_the_extra(self) -> None:
        """Without SQLAlchemy the error names the extra."""
        code = "import sys; sys.modules['sqlalchemy'] = None\nimport streamkit\nstreamkit.SQLStore('x.db')"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SOON, check=False)
        assert 'ConfigError: SQLStore needs SQLAlchemy: python -m pip install "streamkit[sql]"' in run.stderr


class TestItsFile:
    def test_for_its_user_alone(self, store: SQLStore, path: Path) -> None:
        """The file and those that SQLite puts beside it can be read by nobody else."""
        store.save(state("x"), expected=0)
        files = list(path.parent.iterdir())
        assert {"chats.db", "chats.db-shm", "chats.db-wal"} == {file.name for file in files}
        assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}

    def test_it_is_durable(self, store: SQLStore, path: Path) -> None:
        """The file is in WAL mode, and each commit is flushed."""
        store.save(state("x"), expected=0)
        values = [
            store._db.read(lambda connection, name=name: connection.exec_driver_sql(f"PRAGMA {name}").scalar())  # type: ignore[misc]
            for name in ("journal_mode", "synchronous")
        ]
        assert ["wal", 2] == values

    def test_a_newer_version_is_refused(self, store: SQLStore, path: Path) -> None:
        """Tables, conversations and suspensions of a newer streamkit are refused, and left alone."""
        version = store.save(state("x", [turn("a")]), expected=0)
        head = json.dumps({**state("x").head(), "format": 99})
        change(path, "UPDATE streamkit_conversations SET head = ?", head)
        with pytest.raises(ConfigError, match=r"'x' in <SQLStore .*chats\.db'> was written by a newer version"):
            store.load("x")
        change(path, "UPDATE streamkit_schema SET version = 99")
        with closing(SQLStore(path)) as other:
            for call in (other.list, lambda: other.save(state("y"), expected=0)):
                with pytest.raises(ConfigError, match=r"newer version of streamkit \(version 99"):
                    call()
        assert version

    @pytest.mark.parametrize(
        ("statement", "text"),
        [
            ("UPDATE streamkit_turns SET body = '{'", "is not JSON"),
            ("UPDATE streamkit_turns SET body = '[]'", "not a JSON object"),
            ("UPDATE streamkit_turns SET body = '{}'", "KeyError"),
            ("UPDATE streamkit_conversations SET head = '{}'", "KeyError"),
            ("DELETE FROM streamkit_turns WHERE number = 0", "is damaged: it has 2 turns"),
        ],
    )
    def test_damage(self, statement: str, text: str, store: SQLStore, path: Path) -> None:
        """A damaged conversation is refused with its name and the place, and others are not touched by it."""
        store.save(state("x", [turn("a"), turn("b")]), expected=0)
        change(path, statement)
        store.save(state("y", [turn("a")]), expected=0)
        with pytest.raises(ConfigError, match=rf"the conversation 'x' in <SQLStore .*chats\.db'> .*{text}"):
            store.load("x")
        assert 1 == len((store.load("y") or state("")).turns)

    def test_no_database(self, path: Path) -> None:
        """A file that is something else is refused, and left alone."""
        path.write_text("nonsense " * 1000)
        with closing(SQLStore(path)) as store, pytest.raises(Exception, match=r"chats\.db' cannot be .*not a database"):
            store.list()
        assert path.read_text().startswith("nonsense")

    def test_ids_that_no_key_can_be(self, store: SQLStore) -> None:
        """An id or owner that is too long, or has a NUL, is refused at a save, and unknown otherwise."""
        for id in ("x" * 256, "a\0b", "\ud83d"):
            with pytest.raises(ConfigError, match="at most 255 characters"):
                store.save(state(id), expected=0)
            with pytest.raises(ConfigError, match="at most 255 characters"):
                store.save(state("x", owner=id), expected=0)
            assert (None, False, []) == (store.load(id), store.delete(id), list(store.list(owner=id)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # the worker that runs the tests
class TestForks:
    def test_a_child_uses_connections_of_its_own(self, store: SQLStore) -> None:
        """Parent and child go on with one store, and each sees what the other has saved."""
        version = store.save(state("x", [turn("a")]), expected=0)

        def work() -> int:
            return store.save(state("x", [turn("a"), turn("b")]), expected=version, first_changed=1)

        later = in_child(work)
        assert state("x", [turn("a"), turn("b")], version=later) == store.load("x")
        assert later + 1 == store.save(state("x"), expected=later)

    def test_the_parents_holds_are_not_the_childs(self, store: SQLStore) -> None:
        """A child can neither use nor release what its parent holds."""
        assert store.hold("r")

        def work() -> list[object]:
            store.release("r")
            try:
                store.move("r", "c", "waiting", "running")
            except MisuseError:
                return [store.hold("r"), store.hold("r2")]
            return []

        assert [False, True] == in_child(work)
        assert (True, True) == (store.move("r", "c", "waiting", "running"), store.hold("r2"))  # as the child has ended
        for id in ("r", "r2"):
            store.release(id)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
class TestHolds:
    def test_of_a_process_that_has_ended(self, store: SQLStore, path: Path) -> None:
        """What it held is taken over, with the states that it left; a living one's is not."""

        def work() -> list[bool]:
            with closing(SQLStore(path)) as other:
                return [other.hold("r"), other.move("r", "c", "waiting", "running"), other.hold("r")]

        assert [True, True, False] == in_child(work)
        assert store.hold("r")
        assert {"c": Claim("running")} == store.read("r")
        assert not store.move("r", "c", "waiting", "running")
        store.release("r")

    def test_of_another_machine(self, store: SQLStore, path: Path) -> None:
        """It counts for as long as it may live; once it is taken over, the one who had it moves nothing more."""
        assert store.hold("r")
        mine = this_process()
        over(mine)
        elsewhere = attrs.evolve(mine, host="elsewhere/1", token="t" * 32)
        change(
            path,
            "UPDATE streamkit_holds SET token = ?, holder = ?",
            elsewhere.token,
            json.dumps(attrs.asdict(elsewhere)),
        )
        assert not store.move("r", "c", "waiting", "running")
        store.release("r")
        assert not store.hold("r")
        with pytest.raises(StoreConflictError, match="being resumed"):
            store.forget("r")
        gone = attrs.evolve(elsewhere, until=0.0)
        change(path, "UPDATE streamkit_holds SET holder = ?", json.dumps(attrs.asdict(gone)))
        assert store.hold("r")
        store.release("r")

    def test_a_zombie_is_not_alive(self) -> None:
        """A process that was killed, and that its parent has not noticed yet, is in the middle of nothing."""
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            owner = this_process()
            os.write(writer, json.dumps(attrs.asdict(owner)).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            owner = Owner(**json.loads(told.read()))
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        alive = is_alive(owner)
        os.waitpid(pid, 0)
        assert (False, False) == (alive, is_alive(owner))

    def test_hold_before_move(self, store: SQLStore) -> None:
        """A call is moved only by who holds its suspension."""
        with pytest.raises(MisuseError, match="hold a suspension"):
            store.move("r", "c", "waiting", "running")


def test_a_turn_that_is_dropped_inside_of_a_transaction(store: SQLStore) -> None:
    """The garbage collector may end a turn while its thread holds a lock of the database; it is saved afterwards."""
    may_end = threading.Event()
    with Server(text_reply("One two.").then(WaitFor(may_end))) as server, client_of(server) as client:
        chat = client.conversation("openai/m", store=store, id="x")
        stream = chat.stream("Hello")
        assert next(iter(stream)).text
        with inside_store():
            del stream
            gc.collect()
            names = [thread for thread in threading.enumerate() if thread.name == "streamkit-turn-dropped"]
        for thread in names:
            thread.join(SOON)
        may_end.set()
        assert ["partial"] == [turn.state for turn in (store.load("x") or chat.state).turns]


def test_a_store_that_nobody_has_any_more_is_gone(path: Path) -> None:
    """A store is collected with its connections once the program has let go of it."""
    store = SQLStore(path)
    assert store.load("a") is None
    database = weakref.ref(store._db)
    del store
    gc.collect()
    assert database() is None
