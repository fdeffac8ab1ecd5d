"""Decode chat completions of servers that want their reasoning back with the history.

Source: DeepSeek's guide to the thinking mode (tool calls: ``reasoning_content`` is to be passed back, or the next
request is refused) and OpenRouter's to reasoning tokens (preserving reasoning blocks), read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from streamkit.errors import ProtocolError
from streamkit.providers.openai_chat.decoder import ChatDecoder
from streamkit.values.chunks import Chunk
from streamkit.wire.json import write_json
from streamkit.wire.loose_json import as_list, as_word

__all__ = ["RememberingDecoder"]

_MOST_DETAILS = 16 * 1024 * 1024  # characters of reasoning that are kept a second time in one stream
_GROWING = ("text", "summary", "data")  # the fields of a detail that come in pieces; the others come whole


class RememberingDecoder(ChatDecoder):
    """Decodes one stream of chat completions; stores the reasoning of choice 0 as provider data at its end.

    Args:
        provider, choices: as for ``ChatDecoder``.
        field: the field of deltas and messages that holds the reasoning; ``None`` if a subclass finds it elsewhere.
    """

    def __init__(
        self, provider: str, choices: int, field: Literal["reasoning_content", "reasoning_details"] | None
    ) -> None:
        super().__init__(provider, choices)
        self._field = field
        self._text: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._grown: list[dict[str, list[str]]] = []  # for each detail, the pieces of its growing fields
        self._size = 0

    def _decode_choice(self, choice: Mapping[str, Any], raw: Any) -> list[Chunk]:
        chunks = super()._decode_choice(choice, raw)
        if self._finish_word is not None:
            self._tell()
        return chunks

    def _decode_delta(self, delta: Mapping[str, Any], index: int, raw: Any) -> list[Chunk]:
        sent = delta.get(self._field) if self._field else None
        if sent is not None and index == 0:
            self._remember(sent)
        return super()._decode_delta(delta, index, raw)

    def _remember(self, sent: Any) -> None:
        if self._field == "reasoning_content":
            if isinstance(sent, str):
                self._grow(sent)
                self._text.append(sent)
            return
        for piece in as_list(sent):
            if isinstance(piece, dict):
                self._add_detail(piece)

    def _add_detail(self, piece: dict[str, Any]) -> None:
        """Append a piece to the detail that it continues, or begin a new one."""
        grows = {name: piece[name] for name in _GROWING if isinstance(piece.get(name), str)}
        self._grow(*grows.values())
        if not self._details or not _goes_on(self._details[-1], piece):
            self._details.append(dict(piece))
            self._grown.append({})
        last, texts = self._details[-1], self._grown[-1]
        for name, text in grows.items():
            texts.setdefault(name, []).append(text)
        last.update((name, value) for name, value in piece.items() if value is not None and name not in grows)

    def _grow(self, *texts: str) -> None:
        self._size += sum(map(len, texts)) + 1
        if self._size > _MOST_DETAILS:
            raise ProtocolError(f"reasoning of more than {_MOST_DETAILS} characters")

    def _tell(self) -> None:
        """Store the reasoning as provider data, once; an empty string counts, because the server wants it back."""
        if self._text:
            self._note_data("reasoning_content", as_word("".join(self._text)))
        for detail, texts in zip(self._details, self._grown, strict=True):
            detail.update((name, "".join(parts)) for name, parts in texts.items())
        details = [detail for detail in map(_writable, self._details) if detail]
        if details:
            self._note_data("reasoning_details", details)
        self._text, self._details, self._grown = [], [], []


def _writable(detail: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a detail with split surrogate pairs joined, ``None`` if it cannot be sent back."""
    made = {name: as_word(value) if isinstance(value, str) else value for name, value in detail.items()}
    try:
        write_json(made)
    except TypeError:
        return None
    return made


def _goes_on(detail: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    if any(detail.get(name) != piece.get(name) for name in ("type", "index")):
        return False
    return detail.get("id") == piece.get("id") or not (detail.get("id") and piece.get("id"))
