"""What is wrong with a pack, and the JSON paths that say where."""

from __future__ import annotations

import json

import attrs

from streamkit.values.problems import PackProblem as Problem
from streamkit.values.problems import Severity

__all__ = ["Finding", "Path", "json_path", "shown"]

Path = tuple[str | int, ...]
"""Where something is in the decoded JSON: keys and indexes from the root."""

_MOST_SHOWN = 60  # characters of a value


@attrs.frozen
class Finding:
    """A problem before it is known how severe it is."""

    path: Path
    rule: str
    text: str
    property: str | None = None
    name: str | None = None

    def problem(self, severity: Severity) -> Problem:
        """Return it for the user."""
        return Problem(json_path(self.path), self.rule, self.text, self.property, self.name, severity)


def json_path(path: Path) -> str:
    """Return a path as text; a key that is no identifier is written ``["gpt-4o"]``."""
    return "$" + "".join(
        f"[{part}]"
        if isinstance(part, int)
        else f".{part}"
        if part.isidentifier()
        else f"[{json.dumps(part, ensure_ascii=False)}]"
        for part in path
    )


def shown(value: object) -> str:
    """Return a JSON value for an error's text, cut to a length that can be read."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of the type {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
