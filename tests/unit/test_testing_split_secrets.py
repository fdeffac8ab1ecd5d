"""A key in any form, split over any number of events, is not recorded; ordinary text is."""

from __future__ import annotations

import base64
import json
import time
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.testing.scrubbing import HIDDEN, Scrubber
from streamkit.testing.secret_forms import open_escape, plain

KEY = "sk-Hush/hush+of-the-tape_123"


def chat(text: str, index: int = 0, **more: Any) -> str:
    shape = {"id": "chatcmpl-1", "choices": [{"index": index, "delta": {"content": text}}], **more}
    return f"data: {json.dumps(shape)}\n\n"


def chat_index_last(text: str, index: int = 0) -> str:
    return f'data: {{"choices":[{{"delta":{{"content":{json.dumps(text)}}},"index":{index}}}]}}\n\n'


def arguments(text: str) -> str:
    call = {"index": 0, "function": {"arguments": json.dumps({"key": text})[:-2] if text else ""}}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': [call]}}]})}\n\n"


def anthropic(text: str) -> str:
    shape = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return f"event: content_block_delta\ndata: {json.dumps(shape)}\n\n"


def responses(text: str) -> str:
    return f"data: {json.dumps({'type': 'response.output_text.delta', 'output_index': 0, 'delta': text})}\n\n"


def gemini(text: str) -> str:
    return f"data: {json.dumps({'candidates': [{'content': {'parts': [{'text': text}], 'role': 'model'}}]})}\r\n\r\n"


def ollama(text: str) -> str:
    return f"{json.dumps({'model': 'm', 'message': {'role': 'assistant', 'content': text}})}\n"


def plain_text(text: str) -> str:
    return f"data: {text}\n\n"


def frame(text: str) -> str:
    return f'\0\0\0\x7f:event-type\x07{{"contentBlockIndex":0,"delta":{{"text":"{text}"}}}}\0\x01'


FORMATS = [chat, chat_index_last, anthropic, responses, gemini, ollama, plain_text]


def recorded(events: list[str], *secrets: str) -> str:
    """What is written of events of which each comes in a read of its own."""
    scrub = Scrubber(secrets or [KEY])
    return (b"".join(scrub.feed(event.encode()) for event in events) + scrub.rest()).decode()


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(each):04x}" for each in text)


WRITTEN = {
    "upper": KEY.upper(),
    "lower": KEY.lower(),
    "one escape": KEY.replace("-", "\\u002d"),
    "one escape in upper case": KEY.replace("/", "\\u002F"),
    "escapes": escaped(KEY),
    "escapes over escapes": escaped(KEY).replace("\\", "\\\\"),
    "python's escapes": "".join(f"\\x{ord(each):02x}" for each in KEY),
    "slashes": KEY.replace("/", "\\/"),
    "percent": quote(KEY, safe=""),
    "percent of everything": "".join(f"%{ord(each):02X}" for each in KEY),
    "percent twice": quote(quote(KEY, safe=""), safe=""),
    "entities": "".join(f"&#{ord(each)};" for each in KEY),
    "entities in hexadecimal": "".join(f"&#x{ord(each):x};" for each in KEY),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 in the midst": base64.b64encode(f"user:{KEY}:more".encode()).decode(),
    "base64 twice": base64.b64encode(base64.b64encode(KEY.encode())).decode(),
    "base64 twice in the midst": base64.b64encode(b"ab" + base64.b64encode(f"u:{KEY}!".encode()) + b"c").decode(),
    "url-safe base64": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base64 of hex": base64.b64encode(KEY.encode().hex().encode()).decode(),
    "hex of base64": base64.b64encode(KEY.encode()).hex(),
    "hex twice": KEY.encode().hex().encode().hex(),
    "percent over base64": quote(base64.b64encode(KEY.encode()).decode(), safe=""),
}


def contains(text: str, written: str) -> bool:
    """Whether six characters of it are left in a row, escapes undone."""
    text, written = plain(text.encode()).folded.decode(), plain(written.encode()).folded.decode()
    return any(written[at : at + 6] in text for at in range(len(written) - 5))


@pytest.mark.parametrize("how", WRITTEN)
def test_forms(how: str) -> None:
    """In whatever form a key comes, nothing of it is left but what shares its letters with what is beside it."""
    found = recorded([f'data: {{"x": "before {WRITTEN[how]} after"}}\n\n'])
    assert found.startswith('data: {"x": "before ')
    assert found.endswith(' after"}\n\n')
    assert HIDDEN in found
    assert not contains(found, WRITTEN[how][12:-12] if "midst" in how else WRITTEN[how])


@pytest.mark.parametrize("how", WRITTEN)
def test_forms_in_two_reads(how: str) -> None:
    """Nor is it where a read ends within it, or within an escape of it."""
    text = f"a {WRITTEN[how]} b"
    whole = recorded([text])
    for cut in range(len(text)):
        assert whole == recorded([text[:cut], text[cut:]])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("cut", [1, 2, 9, len(KEY) - 1])
def test_two_events(form: Any, cut: int) -> None:
    """A key whose beginning ends one event's text and whose rest begins the next one's is hidden in both."""
    events = [form("Your key: "), form(f"is {KEY[:cut]}"), form(f"{KEY[cut:]}."), form(" Bye")]
    expected = [form("Your key: "), form(f"is {HIDDEN}"), form(f"{HIDDEN}."), form(" Bye")]
    assert "".join(expected) == recorded(events)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_many_events(form: Any, size: int) -> None:
    """The same goes for one in as many events as it has tokens."""
    pieces = [KEY[at : at + size] for at in range(0, len(KEY), size)]
    assert "".join(form(HIDDEN) for _ in pieces) == recorded([form(piece) for piece in pieces])


