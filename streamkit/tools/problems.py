"""What is wrong with a value that a model wrote: the errors that hold all problems.

The texts are for the model. They name the path, what was expected and what came; no class of Python, no URL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from streamkit.values.problems import Problem
from streamkit.wire.loose_json import shortened

__all__ = [
    "MAX_PROBLEMS",
    "NOTHING",
    "Finding",
    "InvalidValueError",
    "Refused",
    "came",
    "path_text",
    "short",
]

MAX_PROBLEMS = 20  # that one error names; a list of 10,000 wrong elements is wrong in one way
_MOST_SHOWN = 480  # characters of the model's own text in one error, all values together
_LONGEST_VALUE = 60  # characters
_LONGEST_KEY = 40  # characters of a key that the model chose
_LONGEST_PATH = 200  # characters; the model may nest a hundred levels
_LONGEST_WANTED = 1000  # characters of what a type takes: a union may have many classes
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]*")


class InvalidValueError(ValueError):
    """A value that a model wrote does not fit its type. ``str()`` is a text that the model can act on.

    Args:
        problems: all of them, at least one.
        subject: what the value is, as the text begins: ``Invalid value``.
        expected: what would have fitted, for the end of the text.
    """

    _subject = "Invalid value"

    def __init__(self, problems: Sequence[Problem], subject: str = "", expected: str = "") -> None:
        super().__init__(tuple(problems), subject, expected)  # the arguments, so that it can be pickled
        self.problems = tuple(problems)
        self.subject = subject or self._subject
        self.expected = expected

    @property
    def kind(self) -> str:
        """The kind of the first problem."""
        return self.problems[0].kind

    def __str__(self) -> str:
        text = f"{self.subject}: {'; '.join(str(problem).rstrip('.') for problem in self.problems)}."
        return f"{text} Expected: {self.expected}." if self.expected else text


class _Nothing:
    """No value came."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Any = _Nothing()


@attrs.frozen
class Finding:
    """A problem before it is written: the path still grows at its front, the value is not yet shortened.

    Attributes:
        kind: as ``Problem.kind``.
        text: what is wrong, without what came.
        value: what came; ``NOTHING`` where the text says all.
        path: keys and indices, from the outside in.
        cause: the exception of a check of the user's.
    """

    kind: str
    text: str
    value: Any = NOTHING
    path: tuple[str | int, ...] = ()
    cause: Exception | None = attrs.field(default=None, eq=False)

    def problem(self, longest_value: int) -> Problem:
        """Return it in words."""
        text = self.text if len(self.text) <= _LONGEST_WANTED else f"{self.text[:_LONGEST_WANTED]}…"
        if self.value is not NOTHING:
            text = f"{text}, got {came(self.value, longest_value)}"
        return Problem(path_text(self.path), text, self.kind)


class Refused(Exception):
    """A value does not fit. Raised where it stands, and given its path by the containers on the way out."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__()
        self.findings = findings

    @classmethod
    def of(cls, kind: str, text: str, value: Any = NOTHING, cause: Exception | None = None) -> Refused:
        """Return a refusal with one finding."""
        return cls([Finding(kind, text, value, cause=cause)])

    def under(self, key: str | int) -> list[Finding]:
        """Return the findings as the container sees them."""
        return [Finding(each.kind, each.text, each.value, (key, *each.path), each.cause) for each in self.findings]

    @property
    def cause(self) -> Exception | None:
        """The first exception of a check of the user's."""
        return next((each.cause for each in self.findings if each.cause is not None), None)

    def problems(self) -> tuple[Problem, ...]:
        """Return the findings in words: each once, a bounded number, with a bounded length of the model's own text."""
        findings = self.findings[:MAX_PROBLEMS]
        longest = min(_LONGEST_VALUE, _MOST_SHOWN // len(findings))
        problems = list(dict.fromkeys(finding.problem(longest) for finding in findings))
        if len(self.findings) > MAX_PROBLEMS:
            problems.append(Problem("", "and more of the like", self.findings[-1].kind))
        return tuple(problems)


def path_text(path: Iterable[str | int]) -> str:
    """Write a path: ``person.tags[2]``. A key that is no plain word stands in quotation marks and brackets."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key) and len(key) <= _LONGEST_KEY:
            text += f".{key}" if text else key
        else:
            text += f"[{short(key, _LONGEST_KEY)}]"
    return text if len(text) <= _LONGEST_PATH else f"{text[: _LONGEST_PATH // 2]}…{text[-_LONGEST_PATH // 2 :]}"


def came(value: Any, most: int = _LONGEST_VALUE) -> str:
    """Describe a value that came: its JSON where that is short, else its beginning."""
    if isinstance(value, list) and not value:
        return "an empty array"
    if isinstance(value, dict) and not value:
        return "an empty object"
    kind = "an array" if isinstance(value, list) else "an object" if isinstance(value, dict) else ""
    text = short(value, most)
    return f"{kind} ({text})" if kind else text


def short(value: Any, most: int) -> str:
    """Return the JSON text of a value, at most ``most`` characters of it."""
    try:
        text = json.dumps(shortened(value, most + 1), ensure_ascii=False, default=lambda other: type(other).__name__)
    except (ValueError, TypeError, RecursionError):  # an integer of too many digits, a deep stack of the caller's
        return "a value"
    return text if len(text) <= most + 2 else f"{text[:most]}…"
