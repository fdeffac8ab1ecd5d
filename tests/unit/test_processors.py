"""Which processor a process of the gateway keeps to."""

from __future__ import annotations

import os

import pytest

from streamkit.cli.processors import choose_processor, keep_to

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs sched_getaffinity")


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    found = {2, 3, 5}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: found)
    return found


def test_each_gets_its_own(allowed: set[int]) -> None:
    taken: list[int] = []
    for _ in range(6):
        chosen = choose_processor(taken)
        assert chosen is not None
        taken.append(chosen)
    assert [2, 3, 5] == sorted(taken[:3]) == sorted(taken[3:])


def test_one_that_ended_leaves_its_own(allowed: set[int]) -> None:
    assert 3 == choose_processor([2, 5])
    assert 5 == choose_processor([2, 3, 9])  # 9 may not be used any more


def test_another_program_hardly_chooses_the_same(allowed: set[int]) -> None:
    assert allowed == {choose_processor([]) for _ in range(500)}


def test_no_choice(allowed: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    allowed.difference_update({2, 3})
    assert choose_processor([]) is None
    monkeypatch.delattr(os, "sched_getaffinity")
    assert choose_processor([]) is None


def test_keep_to_one_that_is_gone() -> None:
    before = os.sched_getaffinity(0)
    keep_to(None)
    keep_to(max(before) + 1000)
    assert before == os.sched_getaffinity(0)
