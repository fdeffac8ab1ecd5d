"""Regular expressions as JSON Schema and Go have them: ``$`` is the very end, ``\\d`` and ``\\w`` are ASCII."""

from __future__ import annotations

import functools
import re

from streamkit.errors import ConfigError

__all__ = ["compiled"]

_MULTILINE = re.compile(r"\(\?[a-zA-Z]*m")
_ANY_CASE = re.compile(r"\(\?[a-zA-Z]*i")
_NAMED_GROUP = re.compile(r"\(\?<(?![=!])")
# Python warns of these inside a set, as they may mean something there one day.
_RESERVED_IN_SET = frozenset("[&~|")


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of a prompt pack for Python.

    Raises:
        ConfigError: it does not compile.
    """
    # With the flag Python would not find KÖLN by (?i)köln.
    flags = 0 if _ANY_CASE.search(pattern) and not pattern.isascii() else re.ASCII
    try:
        return re.compile(_in_python(pattern), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"the pattern does not compile: {error}") from None


def _escape(escape: str, in_set: bool) -> str:
    return "0-9" if in_set else {r"\d": "[0-9]", r"\D": "[^0-9]", r"\z": r"\Z"}.get(escape, escape)


def _in_python(pattern: str) -> str:
    end = "$" if _MULTILINE.match(pattern) else r"\Z"
    out: list[str] = []
    in_set, at = False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            escape = pattern[at : at + 2]
            out.append(escape if in_set and escape != r"\d" else _escape(escape, in_set))
            at += 2
            continue
        if in_set:
            is_difference = char == "-" and out[-1] == "-"
            out.append(f"\\{char}" if char in _RESERVED_IN_SET or is_difference else char)
            in_set = char != "]"
        elif char == "[":
            # A bracket right at the beginning of a set is a member of it.
            head = next(each for each in ("[^]", "[]", "[^", "[") if pattern.startswith(each, at))
            out.append(head)
            in_set, at = True, at + len(head)
            continue
        elif char == "(" and _NAMED_GROUP.match(pattern, at):
            out.append("(?P<")
            at += 3
            continue
        else:
            out.append(end if char == "$" else char)
        at += 1
    return "".join(out)
