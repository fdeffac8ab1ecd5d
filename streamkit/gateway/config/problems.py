"""What is wrong with a configuration: ``ConfigProblem``, and the error that has all of them, ``ConfigProblems``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from streamkit.errors import ConfigError

__all__ = ["ConfigProblem", "ConfigProblems"]


@attrs.frozen
class ConfigProblem:
    """One mistake.

    Attributes:
        file: the file, as it was named; an option of the command line, where the mistake is in its value.
        line: from 1; ``None`` where it is in no line.
        key: where in the file, such as ``models.fast.input_price``; "" for the whole.
        text: what is wrong and what to do, without the value where it may be secret.
    """

    file: str
    line: int | None
    key: str
    text: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.text) if part)


class ConfigProblems(ConfigError):
    """A configuration that cannot be used; its message has a line for each mistake.

    Args:
        problems: all mistakes that were found, in the order of the file.
    """

    def __init__(self, message: str = "", *, problems: Sequence[ConfigProblem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, problems: Sequence[ConfigProblem]) -> ConfigProblems:
        """Return the error for some mistakes, sorted by their lines."""
        found = sorted(problems, key=lambda problem: (problem.file, problem.line or 0))
        return cls("\n".join(map(str, found)), problems=found)
