"""``check_store``: what every ``Store`` does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from streamkit import FilePart, ImagePart, Message, StoreConflictError, TextPart, ToolCall, Usage
from streamkit.conversation.stores.store import Store
from streamkit.conversation.turns import ConversationState, Summary, Turn
from streamkit.tools.claims import Claim
from streamkit.tools.limits import Spent
from streamkit.tools.suspension import Suspension
from streamkit.values.chunks import ToolResult
from tests.unit.support import Task

ODD = 'Zoë "quotes" \\ \n\t \x7f 日本 🙂 \x00 \ud83d'  # a NUL and half a surrogate pair, which models write at times


def turn(text: str, **fields: Any) -> Turn:
    """Return a complete turn."""
    given = {"answer": (Message("assistant", f"re {text}"),), "state": "complete", "id": f"id {text}", **fields}
    return Turn(Message("user", text), **given)


def state(id: str, turns: Sequence[Turn] = (), **fields: Any) -> ConversationState:
    return ConversationState(id, list(turns), "demo/storyteller", **fields)


def everything() -> list[Turn]:
    """Return turns that use every field."""
    call = ToolCall.of("c1", "look_up", '{"word": "Zoë')
    parts = (
        TextPart(ODD),
        ImagePart("data:image/png;base64,iVBORw0KGgo="),
        FilePart("data:text/plain;base64,YQ==", "a.txt"),
    )
    data = ({"type": "thinking", "signature": "x" * 300, "thinking": ODD},)
    answer = (
        Message("assistant", None, tool_calls=(call,), provider_data=data),
        Message("tool", ODD, tool_call_id="c1", name="look_up"),
        Message("assistant", ODD),
    )
    suspension = Suspension(
        "s1",
        "demo/assistant",
        [{"role": "user", "content": "a"}, Message("assistant", None, tool_calls=(call,)).to_dict()],
        (),
        (call,),
        spent=Spent(1, 2, 3, 0.5, {"digest": 1}),
        params={"max_tokens": 7},
    )
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7, cached_tokens=1, cost=0.25)
    first = Turn(Message("user", parts), answer, "complete", usage, 0.5, "stop", "m", "", 7, 9, 0)
    return [
        attrs.evolve(
            first,
            id=ODD,
            stream_id="s1",
            asked_at=1.5,
            time_to_first_chunk=0.25,
            reasoning=(ODD, ""),
            calls={"c1": "approved"},
            goes_on=True,
        ),
        turn("b", state="partial", error=ODD),
        turn("c", state="rolled back", answer=()),
        turn("d", state="suspended", suspension=suspension),
    ]


def check_store(store: Store, again: Callable[[], Store]) -> None:
    """Check a store that has nothing in it.

    Args:
        store: the store.
        again: opens the same one once more, as another process would.
    """
    for check in (
        _keeps_all,
        _saves_what_changed,
        _leaves_no_gap,
        _refuses_old,
        _lists,
        _forgets_with_it,
        _one_wins,
        _claims,
    ):
        check(store, again)
        assert [] == list(store.list()), check.__name__


def _keeps_all(store: Store, again: Callable[[], Store]) -> None:
    kept = state(
        "all",
        everything(),
        system=ODD,
        variables={"who": ODD, "n": [1, None, {"a": 1.5}]},
        params={"max_tokens": 3},
        summary=Summary(ODD, 1),
        spent=Usage(input_tokens=1),
        spent_cost=0.125,
        owner="zoë",
        title=ODD,
        changed_at=1_700_000_000.25,
    )
    version = store.save(kept, expected=0)
    assert attrs.evolve(kept, version=version) == again().load("all")
    assert (True, None, False) == (store.delete("all"), again().load("all"), again().delete("all"))
    assert None is store.load("never")


def _saves_what_changed(store: Store, again: Callable[[], Store]) -> None:
    turns = [turn(str(number)) for number in range(5)]
    version = store.save(state("x", turns), expected=0)
    turns[3:] = [turn("changed"), turn("four"), turn("five")]
    version = store.save(state("x", turns), expected=version, first_changed=3)
    assert state("x", turns, version=version) == again().load("x")
    del turns[2:]
    version = store.save(state("x", turns, title="shorter"), expected=version, first_changed=2)
    assert state("x", turns, title="shorter", version=version) == again().load("x")
    version = store.save(state("x"), expected=version)
    assert state("x", version=version) == again().load("x")
    loaded = store.load("x")
    assert loaded is not None
    loaded.turns.append(turn("mine"))  # type: ignore[attr-defined]  # a list; what was loaded is the caller's
    assert [] == list((again().load("x") or loaded).turns)
    store.delete("x")


def _leaves_no_gap(store: Store, again: Callable[[], Store]) -> None:
    """Who believes that the store has turns that it has not loses none of them."""
    turns = [turn(str(number)) for number in range(3)]
    version = store.save(state("x", turns[:2]), expected=0, first_changed=2)
    assert turns[:2] == list((again().load("x") or state("")).turns)
    store.save(state("x", turns), expected=version, first_changed=9)
    assert turns == list((again().load("x") or state("")).turns)
    store.delete("x")


def _refuses_old(store: Store, again: Callable[[], Store]) -> None:
    version = store.save(state("x", [turn("a")]), expected=0)
    mine, theirs = state("x", [turn("a"), turn("mine")]), state("x", [turn("a"), turn("theirs")])
    later = again().save(theirs, expected=version, first_changed=1)
    for expected in (0, version, later + 1):
        with pytest.raises(StoreConflictError, match="'x' was changed by somebody else"):
            store.save(mine, expected=expected, first_changed=1)
    assert attrs.evolve(theirs, version=later) == store.load("x")
    again().delete("x")
    with pytest.raises(StoreConflictError, match="was deleted"):
        store.save(mine, expected=later, first_changed=1)
    assert None is store.load("x")
    # One that was made anew meanwhile is another one, however many saves it has had.
    anew = store.save(state("x", [turn("anew")]), expected=0)
    assert anew > later
    with pytest.raises(StoreConflictError):
        store.save(mine, expected=later, first_changed=1)
    store.delete("x")


def _lists(store: Store, again: Callable[[], Store]) -> None:
    for at, (id, owner) in enumerate([("a", "alice"), ("b", ""), ("B", "bob"), ("ü 🙂/..%", "alice")]):
        store.save(state(id, [turn("x")] * at, owner=owner, title=f"t{at}", changed_at=float(at)), expected=0)
    found = again().list()
    assert [("ü 🙂/..%", 3), ("B", 2), ("b", 1), ("a", 0)] == [(entry.id, entry.turns) for entry in found]
    assert ("t2", "demo/storyteller", 2.0, "bob") == (
        found[1].title,
        found[1].model,
        found[1].changed_at,
        found[1].owner,
    )
    owners = {owner: [entry.id for entry in store.list(owner=owner)] for owner in ("alice", "", "nobody")}
    assert {"alice": ["ü 🙂/..%", "a"], "": ["b"], "nobody": []} == owners
    assert all(store.delete(id) for id in ("a", "b", "B", "ü 🙂/..%"))


def _one_wins(store: Store, again: Callable[[], Store]) -> None:
    """Of those that save, make or hold the same thing at the same moment, one does."""
    stores = [store, *(again() for _ in range(3))]
    version = store.save(state("old"), expected=0)

    def at_once(do: Callable[[Store, int], object]) -> int:
        barrier = threading.Barrier(len(stores))

        def tried(each: Store, at: int) -> bool:
            barrier.wait()
            try:
                return do(each, at) is not False
            except StoreConflictError:
                return False

        tasks = [Task(lambda each=each, at=at: tried(each, at)) for at, each in enumerate(stores)]
        return sum(task.result() for task in tasks)

    for number in range(5):
        id = f"new{number}"
        assert 1 == at_once(lambda each, at: each.save(state(id, [turn(str(at))]), expected=0))  # noqa: B023
        assert 1 == at_once(lambda each, at: each.save(state("old", [turn(str(at))]), expected=version + number))  # noqa: B023
        assert 1 == at_once(lambda each, _: each.hold(id))  # noqa: B023
        for each in stores:
            each.release(id)
        assert [1, 1] == [len((store.load(each) or state("")).turns) for each in (id, "old")]
        store.delete(id)
    store.delete("old")


def _claims(store: Store, again: Callable[[], Store]) -> None:
    other, result = again(), ToolResult("c1", "look_up", ODD, "text")
    assert {} == store.read("r")
    assert (True, False, False) == (store.hold("r"), other.hold("r"), store.hold("r"))
    assert store.move("r", "c1", "waiting", "approved")
    assert not store.move("r", "c1", "waiting", "approved")
    assert (True, True) == (
        store.move("r", "c1", "approved", "running"),
        store.move("r", ODD * 99, "waiting", "running"),
    )
    assert {"c1": Claim("running"), ODD * 99: Claim("running")} == other.read("r")
    assert store.move("r", "c1", "running", "done", result)
    assert Claim("done", result) == other.read("r")["c1"]
    with pytest.raises(StoreConflictError, match="being resumed"):
        other.forget("r")
    store.release("r")
    store.release("r")
    assert other.hold("r")
    assert other.move("r", "", "waiting", "done")
    assert {"": Claim("done")} == store.read("r")  # the results are gone
    other.release("r")
    store.forget("r")
    store.forget("never")
    assert {} == other.read("r")


def _forgets_with_it(store: Store, again: Callable[[], Store]) -> None:
    """The calls of a conversation go with it, and those of others stay."""
    for id in ("x", "y"):
        store.save(state(id), expected=0)
        claims = store.claims_of(id)
        assert claims.hold(f"run-{id}")
        assert claims.move(f"run-{id}", "c1", "waiting", "approved")
    again().delete("x")
    assert [{}, {"c1": Claim("approved")}] == [store.read("run-x"), store.read("run-y")]
    store.claims_of("y").release("run-y")
    store.delete("y")
    assert {} == again().read("run-y")
