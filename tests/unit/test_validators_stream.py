"""A validated stream shows what is allowed, in order, and ends the stream inside where a rule is broken."""

from __future__ import annotations

import inspect
import itertools
import json
import pickle
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamkit
from streamkit import (
    Chunk,
    ChunkStream,
    ConfigError,
    MisuseError,
    RecvTimeout,
    Run,
    Stream,
    StreamCancelledError,
    ToolCallDelta,
    ToolResult,
    TruncatedStreamError,
    Usage,
    ValidationError,
)
from streamkit.tools.validated_run import ValidatedRun
from streamkit.validators import (
    BannedWords,
    Checker,
    Contains,
    JsonSchema,
    JsonValid,
    MaxLength,
    MaxSentences,
    MinLength,
    Regex,
    ValidatedStream,
    Validator,
    Verdict,
    Violation,
    check_input,
    validated,
    validator_of,
)
from streamkit.validators.stream import Validated
from tests.unit.scripted import DONE, Scripted, texts
from tests.unit.support import run_program, split_at

SECRET = BannedWords(["password"])
CALL = Chunk("tool_call", tool_call=ToolCallDelta(0, "c1", "look", "{}"))
RESULT = Chunk("tool_result", tool_result=ToolResult("c1", "look", "ok"))


def report(validator: Validator) -> Validator:
    validator.on_violation = "report"
    return validator


def replaced(validator: Validator, text: str = "[withheld]") -> Validator:
    validator.on_violation, validator.replacement = "replace", text
    return validator


class Taken:
    """What a loop over a stream got, and how it ended."""

    def __init__(self, stream: ChunkStream) -> None:
        self.chunks: list[Chunk] = []
        self.error: BaseException | None = None
        try:
            for chunk in stream:
                self.chunks.append(chunk)
        except Exception as error:
            self.error = error

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks if not chunk.index)


class TestNothingFound:
    def test_the_same_chunks(self) -> None:
        """A reply in which nothing is found comes as the same objects, in order, with its end."""
        chunks = [*texts("My ", "dog", " runs."), Chunk("reasoning", reasoning="so"), *texts(" Yes."), DONE]
        stream = validated(Scripted(chunks), [SECRET, MaxLength(100)])
        taken = Taken(stream)
        assert all(one is other for one, other in zip(chunks, taken.chunks, strict=True))
        assert ("complete", None, ()) == (stream.status, stream.error, stream.violations)
        assert ("My dog runs. Yes.", "so", True) == (
            stream.completion.text,
            stream.completion.reasoning,
            stream.completion.complete,
        )

    def test_not_late(self) -> None:
        """Text that nothing can come of is seen when it comes, before the stream inside is asked for more."""
        inside = Scripted([*texts("one ", "two ", "three "), DONE])
        stream = validated(inside, [SECRET, Regex("[0-9]", expect_match=False), MaxSentences(3)])
        for number, word in enumerate(["one ", "two ", "three "], 1):
            assert word == stream.recv().text
            assert number == inside.stats.chunks

    def test_what_is_held_is_shown_at_the_end(self) -> None:
        """The beginning of a word at the end of the reply is no word."""
        stream = validated(Scripted([*texts("my ", "pass"), DONE]), [SECRET])
        assert ["my ", "pass", ""] == [chunk.text for chunk in Taken(stream).chunks]

    def test_no_validators(self) -> None:
        """With none it is the stream as it is."""
        assert "a b" == validated(Scripted([*texts("a ", "b"), DONE]), []).collect().text


