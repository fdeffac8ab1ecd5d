"""Chunks fold into the same completion in any batches, and messages are read in every accepted form."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    Choice,
    Chunk,
    Completion,
    ConfigError,
    ImagePart,
    Message,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
    fold,
)
from streamkit.providers.call import messages_of
from streamkit.values.chunks import text_chunk
from streamkit.values.completion import Fold
from tests.unit.support import split_at

DONE = Chunk("done", finish_reason="stop", raw_finish_reason="stop", usage=Usage(1, 2, 3), id="r1", model="m1")


def texts(pieces: list[str], index: int = 0) -> list[Chunk]:
    return [text_chunk(piece, index, None, "r1", "m1") for piece in pieces]


def call(index: int = 0, id: str = "", name: str = "", arguments: str = "", choice: int = 0) -> Chunk:
    return Chunk("tool_call", index=choice, tool_call=ToolCallDelta(index, id, name, arguments))


class TestFold:
    @given(st.text(min_size=1), st.text(), st.data())
    def test_any_chunking_gives_the_same_completion(self, text: str, reasoning: str, data: st.DataObject) -> None:
        """However the text is cut into chunks, and the chunks into batches, the completion is the same."""
        whole = [Chunk("reasoning", reasoning=reasoning)] if reasoning else []
        expected = fold([*whole, *texts([text]), DONE])
        cuts = st.lists(st.integers(0, 40), max_size=8)
        chunks = [Chunk("reasoning", reasoning=piece) for piece in split_at(reasoning, data.draw(cuts)) if piece]
        chunks += [*texts([piece for piece in split_at(text, data.draw(cuts)) if piece]), DONE]
        folded = Fold()
        for batch in split_at(chunks, data.draw(cuts)):
            folded.add(batch)
            if data.draw(st.booleans()):
                folded.completion()
        assert expected == folded.completion()
        assert (text, reasoning) == (expected.text, expected.reasoning)

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 3), st.sampled_from(["text", "reasoning", "refusal"]), st.text(min_size=1, max_size=5)
            ),
            max_size=30,
        )
    )
    def test_choices_do_not_mix(self, parts: list[tuple[int, str, str]]) -> None:
        """Pieces of several choices, in any order, end up in their own choice and kind, in order."""
        completion = fold(Chunk(kind, index=index, **{kind: piece}) for index, kind, piece in parts)  # type: ignore[arg-type]
        indexes = sorted({0, *(index for index, _, _ in parts)})
        assert indexes == [choice.index for choice in completion.choices]
        for choice in completion.choices:
            for kind in ("text", "reasoning", "refusal"):
                expected = "".join(piece for index, its, piece in parts if (index, its) == (choice.index, kind))
                assert expected == getattr(choice, kind)
        first = completion.choices[0]
        assert (first.text, first.refusal) == (completion.text, completion.refusal)

    def test_nothing_is_an_empty_completion(self) -> None:
        """Without any chunk there is one empty choice, and every other field is unset."""
        assert Completion(provider="p", model="m") == fold([], provider="p", model="m")
        assert (None, Usage(), (Choice(),)) == (fold([]).finish_reason, fold([]).usage, fold([]).choices)

    def test_done_tells_the_end(self) -> None:
        """Finish reason, usage, id and model come from the chunks; the provider and the model asked for stay."""
        completion = fold([*texts(["Hi"]), DONE], provider="p", model="asked")
        expected = Completion(
            "Hi",
            finish_reason="stop",
            raw_finish_reason="stop",
            usage=Usage(1, 2, 3),
            id="r1",
            model="m1",
            provider="p",
            choices=(Choice(0, "Hi", finish_reason="stop", raw_finish_reason="stop"),),
        )
        assert expected == completion
        assert "asked" == fold([Chunk("text", text="Hi")], model="asked").model

    def test_usage_that_nobody_sent_is_unknown(self) -> None:
        """Without usage every count is None; otherwise the last usage replaces the earlier ones."""
        assert Usage() == fold([Chunk("text", text="a"), Chunk("done")]).usage
        chunks = [Chunk("text", text="a", usage=Usage(5, 1)), Chunk("text", text="b", usage=Usage(5, 2)), Chunk("done")]
        assert Usage(5, 2) == fold(chunks).usage

    def test_each_choice_has_its_end(self) -> None:
        """A further choice ends with a text chunk without text, choice 0 with the done chunk."""
        other = Chunk("text", index=1, finish_reason="length", raw_finish_reason="max_tokens")
        completion = fold([*texts(["a"]), *texts(["b"], 1), other, DONE])
        ends = [(choice.finish_reason, choice.raw_finish_reason) for choice in completion.choices]
        assert [("stop", "stop"), ("length", "max_tokens")] == ends

    def test_an_end_without_text_is_not_overlooked(self) -> None:
        """A text chunk without text that tells how choice 0 ended counts as well, wherever it comes."""
        completion = fold([*texts(["a", "b"]), Chunk("text", finish_reason="length", raw_finish_reason="max_tokens")])
        assert ("ab", "length", "max_tokens") == (
            completion.text,
            completion.finish_reason,
            completion.raw_finish_reason,
        )

    def test_an_interrupted_reply_says_so(self) -> None:
        """The finish reason of an interruption replaces the provider's, in every choice."""
        folded = Fold()
        folded.add([*texts(["a"]), *texts(["b"], 1), DONE])
        completion = folded.completion("cancelled")
        assert ["cancelled", "cancelled"] == [choice.finish_reason for choice in completion.choices]
        assert ("cancelled", "stop") == (completion.finish_reason, completion.raw_finish_reason)
        assert "stop" == folded.completion().finish_reason

    @pytest.mark.parametrize(
        ("chunks", "expected"),
        [
            ([], False),
            ([Chunk("text", text="a")], False),
            ([Chunk("text", text="a", finish_reason="stop")], False),
            ([Chunk("text", text="a"), DONE], True),
            ([Chunk("text", text="a"), Chunk("done", finish_reason="length")], True),
            ([Chunk("text", text="a"), Chunk("done")], True),
            ([Chunk("text", text="a"), Chunk("done", finish_reason="error")], False),
            ([Chunk("text", text="a"), Chunk("done", finish_reason="cancelled")], False),
        ],
    )
    def test_a_whole_reply_has_its_done_chunk(self, chunks: list[Chunk], expected: bool) -> None:
        """A reply is complete with its `done` chunk, unless that says that it was stopped or failed."""
        assert expected is fold(chunks).complete

    @pytest.mark.parametrize("reason", ["cancelled", "error"])
    def test_an_interrupted_reply_is_not_whole(self, reason: Any) -> None:
        """Where the stream was stopped or failed, its `done` chunk does not make the reply complete."""
        folded = Fold()
        folded.add([*texts(["a"]), DONE])
        assert (True, False) == (folded.completion().complete, folded.completion(reason).complete)

    def test_a_completion_of_the_programs_own(self) -> None:
        """Made by hand, a completion is whole by its finish reason, unless that is said."""
        made = [Completion(finish_reason=reason).complete for reason in ("stop", "length", "cancelled", "error", None)]
        assert [True, True, False, False, False] == made
        assert not Completion(finish_reason="stop", complete=False).complete

    def test_a_notebook_shows_the_text(self) -> None:
        """A notebook renders the text as Markdown, or the refusal, or nothing of its own."""
        refused = fold([Chunk("refusal", refusal="I *cannot*.")])
        shown = [each._repr_markdown_() for each in (fold(texts(["# Hi"])), refused, fold([]))]
        assert ["# Hi", "I *cannot*.", None] == shown

    def test_a_look_in_the_middle_is_right(self) -> None:
        """At any time the completion equals a fold of the chunks so far, and reading it changes nothing."""
        chunks = [*texts(list("Once upon")), call(0, "c1", "f", "{"), call(0, arguments="}"), *texts(["x"], 1), DONE]
        folded = Fold()
        for count, chunk in enumerate(chunks, 1):
            folded.add([chunk])
            assert fold(chunks[:count]) == folded.completion() == folded.completion()

    def test_a_look_in_the_middle_is_cheap(self) -> None:
        """Looking again joins nothing again: the text is the same object until a chunk has come."""
        folded = Fold()
        folded.add(texts(["word "] * 1000))
        look = folded.completion().text
        assert look is folded.completion().text
        folded.add(texts(["end"]))
        assert look + "end" == folded.completion().text
        assert look == "word " * 1000

    def test_a_completion_is_a_value(self) -> None:
        """One that was taken earlier does not change, and goes to another process."""
        folded = Fold()
        folded.add([*texts(["a"]), call(0, "c", "f", "{}")])
        early = folded.completion()
        folded.add([*texts(["b"]), call(1, "d", "g", "{}")])
        assert ("a", 1) == (early.text, len(early.tool_calls))
        assert early == pickle.loads(pickle.dumps(early))

    def test_str_is_the_text(self) -> None:
        """Printing a completion prints the answer."""
        assert "Hi" == str(fold(texts(["H", "i"])))


