"""Hold a pack to the JSON schema of the format."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from typing import Any

from streamkit.concurrency.late_import import forks_wait, late_import
from streamkit.packs.problems import Finding, shown
from streamkit.validators.dialect import compiled

__all__ = ["NEWEST", "PUBLISHED", "data", "schema_findings"]

NEWEST = "promptpack.schema.json"
#: What the format's site serves. It has some keys that the newest has not, and leaves open what that one closes.
PUBLISHED = "promptpack-1.4.0.schema.json"

_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_TEXTS = {
    "minimum": "{} is below {}",
    "maximum": "{} is above {}",
    "minLength": "{} is shorter than {}",
    "maxLength": "{} is longer than {}",
    "pattern": "{} does not match {}",
    "format": "{} is no {}",
    "minItems": "{} has fewer than {} items",
    "minProperties": "{} has fewer than {} members",
    "const": "{} is not {}",
}


def data(name: str) -> Any:
    """Return a JSON file of the folder ``schemas``."""
    return json.loads(files("streamkit.packs").joinpath("schemas").joinpath(name).read_text("utf-8"))


def schema_findings(value: Any, version: str = NEWEST) -> list[Finding]:
    """Return what the schema finds wrong with a decoded pack.

    Each missing key, and each unknown one, is a finding of its own, at the path of the object.

    Raises:
        RecursionError: it is nested too deep.
    """
    found = (finding for error in _validator(version).iter_errors(value) for finding in _findings(error))
    return list(dict.fromkeys(found))


@functools.cache
def _validator(version: str) -> Any:
    with forks_wait():
        jsonschema = late_import("jsonschema")
        registry = late_import("referencing").Registry()  # one that fetches nothing
    wrong = jsonschema.ValidationError

    def pattern(_validator: Any, wanted: str, value: Any, _schema: Any) -> Iterator[Any]:
        # jsonschema takes Python's $, which also stands before a line end, and its \d, of any script.
        if isinstance(value, str) and not compiled(wanted).search(value):
            yield wrong("does not match")

    def format_(_validator: Any, wanted: str, value: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(value, str) and not _has_format(wanted, value):
            yield wrong("has not the format")

    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern, "format": format_})
    return kind(data(version), registry=registry)


def _has_format(name: str, text: str) -> bool:
    match = _DATE_TIME.fullmatch(text) if name == "date-time" else _DATE.fullmatch(text) if name == "date" else None
    if match is None:
        return name not in ("date", "date-time")
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def _findings(error: Any) -> Iterator[Finding]:
    """Yield an error of jsonschema's in our words."""
    path, rule, value, wanted = tuple(error.absolute_path), error.validator, error.instance, error.validator_value
    if rule == "required":
        yield from (Finding(path, rule, f"{shown(key)} is missing", key) for key in wanted if key not in value)
    elif rule == "additionalProperties":
        known = error.schema.get("properties", {})
        yield from (Finding(path, rule, f"{shown(key)} is not a known key", key) for key in value if key not in known)
    else:
        yield Finding(path, rule or "false", _text(rule, value, wanted))


def _text(rule: str, value: Any, wanted: Any) -> str:
    if rule == "type":
        return f"{shown(value)} is not of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
    if rule == "enum":
        return f"{shown(value)} is none of {json.dumps(wanted, ensure_ascii=False)}"
    if rule in ("oneOf", "anyOf"):
        count = "none, or more than one," if rule == "oneOf" else "none"
        return f"{shown(value)} fits {count} of the allowed forms"
    if rule in _TEXTS:
        return _TEXTS[rule].format(shown(value), wanted if isinstance(wanted, str) else shown(wanted))
    return f"{shown(value)} does not fit the schema ({rule})"
