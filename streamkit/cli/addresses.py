"""Show URLs without their secrets."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from streamkit.wire.secrets import without_userinfo

__all__ = ["secrets_in", "shown"]


def shown(url: str) -> str:
    """Return a URL without user name, password and query values, which may be secret."""
    address, mark, query = url.partition("#")[0].partition("?")
    scheme, slashes, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    hidden = "&".join(f"{name}=***" if equal else "***" for name, equal, _ in _pairs(query)) if query else ""
    return f"{scheme}{slashes}{without_userinfo(host)}{slash}{path}{mark}{hidden}"


def _pairs(query: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in query.split("&")]


def secrets_in(url: str) -> Iterator[str]:
    """Iterate the parts of a URL that may be secret, encoded and decoded."""
    parts = urlsplit(url)
    userinfo = parts.netloc.rpartition("@")[0]
    for text in (userinfo, userinfo.partition(":")[2], *(value or name for name, _, value in _pairs(parts.query))):
        yield from (text, unquote(text))