class TestToolCalls:
    def test_fragments_are_joined(self) -> None:
        """Id and name come once, the arguments in pieces, those of several calls in any order."""
        chunks = [
            call(0, "c0", "add"),
            call(1, "c1", "sub"),
            call(0, arguments='{"a":'),
            call(1, arguments='{"b": 2'),
            call(0, arguments=" 1}"),
            call(1, arguments="}"),
        ]
        expected = (ToolCall("c0", "add", {"a": 1}, '{"a": 1}'), ToolCall("c1", "sub", {"b": 2}, '{"b": 2}'))
        assert expected == fold(chunks).tool_calls

    def test_order_is_that_of_their_numbers(self) -> None:
        """Calls come in the order of their index, with gaps where the provider leaves some."""
        names = [made.name for made in fold([call(7, "c", "last"), call(2, "a", "first")]).tool_calls]
        assert ["first", "last"] == names

    def test_id_and_name_are_not_overwritten(self) -> None:
        """The first id and the first name that are not empty count."""
        (made,) = fold([call(0, "", ""), call(0, "c", "f", "{"), call(0, "other", "other", "}")]).tool_calls
        assert ("c", "f", {}) == (made.id, made.name, made.arguments)

    def test_calls_belong_to_their_choice(self) -> None:
        """The same index in two choices is two calls."""
        completion = fold([call(0, "a", "f"), call(0, "b", "g", choice=1)])
        assert [["f"], ["g"]] == [[made.name for made in choice.tool_calls] for choice in completion.choices]

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("", {}),
            ("  ", {}),
            ("{}", {}),
            ('{"a": [1, "ä"]}', {"a": [1, "ä"]}),
            ('{"a": 1', None),
            ("{'a': 1}", None),
            ('{"a": NaN}', None),
            ("[1]", [1]),
            ("[" * 5000, None),
            ('{"a": "\ud800"}', None),
        ],
    )
    def test_arguments(self, raw: str, expected: Any) -> None:
        """Arguments are decoded, `{}` where none came, and None where a stream was cut or a model erred."""
        made = ToolCall.of("c", "f", raw)
        assert (expected, raw) == (made.arguments, made.raw_arguments)

    @given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=4), st.data())
    def test_every_prefix_is_decoded_or_none(self, arguments: dict[str, Any], data: st.DataObject) -> None:
        """A partial call has the text so far as raw arguments; its arguments are None until they are complete."""
        raw = json.dumps(arguments)
        cut = data.draw(st.integers(1, len(raw)))
        (made,) = fold([call(0, "c", "f"), call(0, arguments=raw[:cut])]).tool_calls
        assert raw[:cut] == made.raw_arguments
        if cut < len(raw):
            assert made.arguments is None
        elif all(not isinstance(value, int) or abs(value) < 2**53 for value in arguments.values()):
            assert arguments == made.arguments

    def test_to_dict(self) -> None:
        """A call goes back to the provider with exactly the text of its arguments; none are an empty object."""
        for raw, sent in (("{ }", "{ }"), ('{"a": 1', '{"a": 1'), ("", "{}"), (" \n", "{}")):
            expected = {"id": "c", "type": "function", "function": {"name": "f", "arguments": sent}}
            assert expected == ToolCall.of("c", "f", raw).to_dict()