class TestRaise:
    def test_cut_before_the_word(self) -> None:
        """The consumer gets what is allowed, and then the error; the stream inside is cancelled, and asked no more."""
        inside = Scripted([*texts("My pass", "word is", " 1234"), DONE])
        stream = validated(inside, [SECRET])
        taken = Taken(stream)
        assert ["My "] == [chunk.text for chunk in taken.chunks]
        error = taken.error
        assert isinstance(error, ValidationError)
        assert ("banned_words", "it contains 'password'") == (error.validator, error.reason)
        assert ("My ", False, "error") == (error.partial.text, error.partial.complete, error.partial.finish_reason)
        assert (True, "error", 2) == (inside.cancelled, stream.status, inside.stats.chunks)
        assert error is stream.error
        expected = Violation("banned_words", "it contains 'password'", "raise", "", (3, 11))
        assert (expected,) == stream.violations

    def test_raised_again(self) -> None:
        """Each further look raises the same error, and collect() does."""
        stream = validated(Scripted([*texts("password "), DONE]), [SECRET])
        for _ in range(2):
            with pytest.raises(ValidationError):
                stream.recv()
        with pytest.raises(ValidationError):
            stream.collect()

    def test_not_in_raw_either(self) -> None:
        """A chunk that is seen in parts has its event, which holds all of its text, on the last part."""
        stream = validated(Scripted([*texts("my pass", "port", " password."), DONE]), [SECRET])
        chunks = Taken(stream).chunks
        assert [("my ", None), ("pass", {"text": "my pass"}), ("port", {"text": "port"}), (" ", None)] == [
            (chunk.text, chunk.raw) for chunk in chunks
        ]
        assert {"r1"} == {chunk.id for chunk in chunks}

    def test_at_the_end(self) -> None:
        """What only the end tells is raised there, and the end is not delivered."""
        stream = validated(Scripted([*texts("too ", "short"), DONE]), [MinLength(100)])
        taken = Taken(stream)
        assert ([], "") == (taken.chunks, stream.completion.text)
        assert isinstance(taken.error, ValidationError)

    def test_the_first_of_several(self) -> None:
        """Of two rules that one piece breaks, the one that allows less decides."""
        stream = validated(Scripted([*texts("my password is long"), DONE]), [MaxLength(5), SECRET])
        taken = Taken(stream)
        assert "my " == taken.text
        assert isinstance(taken.error, ValidationError)
        assert "banned_words" == taken.error.validator

    def test_the_reply_fails_by_itself(self) -> None:
        """A reply that breaks off is judged as far as it came; its own error comes, also where a rule is broken."""
        broken = TruncatedStreamError("it broke off")
        stream = validated(Scripted(texts("my pass"), broken, "truncated"), [SECRET])
        taken = Taken(stream)
        assert ("my pass", broken, "truncated", "my pass") == (
            taken.text,
            taken.error,
            stream.status,
            broken.partial.text,
        )
        stream = validated(Scripted(texts("my password"), broken, "truncated"), [SECRET])
        taken = Taken(stream)
        assert ("my ", broken, "my ") == (taken.text, taken.error, broken.partial.text)


class TestReplace:
    def test_the_rest_is_replaced(self) -> None:
        """The replacement comes as text after what was allowed, and then the end, with the reason content_filter."""
        inside = Scripted([*texts("My password is 1"), DONE])
        stream = validated(inside, [replaced(BannedWords(["password"]))])
        taken = Taken(stream)
        assert ["My ", "[withheld]", ""] == [chunk.text for chunk in taken.chunks]
        assert ("done", "content_filter") == (taken.chunks[-1].type, taken.chunks[-1].finish_reason)
        assert (None, "complete", True) == (taken.error, stream.status, inside.cancelled)
        assert ("My [withheld]", "content_filter", True) == (
            stream.completion.text,
            stream.completion.finish_reason,
            stream.completion.complete,
        )
        assert "[withheld]" == stream.violations[0].replacement

    def test_cut_off(self) -> None:
        """An empty replacement cuts the reply off."""
        stream = validated(Scripted([*texts("one two three"), DONE]), [replaced(MaxLength(7), "")])
        assert ["one two", ""] == [chunk.text for chunk in Taken(stream).chunks]

    def test_usage_that_is_known(self) -> None:
        """The end has the usage, where the model had come to its own end."""
        done = Chunk("done", finish_reason="stop", usage=Usage(3, 4))
        stream = validated(Scripted([*texts("no"), done]), [replaced(MinLength(5))])
        assert Usage(3, 4) == stream.collect().usage


class TestReport:
    def test_goes_on(self) -> None:
        """Nothing is held back and nothing ends; each rule is reported once."""
        rules = [report(BannedWords(["password"])), report(MinLength(1000)), report(MaxLength(4))]
        inside = Scripted([*texts("My pass", "word, password"), DONE])
        stream = validated(inside, rules)
        assert ["My pass", "word, password", ""] == [chunk.text for chunk in Taken(stream).chunks]
        assert ("complete", False) == (stream.status, inside.cancelled)
        assert ["max_length", "banned_words", "min_length"] == [each.validator for each in stream.violations]


