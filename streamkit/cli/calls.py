"""Tool calls and their results, as a person reads them."""

from __future__ import annotations

import json

from streamkit.cli.output import one_line, to_json
from streamkit.values.chunks import ToolResult

__all__ = ["call_text", "result_text"]

_WIDEST = 76  # columns of a call on one line


def call_text(name: str, arguments: str) -> str:
    """Return a call with all of its arguments, safe on a terminal: a line, or a line for each argument.

    Args:
        name: of the tool.
        arguments: as the model wrote them; what is no JSON object is shown as it is.
    """
    name = one_line(name)
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return f"{name}({one_line(arguments)})"
    pairs = [f"{one_line(key)}={to_json(value)}" for key, value in given.items()]
    line = f"{name}({', '.join(pairs)})"
    if len(line) <= _WIDEST or not pairs:
        return line
    return "\n".join([f"{name}(", *(f"    {pair}," for pair in pairs), ")"])


def result_text(result: ToolResult) -> str:
    """Return a result as one line, which may be long."""
    media = " ".join(f"[{part.get('type', '').removesuffix('_url')}]" for part in result.parts if "text" not in part)
    return one_line(f"{result.name}: {result.content} {media}")
