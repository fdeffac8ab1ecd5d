"""Many processes in one conversation, and processes that are killed: nothing that was acknowledged is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamkit import SQLStore
from streamkit.testing import Server
from tests.fault import store_programs as programs
from tests.postgres import make_postgres

__all__ = ["make_postgres"]  # a fixture

pytestmark = pytest.mark.slow

WRITERS, TURNS = 8, 6


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(programs.reply_to, remember=0) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/chats.db"
    make: Callable[[], str] = request.getfixturevalue("make_postgres")
    return make()


def test_eight_processes_append_to_one_conversation(store_url: str, server: Server) -> None:
    """Each turn of each process is kept, once and whole; who was slower got a conflict, and asked again."""
    conflicts = programs.result_of(programs.start(programs.append, server.url, store_url, WRITERS, TURNS))
    with closing(SQLStore(store_url)) as store:
        state = store.load(programs.ID)
    assert state is not None
    asked = [str(turn.asked.content) for turn in state.turns]
    assert {f"w{at}-{number}" for at in range(WRITERS) for number in range(TURNS)} == set(asked)
    assert WRITERS * TURNS == len(asked)
    whole = [("complete", programs.answer_to(question)) for question in asked]
    assert whole == [(turn.state, turn.answer[-1].content) for turn in state.turns]
    for at in range(WRITERS):
        own = [question for question in asked if question.startswith(f"w{at}-")]
        assert [f"w{at}-{number}" for number in range(TURNS)] == own
    assert conflicts > 0


@pytest.mark.parametrize(("store_url", "kills"), [("sqlite", 126), ("postgresql", 24)], indirect=["store_url"])
def test_killed_in_each_phase_of_a_turn(store_url: str, kills: int, server: Server) -> None:
    """After `kill -9`, whenever it came, all that was acknowledged is there, and the next load settles the rest."""
    states = programs.result_of(programs.start(programs.kill_in_store, server.url, store_url, kills, 1))
    assert states["complete"] > 0
    assert states["rolled back"] > 0


def test_killed_while_it_writes_a_file(tmp_path: Path, server: Server) -> None:
    """After `kill -9` a file that `save` wrote is the old one or the new one, and has all that was acknowledged."""
    path = tmp_path / "chat.json"
    states = programs.result_of(programs.start(programs.kill_with_file, server.url, path, 50, 2))
    assert states["complete"] > 0
