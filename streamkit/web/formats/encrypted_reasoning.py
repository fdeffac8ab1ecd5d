"""Reasoning that only its provider can read: through a client of the Responses format and back into the history.

A provider of the Responses format puts a reasoning item with ``encrypted_content`` into a chunk's ``provider_data``.
OpenAI refuses the content beside any other id than its item had. The client knows the item by the id that it was given
here before the provider's was known, so the provider's id travels in front of the content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["FORMAT", "for_client", "from_client", "is_encrypted"]

#: The wire format whose provider data these are; those of others have no place in the Responses format.
FORMAT = "openai-responses"


def is_encrypted(datum: Any) -> bool:
    """Return whether provider data of ``FORMAT`` are a reasoning item with encrypted content."""
    return (
        isinstance(datum, Mapping)
        and datum.get("type") == "reasoning"
        and isinstance(datum.get("encrypted_content"), str)
        and bool(datum["encrypted_content"])
    )


def for_client(datum: Mapping[str, Any]) -> str:
    """Return the encrypted content as the client gets it."""
    id = datum.get("id")
    return f"{id if isinstance(id, str) else ''} {datum['encrypted_content']}"


def from_client(item: Mapping[str, Any], summary: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return provider data for a reasoning item with encrypted content that a client sends back.

    Args:
        item: the item. Content that never was here, as of a client that has used the API itself, has no space in it.
        summary: its summary, checked.
    """
    id, space, content = item["encrypted_content"].partition(" ")
    if not space:
        id, content = item.get("id") or "", id
    named = {"id": id} if id else {}
    return {**named, "type": "reasoning", "summary": list(summary), "encrypted_content": content}
