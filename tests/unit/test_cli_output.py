"""Output on a terminal contains no control sequences and no reordered text."""

from __future__ import annotations

import io
import json

import pytest

from streamkit.cli.output import Plain, one_line, to_json, without_controls
from streamkit.values.chunks import Chunk

BIDIRECTIONAL = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


@pytest.mark.parametrize("code", BIDIRECTIONAL)
def test_bidirectional_controls(code: int) -> None:
    """What would have a line read otherwise than it is does not reach a terminal; in JSON it is escaped."""
    text = f"pay {chr(code)}1,000"
    assert "pay 1,000" == without_controls(text) == one_line(text)
    assert f'{{"text":"pay \\u{code:04x}1,000"}}' == to_json({"text": text})
    assert {"text": text} == json.loads(to_json({"text": text}))


def test_into_a_pipe() -> None:
    """A pipe gets the answer as it is."""
    file = io.StringIO()
    Plain(file).show(Chunk("text", text="a\u202eb\x1b"))
    assert "a\u202eb\x1b" == file.getvalue()


@pytest.mark.parametrize(
    "text", ["שלום 12", "مرحبا", "می\u200cخواهم", "\U0001f469\u200d\U0001f4bb", "é\u0301", "a\u00a0b", "\t|\n"]
)
def test_scripts_stay(text: str) -> None:
    """Scripts that run from right to left, joined characters and combining ones are shown as they are."""
    assert text == without_controls(text)
