"""The rules of the built-in validators, by cases: verdict, the character at which it is certain, what may be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import ConfigError
from streamkit.validators import NOT_RUN, TYPES, Validator, Verdict, check_input, validator_of
from tests.unit.support import split_at

FOLDER = Path(__file__).parents[1] / "promptpack"
CASES = [json.loads(line) for line in (FOLDER / "validators.jsonl").read_text(encoding="utf-8").splitlines()]
JUDGED = [case for case in CASES if "error" not in case]
KNOWN = json.loads((FOLDER / "validator_types.json").read_text())


def ids(case: dict[str, Any]) -> str:
    return str(case["id"])


class Followed:
    """A text that is judged in pieces, and what was seen of it after each."""

    def __init__(self, validator: Validator, pieces: list[str]) -> None:
        self.seen: list[int] = []
        self.failed_at: int | None = None  # the length up to the piece that has decided
        self.verdict = Verdict(0)
        checker, length, shown = validator.begin(), 0, 0
        for piece in pieces:
            if self.failed_at is None:
                length += len(piece)
                self.verdict = checker.add(piece, False)
                shown = max(shown, self.verdict.shown)
                assert shown <= length
                if self.verdict.violation:
                    self.failed_at = length
            self.seen.append(shown)
        if self.failed_at is None:
            self.verdict = checker.add("", True)
            shown = max(shown, self.verdict.shown)
        self.shown_at_end = shown

    @property
    def passes(self) -> bool:
        return self.verdict.violation is None


def most(case: dict[str, Any], length: int) -> int:
    """Return what may be seen at most of the first characters: none of the offending ones."""
    span = case.get("span")
    return min(length, span[0]) if span else length


@pytest.mark.parametrize("case", JUDGED, ids=ids)
def test_verdict_on_the_whole_text(case: dict[str, Any]) -> None:
    """A text passes or not, whether it is judged at once or piece by piece."""
    validator = validator_of(case["validator"])
    whole = validator.check(case["text"], True)
    in_pieces = Followed(validator, case["chunks"])
    if case.get("applies") is False:
        assert validator.direction == "input"
    assert (case["passes"], case["passes"]) == (whole.violation is None, in_pieces.passes)
    if case.get("span") and whole.span:
        assert case["span"][0] == whole.span[0]


@pytest.mark.parametrize("case", JUDGED, ids=ids)
def test_what_may_be_seen(case: dict[str, Any]) -> None:
    """After each piece as much is seen as can be, and at the end all that is allowed."""
    if "show" not in case or not case["validator"].get("fail_on_violation"):
        pytest.skip("nothing is said of it, or nothing is held back")
    followed = Followed(validator_of(case["validator"]), case["chunks"])
    assert case["show"] == followed.seen
    assert case["show_at_end"] == followed.shown_at_end


@pytest.mark.parametrize("case", JUDGED, ids=ids)
def test_held_back_no_more_than_needed(case: dict[str, Any]) -> None:
    """However the text is cut, no more is held back than the rule needs, and no offending character is seen."""
    if not case["validator"].get("fail_on_violation"):
        pytest.skip("nothing is held back")
    text = case["text"]
    for pieces in (list(text), [text], split_at(text, [len(text) // 2]), case["chunks"]):
        followed = Followed(validator_of(case["validator"]), pieces)
        length = 0
        for piece, seen in zip(pieces, followed.seen, strict=True):
            length += len(piece)
            assert seen <= most(case, length)
            if case["hold"] != "all" and followed.failed_at is None:
                assert seen >= length - case["hold"]
        if case["passes"]:
            assert len(text) == followed.shown_at_end


@pytest.mark.parametrize("case", JUDGED, ids=ids)
def test_certain_at_each_offset(case: dict[str, Any]) -> None:
    """The first characters are known to break the rule from the one on with which they do, and from none before."""
    validator, text, expected = validator_of(case["validator"]), case["text"], case["fail_at"]
    assert expected == Followed(validator, list(text)).failed_at or case["id"] == "re_forbid_boundary"  # one late
    for length in range(len(text) + 1):
        early = validator.check(text[:length], False).violation is not None
        if case["id"] != "re_forbid_boundary":
            assert early == (expected is not None and length >= expected)


@pytest.mark.parametrize("case", [case for case in JUDGED if case.get("pass_at")], ids=ids)
def test_passed_as_soon_as_it_is_certain(case: dict[str, Any]) -> None:
    """What must be there is waited for, and no longer."""
    followed = Followed(validator_of(case["validator"]), list(case["text"]))
    assert [length if length >= case["pass_at"] else 0 for length in range(1, len(case["text"]) + 1)] == followed.seen


@given(case=st.sampled_from(JUDGED), data=st.data())
def test_any_cuts_give_the_same(case: dict[str, Any], data: st.DataObject) -> None:
    """Where the text is cut changes nothing of the verdict, and shows nothing that is offending."""
    text = case["text"]
    pieces = split_at(text, data.draw(st.lists(st.integers(0, len(text)))))
    followed = Followed(validator_of(case["validator"]), pieces)
    assert case["passes"] == followed.passes
    if case["validator"].get("fail_on_violation"):
        assert followed.shown_at_end <= most(case, len(text))


@pytest.mark.parametrize("case", [case for case in CASES if case.get("error") == "params"], ids=ids)
def test_wrong_parameters(case: dict[str, Any]) -> None:
    """Parameters that cannot work are refused when the validator is made; the error names the type."""
    with pytest.raises(ConfigError, match=rf"^{case['validator']['type']}: "):
        validator_of(case["validator"])


@pytest.mark.parametrize("case", [case for case in JUDGED if case["validator"]["type"] == "banned_words"], ids=ids)
def test_input_is_judged_where_the_pack_says_so(case: dict[str, Any]) -> None:
    """The user's text is judged by validators for input, and by no others."""
    shape = {**case["validator"], "fail_on_violation": False}
    direction = shape["params"].get("direction", "output")
    broken = direction != "output" and not case["passes"]
    assert int(broken) == len(check_input([validator_of(shape)], case["text"]))


def test_all_types_are_known() -> None:
    """Each type of the list can be made, with its other names; those that cannot be run are refused with a reason."""
    names = {name for kind, of in KNOWN["types"].items() for name in (kind, *of["aliases"])}
    assert names == set(TYPES)
    assert set(KNOWN["known_but_not_run"]) == NOT_RUN
    for name in NOT_RUN:
        with pytest.raises(ConfigError, match="cannot be run here; pass own="):
            validator_of({"type": name, "enabled": True})
    with pytest.raises(ConfigError, match="no such type of validator; there are banned_words, "):
        validator_of({"type": "banned_wrods", "enabled": True})
