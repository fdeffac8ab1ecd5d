"""Every ``Claims`` keeps the same promises: one holder, compare-and-swap, results that survive."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from streamkit import (
    Claims,
    ConfigError,
    FileClaims,
    MemoryClaims,
    MisuseError,
    StoreConflictError,
    StreamError,
    ToolResult,
)
from streamkit.testing import error_reply, text_reply, tool_call_reply
from streamkit.tools.claims import Claim, ClaimState
from tests.unit.run_support import MODEL, served
from tests.unit.support import SOON, Task, run_program

RESULT = ToolResult("call_1", "pay", "paid «Ада»", seconds=0.5, parts=({"type": "text", "text": "x"},), edited="{}")


def check_claims(make: Callable[[], Claims]) -> None:
    """Hold a ``Claims`` to its contract.

    Args:
        make: returns an empty one, each time another.
    """
    check_holding(make())
    check_moves(make())
    check_results(make())
    check_forgetting(make())
    check_threads(make())


def check_holding(claims: Claims) -> None:
    assert claims.hold("a")
    assert not claims.hold("a")
    assert claims.hold("b")
    claims.release("a")
    claims.release("a")
    claims.release("never-held")
    assert claims.hold("a")
    assert not claims.hold("b")
    claims.release("a")
    claims.release("b")


def check_moves(claims: Claims) -> None:
    assert claims.read("a") == {}
    assert claims.hold("a")
    steps: list[tuple[ClaimState, ClaimState, bool]] = [
        ("approved", "running", False),
        ("waiting", "approved", True),
        ("waiting", "approved", False),
        ("approved", "running", True),
        ("approved", "running", False),
        ("running", "done", True),
        ("waiting", "running", False),
    ]
    for expected, state, moved in steps:
        assert claims.move("a", "call_1", expected, state) is moved, (expected, state)
    assert claims.move("a", "call_2", "waiting", "done")
    assert {id: claim.state for id, claim in claims.read("a").items()} == {"call_1": "done", "call_2": "done"}
    assert claims.read("b") == {}
    assert claims.hold("b")
    assert claims.move("b", "call_1", "waiting", "running")
    assert claims.read("a")["call_1"].state == "done"
    claims.release("a")
    claims.release("b")
    assert claims.read("b")["call_1"].state == "running"


def check_results(claims: Claims) -> None:
    assert claims.hold("a")
    assert claims.move("a", "call_1", "waiting", "running")
    assert claims.read("a")["call_1"] == Claim("running")
    assert claims.move("a", "call_1", "running", "done", RESULT)
    assert claims.read("a")["call_1"] == Claim("done", RESULT)
    known: Mapping[str, Claim] = claims.read("a")
    assert claims.move("a", "call_2", "waiting", "approved")
    assert "call_2" not in known
    assert claims.move("a", "", "waiting", "done")
    assert claims.read("a") == {"": Claim("done")}  # nobody needs the results any more
    assert not claims.move("a", "", "waiting", "done")
    claims.release("a")


def check_forgetting(claims: Claims) -> None:
    claims.forget("never-known")
    assert claims.hold("a")
    assert claims.move("a", "call_1", "waiting", "done", RESULT)
    with pytest.raises(StoreConflictError):
        claims.forget("a")
    claims.release("a")
    claims.forget("a")
    assert claims.read("a") == {}
    assert claims.hold("a")
    claims.release("a")


def check_threads(claims: Claims) -> None:
    """Of many threads one holds, and one moves."""
    start = threading.Barrier(8)

    def hold() -> bool:
        start.wait(SOON)
        return claims.hold("a")

    assert sum(task.result() for task in [Task(hold) for _ in range(8)]) == 1

    def move() -> bool:
        start.wait(SOON)
        return claims.move("a", "call_1", "waiting", "running")

    assert sum(task.result() for task in [Task(move) for _ in range(8)]) == 1
    claims.release("a")


def test_memory() -> None:
    """MemoryClaims keeps the contract."""
    check_claims(MemoryClaims)


def test_files(tmp_path: Path) -> None:
    """FileClaims keeps the contract."""
    folders = iter(range(100))
    check_claims(lambda: FileClaims(tmp_path / str(next(folders))))


def test_two_names_of_one_folder(tmp_path: Path) -> None:
    """A folder is the same under any of its names: nobody holds a suspension twice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one, other = FileClaims(tmp_path / "real"), FileClaims(tmp_path / "link" / ".." / "link")
    assert one.hold("a")
    assert not other.hold("a")
    one.release("a")


