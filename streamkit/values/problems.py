"""What is wrong with a value that a model wrote, ``Problem``, and with a prompt pack, ``PackProblem``."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["PackProblem", "Problem", "Severity"]

Severity = Literal["error", "warning"]


@attrs.frozen
class Problem:
    """One thing that is wrong.

    Attributes:
        path: where, such as ``person.address.city`` or ``tags[2]``; ``""`` for the whole.
        text: what was expected and what came, such as ``must be an integer, got 2.5``.
        kind: ``invalid_json``, ``not_an_object``, ``missing``, ``unexpected``, ``type``, ``value`` or ``constraint``.
    """

    path: str
    text: str
    kind: str = attrs.field(default="value", eq=False)

    def __str__(self) -> str:
        return f"`{self.path}` {self.text}" if self.path else self.text


@attrs.frozen
class PackProblem:
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
