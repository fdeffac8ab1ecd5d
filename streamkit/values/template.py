"""Templates: find the placeholders of a text, and insert values and fragments in one pass.

A placeholder is ``{{name}}``, ``{{fragments.key}}`` or ``{{fragment:key}}``, with white space inside the braces. The
text of a fragment is source, in which placeholders count. A value never is: it stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from enum import Enum
from typing import Any, NamedTuple

import attrs

from streamkit.values.plain import refused

__all__ = ["Kind", "Piece", "Survey", "TooLongError", "expanded", "fill_in", "pieces_of", "survey"]

MAX_EXPANDED = 64 * 1024 * 1024  # characters; a few fragments that name each other twice would make any number

# The dotted form first, as its beginning is a name too. Each alternative is tried once a place where two braces open,
# and scans only what belongs to it, so the time is linear.
_PLACEHOLDER = re.compile(r"\{\{\s*(?:(?:fragments\.|fragment:)([A-Za-z0-9_.-]+)|([A-Za-z_][A-Za-z0-9_]*))\s*\}\}")


class Kind(Enum):
    """What a piece of a template is."""

    TEXT = "text"
    NAME = "name"  # a variable, or else a fragment
    FRAGMENT = "fragment"
    WRONG = "wrong"  # two pairs of braces with something else between them


class Piece(NamedTuple):
    """A piece of a template: text as it stands, or what is between the braces."""

    kind: Kind
    text: str


class TooLongError(ValueError):
    """The fragments of a template make it longer than any model takes."""


def pieces_of(source: str) -> list[Piece]:
    """Return the pieces of a template, in one pass from the left; the innermost pair of braces is the placeholder."""
    pieces: list[Piece] = []
    end = 0
    for match in _PLACEHOLDER.finditer(source):
        start, after = match.span()
        if start > end:
            _add_text(pieces, source[end:start])
        name = match[2]
        pieces.append(Piece(Kind.FRAGMENT, match[1]) if name is None else Piece(Kind.NAME, name))
        end = after
    _add_text(pieces, source[end:])
    return pieces


def _add_text(pieces: list[Piece], text: str) -> None:
    """Add text between two placeholders, in which ``{{`` and the next ``}}`` are a placeholder that is none.

    Not by a regular expression, which would look for the closing braces from each of the opening ones.
    """
    end = 0
    while (opened := text.find("{{", end)) >= 0 and (closed := text.find("}}", opened + 2)) >= 0:
        if opened > end:
            pieces.append(Piece(Kind.TEXT, text[end:opened]))
        end = closed + 2
        pieces.append(Piece(Kind.WRONG, text[opened:end]))
    if end < len(text):
        pieces.append(Piece(Kind.TEXT, text[end:]))


@attrs.define
class Survey:
    """What a template reaches. Each of the lists has a name once, in the order of appearance.

    Attributes:
        order: the keys of the fragments it reaches, each after those that it names itself; ``None``, the template, is
            the last one.
        pieces: of the template and of each of these fragments.
        used: the variables.
        cycle: the first cycle of fragments, from the first key to its repetition; empty if there is none.
        wrong: the placeholders that are none.
        unknown_fragments: keys in the dotted form that are no fragment's.
        unknown_names: bare names that are neither a variable nor a fragment.
    """

    order: list[str | None] = attrs.field(factory=list)
    pieces: dict[str | None, list[Piece]] = attrs.field(factory=dict)
    used: dict[str, None] = attrs.field(factory=dict)
    cycle: tuple[str, ...] = ()
    wrong: dict[str, None] = attrs.field(factory=dict)
    unknown_fragments: dict[str, None] = attrs.field(factory=dict)
    unknown_names: dict[str, None] = attrs.field(factory=dict)


def survey(template: str, fragments: Mapping[str, str], variables: Container[str]) -> Survey:
    """Follow a template through all fragments that it reaches.

    A bare name is a variable first, then a fragment. Not recursive: a chain of fragments may be longer than the stack.
    """
    found = Survey()
    found.pieces[None] = pieces_of(template)
    open_: dict[str | None, None] = {None: None}  # the way to the current piece
    stack = [iter(found.pieces[None])]
    while stack:
        for kind, text in stack[-1]:
            key = _met(found, kind, text, fragments, variables)
            if key is None:
                continue
            if key in open_:
                keys = [each for each in open_ if each is not None]
                found.cycle = found.cycle or (*keys[keys.index(key) :], key)
            elif key not in found.pieces:
                found.pieces[key] = pieces_of(fragments[key])
                open_[key] = None
                stack.append(iter(found.pieces[key]))
                break
        else:
            stack.pop()
            found.order.append(open_.popitem()[0])
    return found


def _met(found: Survey, kind: Kind, text: str, fragments: Mapping[str, str], variables: Container[str]) -> str | None:
    """Note what a piece is; return the key of the fragment that it names."""
    if kind is Kind.TEXT:
        return None
    if kind is Kind.WRONG:
        found.wrong[text] = None
    elif kind is Kind.NAME and text in variables:
        found.used[text] = None
    elif text in fragments:
        return text
    elif kind is Kind.NAME:
        found.unknown_names[text] = None
    else:
        found.unknown_fragments[text] = None
    return None


def expanded(found: Survey, values: Mapping[str, str]) -> str:
    """Return the text of a template without cycles and unknown names.

    Args:
        found: its survey.
        values: the text of each variable that it uses.

    Raises:
        TooLongError: it is over the bound.
    """
    texts: dict[str | None, str] = {}
    left = MAX_EXPANDED  # for the texts of all fragments together
    for key in found.order:
        parts = [
            text if kind is Kind.TEXT else values[text] if kind is Kind.NAME and text in found.used else texts[text]
            for kind, text in found.pieces[key]
        ]
        left -= sum(map(len, parts))
        if left < 0:
            raise TooLongError(f"the template has more than {MAX_EXPANDED} characters with its fragments and values")
        texts[key] = "".join(parts)
    return texts[None]


def fill_in(template: str, variables: Mapping[str, Any]) -> str:
    """Return a template with its ``{{name}}`` replaced, in one pass: values are never looked at again.

    Text goes in as it is, any other value as JSON.

    Raises:
        ConfigError: a variable is missing, or what stands in braces is no name.
    """
    written: list[str] = []
    for kind, text in pieces_of(template):
        if kind is Kind.TEXT:
            written.append(text)
        elif kind is not Kind.NAME:
            raise refused(f"{{{{{text:.60}}}}} is no placeholder: write {{{{name}}}} for a variable")
        elif variables.get(text) is None:
            raise refused(f"the variable {text!r} of the template is missing: pass variables={{{text!r}: ...}}")
        else:
            value = variables[text]
            written.append(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return "".join(written)