class TestWhatIsJudged:
    def test_choice_0_alone(self) -> None:
        """Further choices and reasoning pass."""
        chunks = [Chunk("text", text="password ", index=1), Chunk("reasoning", reasoning="password "), DONE]
        assert chunks == Taken(validated(Scripted(chunks), [SECRET])).chunks

    def test_nothing_overtakes_what_is_held(self) -> None:
        """What comes after text that is held back waits for it."""
        chunks = [*texts("my pass"), Chunk("reasoning", reasoning="hm"), CALL, *texts("age"), DONE]
        stream = validated(Scripted(chunks), [SECRET])
        assert ["my ", "pass", "hm", "c1", "age", ""] == [
            chunk.text or chunk.reasoning or (chunk.tool_call.id if chunk.tool_call else "")
            for chunk in Taken(stream).chunks
        ]

    def test_a_word_around_a_call(self) -> None:
        """Text before and after a call is one text."""
        stream = validated(Scripted([*texts("my pass"), CALL, *texts("word "), DONE]), [SECRET])
        taken = Taken(stream)
        assert ("my ", ValidationError) == (taken.text, type(taken.error))
        assert () == stream.completion.tool_calls

    def test_each_round_anew(self) -> None:
        """A word that begins in one round and ends in the next is none, and lengths are counted anew."""
        chunks = [*texts("1234pass"), CALL, RESULT, *texts("word, 56", round=1), attrs_round(DONE, 1)]
        stream = validated(Scripted(chunks, may_call=True), [SECRET, MaxLength(9)])
        assert "1234password, 56" == Taken(stream).text
        assert "word, 56" == stream.completion.text

    def test_before_calls_are_answered(self) -> None:
        """All text of a round is seen or refused before the results of its calls."""
        stream = validated(Scripted([*texts("my pass"), CALL, RESULT, DONE], may_call=True), [SECRET])
        assert ["text", "text", "tool_call", "tool_result", "done"] == [chunk.type for chunk in Taken(stream).chunks]
        stream = validated(Scripted([*texts("my password"), CALL, RESULT, DONE], may_call=True), [SECRET])
        assert ["text"] == [chunk.type for chunk in Taken(stream).chunks]

    @pytest.mark.parametrize("rule", [JsonValid(), MinLength(50), Contains(["ok"]), Regex("ok"), report(JsonValid())])
    def test_text_beside_calls_is_no_answer(self, rule: Validator) -> None:
        """What an answer has to be as a whole is not asked of text beside calls; of the answer it is."""
        chunks = [*texts("Let me look."), CALL, RESULT]
        answer = [*texts('["ok", "and it has to be long enough, which this is"]', round=1), attrs_round(DONE, 1)]
        stream = validated(Scripted([*chunks, *answer], may_call=True), [rule])
        assert (None, ()) == (Taken(stream).error, stream.violations)
        stream = validated(Scripted([*chunks, *texts("no", round=1), attrs_round(DONE, 1)], may_call=True), [rule])
        taken = Taken(stream)
        assert 1 == stream.violations[0].round
        assert (taken.error is None) == (rule.on_violation == "report")

    def test_input_rules_do_not_judge_the_reply(self) -> None:
        """A validator for input is not asked for the reply, and one for output not for the input."""
        rule = BannedWords(["password"], direction="input")
        assert "password " == Taken(validated(Scripted([*texts("password "), DONE]), [rule])).text
        with pytest.raises(ValidationError, match="refused the input: it contains 'password'; nothing was sent") as got:
            check_input([SECRET, rule], "my password")
        assert "" == got.value.partial.text
        assert [] == check_input([SECRET], "my password")
        found = check_input([BannedWords(["x"], direction="both", on_violation="replace", replacement="No.")], "x")
        assert ["No."] == [each.replacement for each in found]


def attrs_round(chunk: Chunk, number: int) -> Chunk:
    return Chunk.from_dict({**chunk.to_dict(), "round": number})


