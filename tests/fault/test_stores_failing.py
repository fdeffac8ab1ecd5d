"""A full disk, a folder without permission, a lock, a lost server: a clear error, the old state, and nothing lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamkit import SQLStore, StoreError
from streamkit.testing import Server
from tests.fault import store_programs as programs
from tests.postgres import make_postgres

__all__ = ["make_postgres"]  # a fixture


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(programs.reply_to, remember=0) as running:
        yield running


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    """A save that fails leaves the store as it was; the conversation has the turn, and its next save writes it."""
    path = tmp_path / "chats.db"
    failures, kept, remembered, same = programs.result_of(programs.start(programs.fill_the_disk, server.url, path))
    for kind, text in failures:
        assert (kind, True) == ("StoreError", text.startswith(f"the database 'sqlite:///{path}' cannot be written: "))
    done = ["complete"]
    # At the question nothing was sent; at the answer and in a tool the question is there, as an open turn.
    assert [done, [*done * 2, "open"], [*done * 4, "open"], [*done * 4, "partial", *done]] == kept
    assert [done, done * 3, [*done * 4, "partial"], [*done * 4, "partial", *done]] == remembered
    assert same


def test_a_full_disk_and_a_file(server: Server, tmp_path: Path) -> None:
    """`save` names the file that cannot be written, keeps the old one, and leaves nothing else behind."""
    path = tmp_path / "chat.json"
    failure, same, files, turns = programs.result_of(programs.start(programs.fill_the_disk_of_a_file, server.url, path))
    assert ["OSError", f"[Errno 27] File too large: '{path}'"] == failure
    assert (True, ["chat.json"], 2) == (same, files, turns)


@pytest.mark.skipif(os.name == "nt", reason="permissions are Unix's")
def test_without_permission(server: Server) -> None:
    """A folder that may only be read gives an error that names the file, and everything stays as it was."""
    file, store, new, same = programs.result_of(programs.start(programs.without_permission, server.url))
    assert same
    assert ("PermissionError", True) == (file[0], file[1].startswith("[Errno 13] Permission denied: '/tmp/"))
    assert ["StoreError"] * 2 == [store[0], new[0]]
    assert "chats.db' cannot be " in store[1]
    assert "new.db' cannot be " in new[1]
    assert "Permission denied" in new[1]


def test_a_lock_that_is_not_given_up(server: Server, tmp_path: Path) -> None:
    """Who waits for a lock for longer than `timeout` hears of it, and the conversation is as it was."""
    path = tmp_path / "chats.db"
    with closing(SQLStore(path, timeout=0.05)) as store, programs.client_of(server.url) as client:
        chat = programs.chat_in(client, store)
        chat.send("one")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match=r"chats\.db' cannot be written: database is locked, by somebody else"):
                chat.send("two")
            with closing(SQLStore(path)) as reader:  # a reader does not wait
                assert 1 == len(programs.chat_in(client, reader).turns)
        assert 1 == len(chat.turns)
        chat.send("two")
        assert chat.turns == tuple((store.load(programs.ID) or chat.state).turns)


def test_a_server_that_goes_away(server: Server, make_postgres: Callable[[], str]) -> None:
    """A connection that was cut is replaced; while there is none, the turn is kept in memory, and saved later."""
    import psycopg

    url = make_postgres()
    name, query = url.removeprefix("postgresql:///").split("?")
    with (
        psycopg.connect(f"{query.replace('&', ' ')} dbname=postgres", autocommit=True) as admin,
        closing(SQLStore(url)) as store,
        programs.client_of(server.url) as client,
    ):

        def cut(*, allow: bool) -> None:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}")
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

        chat = programs.chat_in(client, store)
        chat.send("one")
        cut(allow=True)
        chat.send("two")
        stream = chat.stream("three")
        cut(allow=False)
        with pytest.raises(StoreError, match=f"{name}.* cannot be written: "):
            stream.collect()
        with pytest.raises(StoreError):
            chat.send("four")
        assert ["one", "two", "three"] == [turn.asked.content for turn in chat.turns]
        cut(allow=True)
        chat.send("four")
        assert chat.turns == tuple((store.load(programs.ID) or chat.state).turns)
        assert {"complete"} == {turn.state for turn in chat.turns}
