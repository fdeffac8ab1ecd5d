"""The programs of examples/web, served by gunicorn and nginx with the files of examples/deployment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.servers.support import DEPLOYMENT, ROOT, Browser, get, gunicorn, nginx, nginx_command

pytest.importorskip("gunicorn", reason="needs gunicorn")

WEB = ROOT / "examples" / "web"
QUESTION = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Tell me a story"}]}
BODY = json.dumps({"id": "c1", "messages": [QUESTION]}).encode()
PROGRAMS = {
    "minimal_flask:app": ("/api/chat", BODY, b'"delta":" story,"'),
    "django_app:app": ("/api/chat", BODY, b"A story, then,"),
    "bare_wsgi:application": ("/?prompt=Tell+me+a+story", None, b'data: {"content":" story,"}'),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program(program: str, tmp_path: Path) -> None:
    """Each is served by two worker processes, straight and through nginx, and refuses what is wrong."""
    for library in ("flask", "django"):
        if library in program:
            pytest.importorskip(library, reason=f"needs {library}")
    path, body, words = PROGRAMS[program]
    settings = shutil.copy(DEPLOYMENT / "gunicorn.conf.py", tmp_path / "settings.py")
    options = ["--config", str(settings), "--chdir", str(WEB)]
    with gunicorn("http://unused", tmp_path, *options, app=program, threads=None) as server:
        status, got = get(server.port, path, body)
        assert (200, True) == (status, words in got)
        assert 400 == get(server.port, path.partition("?")[0], None if body is None else b"{}")[0]
        assert "Using worker: gthread" in server.text()
        assert 2 == server.text().count("Booting worker")
        nginx_command()
        with nginx(server.port, tmp_path / "nginx", (DEPLOYMENT / "nginx.conf").read_text()) as port:
            with Browser(port, path, body) as browser:
                assert 200 == browser.head().status
                assert words in browser.read()
