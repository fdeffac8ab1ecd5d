"""`Conversation.save` and `load`: links, a turn that is on its way, text that is no UTF-8, a path that cannot be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamkit import Client, Conversation, MemoryStore, StoreConflictError, StoreError
from streamkit.conversation.turns import ConversationState
from streamkit.testing import Server, text_reply
from tests.fault.support import client_of


@pytest.fixture
def client() -> Iterator[Client]:
    with Server(text_reply("One two three.")) as server, client_of(server) as made:
        yield made


def test_a_link_goes_on_to_lead_to_the_file(client: Client, tmp_path: Path) -> None:
    """Saving by a link replaces the file to which it leads; only its user can read it."""
    path, link = tmp_path / "folder" / "chat.json", tmp_path / "link.json"
    path.parent.mkdir()
    link.symlink_to(path)
    client.conversation("openai/m", id="x").save(link)
    assert (True, True, 0o600) == (link.is_symlink(), path.is_file(), stat.S_IMODE(path.stat().st_mode))
    assert "x" == Conversation.load(link, client=client).id


def test_a_path_that_cannot_be(client: Client, tmp_path: Path) -> None:
    """The error names the path that was passed, and not a file that is there for a moment only."""
    path = tmp_path / "nowhere" / "chat.json"
    with pytest.raises(FileNotFoundError) as caught:
        client.conversation("openai/m").save(path)
    assert (str(path), str(path)) == (caught.value.filename, str(caught.value).rpartition(": ")[2].strip("'"))
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        client.conversation("openai/m").save(tmp_path)
    assert [] == os.listdir(tmp_path)


def test_half_a_surrogate_pair(client: Client, tmp_path: Path) -> None:
    """Text that is no UTF-8, as models write at times, is kept as it is."""
    chat = client.conversation("openai/m", system="a \ud83d b")
    chat.save(tmp_path / "chat.json")
    assert "a \ud83d b" == Conversation.load(tmp_path / "chat.json", client=client).system


def test_saved_during_a_turn(client: Client, tmp_path: Path) -> None:
    """A file that was written while a turn was on its way has the question, and can be gone on with at once."""
    chat = client.conversation("openai/m")
    stream = chat.stream("Hello")
    chat.save(tmp_path / "chat.json")
    copy = Conversation.load(tmp_path / "chat.json", client=client)
    assert ("idle", ["rolled back"], []) == (copy.status, [turn.state for turn in copy.turns], copy.messages)
    assert "One two three." == copy.retry().collect().text
    assert "One two three." == stream.collect().text


class Failing(MemoryStore):
    """Fails at each save while it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = False
        self.saves: list[int] = []

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        if self.fails:
            raise StoreError("the disk is full")
        self.saves.append(first_changed)
        return super().save(state, expected=expected, first_changed=first_changed)


def test_the_next_save_has_what_could_not_be_saved(client: Client) -> None:
    """After a save that failed, the next one writes all turns that the store may not have."""
    store = Failing()
    chat = client.conversation("openai/m", store=store, id="x")
    chat.send("one")
    stream = chat.stream("two")
    store.fails = True
    for call in (stream.collect, lambda: chat.send("three"), chat.retry, chat.undo, chat.clear):
        with pytest.raises(StoreError, match="the disk is full"):
            call()
    assert (["complete"] * 2, "idle") == ([turn.state for turn in chat.turns], chat.status)
    store.fails = False
    chat.send("three")
    assert chat.turns == tuple((store.load("x") or chat.state).turns)
    assert ["one", "two", "three"] == [turn.asked.content for turn in chat.turns]
    store.saves.clear()
    chat.send("four")
    assert [3, 3] == store.saves  # no more than it has to
    with pytest.raises(StoreConflictError):
        chat.fork("x")