class TestOnesOwn:
    def test_check_gets_the_whole_text(self) -> None:
        """check() is given all of the text so far, and whether it ends there."""
        seen: list[tuple[str, bool]] = []

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                seen.append((text, final))
                return Verdict(len(text) if final else len(text) - 1)

        assert "Own" == Own().name
        stream = validated(Scripted([*texts("ab", "c"), DONE]), [Own()])
        assert ["a", "b", "c", ""] == [chunk.text for chunk in Taken(stream).chunks]
        assert [("ab", False), ("abc", False), ("abc", True)] == seen

    def test_a_checker_gets_the_pieces(self) -> None:
        """begin() may return what is given each piece alone."""

        class Counting(Checker):
            def __init__(self) -> None:
                self.length = 0

            def add(self, piece: str, final: bool) -> Verdict:
                self.length += len(piece)
                return Verdict(self.length, "four" if self.length == 4 else None)

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                raise AssertionError

            def begin(self) -> Checker:
                return Counting()

        taken = Taken(validated(Scripted([*texts("ab", "c", "d", "e"), DONE]), [Own()]))
        assert ("abcd", ValidationError) == (taken.text, type(taken.error))

    @pytest.mark.parametrize("shown", [-5, 0, 99])
    def test_impossible_numbers(self, shown: int) -> None:
        """A verdict that shows more than there is shows all, and one that takes back what was seen nothing."""

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                return Verdict(len(text) if text == "ab" or final else shown)

        assert "abcd" == Taken(validated(Scripted([*texts("ab", "cd"), DONE]), [Own()])).text

    def test_its_errors_go_through(self) -> None:
        """What check() raises ends the stream as its error, with the traceback to where it was raised."""

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                if "c" in text:
                    raise ZeroDivisionError("mine")
                return Verdict(len(text))

        inside = Scripted([*texts("ab", "c"), DONE])
        stream = validated(inside, [Own()])
        assert "ab" == stream.recv().text
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="mine") as got:
                stream.recv()
            assert "check" == got.traceback[-1].name
        assert (True, "error", "ab") == (inside.cancelled, stream.status, stream.completion.text)

    def test_no_verdict(self) -> None:
        """Another return value is a mistake of the program's."""

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                return True  # type: ignore[return-value]

        with pytest.raises(MisuseError, match=r"'Own' returned bool, not a Verdict"):
            validated(Scripted([*texts("a"), DONE]), [Own()]).collect()

    def test_begin_fails(self) -> None:
        """A stream whose validators cannot begin is cancelled."""

        class Own(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                raise AssertionError

            def begin(self) -> Checker:
                raise ZeroDivisionError

        inside = Scripted([DONE])
        with pytest.raises(ZeroDivisionError):
            validated(inside, [Own()])
        assert inside.cancelled

    def test_the_example(self) -> None:
        """The example in the docstring works."""
        code = inspect.cleandoc((Validator.__doc__ or "").partition("::")[2].partition("``check`` gets")[0])
        names: dict[str, Any] = {"re": re, "Validator": Validator, "Verdict": Verdict}
        exec(code, names)
        stream = validated(Scripted([*texts("I DO NOT SHOUT", "INGLOUDLY"), DONE]), [names["NoShouting"]()])
        assert "I DO NOT " + Validator.replacement == Taken(stream).text


class TestEnding:
    def test_cancel(self) -> None:
        """cancel() ends the loop, drops what is held and cancels the stream inside."""
        inside = Scripted([*texts("my pass", "age"), DONE])
        stream = validated(inside, [SECRET])
        assert "my " == next(stream).text
        stream.cancel()
        assert [] == list(stream)
        assert ("cancelled", True, "my ") == (stream.status, inside.cancelled, stream.completion.text)
        assert ("cancelled", False) == (stream.completion.finish_reason, stream.completion.complete)
        with pytest.raises(StreamCancelledError):
            stream.collect()

    def test_the_stream_inside_is_cancelled(self) -> None:
        """A stop event or the client may cancel the stream inside; what is held is dropped."""
        inside = Scripted([*texts("my pass", "age"), DONE])
        stream = validated(inside, [SECRET])
        assert "my " == next(stream).text
        inside.cancel()
        assert ([], "cancelled") == (list(stream), stream.status)

    def test_leaving_the_loop(self) -> None:
        """Leaving a loop, or the block, cancels; a further use is a mistake."""
        inside = Scripted([*texts("a ", "b "), DONE])
        stream = validated(inside, [SECRET])
        with stream:
            for _ in stream:
                break
        assert (True, True, "cancelled") == (inside.cancelled, inside.closed, stream.status)
        with pytest.raises(MisuseError, match="closed before its end"):
            stream.recv()

    def test_cancel_after_the_last_chunk(self) -> None:
        """A stream whose end only was not taken is complete."""
        stream = validated(Scripted([*texts("a "), DONE]), [SECRET])
        assert "done" == [stream.recv() for _ in range(2)][-1].type
        stream.close()
        assert "complete" == stream.status

    def test_suspended(self) -> None:
        """A run that waits is suspended through its validators."""
        stream = validated(Scripted([*texts("a "), DONE], status="suspended"), [SECRET])
        assert (2, "suspended") == (len(list(stream)), stream.status)

    def test_timeout(self) -> None:
        """recv(timeout=...) gives up while nothing may be seen, and goes on later."""
        stream = validated(Scripted([*texts("pass"), None, *texts("age"), DONE]), [SECRET])
        for _ in range(2):  # one chunk has come of which nothing may be seen, and then none
            with pytest.raises(RecvTimeout):
                stream.recv(timeout=0)
        assert "pass" == stream.recv(timeout=0).text

    def test_poll(self) -> None:
        """poll() says whether something may be seen, not whether something came."""
        stream = validated(Scripted([*texts("pass"), None, *texts("age"), DONE]), [SECRET])
        assert [False, True] == [stream.poll(), stream.poll()]
        assert ["pass", "age", ""] == [chunk.text for chunk in stream]
        assert stream.poll()

    def test_merge(self) -> None:
        """Validated streams are streams for merge()."""
        streams = [validated(Scripted([*texts("a ", "b"), DONE]), [SECRET]) for _ in range(3)]
        got = [(stream, chunk.text) for stream, chunk in streamkit.merge(streams)]
        assert [("a ", "b", "")] * 3 == [tuple(text for of, text in got if of is stream) for stream in streams]

    def test_in_one_another(self) -> None:
        """A validated stream can be validated."""
        inside = validated(Scripted([*texts("my password "), DONE]), [SECRET])
        assert "m" == Taken(validated(inside, [MaxLength(1)])).text

    def test_looked_at_while_it_grows(self) -> None:
        """The completion is that of the delivered chunks at any time, however many there are."""
        stream = validated(Scripted([*texts(*["ab "] * 1000), DONE]), [SECRET])
        for number in range(1, 1001):
            stream.recv()
            if number % 97 == 0:
                assert "ab " * number == stream.completion.text
        assert "ab " * 1000 == stream.collect().text


class TestParsed:
    def test_the_type_is_kept(self) -> None:
        """completion.parsed, iter_partial() and iter_items() work on what was delivered."""

        class Numbers:
            wrapped, is_list, response_format = None, True, {}  # type: ignore[var-annotated]

            def parsed(self, completion: streamkit.Completion) -> Any:
                return [int(each) for each in completion.text.strip("[]").split(",")]

            def item(self, value: Any, number: int) -> Any:
                return value

            def plain(self, text: str) -> Any:
                return None

        class Typed(Scripted):
            _output = Numbers()

        stream = validated(Typed([*texts("[1, ", "2, 3", "]"), DONE]), [JsonValid()])
        assert [1, 2, 3] == stream.collect().parsed
        assert [1, 2, 3] == list(validated(Typed([*texts("[1, ", "2, 3", "]"), DONE]), [SECRET]).iter_items())


@pytest.mark.parametrize("kind", [Stream, Run])
def test_nothing_is_left_of_the_class_it_stands_for(kind: type[ChunkStream]) -> None:
    """A validated stream is a Stream, and a validated run a Run, in every public name; nothing uses their fields."""
    made: type[Validated] = ValidatedRun if kind is Run else ValidatedStream
    inherited = {
        name
        for name, value in vars(kind).items()
        if getattr(made, name) is value and (callable(value) or isinstance(value, property))
    }
    # ``_repr_html_`` uses public names alone.
    assert inherited <= {"_receive", "_next_check", "_check_clock", "_settle", "_repr_html_", *KEPT_HINTS}


KEPT_HINTS = {"final_output", "new_messages", "all_messages", "to_input_list", "interruptions"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (SECRET, "list of Validator, not BannedWords; put it in brackets"),
        ("x", "list of Validator, not str"),
        (5, "list of Validator, not int"),
        ([SECRET, "x"], r"validators\[1\] is a Validator, such as those of streamkit.validators, not str"),
        ([{"type": "length"}], r"validator_of\(\) makes one"),
        ([BannedWords], r"validators\[0\] is the class BannedWords; pass an instance"),
    ],
)
def test_no_validators(given: Any, text: str) -> None:
    """Other values are refused before anything is sent."""
    for call in (streamkit.stream, streamkit.complete):
        with pytest.raises(ConfigError, match=text):
            call("demo/storyteller", "Hi", validators=given)
    with pytest.raises(ConfigError, match=text):
        streamkit.Client().run("demo/assistant", "Hi", validators=given)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: BannedWords("word"), "words is a list of texts, not str; put it in brackets"),
        (lambda: BannedWords(["a", 5]), r"words\[1\] is a text, not int"),  # type: ignore[list-item]
        (lambda: BannedWords(["a"], match="part"), "'word' or 'substring', not 'part'"),  # type: ignore[arg-type]
        (lambda: BannedWords(["a"], on_violation="stop"), "on_violation is 'raise', 'replace' or 'report'"),
        (lambda: BannedWords(["a"], direction="in"), "direction is 'output', 'input' or 'both'"),
        (lambda: BannedWords(["a"], replacement=None), "replacement is a text, not NoneType"),
        (lambda: MaxLength(), "there is no limit; give characters, words or tokens"),
        (lambda: MaxLength(True), "characters is a whole number, not True"),
        (lambda: MinLength(0), "characters is a number from 1, not 0"),
        (lambda: Regex("("), r"the pattern '\(' is none"),
        (lambda: Regex(re.compile(b"a")), "one of bytes"),  # type: ignore[arg-type]
        (lambda: JsonValid(extract=1), "extract is True or False, not 1"),  # type: ignore[arg-type]
        (lambda: JsonSchema({"type": "objekt"}), "the schema is wrong at /type"),
        (lambda: JsonSchema([]), "schema is a JSON schema as a dict, not list"),  # type: ignore[arg-type]
        (lambda: validator_of([]), "a validator is a dict with a type, not list"),  # type: ignore[arg-type]
        (lambda: validator_of({"type": "length", "params": 5}), "length: params is a dict, not int"),
        (lambda: validator_of({"type": "length", "params": {"max_chars": "5"}}), "params.max_chars is a whole number"),
        (lambda: validator_of({"type": "length", "params": {"max": 5, "max_words": -1}}), "params.max_words is a num"),
        (lambda: validator_of({"type": "regex", "params": {"pattern": "["}}), r"params.pattern '\[' is wrong: unterm"),
        (lambda: validator_of({"type": "contains", "params": {"patterns": ["a", ""]}}), r"params.patterns\[1\] is emp"),
    ],
)
def test_impossible_options(make: Any, text: str) -> None:
    """Options that cannot work are refused when the validator is made, and the error names the option."""
    with pytest.raises(ConfigError, match=text):
        make()


