"""Decode streams of Ollama's native chat.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md, read 2026-11-21. "The thinking, tool call from the
model, and the executed tool result must be passed back to the model in the next request":
https://docs.ollama.com/capabilities/streaming, read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamkit.errors import ProtocolError
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, total_of, unique_part
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["FORMAT", "OllamaDecoder"]

FORMAT = "ollama"  # of provider data

_MOST_THOUGHTS = 16 * 1024 * 1024  # characters of thoughts that are kept a second time in one stream

_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "load": "other", "unload": "other"}


class OllamaDecoder(ReplyDecoder):
    """Decodes one stream of lines, of ``/api/chat`` or ``/api/generate``; see ``Decoder`` for the contract.

    The line with ``done`` is the end. Calls come whole and without an id. Their ids are made from ``created_at`` of the
    line. The thoughts of a reply with calls are provider data, as they go back with the results.
    """

    finish_reasons = _FINISH_REASONS

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self._calls = 0
        self._thoughts: list[str] = []
        self._length = 0  # of the thoughts

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        if reports_error(raw):
            raise api_error(self._provider, raw, None, in_stream=True)
        self._model = as_word(raw.get("model")) or self._model
        message = as_dict(raw.get("message"))
        chunks = self._pieces("reasoning", as_text(message.get("thinking")) or as_text(raw.get("thinking")), raw)
        self._remember(chunks)
        chunks += self._pieces("text", as_text(message.get("content")) or as_text(raw.get("response")), raw)
        chunks += [self._call(as_dict(call), raw) for call in as_list(message.get("tool_calls"))]
        if raw.get("done"):
            self.ended = True
            self._finish_word = as_word(raw.get("done_reason")) or "stop"
            if self._calls and self._thoughts:  # those of other replies are not looked at again
                self._note_data(FORMAT, {"thinking": "".join(self._thoughts)})
            given, made = count_of(raw.get("prompt_eval_count")), count_of(raw.get("eval_count"))
            if given is not None or made is not None:
                self._note_usage(Usage(given, made, total_of(given, made)))
        return chunks

    def _remember(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            self._thoughts.append(chunk.reasoning)
            self._length += len(chunk.reasoning) + 1
        if self._length > _MOST_THOUGHTS:
            raise ProtocolError(f"thoughts of more than {_MOST_THOUGHTS} characters")

    def _call(self, call: Mapping[str, Any], raw: Any) -> Chunk:
        which, self._calls = self._calls, self._calls + 1
        if which >= MOST_CALLS:
            raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
        function = as_dict(call.get("function"))
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else as_json(as_dict(arguments))
        id = as_word(call.get("id")) or f"call_{unique_part(as_text(as_dict(raw).get('created_at')))}{which}"
        return self._call_piece(which, raw, id=id, name=as_word(function.get("name")), arguments=text)

    def _finish_reason(self, word: str | None) -> FinishReason:
        return "tool_calls" if word == "stop" and self._calls else super()._finish_reason(word)

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = as_dict(body)
        if not (reports_error(body) or "message" in body or "response" in body):
            raise ProtocolError("the JSON reply is not one of Ollama's", excerpt=as_json(body)[:MOST_KEPT])
        return self._decode_any({"done": True, **body}, "")
