"""What is wrong with a pack: ``Problem``, and the JSON paths that say where."""

from __future__ import annotations

import json
from typing import Literal

import attrs

__all__ = ["Finding", "Path", "Problem", "Severity", "json_path", "shown"]

Path = tuple[str | int, ...]
"""Where something is in the decoded JSON: keys and indexes from the root."""

Severity = Literal["error", "warning"]

_MOST_SHOWN = 60  # characters of a value


@attrs.frozen
class Problem:
    """One thing that is wrong with a pack.

    Attributes:
        path: the JSON path, such as ``$.prompts.storyteller.variables[0].type``.
        rule: the keyword of the JSON schema, or a name with a dot for what a schema cannot say, such as
            ``fragment.cycle``; ``file`` for a file that cannot be read, ``json`` for text that is no JSON, ``bom``
            for a byte order mark, ``ignored`` for a section that is not acted on.
        text: what is wrong, for a person; without the path.
        property: the key that is missing (``required``) or unknown (``additionalProperties``).
        name: the text in a template that is wrong, or the name in it.
        severity: ``error`` if the pack is refused for it, else ``warning``.
    """

    path: str
    rule: str
    text: str
    property: str | None = None
    name: str | None = None
    severity: Severity = "error"

    def __str__(self) -> str:
        return f"{self.path}: {self.text} ({self.rule})"


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
