"""Decode Mistral's chat completions and keep the thoughts for the history.

Source: https://docs.mistral.ai/capabilities/reasoning and the ``ThinkChunk`` of Mistral's own SDK, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.providers.openai_chat.remembering_decoder import RememberingDecoder
from streamkit.values.chunks import Chunk
from streamkit.wire.loose_json import as_dict, as_list, as_text, as_word

__all__ = ["FORMAT", "MistralDecoder"]

FORMAT = "mistral"


class MistralDecoder(RememberingDecoder):
    """Decodes one stream of Mistral's; stores the thoughts of choice 0 as one part of content at its end."""

    def __init__(self, provider: str, choices: int = 1) -> None:
        super().__init__(provider, choices, None)
        self._signature = ""

    def _decode_parts(self, parts: list[Any], index: int, raw: Any) -> list[Chunk]:
        for part in parts if index == 0 else ():
            if as_dict(part).get("type") == "thinking":
                self._add_thought(part)
        return super()._decode_parts(parts, index, raw)

    def _add_thought(self, part: Mapping[str, Any]) -> None:
        inner = part.get("thinking")
        pieces = [inner] if isinstance(inner, str) else [as_dict(each).get("text") for each in as_list(inner)]
        text = "".join(map(as_text, pieces))
        self._signature = as_word(part.get("signature")) or self._signature
        self._grow(text)
        self._text.append(text)

    def _tell(self) -> None:
        if text := as_word("".join(self._text)):
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": text}]}
            self._note_data(FORMAT, {**thought, "signature": self._signature} if self._signature else thought)
        self._text, self._signature = [], ""