def test_the_file_is_the_owner_s(tmp_path: Path) -> None:
    """Folder and files can be read by their owner alone."""
    claims = FileClaims(tmp_path / "new" / "folder")
    assert claims.hold("a")
    assert claims.move("a", "call_1", "waiting", "done", RESULT)
    folder = tmp_path / "new" / "folder"
    for path in (folder, *folder.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.lock"]
    claims.release("a")


def test_a_move_needs_a_hold(tmp_path: Path) -> None:
    """Who does not hold a suspension moves nothing."""
    claims = FileClaims(tmp_path)
    with pytest.raises(MisuseError, match="hold a suspension"):
        claims.move("a", "call_1", "waiting", "running")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_without_states_leaves_no_file(tmp_path: Path) -> None:
    """Holding and releasing leaves nothing behind."""
    claims = FileClaims(tmp_path)
    assert claims.hold("a")
    claims.release("a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("id", ["", "../a", "a/b", "a.b", "a" * 65, "a\n", "ä"])
def test_ids(tmp_path: Path, id: str) -> None:
    """An id that could leave the folder is refused."""
    with pytest.raises(ConfigError, match="the id of a suspension"):
        FileClaims(tmp_path).hold(id)


def test_no_folder(tmp_path: Path) -> None:
    """A file in the place of the folder is a ConfigError."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="takes a folder"):
        FileClaims(tmp_path / "file")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        "{}",
        '{"version": 1, "calls": {"call_1": {"state": "banana", "result": null}}}',
        '{"version": 1, "calls": {"call_1": {"state": "done", "result": 3}}}',
        '{"version": 1, "calls": {"call_1": {}}}',
        '{"version": 1, "calls": 3}',
        '{"version": 2, "calls": {}}',
        '{"version": "x", "calls": {}}',
    ],
)
def test_other_files(tmp_path: Path, text: str) -> None:
    """What this class did not write is refused: no call that may have run is taken for one that waits."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError):
        FileClaims(tmp_path).read("a")


def test_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write leaves the states as they were, and no file of its own."""
    claims = FileClaims(tmp_path)
    assert claims.hold("a")
    assert claims.move("a", "call_1", "waiting", "approved")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            claims.move("a", "call_1", "approved", "running")
    assert claims.read("a")["call_1"].state == "approved"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.lock"]
    assert claims.move("a", "call_1", "approved", "running")
    claims.release("a")


HOLD = """if True:
    import sys
    import streamkit
    claims = streamkit.FileClaims({folder!r})
    print(claims.hold("a"), flush=True)
"""


def test_another_process(tmp_path: Path) -> None:
    """What one process holds no other one does; it is free again when that process has ended."""
    claims = FileClaims(tmp_path)
    code = HOLD.format(folder=str(tmp_path))
    assert run_program(code) == "True\n"
    assert claims.hold("a")
    assert run_program(code) == "False\n"
    assert not claims.hold("a")
    claims.release("a")
    assert run_program(code) == "True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child(tmp_path: Path) -> None:
    """A child holds nothing of its parent's, and its end does not release what the parent holds."""
    claims = FileClaims(tmp_path)
    assert claims.hold("a")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = [str(claims.hold("a")), str(claims.hold("b"))]
        claims.release("a")
        os.write(writer, " ".join(said).encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as pipe:
        assert pipe.read() == "False True"
    os.waitpid(child, 0)
    assert run_program(HOLD.format(folder=str(tmp_path))) == "False\n"
    assert claims.move("a", "call_1", "waiting", "running")
    claims.release("a")


def pay(to: str) -> str:
    """Pay."""
    return f"paid {to}"


@pytest.mark.parametrize("end", ["complete", "cancelled", "error"])
def test_a_run_that_never_suspended_leaves_nothing(tmp_path: Path, end: str) -> None:
    """The states of a run without a suspension are deleted with its end: nobody can resume it."""
    answers = {"complete": text_reply("Paid."), "cancelled": text_reply("Paid."), "error": error_reply(400)}
    with served(tool_call_reply("pay", {"to": "Ada"}), answers[end]) as (client, _):
        run = client.run(MODEL, "Pay", tools=[pay], claims=FileClaims(tmp_path))
        with suppress(StreamError):
            for chunk in run:
                if chunk.tool_result:
                    (states,) = json.loads(next(tmp_path.glob("*.json")).read_text())["calls"].values()
                    assert states["state"] == "done"
                    if end == "cancelled":
                        run.cancel()
        assert (run.status, list(tmp_path.iterdir())) == (end, [])


def test_reprs(tmp_path: Path) -> None:
    """``repr`` says what there is, and no results."""
    memory = MemoryClaims()
    memory.hold("a")
    memory.move("a", "call_1", "waiting", "done", RESULT)
    assert repr(memory) == "<MemoryClaims, 1 suspensions>"
    assert str(tmp_path.resolve()) in repr(FileClaims(tmp_path))
