"""The detector of keys finds keys."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from streamkit.providers import ChatRequest, OpenAI
from tests.secrets_written import keys_written, texts_of

KEY = "sk-secret-of-this-test"


@pytest.mark.writes_keys
def test_a_key_in_a_file_or_on_the_terminal_is_found(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A key that a provider was given is found in files of the test, and in what it printed or logged."""
    OpenAI(api_key=KEY).request(ChatRequest("m", [{"role": "user", "content": "Hi"}]))
    (tmp_path / "cassette.jsonl").write_text(f"Authorization: Bearer {KEY}", "utf-8")
    (tmp_path / "clean.txt").write_text("nothing here", "utf-8")
    sections = [("Captured log call", f"sent {KEY}"), ("Captured stdout call", "***")]
    assert ["Captured log call", "cassette.jsonl"] == keys_written(texts_of(request.node, sections))


def test_what_the_library_prints_of_a_key_is_no_key() -> None:
    """What providers and requests print and log of themselves is let through."""
    request = OpenAI(api_key=KEY).request(ChatRequest("m", [{"role": "user", "content": "Hi"}]))
    print(repr(request), dict(request.headers))
    logging.getLogger("streamkit").debug("%r", request)
