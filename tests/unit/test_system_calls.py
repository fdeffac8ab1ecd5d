"""The system calls of a request: each releases the GIL, which costs most where many streams are open."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import certifi
import pytest

from streamkit.testing import Server, json_reply
from streamkit.transport.small_requests import Deadline, fetch
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest

LOOKS_AT_A_FILE = {"stat", "lstat", "exists", "isdir", "isfile", "_path_exists", "_path_isdir", "_path_isfile", "open"}


def test_a_request_is_one_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On an open connection, head and body go out in one write, and nobody looks for the CA bundle again."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    called: Counter[str] = Counter()

    def count(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            called[function.__name__] += 1

    transport, before = Transport(), sys.getprofile()
    with Server(json_reply({"a": 1})) as server:
        request = HttpRequest(f"{server.url}/answers", {}, b'{"question": 1}')
        try:
            fetch(transport, request, Deadline(10))
            sys.setprofile(count)
            fetch(transport, request, Deadline(10))
        finally:
            sys.setprofile(before)
            transport.close()
    assert 1 == server.connections
    assert (1, b'{"question": 1}') == (called["sendall"], server.requests[-1].body)
    assert set() == LOOKS_AT_A_FILE & set(called)
