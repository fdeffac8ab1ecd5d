"""Regular expressions of packs mean what they mean in JSON Schema and Go."""

from __future__ import annotations

import pytest

from streamkit.errors import ConfigError
from streamkit.validators.dialect import compiled


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^\d+$", "12", True),
        (r"^\d+$", "12\n", False),
        (r"^\d+$", "١٢", False),
        (r"^[\d-]+$", "1-2", True),
        (r"^[\d]+$", "١", False),
        (r"^\D$", "١", True),
        (r"\$", "a$b", True),
        (r"[$]", "a$b", True),
        (r"a$|b", "a\n", False),
        (r"(?m)a$", "a\nb", True),
        (r"a\z", "a\n", False),
        (r"(?<year>\d{4})-(?P<month>\d\d)", "2025-06", True),
        (r"(?<=a)b", "ab", True),
        (r"(?<!a)b", "ab", False),
        (r"[[a]", "[", True),
        (r"[a&&b]", "&", True),
        (r"[]a]", "]", True),
        (r"[^]a]", "]", False),
        (r"[a-c]]", "b]", True),
        (r"[\]]", "]", True),
        (r"(?i)köln", "KÖLN", True),
        (r"^\w+$", "é", False),
        (r"\\$", "a\\", True),
    ],
)
@pytest.mark.filterwarnings("error")
def test_meaning(pattern: str, text: str, found: bool) -> None:
    """A pattern is found or not, and Python does not warn of it."""
    assert found == (compiled(pattern).search(text) is not None)


@pytest.mark.parametrize("pattern", ["(", "[a", "a{99999999999}", "(?P<x", "*", "\\", "(" * 10_000])
def test_no_pattern(pattern: str) -> None:
    """A pattern that does not compile is an error of ours."""
    with pytest.raises(ConfigError, match="does not compile"):
        compiled(pattern)
