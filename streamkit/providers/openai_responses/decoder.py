"""Decode streams of OpenAI's Responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming, read 2026-11-21, and the recordings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from streamkit.errors import APIError, ProtocolError
from streamkit.providers.contract import Event
from streamkit.providers.openai_responses.item_places import ItemPlaces, following
from streamkit.providers.openai_responses.told_parts import ToldParts
from streamkit.providers.reply.decoder import MOST_KEPT, ReplyDecoder, count_of, reported_cost, total_of
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.order import Layout
from streamkit.providers.reply.tool_index import MOST_CALLS
from streamkit.values.chunks import Chunk, FinishReason, Usage, text_chunk
from streamkit.wire.json import parse_event
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["CALL_FIELDS", "FORMAT", "ResponsesDecoder"]

FORMAT = "openai-responses"  # of provider data

#: Fields of a call that go back with it: the program that called, the group of tools that the tool was found in.
CALL_FIELDS = ("caller", "namespace")

# Programs that the model wrote: a program "must be round-tripped", as openai-python 3.57 says, read 2026-11-27.
_PROGRAMS = ("program", "program_output")
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_UNDER_WAY = ("queued", "in_progress")
_TERMINAL = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
# Events without content, or whose content other events have as well.
_SILENT = frozenset(
    f"response.{name}"
    for name in "created in_progress queued content_part.added content_part.done output_text.annotation.added "
    "reasoning_summary_part.added reasoning_summary_part.done".split()
)
_Kind = Literal["text", "reasoning", "refusal"]
_REASONING_FIELDS: tuple[Literal["content", "summary"], ...] = ("content", "summary")


class ResponsesDecoder(ReplyDecoder):
    """Decodes one stream of Responses; see ``Decoder`` for the contract.

    A reply is a list of items. Most servers send each item as deltas, then whole, and at the end all items again; some
    leave one or the other out. So the decoder counts the delivered characters of each part, and delivers only the
    rest of what comes whole. Of a reasoning item it delivers either the content or the summary, whichever comes
    first. Tools that run on the server's side are in ``raw`` only.

    Args:
        provider: its name.
        declared: names of the tools that the user has, if the server calls tools of its own in the same form, as xAI
            does; ``None`` if it does not.
    """

    def __init__(self, provider: str, declared: Collection[str] | None = None) -> None:
        super().__init__(provider)
        self._declared = declared
        self._told_parts: dict[tuple[_Kind, Any], ToldParts] = {}  # by kind, and place of the item
        self._places = ItemPlaces()
        self._layout = Layout()
        self._argument_lengths: dict[Any, int] = {}  # characters delivered, by the place of the item
        self._calls: dict[Any, int] = {}  # our number of each call, by the place of its item
        self._marked: set[int] = set()  # numbers of the calls that have fields of their own
        self._kept: set[Any] = set()  # places of the items that are provider data
        self._reasoning: dict[Any, Literal["content", "summary"]] = {}  # the field delivered of each item, by its place
        self._why = ""  # the reason of an incomplete reply
        self._had: int | None = None  # of a reply that is gone on with: the number of the last event before

    def go_on(self) -> tuple[str, int] | None:
        """Decode the rest of a reply that broke off, without what may come again of what was decoded.

        Returns:
            The id of the response, and the number of the last event that was decoded; ``None`` where they are not
            known, or the reply has come to its end.
        """
        number = as_dict(self._last).get("sequence_number")
        if not self._id or self.whole or isinstance(number, bool) or not isinstance(number, int):
            return None
        self._had = number
        return self._id, number

    def _is_had(self, raw: Any) -> bool:
        """Return whether an event came before the reply broke off; the first one that did not ends the question."""
        number = as_dict(raw).get("sequence_number")
        if self._had is not None and isinstance(number, int) and number <= self._had:
            return True
        self._had = None
        return False

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        try:
            raw = parse_event(event.data)
        except ValueError:
            return self._decode_odd(event)
        if self._had is not None and self._is_had(raw):
            return ()
        try:
            # The hot path: a piece of text, with nothing that waits to ride on it.
            if (
                raw["type"] == "response.output_text.delta"
                and (text := raw["delta"])
                and text.__class__ is str
                and not self._halves
                and not self._provider_data
                and raw["output_index"] == self._layout.place
            ):
                self._told_parts["text", raw["output_index"]].lengths[raw["content_index"]] += len(text)
                self._layout.text += len(text)
                self._last = raw
                return (text_chunk(text, 0, raw, self._id, self._model),)
        except (KeyError, TypeError):
            pass
        return self._decode_any(raw, event.event)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        type = as_text(raw.get("type")) or kind
        if type == "error" or kind == "error" or (reports_error(raw) and not raw.get("response")):
            raise self._failed(raw)
        response = as_dict(raw.get("response"))
        self._id = as_word(response.get("id")) or self._id
        self._model = as_word(response.get("model")) or self._model
        if type in _TERMINAL:
            return self._end(response, type.removeprefix("response."), raw)
        if type in ("response.output_item.added", "response.output_item.done"):
            item = as_dict(raw.get("item"))
            place = self._places.of(raw.get("output_index"), item)
            return self._item(item, place, raw, whole=type == "response.output_item.done")
        subject, _, step = type.removeprefix("response.").rpartition(".")
        if step in ("delta", "done"):
            place = self._places.of(raw.get("output_index"), {"id": raw.get("item_id"), "type": _type_of(subject)})
            return self._progress(subject, step == "delta", place, raw)
        return [] if type in _SILENT or not type.startswith("response.") else [self._chunk("text", 0, raw)]

    def _progress(self, subject: str, is_delta: bool, place: Any, raw: Mapping[str, Any]) -> list[Chunk]:
        """Parse an event about one part of an item: a delta, or the whole part."""
        part, whole = _number(raw.get("content_index")), not is_delta
        text = as_text(raw.get("delta" if is_delta else "refusal" if subject == "refusal" else "text"))
        if subject == "output_text":
            return self._tell("text", text, place, part, raw, whole)
        if subject == "refusal":
            return self._tell("refusal", text, place, part, raw, whole)
        if subject == "reasoning_text":
            return self._tell("reasoning", text, place, part, raw, whole) if self._takes(place, "content", text) else []
        if subject == "reasoning_summary_text":
            part = _number(raw.get("summary_index"))
            return self._tell("reasoning", text, place, part, raw, whole) if self._takes(place, "summary", text) else []
        if subject in ("function_call_arguments", "custom_tool_call_input"):
            field = "arguments" if subject == "function_call_arguments" else "input"
            return self._arguments_of(place, as_text(raw.get("delta" if is_delta else field)), raw, whole)
        return [self._chunk("text", 0, raw)] if is_delta else []

    def _takes(self, place: Any, field: Literal["content", "summary"], text: str) -> bool:
        """Return whether a field of a reasoning item is delivered.

        An item may hold its raw reasoning as content and a summary of it, and some servers put the summary into both.
        Only the field whose text comes first is delivered.
        """
        return field == (self._reasoning.setdefault(place, field) if text else self._reasoning.get(place))

    def _tell(self, kind: _Kind, text: str, place: Any, part: int, raw: Any, whole: bool) -> list[Chunk]:
        """Return chunks of a piece of a part, or of the rest of a whole part."""
        told = self._told_parts.setdefault((kind, place), ToldParts())
        chunks = self._pieces(kind, text[told.lengths.get(part, 0) :] if whole else text, raw)
        length = sum(len(chunk.text or chunk.reasoning or chunk.refusal) for chunk in chunks)
        told.add(part, length)
        if kind == "text":
            self._layout.at(place)
            self._layout.text += length
        return chunks

    def _arguments_of(self, place: Any, text: str, raw: Any, whole: bool) -> list[Chunk]:
        if place not in self._calls:
            return []  # its item comes later, with all of the arguments
        fragment = text[self._argument_lengths.get(place, 0) :] if whole else text
        if not fragment:
            return []
        chunk = self._call_piece(self._calls[place], raw, arguments=fragment)
        length = len(chunk.tool_call.arguments) if chunk.tool_call else 0
        self._argument_lengths[place] = self._argument_lengths.get(place, 0) + length
        return [chunk]

    def _item(
        self, item: Mapping[str, Any], place: Any, raw: Any, *, whole: bool, following: int | None = None
    ) -> list[Chunk]:
        type = as_text(item.get("type"))
        if type in _CALLS and not self._is_theirs(item):
            return self._call(item, place, raw, whole)
        if not whole:
            return []
        if type == "message":
            return self._message(item, place, raw)
        if type == "reasoning":
            self._keep(item, place, following)
            return self._thought(item, place, raw)
        if type in ("compaction", *_PROGRAMS):
            self._keep(item, place, following)
        return [self._chunk("text", 0, raw)]  # a tool on the server's side: all of it is in raw

    def _is_theirs(self, item: Mapping[str, Any]) -> bool:
        """Whether a call is of a tool of xAI's own, which has answered it."""
        declared = self._declared
        return declared is not None and item.get("type") == "custom_tool_call" and item.get("name") not in declared

    def _call(self, item: Mapping[str, Any], place: Any, raw: Any, whole: bool) -> list[Chunk]:
        chunks: list[Chunk] = []
        if place not in self._calls:
            which = self._calls[place] = len(self._calls)
            if which >= MOST_CALLS:
                raise ProtocolError(f"more than {MOST_CALLS} tool calls in one reply")
            self._layout.at(place)
            self._layout.call(which)
            if item.get("type") == "custom_tool_call":
                self._note_data(FORMAT, {"custom": which})
            id = as_word(item.get("call_id")) or as_word(item.get("id"))
            chunks.append(self._call_piece(which, raw, id=id, name=as_word(item.get("name"))))
        self._mark(self._calls[place], item)
        arguments = item.get(_CALLS[as_text(item.get("type"))])
        if arguments and (whole or not isinstance(arguments, str)):
            text = arguments if isinstance(arguments, str) else as_json(arguments)
            chunks += self._arguments_of(place, text, raw, True)
        return chunks

    def _mark(self, which: int, item: Mapping[str, Any]) -> None:
        """Keep the fields that go back with a call."""
        fields = {name: item[name] for name in CALL_FIELDS if item.get(name)}
        if as_dict(fields.get("caller")).get("type") == "direct":
            del fields["caller"]  # the usual
        if fields and which not in self._marked:
            self._marked.add(which)
            self._note_data(FORMAT, {"call": which, **fields})

    def _message(self, item: Mapping[str, Any], place: Any, raw: Any) -> list[Chunk]:
        parts = dict(enumerate(map(as_dict, as_list(item.get("content")))))
        texts = {
            n: as_text(part.get("text")) for n, part in parts.items() if part.get("type") in ("output_text", "text")
        }
        refusals = {n: as_text(part.get("refusal")) for n, part in parts.items() if part.get("type") == "refusal"}
        return self._rest("text", texts, place, raw) + self._rest("refusal", refusals, place, raw)

    def _thought(self, item: Mapping[str, Any], place: Any, raw: Any) -> list[Chunk]:
        """Return the rest of a whole reasoning item: of its content, if that has text, else of its summary."""
        for field in _REASONING_FIELDS:
            texts = {n: as_text(as_dict(part).get("text")) for n, part in enumerate(as_list(item.get(field)))}
            if any(texts.values()) and self._takes(place, field, "".join(texts.values())):
                return self._rest("reasoning", texts, place, raw)
        return []

    def _rest(self, kind: _Kind, parts: Mapping[int, str], place: Any, raw: Any) -> list[Chunk]:
        """Return the rest of all parts of one kind of a whole item."""
        told = self._told_parts.setdefault((kind, place), ToldParts())
        return [
            chunk for part, rest in told.rest_of(parts) for chunk in self._tell(kind, rest, place, part, raw, False)
        ]

    def _keep(self, item: Mapping[str, Any], place: Any, following: int | None) -> None:
        """Keep an item with encrypted content for the history, or a program; others need not be sent back."""
        following = place if isinstance(place, int) else following
        program = item.get("type") in _PROGRAMS
        if (item.get("encrypted_content") or program) and place not in self._kept:
            self._kept.add(place)
            kept = {name: value for name, value in item.items() if program or name != "status"}
            for datum in (*self._layout.take(following), kept):
                self._note_data(FORMAT, datum)

    def _end(self, response: Mapping[str, Any], type: str, raw: Any) -> list[Chunk]:
        status = as_word(response.get("status")) or type
        chunks = self._output(as_list(response.get("output")), raw)
        self._note_usage(_usage(as_dict(response.get("usage"))))
        if type == "failed" or status == "failed" or response.get("error"):
            self._untold = chunks
            raise self._failed(response if response.get("error") else raw)
        self._why = as_text(as_dict(response.get("incomplete_details")).get("reason"))
        self._finish_word = type if status in _UNDER_WAY else status
        self.ended = True
        return chunks

    def _output(self, output: list[Any], raw: Any) -> list[Chunk]:
        """Parse the list of items at the end; most or all of them were delivered before."""
        items = [as_dict(item) for item in output]
        places = self._places.at_end(items)
        chunks: list[Chunk] = []
        for item, place, next_place in zip(items, places, following(places), strict=True):
            if as_text(item.get("type")) in (*_CALLS, "message", "reasoning") and not self._is_theirs(item):
                chunks += self._item(item, place, raw, whole=True, following=next_place)
            elif as_text(item.get("type")) in ("compaction", *_PROGRAMS):
                self._keep(item, place, next_place)
        return chunks

    def _failed(self, raw: Any) -> APIError:
        self._finish_word = "failed"
        return api_error(self._provider, raw, None, in_stream=True)

    def _finish_reason(self, word: str | None) -> FinishReason:
        if word == "completed":
            return "tool_calls" if self._calls else "stop"
        if word == "cancelled":
            return "cancelled"
        reasons: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
        return reasons.get(self._why, "other")

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a reply that came as one JSON object."""
        body = as_dict(body)
        if not (reports_error(body) or isinstance(body.get("output"), list)):
            raise ProtocolError("the JSON reply is not a response", excerpt=as_json(body)[:MOST_KEPT])
        if reports_error(body):
            raise api_error(self._provider, body, None, in_stream=True)
        status = as_word(body.get("status")) or "completed"
        if status in _UNDER_WAY:
            self._last = body
            return self._told(self._output(as_list(body["output"]), body))
        type = f"response.{status}"
        return self._decode_any({"type": type if type in _TERMINAL else "response.completed", "response": body}, "")


def _type_of(subject: str) -> str:
    """Return the type of the item that an event about a part of it belongs to."""
    if subject in ("function_call_arguments", "custom_tool_call_input"):
        return "function_call" if subject == "function_call_arguments" else "custom_tool_call"
    if subject in ("output_text", "refusal"):
        return "message"
    return "reasoning" if subject.startswith("reasoning") else ""


def _number(index: Any) -> int:
    return index if isinstance(index, int) else 0


def _usage(sent: Mapping[str, Any]) -> Usage | None:
    if not sent:
        return None
    given, made = count_of(sent.get("input_tokens")), count_of(sent.get("output_tokens"))
    total = count_of(sent.get("total_tokens"))
    return Usage(
        given,
        made,
        total_of(given, made) if total is None else total,
        count_of(as_dict(sent.get("input_tokens_details")).get("cached_tokens")),
        count_of(as_dict(sent.get("output_tokens_details")).get("reasoning_tokens")),
        reported_cost(sent),
    )
