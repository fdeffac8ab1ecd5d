"""Anthropic's format: the events of a message for streams, a ``message`` for whole replies.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming and .../api/errors, read 2026-11-27; the
recordings of tests/recordings/anthropic-messages; and what the clients anthropic 2.14 of PyPI, @anthropic-ai/sdk 1.14
of npm and Claude Code 2.1.332 take, measured 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.errors import APIError, RequestError
from streamkit.values.chunks import Chunk, FinishReason, ToolCallDelta, Usage
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.anthropic_blocks import Block, Blocks, event_bytes
from streamkit.web.formats.anthropic_words import error_type_of, stop_of, usage_of
from streamkit.web.formats.base import Format, Refusal, ShowErrors
from streamkit.web.formats.json_bytes import json_bytes, text_bytes
from streamkit.web.formats.requests.anthropic_request import read_anthropic_request
from streamkit.web.formats.requests.request import Limits, WebRequest

__all__ = ["AnthropicFormat"]

_FORMAT = "anthropic"  # of provider data
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_THOUGHTS = ("thinking", "redacted_thinking")


class AnthropicFormat(Format):
    """Chunks for any client of Anthropic's Messages API, Claude Code among them. Only the first choice is sent.

    Reasoning is a ``thinking`` block. It has a signature where the reply comes from Anthropic, so that the client can
    send it back, and an empty one otherwise.

    Args:
        server_tools: whether the calls are made here, in a run: then only those are sent that wait for the client, as
            it would make the others again.
        reasoning: whether the model's reasoning is sent. A client that did not ask for thinking may take the first
            block for the text.
        request_id: that errors tell the client; "" for none.
        show_errors: see ``Format``.
    """

    def __init__(
        self,
        *,
        server_tools: bool = False,
        reasoning: bool = True,
        request_id: str = "",
        show_errors: ShowErrors = False,
    ) -> None:
        super().__init__(show_errors=show_errors)
        self._server_tools = server_tools
        self._reasoning = reasoning
        self._request_id = request_id
        self._id = self._model = ""
        self._begun = False  # whether message_start was sent
        self._blocks = Blocks()
        self._calls: dict[tuple[int, int], Block] = {}
        self._call_ids: set[str] = set()
        self._round = 0
        self._refusal: list[str] = []
        self._reason: tuple[FinishReason | None, str | None] = (None, None)
        self._usage = Usage()

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return nothing: ``message_start`` has the tokens of the prompt, which come with the first chunk."""
        self._id, self._model = id, model
        return b""

    def encode(self, chunk: Chunk) -> bytes:
        """Return the events for a chunk."""
        # The hot path: a piece of the text of an open block.
        before = self._blocks.text
        if (
            before
            and chunk.text
            and not chunk.index
            and chunk.round == self._round
            and chunk.usage is None
            and not chunk.provider_data
        ):
            return b"%b%b}}\n\n" % (before, text_bytes(chunk.text))
        if chunk.usage is not None:
            self._usage = chunk.usage
        self._model = self._model or chunk.model
        data = self._begin()
        if chunk.index:
            return data
        self._round = chunk.round
        for kept in _kept(chunk.provider_data):
            data += self._own_block(kept)
        if chunk.text:
            data += self._say("text", chunk.text)
        elif chunk.reasoning:
            data += self._say("thinking", chunk.reasoning) if self._reasoning else b""
        elif chunk.refusal:
            self._refusal.append(chunk.refusal)
        elif chunk.tool_call is not None and (chunk.type == "tool_approval") is self._server_tools:
            data += self._call(chunk.tool_call)
        if chunk.finish_reason is not None:
            self._reason = chunk.finish_reason, chunk.raw_finish_reason
        return data + self._blocks.close() if chunk.finished else data

    def heartbeat(self) -> bytes:
        """Return a ``ping``, as Anthropic sends them."""
        return _PING

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return the end of the blocks, the stop reason with the usage, and ``message_stop``; or the error.

        After an error there is no ``message_stop``, as the reply is not whole.
        """
        if status not in ("complete", "suspended", "cancelled"):
            return event_bytes("error", self._error(error))
        usage = completion.usage if completion is not None else self._usage
        data = self._begin() + self._blocks.close()
        word, raw = self._reason
        if word is None and status == "cancelled":
            word = "cancelled"
        delta = stop_of(word, raw, "".join(self._refusal), calls=bool(self._calls))
        last = {"type": "message_delta", "delta": delta, "usage": usage_of(usage, last=True)}
        return data + event_bytes("message_delta", last) + _STOP

    # -- the blocks --------------------------------------------------------------------------------------

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message = _message(self._id, self._model, [], {"stop_reason": None, "stop_sequence": None}, self._usage)
        return event_bytes("message_start", {"type": "message_start", "message": message})

    def _say(self, type: str, piece: str) -> bytes:
        blocks, block, data = self._blocks, self._blocks.last, b""
        if block is None or block.type != type or block.round != self._round or block.signature:
            start = {"type": "text", "text": ""} if type == "text" else _thought("", "")
            block = Block(start, self._round)
            data = blocks.begin(block)
        return data + blocks.add(block, piece)

    def _own_block(self, kept: Mapping[str, Any]) -> bytes:
        """Return the events for a block of Anthropic's own; the signature of a thought goes to the open one."""
        thought = kept["type"] in _THOUGHTS
        if thought and not self._reasoning:
            return b""
        last = self._blocks.last
        if kept["type"] != "thinking":
            return self._blocks.begin(Block(kept, self._round))
        signature = str(kept.get("signature") or "")
        if last is not None and last.type == "thinking" and not last.signature and signature:
            last.signature = signature
            return b""
        block = Block(_thought("", ""), self._round)
        block.signature = signature
        return self._blocks.begin(block) + self._blocks.add(block, str(kept.get("thinking") or ""))

    def _call(self, delta: ToolCallDelta) -> bytes:
        place = self._round, delta.index
        block, data = self._calls.get(place), b""
        if block is None:
            id = self._call_id(delta.id)
            block = Block({"type": "tool_use", "id": id, "name": delta.name, "input": {}}, self._round)
            self._calls[place] = block
            data = self._blocks.begin(block)
        return data + self._blocks.add(block, delta.arguments)

    def _call_id(self, id: str) -> str:
        """Return the id of a call, or a new one where the server sent none, or one twice."""
        if not id or id in self._call_ids:
            id = f"toolu_{_plain(self._id)}_{len(self._call_ids)}"
        self._call_ids.add(id)
        return id

    # -- whole replies -----------------------------------------------------------------------------------

    def whole(self, completion: Completion, id: str, *, model: str = "", created: int = 0) -> bytes:
        """Return a completion as the JSON of a ``message``, for a request that asks for no stream.

        Args:
            completion: the reply.
            id: of the reply.
            model: that the client is told; the completion's own for "".
            created: not told; Anthropic's messages have no time.
        """
        self._id = id
        calls = bool(completion.tool_calls)
        stop = stop_of(completion.finish_reason, completion.raw_finish_reason, completion.refusal, calls=calls)
        content = self._content(completion)
        return json_bytes(_message(id, model or completion.model, content, stop, completion.usage))

    def _content(self, completion: Completion) -> list[Mapping[str, Any]]:
        """Return the blocks of a reply, those of Anthropic's own in their places."""
        calls = [self._whole_call(call) for call in completion.tool_calls]
        content: list[Mapping[str, Any]] = []
        text = completion.text
        own = [each for each in _own(completion.provider_data) if self._reasoning or each.get("type") not in _THOUGHTS]
        if completion.reasoning and self._reasoning and not any(each.get("type") == "thinking" for each in own):
            content.append(_thought(completion.reasoning, ""))
        told = 0
        for each in own:
            for kind, number in each.get("layout") or ():
                if kind == "text":
                    content += _texts(text[:number])
                    text = text[number:]
                else:
                    content += calls[told : number + 1]
                    told = max(told, number + 1)
            if isinstance(each.get("type"), str):
                content.append(each)
        return [*content, *_texts(text), *calls[told:]]

    def _whole_call(self, call: ToolCall) -> dict[str, Any]:
        id = self._call_id(call.id)
        # The input is an object; text that is none has to be under a name, as Anthropic advises.
        given = call.arguments if isinstance(call.arguments, Mapping) else {"INVALID_JSON": call.raw_arguments}
        return {"type": "tool_use", "id": id, "name": call.name, "input": given}

    # -- errors and requests -----------------------------------------------------------------------------

    def refusal(self, error: BaseException) -> Refusal:
        """Return the response for an error that came before the first chunk, as Anthropic's clients read it."""
        plain = super().refusal(error)
        headers = {**plain.headers, "content-type": "application/json"}
        return Refusal(plain.status, headers, json_bytes(self._error(error)))

    def _error(self, error: BaseException | None) -> dict[str, Any]:
        status = 500 if error is None else super().refusal(error).status
        kind, code, details = error_type_of(status), "", {}
        if isinstance(error, RequestError):
            code, details = error.code, error.details
        elif isinstance(error, APIError) and self._show_errors is True:
            code = error.code or ""
        shape: dict[str, Any] = {**details, "type": kind, "message": self.told(error)}
        if code:
            shape["code"] = code
        if code or details:  # where Anthropic's own clients look; others look beside the message, as with OpenAI
            shape["details"] = {"error_code": code, **details} if code else dict(details)
        told: dict[str, Any] = {"type": "error", "error": shape}
        return {**told, "request_id": self._request_id} if self._request_id else told

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = True
    ) -> WebRequest:
        """Read the body of ``/v1/messages``, whose client is a program: it may send instructions.

        The request is for a provider of Anthropic's format; ``without_anthropic_fields`` makes it one for any.
        """
        return read_anthropic_request(body, limits or Limits(), allow_system=allow_system)


def _own(data: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the provider data of Anthropic's format."""
    return [each[_FORMAT] for each in data if isinstance(each.get(_FORMAT), Mapping)]


def _kept(data: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the blocks among provider data of Anthropic's format."""
    return [each for each in _own(data) if isinstance(each.get("type"), str)]


def _message(
    id: str, model: str, content: list[Mapping[str, Any]], stop: Mapping[str, Any], usage: Usage
) -> dict[str, Any]:
    head = {"id": id, "type": "message", "role": "assistant", "model": model, "content": content}
    return {**head, **stop, "usage": usage_of(usage)}


def _thought(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _texts(text: str) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _plain(id: str) -> str:
    """Return letters and digits of an id, as Anthropic takes no others in the id of a call."""
    return "".join(character for character in id[-200:] if character.isascii() and character.isalnum())[-24:]
