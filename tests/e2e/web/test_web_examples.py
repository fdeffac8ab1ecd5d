"""The pages of examples/web in a browser, used as a person uses them."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.web.browser import bundle, flask_server, needs_browser, run_browser

flask = pytest.importorskip("flask", reason="needs flask")

pytestmark = [needs_browser, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[3] / "examples" / "web"


def example(name: str) -> Any:
    """Return the module of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_react_usechat(tmp_path: Path) -> None:
    """Tools, an approval and a denial, a reload in mid-reply, a reply once more that is stopped."""
    module = example("react_usechat")
    module.FILES = tmp_path
    shutil.copy(EXAMPLES / "react_usechat" / "index.html", tmp_path)
    bundle(EXAMPLES / "react_usechat" / "chat.jsx", tmp_path / "dist")
    with flask_server(module.app) as address:
        outcome = run_browser("examples.mjs", address, "react")
    got = outcome.result
    assert 'weather({"city":"Oslo"}): {"city":"Oslo","degrees":3}' in got["weather"]
    assert "300.0 EUR were paid back" in got["refund"]
    assert "output-denied" in got["denied"]
    assert 1 == got["four"].count("weather(Oslo): degrees 3.")
    assert len(got["stopped"]) <= len(got["four"])
    assert 8 == got["count"]
    assert [] == outcome.errors


def test_eventsource() -> None:
    """Text as it arrives, the end, stop, and a lost connection, which does not ask again."""
    module = example("eventsource")
    sockets: list[socket.socket] = []

    @module.app.before_request
    def remember() -> None:
        if flask.request.path == "/ask":
            sockets.append(flask.request.environ["werkzeug.socket"])

    with flask_server(module.app) as address:
        calls = {"lose the connection": lambda _: sockets[-1].shutdown(socket.SHUT_RDWR)}
        outcome = run_browser("examples.mjs", address, "eventsource", calls=calls)
    got = outcome.result
    assert got["whole"].startswith("A story, then, for “a fox”.")
    assert got["whole"].startswith(got["early"].rstrip())
    assert got["whole"].startswith(got["stopped"].rstrip())
    assert 3 == len(sockets)
    assert [] == outcome.errors