class TestShapes:
    def test_on_violation(self) -> None:
        """fail_on_violation raises, a message replaces, and neither reports."""
        shape = {"type": "length", "params": {"max": 5}}
        made = [
            validator_of({**shape, "fail_on_violation": True, "message": "No."}),
            validator_of({**shape, "message": "No."}),
            validator_of({"type": "length", "params": {"max": 5, "message": "No."}}),
            validator_of(shape),
        ]
        assert ["raise", "replace", "replace", "report"] == [each.on_violation for each in made]
        assert ["No."] * 3 == [each.replacement for each in made[:3]]
        assert "length" == made[0].name

    def test_ones_own_types(self) -> None:
        """A host's own types come first, and follow the pack."""

        class Sentiment(Validator):
            def check(self, text: str, final: bool) -> Verdict:
                return Verdict(len(text))

        made = validator_of({"type": "sentiment", "fail_on_violation": True}, own={"sentiment": lambda _: Sentiment()})
        assert (Sentiment, "raise", "sentiment") == (type(made), made.on_violation, made.name)
        with pytest.raises(ConfigError, match="its function returned NoneType"):
            validator_of({"type": "x"}, own={"x": lambda _: None})  # type: ignore[arg-type,return-value]

    @pytest.mark.parametrize(
        ("pattern", "text", "found"),
        [
            ("ok$", "ok\n", False),
            ("ok$", "ok", True),
            (r"ok\z", "ok", True),
            (r"(?m)ok$", "ok\nx", True),
            (r"\d", "\u0663", False),
            (r"[\d]", "\u0663", False),
            (r"[$\]]", "$", True),
            (r"\$\d", "$5", True),
        ],
    )
    def test_patterns_mean_what_they_do_in_go(self, pattern: str, text: str, found: bool) -> None:
        """In a pack's pattern the dollar is the very end, and digits are ASCII."""
        rule = validator_of({"type": "regex", "params": {"pattern": pattern}})
        assert found == (rule.check(text, True).violation is None)