@pytest.mark.parametrize("how", ["upper", "one escape", "hex", "base64", "base64 twice", "percent"])
def test_other_forms_in_two_events(how: str) -> None:
    """And for a key that is not written as it is."""
    # An escape is never in two events: neither would be JSON.
    middles = range(len(WRITTEN[how]) // 2, len(WRITTEN[how]))
    middle = next(at for at in middles if open_escape(WRITTEN[how][:at].encode()) == at)
    first, second = WRITTEN[how][:middle], WRITTEN[how][middle:]
    found = recorded([f'data: {{"t": "{first}"}}\n\n', f'data: {{"t": "{second}"}}\n\n'])
    assert not contains(found, first)
    assert not contains(found, second)


def test_frames() -> None:
    """Frames have no lines; each read is looked at by itself."""
    assert frame(HIDDEN) * 2 == recorded([frame(KEY[:9]), frame(KEY[9:])])


def test_arguments_of_a_tool() -> None:
    """JSON within JSON is text like any other."""
    first = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": f'{{"key": "{KEY[:9]}'}}]}}]}
    second = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": f'{KEY[9:]}"}}'}}]}}]}
    found = recorded([f"data: {json.dumps(each)}\n\n" for each in (first, second)])
    assert [HIDDEN, HIDDEN] == [
        json.loads(line[6:])["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].strip('{}"key: ')
        for line in found.splitlines()[::2]
    ]


@pytest.mark.parametrize("form", [chat, chat_index_last])
def test_choices_beside_each_other(form: Any) -> None:
    """Texts of several choices, whose events come in turns, are told apart, wherever their index stands."""
    events = [form(KEY[:9], 0), form("other", 1), form("", 0), form("words", 1), form(KEY[9:], 0)]
    expected = [form(HIDDEN, 0), form("other", 1), form("", 0), form("words", 1), form(HIDDEN, 0)]
    assert "".join(expected) == recorded(events)


def test_what_stands_between() -> None:
    """Comments, pings, empty texts and other kinds of events between the two change nothing."""
    between = [": ping\n\n", "event: ping\ndata: {}\n\n", 'data: {"usage": {"total": 5}}\n\n', chat("")]
    assert "".join([chat(HIDDEN), *between, chat(HIDDEN)]) == recorded([chat(KEY[:9]), *between, chat(KEY[9:])])


def test_ordinary_text_stays() -> None:
    """What only begins as a key does stays, and so does what short values or words spell."""
    events = [chat("it is sk-"), chat("H"), chat("us"), chat("t, no key; sk"), chat("i and sk-Hush"), chat("ing")]
    assert "".join(events) == recorded([*events])
    words = [chat("the pass"), chat("word is pass"), chat("able, PASSWORDS")]
    assert "".join(words) == recorded(words, "passwords")
    assert chat(HIDDEN) * 2 == recorded([chat("pass"), chat("words")], "passwords")


def test_a_stream_that_is_cut() -> None:
    """More than half of a key that the end of a stream cuts is hidden."""
    half = len(KEY) // 2 + 1
    assert chat(HIDDEN) == recorded([chat(KEY[:half])])
    assert chat("sk-") == recorded([chat("sk-")])


@given(
    pieces=st.lists(st.sampled_from([KEY, KEY[:9], KEY[9:], KEY.upper(), "\\u00", "2d", "%", "&#", 'x"', "\n"])),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_every_split_gives_the_same(pieces: list[str], cuts: list[int]) -> None:
    """However the bytes of events are cut into reads, what is written is the same."""
    data = "".join(chat(piece) if number % 2 else piece for number, piece in enumerate(pieces))
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert recorded([data]) == recorded([data[a:b] for a, b in pairwise(places)])


def test_each_read_keeps_its_time() -> None:
    """Held bytes are written as the reads in which they arrived, with their times."""
    scrub = Scrubber([KEY])
    events = [chat("Hi"), chat(KEY[:9]), chat(KEY[9:]), chat("!")]
    given = [each for at, event in enumerate(events) for each in scrub.feed_at(float(at), event.encode())]
    given += scrub.rest_at(9.0)
    expected = [(0.0, chat("Hi")), (1.0, chat(HIDDEN)), (2.0, chat(HIDDEN)), (3.0, chat("!"))]
    assert expected == [(at, data.decode()) for at, data in given if data]


def test_what_is_held_is_bounded() -> None:
    """The beginning of what may be a key is waited with for some lines only, and no line is held that does not end."""
    scrub = Scrubber([KEY])
    assert b"" == scrub.feed(chat("so s").encode())
    written = b"".join(scrub.feed(b'data: {"n": "0"}\n\n') for _ in range(20))
    assert chat("so s").encode() in written
    assert len(b"".join(scrub.feed(b"x" * 1000) for _ in range(100))) > 30_000


@pytest.mark.parametrize(
    "data",
    [
        "\\" * 200_000,
        "%25" * 60_000,
        "&" * 200_000,
        "s" * 200_000,
        "sk-" * 60_000,
        '{"a":"b",' * 30_000,
        '{"a": "s"}\n' * 10_000,
        '"' * 100_000,
        "ud83d\\" * 30_000,
    ],
)
@pytest.mark.parametrize("size", [4096, 10_000_000])
def test_time_is_linear(data: str, size: int) -> None:
    """Adversarial input is processed within seconds."""
    began = time.monotonic()
    recorded([data[at : at + size] for at in range(0, len(data), size)], KEY, "s" * 200)
    assert time.monotonic() - began < 60
