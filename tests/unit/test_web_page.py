"""What serves the chat page: its files, their headers and caching, the policy, and what it takes from others."""

from __future__ import annotations

import html
import re
from importlib import resources
from typing import Any

import pytest

flask = pytest.importorskip("flask", reason="needs flask")

from streamkit.web.page import HEADERS, add_page  # noqa: E402  # it needs Flask

FILES = resources.files("streamkit.web.page") / "files"


def browser(title: str = "Desk", prefix: str = "/desk") -> Any:
    app = flask.Flask("test")
    blueprint = flask.Blueprint("chat", "test", url_prefix=prefix)
    add_page(blueprint, title=title)
    app.register_blueprint(blueprint)
    return app.test_client()


def linked(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"#]*chat-page/[^"]+)"', page)


def imported(text: str) -> list[str]:
    return re.findall(r'(?:from|import) "\./([^"]+)"', text)


def test_each_file_is_there_below_any_prefix() -> None:
    """The page's addresses are relative to its own; each file that is named anywhere is served with its type."""
    http = browser()
    page = http.get("/desk/").text
    found = linked(page)
    assert len(found) == 3
    assert not [address for address in found if address.startswith(("/", "http"))]
    waiting, seen = [f"/desk/{address}" for address in found], set()
    while waiting:
        address = waiting.pop()
        response = http.get(address)
        assert 200 == response.status_code, address
        kind = "text/css" if address.endswith(".css") else "text/javascript"
        assert kind == response.mimetype
        seen.add(address)
        if kind == "text/javascript" and "/vendor/" not in address:
            folder = address.rpartition("/")[0]
            waiting += [each for name in imported(response.text) if (each := f"{folder}/{name}") not in seen]
    folder = found[0].rpartition("/")[0]
    named = {address.rpartition("/")[2] for address in seen} | {"index.html", "highlight_worker.js"}
    assert {each.name for each in FILES.iterdir() if each.is_file()} == named - {
        "markdown-it.esm.min.mjs",
        "purify.es.mjs",
    }
    for missing in ("index.html", "nothing.js", "../__init__.py", "vendor"):
        assert 404 == http.get(f"/desk/{folder}/{missing}").status_code


def test_the_policy() -> None:
    """Page and files have the headers by which nothing but the page's own files runs; the page has no script in it."""
    http = browser()
    page = http.get("/desk/")
    script = http.get(f"/desk/{linked(page.text)[2]}")
    for response in (page, script):
        assert dict(HEADERS).items() <= dict(response.headers).items()
    policy = dict(each.split(" ", 1) for each in HEADERS["Content-Security-Policy"].split("; "))
    assert ("'none'", "'self'", "'self'") == (policy["default-src"], policy["script-src"], policy["style-src"])
    assert "'unsafe" not in str(policy)
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=|javascript:|https?://", page.text)


def test_caching() -> None:
    """The page is asked for again each time, and costs 304; its files are kept for as long as they are the same."""
    http = browser()
    page = http.get("/desk/")
    assert "no-cache" == page.headers["Cache-Control"]
    assert 304 == http.get("/desk/", headers={"If-None-Match": page.headers["ETag"]}).status_code
    address = linked(page.text)[0]
    assert "immutable" in http.get(f"/desk/{address}").headers["Cache-Control"]
    old = http.get("/desk/chat-page/0123/page.css")
    assert (200, "no-cache") == (old.status_code, old.headers["Cache-Control"])


def test_a_title_is_text() -> None:
    """Whatever the title has, it stays text."""
    title = '</title><script>x</script>"&{{files}}'
    page = browser(title, "").get("/").text
    assert "<script>x" not in page
    assert html.unescape(re.findall(r"<title>(.*?)</title>", page)[0]) == title


def test_an_address_is_text() -> None:
    """The address of the sign-out is in the page as it was given, and cannot leave its attribute."""
    app = flask.Flask("test")
    add_page(app, sign_out='"><b>{{title}}')
    page = app.test_client().get("/").text
    assert "<b>" not in page
    assert 'data-to="&quot;&gt;&lt;b&gt;{{title}}"' in page


def test_what_comes_from_others_is_named() -> None:
    """The README of vendor/ names each file, and the version that stands in it; each package has its licence there."""
    vendor = FILES / "vendor"
    told = (vendor / "README.md").read_text("utf-8")
    licences = {each.name.removesuffix(".txt") for each in (vendor / "licences").iterdir()}
    rows = re.findall(r"^\| `(.+?)` \| (\S+) \| (\S+) \|", told, re.MULTILINE)
    assert {name for name, _, _ in rows} == {each.name for each in vendor.iterdir() if each.name.endswith(".mjs")}
    for name, package, version in rows:
        assert version in (vendor / name).read_text("utf-8")[:400]
        assert package.replace("@highlightjs/cdn-assets", "highlight.js") in licences
    bundled = re.findall(r"([\w.-]+) \d+\.\d+\.\d+ \(", told)
    assert len(bundled) == 5
    assert set(bundled) < licences
