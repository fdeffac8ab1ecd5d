"""The chat page: files that a browser loads, and ``add_page``, which serves them."""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from streamkit.concurrency.late_import import late_import

if TYPE_CHECKING:
    from flask import Blueprint, Response

__all__ = ["HEADERS", "add_page"]

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "md": "text/plain; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}
_FOREVER = "public, max-age=31536000, immutable"
_FOLDER = "chat-page"

#: Of the page and its files. Nothing but the page's own files runs, and nothing of a reply loads from elsewhere.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "worker-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            # Each is made by one file: the sanitiser, and the address of the worker that colours code.
            "trusted-types dompurify streamkit-worker",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def add_page(blueprint: Blueprint, *, title: str = "Chat", models: bool = False, sign_out: str = "") -> None:
    """Add the chat page to a blueprint that has the routes of the chat: ``/``, and its files under ``/chat-page/``.

    All addresses in the page are relative to its own, so it works below any prefix, also one that a proxy takes away.

    Args:
        blueprint: a Flask blueprint, or an app.
        title: what the page is called.
        models: whether the chat has models to choose from.
        sign_out: the address to which the button "Sign out" sends a POST; "" for no button.
    """
    flask = late_import("flask")
    made = _page(title=title, models="yes" if models else "", sign_out=sign_out)
    tag = hashlib.sha256(made).hexdigest()[:32]

    def answer(body: bytes, kind: str, etag: str, caching: str) -> Response:
        response: Response = flask.Response(body, headers=HEADERS, content_type=kind)
        response.headers["Cache-Control"] = caching
        response.set_etag(etag)
        response.make_conditional(flask.request)  # a 304 where the browser has it
        return response

    @blueprint.get("/")
    def chat_page() -> Response:
        return answer(made, _TYPES["html"], tag, "no-cache")

    @blueprint.get(f"/{_FOLDER}/<version>/<path:name>")
    def chat_page_file(version: str, name: str) -> Response:
        found = _files().get(name)
        if found is None or name == "index.html":
            raise late_import("werkzeug.exceptions").NotFound
        body, etag = found
        # The address changes with the files. One of another version, such as an old page's, must not be kept.
        caching = _FOREVER if version == _version() else "no-cache"
        return answer(body, _TYPES[name.rpartition(".")[2]], etag, caching)


def _page(**given: str) -> bytes:
    given["files"] = f"{_FOLDER}/{_version()}"
    text = _files()["index.html"][0].decode()
    # In one pass, as a title may have braces.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: html.escape(given[found[1]]), text).encode()


@cache
def _files() -> Mapping[str, tuple[bytes, str]]:
    """Return each file with its tag, by its path: half a megabyte, read once."""
    found: dict[str, tuple[bytes, str]] = {}

    def read(folder: Any, prefix: str) -> None:
        for each in folder.iterdir():
            if each.is_dir():
                read(each, f"{prefix}{each.name}/")
            elif each.name.rpartition(".")[2] in _TYPES:
                data = each.read_bytes()
                found[prefix + each.name] = data, hashlib.sha256(data).hexdigest()[:32]

    read(resources.files(__name__) / "files", "")
    return found


@cache
def _version() -> str:
    tags = "".join(f"{name} {tag}\n" for name, (_, tag) in sorted(_files().items()))
    return hashlib.sha256(tags.encode()).hexdigest()[:16]
