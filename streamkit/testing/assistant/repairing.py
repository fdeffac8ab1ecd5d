"""Other arguments for a call whose first ones were refused, from what the refusal says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from streamkit.testing.assistant.facts import facts_of
from streamkit.testing.assistant.inventing import invent
from streamkit.testing.assistant.results import Outcome
from streamkit.testing.assistant.schemas import Schema, fits

__all__ = ["repaired"]

_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"|“([^”]*)”")


def repaired(schema: Schema, outcome: Outcome) -> Mapping[str, Any] | None:
    """Return arguments in which each property that the refusal names has another value, or None if none can be found.

    Args:
        schema: of the tool's parameters.
        outcome: the call and the refusal.
    """
    properties = schema.get("properties", {})
    arguments = dict(outcome.arguments)
    for name in (name for name in properties if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", outcome.text)):
        other = _other(properties[name], schema, name, outcome)
        if other is not None:
            arguments[name] = other
    for name in arguments.keys() - properties.keys() if properties else ():
        del arguments[name]
    return arguments if arguments != outcome.arguments else None


def _other(schema: Any, root: Schema, name: str, outcome: Outcome) -> Any:
    """Return a value that the refusal offers, or an invented one; not the one that was refused."""
    refused = outcome.arguments.get(name)
    at = outcome.text.index(name) + len(name)
    told = outcome.text[at:].partition("\n")[0]
    offered = [next(filter(None, found), "") for found in _QUOTED.findall(told)]
    offered += [fact.value for fact in facts_of(told)]
    invented = (invent(schema, root, name, index) for index in range(3))
    return next((one for one in (*offered, *invented) if one != refused and fits(one, schema, root)), None)
