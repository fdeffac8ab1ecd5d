"""Read pages of HTML that gateways send in place of an error: the title says what happened, the markup nothing."""

from __future__ import annotations

import html
import re

__all__ = ["is_page", "without_markup"]

_PAGE = re.compile(r"\s*(?:\ufeff\s*)?(?:<!--|<(?:!doctype\s+html|html|head|body|title|meta)\b)", re.IGNORECASE)
_XML = re.compile(r"\s*(?:\ufeff\s*)?<\?xml\b[^<]*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_SEARCHED = 64 * 1024  # characters of a page
_MOST_SHOWN = 300  # characters of a title, or of a page without one
_UNSEEN = re.compile(r"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1[^<>]*>?|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>?")


def is_page(text: str) -> bool:
    """Return whether a text is the beginning of a page of HTML."""
    return bool(_PAGE.match(text) or _XML.match(text))


def without_markup(text: str) -> str:
    """Return the title of a page in one line, without one the beginning of what it shows; other text as it is."""
    if not is_page(text):
        return text
    page = text[:_SEARCHED]
    found = _inside(page, "title") or _inside(page, "h1") or _shown(_UNSEEN.sub(" ", page))
    return found[:_MOST_SHOWN] or "a page of HTML that says nothing"


def _inside(page: str, name: str) -> str:
    """Return what the first element of a name shows, "" where there is none."""
    start = re.search(rf"<{name}\b[^<>]*>", page, re.IGNORECASE)
    if start is None:
        return ""
    end = re.compile(rf"</{name}\b", re.IGNORECASE).search(page, start.end())
    return _shown(page[start.end() : end.start() if end else start.end() + _MOST_SHOWN])


def _shown(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
