"""Events of at most 16 MiB, made to hold the interpreter for long; and how long another thread had to wait."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from streamkit import ProtocolError, StreamError
from streamkit.transport.framing import framing_of
from streamkit.values.completion import fold
from streamkit.wire.secrets import Masked, mask_error
from tests.conformance.formats import FORMATS, HELLO

SIZE = 16 * 1024 * 1024 - 4096  # bytes of an event; the rest is for what stands around it
_READ = 65536  # bytes
_SECRETS = (Masked("sk-" + "0" * 40), Masked("Bearer sk-" + "0" * 40))

# JSON values of one event each. Those that are not refused go through.
_VALUES: dict[str, Callable[[], bytes]] = {
    "base64": lambda: b'"' + b"iVBORw0K" * (SIZE // 8) + b'"',
    "letters of two bytes": lambda: b'"' + "é".encode() * (SIZE // 2) + b'"',
    "letters of three bytes": lambda: b'"' + "漢".encode() * (SIZE // 3) + b'"',
    "letters of four bytes": lambda: b'"' + "𝄞".encode() * (SIZE // 4) + b'"',
    "escapes": lambda: b'"' + rb"\u0041" * (SIZE // 6) + b'"',
    "line ends": lambda: b'"' + rb"\n" * (SIZE // 2) + b'"',
    "escaped quotes": lambda: b'"' + rb"\"" * (SIZE // 2) + b'"',
    "backslashes": lambda: b'"' + rb"\\" * (SIZE // 2) + b'"',
    "pairs of halves": lambda: b'"' + rb"\ud83d\ude00" * (SIZE // 12) + b'"',
    "halves": lambda: b'"' + rb"\ud800" * (SIZE // 6) + b'"',
    "control characters": lambda: b'"' + b"\x01" * SIZE + b'"',
    "invalid UTF-8": lambda: b'"' + b"\xff" * SIZE + b'"',
    "cut UTF-8": lambda: b'"' + b"a\xe6\xbc" * (SIZE // 3) + b'"',
    "encoded halves": lambda: b'"' + b"\xed\xa0\x80" * (SIZE // 3) + b'"',
    "brackets in a string": lambda: b'"' + b"[{," * (SIZE // 3) + b'"',
    "empty lists": lambda: b"[" + b"[]," * (SIZE // 3) + b"0]",
    "empty objects": lambda: b"[" + b"{}," * (SIZE // 3) + b"0]",
    "empty strings": lambda: b"[" + b'"",' * (SIZE // 3) + b"0]",
    "small numbers": lambda: b"[" + b"1," * (SIZE // 2) + b"0]",
    "deep lists": lambda: b"[" * SIZE,
    "deep objects": lambda: b'{"a":' * (SIZE // 5),
    "as many lists as allowed": lambda: b"[" + b"[]," * 49_000 + b"0]",
    "as many fields as allowed": lambda: json.dumps({f"k{i:030}": i for i in range(99_000)}).encode(),
    "as many strings as allowed": lambda: json.dumps(["é" * 25] * 99_000).encode(),
    "long strings, as many as allowed": lambda: json.dumps(["漢" * 50] * 98_000, ensure_ascii=False).encode(),
    "one integer": lambda: b"1" * SIZE,
    "one float": lambda: b"0." + b"1" * SIZE,
    "integers of 4300 digits": lambda: b"[" + b",".join([b"9" * 4300] * (SIZE // 4301)) + b"]",
    "integers of 300 digits": lambda: b"[" + b",".join([b"9" * 300] * (SIZE // 301)) + b"]",
    "floats of 760 digits": lambda: b"[" + b",".join([b"1." + b"9" * 760 + b"e-200"] * (SIZE // 770)) + b"]",
    "white space": lambda: b" " * SIZE + b"1",
    "not JSON": lambda: b"x" * SIZE,
    "a string, then no JSON": lambda: b'"' + b"x" * SIZE + b'" x',
    "a string without an end": lambda: b'"' + "é".encode() * (SIZE // 2),
    "tiny fields, then no JSON": lambda: b"{" + b'"a":1,' * 16_000 + b"x" * 1000,
}
_CHAT = b'data: {"id":"c","choices":[{"index":0,"delta":%s}]}\n\n'
_ARGUMENTS = b'{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":%s}}]}'
# Where such a value stands, by the wire format that reads it.
_PLACES: dict[str, tuple[str, bytes]] = {
    "an event": ("openai-chat", b"data: %s\n\n"),
    "text": ("openai-chat", _CHAT % b'{"content":%s}'),
    "arguments": ("openai-chat", _CHAT % _ARGUMENTS),
    "an argument": ("openai-chat", _CHAT % (_ARGUMENTS % b'{"a":%s}')),
    "an error": ("openai-chat", b'data: {"error":{"message":%s,"code":"x"}}\n\n'),
    "an error's detail": ("openai-chat", b'data: {"detail":%s}\n\n'),
    "the id": ("gemini", b'data: {"responseId":%s,"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}\n\n'),
    "a finish reason": ("openai-chat", b'data: {"choices":[{"index":0,"delta":{},"finish_reason":%s}]}\n\n'),
    "a field": ("openai-chat", b"event: %s\ndata: {}\n\n"),
    "a bare error": ("openai-chat", b"error: %s\n\n"),
    "a comment": ("openai-chat", b": %s\n\n"),
    "a block": (
        "anthropic-messages",
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":%s}}\n\n',
    ),
    "a line": ("ollama-ndjson", b'{"message":{"content":%s}}\n'),
}


def cases(wanted: str = "") -> Iterator[tuple[str, str, bytes]]:
    """Iterate names, wire formats and streams of those cases that have a word in their name."""
    return ((name, api, make()) for name, api, make in _cases() if wanted in name)


def _cases() -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    for place, (api, around) in _PLACES.items():
        head, _, tail = around.partition(b"%s")
        for name, value in _VALUES.items():
            yield f"{name} as {place}", api, partial(_joined, head, value, tail)
    for name, lines in {
        "data": b"data: x\n",
        "short data": b"data\n",
        "comments": b":\n",
        "fields": b"id: 1\n",
    }.items():
        yield f"many lines of {name}", "openai-chat", partial(_repeated, lines, SIZE // len(lines))
        yield f"15,000 lines of {name}", "openai-chat", partial(_repeated, lines, 15_000)
    yield "many small events", "openai-chat", lambda: b": x\n\n" * (SIZE // 50)
    nested = "[" + "[]," * (SIZE // 3 - 1000) + "0]"
    yield "arguments in text", "openai-chat", lambda: _CHAT % (_ARGUMENTS % json.dumps(nested).encode())


def _joined(head: bytes, value: Callable[[], bytes], tail: bytes) -> bytes:
    return head + value() + tail


def _repeated(line: bytes, count: int) -> bytes:
    return line * count + b"\n"


def consume(api: str, stream: bytes) -> StreamError | None:
    """Do with a stream what a worker and its consumer do; return the error that it ends with."""
    framing = framing_of("application/x-ndjson" if api == "ollama-ndjson" else "text/event-stream")
    assert framing is not None
    decoder, chunks = FORMATS[api]().decoder(HELLO), []
    pieces = (stream[start : start + _READ] for start in range(0, len(stream), _READ))
    error: StreamError | None = None
    try:
        for event in framing(pieces):
            chunks += decoder.decode(event)
    except StreamError as caught:
        error = caught
        chunks += decoder.leftover()
        mask_error(error, _SECRETS)
    if error is None and decoder.whole:
        chunks.append(decoder.finish())
    completion = fold(chunks)
    assert completion.message is not None
    if isinstance(error, ProtocolError):
        assert len(error.excerpt) <= 512
    return error


def longest_hold(work: Callable[[], object]) -> float:
    """Return the seconds that another thread waited for the interpreter at most, while work was done.

    In time of this process, or other programs would be measured as well.
    """
    over = threading.Event()
    longest = 0.0

    def tick() -> None:
        nonlocal longest
        while not over.is_set():
            before = time.process_time()
            time.sleep(0.001)
            longest = max(longest, time.process_time() - before)

    ticker = threading.Thread(target=tick, name="ticker", daemon=True)
    ticker.start()
    try:
        work()
    finally:
        over.set()
        ticker.join()
    return longest