class TestMessage:
    def test_content_from_a_generator(self) -> None:
        """A message can be sent again, whatever its parts came from."""
        message = Message("user", (TextPart(word) for word in "ab"))  # type: ignore[arg-type]
        assert message.to_dict() == message.to_dict()
        assert ["a", "b"] == [part["text"] for part in message.to_dict()["content"]]

    def test_of_a_completion(self) -> None:
        """A reply goes into the history as the assistant's message, with its calls; without text it has none."""
        calls = [call(0, "c", "f", "{}")]
        assert Message("assistant", "Hi") == fold(texts(["Hi"])).message
        assert Message("assistant", "") == fold([]).message
        made = ToolCall("c", "f", {}, "{}")
        assert Message("assistant", None, (made,)) == fold(calls).message
        assert Message("assistant", "Hi", (made,)) == fold([*texts(["Hi"]), *calls]).message

    def test_of_a_refusal(self) -> None:
        """A refusal is the message's content if there is no text."""
        no = Chunk("refusal", refusal="I cannot.")
        assert Message("assistant", "I cannot.") == fold([no]).message
        assert Message("assistant", "Hi") == fold([*texts(["Hi"]), no]).message

    def test_to_dict(self) -> None:
        """The OpenAI shape has the fields that are set, and always the content."""
        assert {"role": "user", "content": "Hi"} == Message("user", "Hi").to_dict()
        made = ToolCall("c", "f", {}, "{}")
        assert {"role": "assistant", "content": None, "tool_calls": [made.to_dict()]} == Message(
            "assistant", tool_calls=(made,)
        ).to_dict()
        assert {"role": "tool", "content": "3", "tool_call_id": "c", "name": "f"} == Message(
            "tool", "3", tool_call_id="c", name="f"
        ).to_dict()

    def test_parts(self) -> None:
        """Text, images and dicts may be mixed in one message."""
        own = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}
        message = Message("user", [TextPart("see"), ImagePart("data:x"), ImagePart("https://x", "low"), own])
        assert [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": "data:x"}},
            {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
            own,
        ] == message.to_dict()["content"]


class TestMessagesOf:
    def test_text_is_one_message_of_the_user(self) -> None:
        """A string is the user's message."""
        assert [{"role": "user", "content": "Hi"}] == messages_of("Hi")

    def test_messages_and_dicts_may_be_mixed(self) -> None:
        """Each is read by its kind, dicts are taken as they are, and any iterable will do."""
        own = {"role": "system", "content": "Be brief", "cache_control": {"type": "ephemeral"}}
        expected = [own, {"role": "user", "content": "Hi"}]
        assert expected == messages_of([own, Message("user", "Hi")])
        assert expected == messages_of(iter((own, Message("user", "Hi"))))

    def test_the_users_dict_is_not_shared(self) -> None:
        """Changes to the library's copy do not change the caller's dict."""
        own = {"role": "user", "content": "Hi"}
        messages_of([own])[0]["role"] = "system"
        assert "user" == own["role"]

    @pytest.mark.parametrize("role", ["system", "developer", "user", "tool", "function"])
    def test_a_message_without_content(self, role: Any) -> None:
        """A message without the key `content` is rejected, with its keys named; content None is accepted."""
        with pytest.raises(ConfigError, match=r"messages\[1\] has no content, only role, contents$"):
            messages_of([Message("user", "Hi"), {"role": role, "contents": "hello"}])
        assert [{"role": role, "content": None}] == messages_of([{"role": role, "content": None}])

    def test_a_tool_that_has_nothing_to_say(self) -> None:
        """A result without content is an empty one."""
        result = {"role": "tool", "tool_call_id": "c"}
        assert [result] == messages_of([result])

    def test_an_assistant_without_content(self) -> None:
        """An assistant's message may consist of tool calls alone."""
        assert [{"role": "assistant", "tool_calls": []}] == messages_of([{"role": "assistant", "tool_calls": []}])

    @pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool", "function"])
    def test_known_roles(self, role: Any) -> None:
        """Every role that the format knows is accepted."""
        assert [{"role": role, "content": "x"}] == messages_of([{"role": role, "content": "x"}])

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ([], "messages is empty"),
            (None, "not NoneType"),
            (3, "not int"),
            ({"role": "user", "content": "Hi"}, "not dict; put a single message into a list"),
            (Message("user", "Hi"), "not Message; put a single message into a list"),
            (["Hi"], r"messages\[0\] is a Message or a dict, not str"),
            ([{"role": "user", "content": "Hi"}, 3], r"messages\[1\] is a Message or a dict, not int"),
            ([{"content": "Hi"}], r"messages\[0\] has the role None; known are system, developer"),
            ([{"role": "bot", "content": "Hi"}], r"messages\[0\] has the role 'bot'"),
            ([{"role": ["user"], "content": "Hi"}], r"messages\[0\] has the role \['user'\]"),
            ([Message("bot", "Hi")], r"messages\[0\] has the role 'bot'"),  # type: ignore[arg-type]
            (b"Hi", "not int|not bytes"),
        ],
    )
    def test_anything_else_is_refused(self, value: Any, words: str) -> None:
        """Input that is not messages is a `ConfigError` that names the mistake and its position."""
        with pytest.raises(ConfigError, match=words):
            messages_of(value)


def test_what_a_reply_is_made_of_can_be_hashed() -> None:
    """Calls, messages, choices and completions go into sets; equal ones are one."""
    calls = [ToolCall.of("c", "f", '{"a": [1]}') for _ in range(2)]
    content = [{"type": "text", "text": "Hi"}]
    messages = [Message("assistant", list(content), tool_calls=(call,), provider_data=({"x": {}},)) for call in calls]
    completions = [fold([Chunk("text", text="Hi", provider_data=({"x": {}},)), DONE]) for _ in range(2)]
    choices = [Choice(tool_calls=(call,)) for call in calls]
    for pair in (calls, messages, completions, choices):
        assert 1 == len(set(pair))
    assert calls[0] != ToolCall("c", "f", {"a": [2]}, '{"a": [1]}')
