"""How type checkers see validators; never run."""

from __future__ import annotations

from typing_extensions import assert_type

import streamkit
from streamkit import Client, Completion, Run, Stream, ValidationError
from streamkit.validators import (
    BannedWords,
    MaxLength,
    ValidatedStream,
    Validator,
    Verdict,
    Violation,
    check_input,
    validated,
    validator_of,
)


class Own(Validator):
    on_violation = "report"

    def check(self, text: str, final: bool) -> Verdict:
        return Verdict(len(text), "no" if final else None, (0, 1))


def check_calls(client: Client, run: Run) -> None:
    rules = [BannedWords(["a"]), MaxLength(5, on_violation="replace"), Own()]
    assert_type(streamkit.stream("openai/m", "Hi", validators=rules), Stream)
    assert_type(streamkit.complete("openai/m", "Hi", validators=rules), Completion)
    assert_type(client.run("openai/m", "Hi", validators=rules), Run)
    assert_type(validated(run, rules), ValidatedStream)
    assert_type(run.violations, tuple[Violation, ...])
    assert_type(check_input(rules, "text"), list[Violation])
    assert_type(validator_of({"type": "length", "params": {"max": 5}}), Validator)
    assert_type(ValidationError().reason, str)
    streamkit.stream("openai/m", "Hi", validators=["a"])  # type: ignore[list-item]  # pyright: ignore