WRAPPED = 'Here [it] is:\n```json\n{"a": [1]}\n```\nand ```[1,]```'


@pytest.mark.parametrize(
    ("rule", "text", "passes"),
    [
        (JsonValid(allow_wrapped=True), WRAPPED, True),
        (JsonValid(allow_wrapped=True), '{"a": 1}', True),
        (JsonValid(allow_wrapped=True), "```\n{1}\n```", False),
        (JsonValid(allow_wrapped=True), "```json\n[1]", False),
        (JsonValid(extract=True), 'It is {"a": "}"} or so', True),
        (JsonValid(extract=True), 'A [ bracket, {"a": 1}.', True),
        (JsonValid(extract=True), "none", False),
        (JsonValid(extract=True), "[1, 2", False),
        (JsonSchema({"required": ["a"]}, allow_wrapped=True), WRAPPED, True),
        (JsonSchema({"required": ["b"]}, allow_wrapped=True), WRAPPED, False),
        (JsonSchema({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}), "9" * 5000, True),
        (JsonSchema(False), "1", False),
        (JsonValid(), '"' + "\ud800".encode("unicode-escape").decode() + '"', True),
        (JsonValid(), "[" * 100_000 + "]" * 100_000, True),
        (JsonSchema({}), "[" * 100_000 + "]" * 100_000, False),
    ],
)
def test_json_in_a_text(rule: Validator, text: str, passes: bool) -> None:
    """A fenced block, or the first value in brackets, is what has to be JSON."""
    assert passes == (rule.check(text, True).violation is None)


