"""Which conversation a name means."""

from __future__ import annotations

import pytest

from streamkit import ConfigError
from streamkit.cli.keeping import LateStore
from streamkit.cli.naming import matching, named, short_ids
from streamkit.conversation.stores.store import Entry, MemoryStore, Store
from streamkit.conversation.turns import ConversationState, Turn
from streamkit.errors import StoreConflictError, StoreError
from streamkit.values.messages import Message


def entry(id: str, title: str) -> Entry:
    return Entry(id, title, 1, "openai/m", 0.0)


KEPT = [
    entry("work", "Plan the day"),
    entry("workshop", "Plan"),
    entry("0" * 32, "Tell me a story"),
    entry("0" * 12 + "1" * 20, "Tell  me a\tJoke"),
]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("work", [0]),
        ("works", [1]),
        ("plan", [1]),
        ("plan t", [0]),
        ("PL", [0, 1]),
        ("00000000", [2, 3]),
        ("0000000000000", [2]),
        ("tell me a j", [3]),
        ("", []),
        (" ", []),
        ("x", []),
    ],
)
def test_matching(name: str, places: list[int]) -> None:
    """An id, then a title, then what begins like this; case and white space of titles do not count."""
    assert [KEPT[place] for place in places] == matching(KEPT, name)


def test_short_ids() -> None:
    """An id is as short as it can be among the others; one that was chosen stays whole."""
    assert ["work", "workshop", "0" * 13, "0" * 12 + "1"] == [short_ids(KEPT)[each.id] for each in KEPT]
    assert "00000000" == short_ids(KEPT[:3])["0" * 32]


def test_one_is_meant() -> None:
    """Several or none are an error that lists or hints."""
    with pytest.raises(ConfigError, match=r'2 conversations.*work \("Plan the day", 1 turn, .*; workshop'):
        named(KEPT, "pl")
    with pytest.raises(ConfigError, match="did you mean 'work'"):
        named(KEPT, "wrok")


def state_with(*texts: str, version: int = 0) -> ConversationState:
    turns = [Turn(Message("user", text), state="complete") for text in texts]
    return ConversationState("a", turns, version=version)


class Failing(MemoryStore):
    """A store that can be told to fail."""

    failing = False

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        if self.failing:
            raise StoreError("the disk is full")
        return super().save(state, expected=expected, first_changed=first_changed)


def asked_in(store: Store) -> list[object]:
    state = store.load("a")
    return [] if state is None else [turn.asked.content for turn in state.turns]


def test_what_could_not_be_saved_is_saved_later(capsys: pytest.CaptureFixture[str]) -> None:
    """A failed save is told once, and no error; the next one that works saves all of it."""
    inside = Failing()
    store = LateStore(lambda: inside)
    version = store.save(state_with("one"), expected=0)
    inside.failing = True
    version = store.save(state_with("one", "two"), expected=version, first_changed=1)
    version = store.save(state_with("one", "two", "three"), expected=version, first_changed=2)
    assert not store.keeps
    assert "streamkit: this conversation is not kept: the disk is full\n" == capsys.readouterr().err
    inside.failing = False
    version = store.save(state_with("one", "two", "three", "four"), expected=version, first_changed=3)
    assert store.keeps
    assert ["one", "two", "three", "four"] == asked_in(inside)
    assert version == store.save(state_with("x"), expected=version) - 1


def test_a_conflict_is_no_failure() -> None:
    """Who is behind gets the conflict, and after a load goes on with what is there."""
    inside = MemoryStore()
    store = LateStore(lambda: inside)
    version = store.save(state_with("one"), expected=0)
    inside.save(state_with("one", "other"), expected=version)
    with pytest.raises(StoreConflictError):
        store.save(state_with("one", "two"), expected=version)
    loaded = store.load("a")
    assert loaded is not None
    store.save(state_with("one", "other", "two"), expected=loaded.version, first_changed=2)
    assert ["one", "other", "two"] == asked_in(inside)


def test_a_store_that_cannot_be_opened(capsys: pytest.CaptureFixture[str]) -> None:
    """Saving is told once and goes on; reading is the error itself."""

    def opens() -> Store:
        raise ConfigError("there is no library")

    store = LateStore(opens)
    assert 1 == store.save(state_with("one"), expected=0)
    assert 2 == store.save(state_with("one", "two"), expected=1)
    assert 1 == capsys.readouterr().err.count("there is no library")
    with pytest.raises(ConfigError, match="there is no library"):
        store.load("a")
    assert "a" not in repr(store.claims_of("a").read("a"))
