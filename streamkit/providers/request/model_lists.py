"""Ask a provider for its list of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from streamkit.providers.request.post import searchable
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Masked

__all__ = ["ListsModels", "page_request"]


@runtime_checkable
class ListsModels(Protocol):
    """A provider that can list its models. All of the library's can; those of other packages may."""

    name: str

    def models_request(self, page: str | None) -> HttpRequest:
        """Return the request for one page of the list.

        Args:
            page: the query for this page, from the previous page; ``None`` for the first.

        Raises:
            ConfigError: the key is missing, or there is no address.
        """


def page_request(
    url: str, query: str, page: str | None, headers: Mapping[str, str | None], *, direct: bool = False
) -> HttpRequest:
    """Return the request for one page of a list of models.

    Args:
        url: without a query.
        query: what is the same for each page, such as ``limit=1000``.
        page: the query that the page before gave for the next one, ``None`` for the first.
        headers: that identify the caller; those that are ``None`` are left out.
        direct: whether to pass by the proxies of the environment.
    """
    sent = {"Accept": "application/json", **{name: value for name, value in headers.items() if value is not None}}
    bare = [Masked(value.removeprefix("Bearer ")) for value in sent.values() if isinstance(value, Masked)]
    queries = "&".join(part for part in (query, page or "") if part)
    return HttpRequest(f"{url}?{queries}".rstrip("?"), sent, b"", searchable(bare), method="GET", direct=direct)
