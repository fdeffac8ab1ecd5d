"""Ready-made replies in every wire format; a reply that a format cannot express is rejected."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from streamkit.testing import FORMATS, error_in, reply_in

WORDLESS = {
    ("openai-completions", "tool_calls"),
    ("gemini-interactions", "content_filter"),
    ("ollama", "content_filter"),
}


@pytest.mark.parametrize("name", ["azure", "groq", ""])
def test_no_such_format(name: str) -> None:
    """An unknown format is an error that names those there are, also for a refusal."""
    with pytest.raises(ValueError, match=r"one of openai, .*ollama, not .*; azure, .* speak openai"):
        reply_in(name, "Hi")
    with pytest.raises(ValueError, match=r"one of openai, .*ollama, not "):
        error_in(name, "no")


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("openai-completions", {"tool_calls": [("f", {})]}),
        ("openai-completions", {"reasoning": "Hm"}),
        ("openai", {"finish_reason": "well"}),
        *((format, {"finish_reason": finish}) for format, finish in sorted(WORDLESS)),
    ],
)
def test_what_a_format_has_no_word_for(format: str, said: dict[str, Any]) -> None:
    """It is an error that says what to do, and nothing is left out of a reply in silence."""
    with pytest.raises(ValueError, match=rf"{format}.* (leave them out|is one of stop, length.*, not )"):
        reply_in(format, "Hi", **said)


@pytest.mark.parametrize(
    ("format", "finish"),
    sorted({*product(FORMATS, ["stop", "length", "tool_calls", "content_filter"])} - WORDLESS),
)
def test_every_other_finish_reason_is_written(format: str, finish: Any) -> None:
    """No format stumbles over a reason."""
    assert reply_in(format, "Hi", finish_reason=finish).steps