def test_a_reference_out_of_the_schema_is_not_fetched() -> None:
    """It is an error of the schema, found when it is needed."""
    with pytest.raises(ConfigError, match="which is not in it; nothing is fetched"):
        JsonSchema({"$ref": "http://localhost:1/x"}).check("1", True)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("本当？！そう。", 2),
        ("「はい。」と言った。", 2),
        ("Wait... what?! (Yes.) Good.", 4),
        ('He said "No." Then he left', 2),
        ("  \n", 0),
        ("One.\n\nTwo", 2),
    ],
)
def test_sentences(text: str, count: int) -> None:
    """Runs of marks end a sentence once, and closing quotes belong to it."""
    assert MaxSentences(count or 1).check(text, True).violation is None
    if count > 1:
        assert MaxSentences(count - 1).check(text, True).violation is not None


def test_a_violation_can_be_pickled() -> None:
    """What a stream reports can go to another process."""
    violation = Violation("v", "why", "replace", "no", (1, 2), 1)
    assert violation == pickle.loads(pickle.dumps(violation))
    assert Verdict(1, "x") == pickle.loads(pickle.dumps(Verdict(1, "x")))


# -- for any text ---------------------------------------------------------------------------------------------

ALPHABET = "aAbB 1_.#é秘\n"


@given(
    words=st.lists(st.text("ab1_#é秘 ", min_size=1, max_size=4), min_size=1, max_size=5),
    text=st.text(ALPHABET, max_size=30),
    match=st.sampled_from(["word", "substring"]),
    data=st.data(),
)
def test_no_character_of_a_banned_word_is_seen(words: list[str], text: str, match: Any, data: st.DataObject) -> None:
    """However the text is split: nothing of any occurrence is seen, what precedes the first can be, a clean text is."""
    pieces = split_at(text, data.draw(st.lists(st.integers(0, len(text)))))
    stream = validated(Scripted([*texts(*filter(None, pieces)), DONE]), [BannedWords(words, match=match)])
    taken = Taken(stream)
    places = occurrences(words, text, between=match == "word")
    assert text.startswith(taken.text)
    assert (taken.error is None) == (not places)
    if places:
        assert len(taken.text) <= min(start for start, _ in places)
    else:
        assert text == taken.text


WORD = re.compile(r"[^\W秘]")


def occurrences(words: list[str], text: str, *, between: bool) -> list[tuple[int, int]]:
    """Find words by their definition, one place after the other."""
    found = []
    for word in words:
        for start in range(len(text) - len(word) + 1):
            end = start + len(word)
            if text[start:end].lower() == word.lower() and not (
                between
                and (
                    (WORD.match(word[0]) and start and WORD.match(text[start - 1]))
                    or (WORD.match(word[-1]) and end < len(text) and WORD.match(text[end]))
                )
            ):
                found.append((start, end))
    return found


