"""Fill in a template: ``fill_in``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from streamkit.values.plain import refused

__all__ = ["fill_in"]

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*\Z")


def fill_in(template: str, variables: Mapping[str, Any]) -> str:
    """Return a template with its ``{{name}}`` replaced, in one pass: values are never looked at again.

    Text goes in as it is, any other value as JSON.

    Raises:
        ConfigError: a variable is missing, or what stands in braces is no name.
    """

    def value_of(match: re.Match[str]) -> str:
        name = _NAME.match(match[1])
        if name is None:
            raise refused(f"{match[0]!r:.80} is no placeholder: write {{{{name}}}}")
        if variables.get(name[1]) is None:
            raise refused(f"the variable {name[1]!r} of the template is missing: pass variables={{{name[1]!r}: ...}}")
        value = variables[name[1]]
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    return _PLACEHOLDER.sub(value_of, template)