def test_nothing_is_imported_without_validators() -> None:
    """A stream without validators loads none, and validators without a schema no library of schemas."""
    code = """
import sys, streamkit
streamkit.complete("demo/storyteller", "Hi", max_tokens=3)
before = [name for name in sys.modules if name.startswith("streamkit.validators")]
from streamkit.validators import *
streamkit.complete("demo/storyteller", "Hi", max_tokens=3, validators=[JsonValid(on_violation="report")])
print(before, [name for name in sys.modules if name in ("jsonschema", "referencing", "streamkit.tools.run")])
"""
    assert "[] []" == run_program(code).strip()


@pytest.mark.parametrize("pattern", ["(?s)BEGIN.{0,5000}END", "(?s)BEGIN.*END", "BEGIN"])
def test_long_matches(pattern: str) -> None:
    """A match of thousands of characters in small pieces is found, and nothing of it is seen."""
    text = "x" * 7000 + "BEGIN" + "y" * 4000 + "END" + "z" * 9000
    for expect in (True, False):
        rule = Regex(pattern, expect_match=expect)
        taken = Taken(validated(Scripted([*texts(*split_at(text, range(0, len(text), 7))[1:]), DONE]), [rule]))
        assert (taken.error is None) == expect
        assert taken.text == text if expect else len(taken.text) <= 7000


PATTERNS = [
    r"a+b",
    r"\bab\b",
    r"a[^b]b",
    r"^ab",
    r"(?m)b$",
    "ab$",
    r"(?<=b)a",
    r"(?i)AB",
    "a(?!b)",
    r"(a|b)\1",
    "b?1",
    r"(\bab?\b)+",
    r"\Bb",
]


@given(pattern=st.sampled_from(PATTERNS), expect=st.booleans(), text=st.text("abAB1 \n", max_size=20), data=st.data())
def test_patterns_in_pieces(pattern: str, expect: bool, text: str, data: st.DataObject) -> None:
    """However the text is split, a pattern gives what it gives on the whole, and nothing of a match is seen."""
    pieces = split_at(text, data.draw(st.lists(st.integers(0, len(text)))))
    found = re.search(pattern, text)
    stream = validated(Scripted([*texts(*filter(None, pieces)), DONE]), [Regex(pattern, expect_match=expect)])
    taken = Taken(stream)
    assert (taken.error is None) == ((found is not None) == expect)
    assert text.startswith(taken.text)
    if taken.error is None:
        assert text == taken.text
    elif found:
        assert len(taken.text) <= found.start()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_character_by_character(pattern: str) -> None:
    """All short texts of a few characters: a match is certain when no end of the text can undo it, and not before."""
    for length in range(6):
        for letters in itertools.product("ab ", repeat=length):
            text = "".join(letters)
            for expect in (True, False):
                checker, shown = Regex(pattern, expect_match=expect).begin(), 0
                verdict = Verdict(0)
                for character in text:
                    verdict = checker.add(character, False)
                    shown = max(shown, verdict.shown)
                    if verdict.violation:
                        break
                else:
                    verdict = checker.add("", True)
                found = re.search(pattern, text)
                assert (verdict.violation is None) == ((found is not None) == expect), text
                if not expect and found:
                    assert shown <= found.start()


def test_ever_new_characters() -> None:
    """A text with any number of different characters fills no memory, and is judged as any other."""
    rule = BannedWords(["password", "\U0001f600"])
    text = "".join(map(chr, range(0x20000, 0x3A000)))
    checker = rule.begin()
    for start in range(0, len(text), 1000):
        assert checker.add(f"{text[start : start + 1000]} pass", False).violation is None
    assert rule._automaton.kept <= 100_000
    assert checker.add("\U0001f600", False).violation is not None


@given(value=st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists), data=st.data())
def test_json_in_pieces(value: Any, data: st.DataObject) -> None:
    """What json writes is JSON in any pieces; with one character changed it is what json.loads says, NaN apart."""
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    other = text[:at] + data.draw(st.sampled_from(list('{}[]",:01.eE+-tfn \\/u\x00é'))) + text[at + 1 :]
    for candidate in (text, other):
        pieces = split_at(candidate, data.draw(st.lists(st.integers(0, len(candidate)))))
        stream = validated(Scripted([*texts(*filter(None, pieces)), DONE]), [JsonValid()])
        try:
            json.loads(candidate, parse_constant=lambda name: int(name))
            expected = True
        except ValueError:
            expected = False
        assert expected == (Taken(stream).error is None)
