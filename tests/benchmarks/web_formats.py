"""What a chunk costs in each format of the web, beside `json.dumps` of the same; and what a request costs to read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from streamkit import Chunk, ToolCallDelta
from streamkit.values.chunks import text_chunk
from streamkit.web.formats import AnthropicFormat, Format, UiFormat, format_of

COUNT = 20_000  # chunks
TEXTS = [f" word{number} with “quotes”" for number in range(COUNT)]


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of five."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def encode_all(name: str, chunks: list[Chunk]) -> None:
    """Encode chunks as one stream."""
    made: Format = format_of(name)
    made.begin("m1", model="m", created=1)
    encode = made.encode
    for chunk in chunks:
        encode(chunk)


def by_hand(texts: list[str]) -> None:
    """Write the events of the AI SDK as one would in a route of one's own."""
    for text in texts:
        shape = {"type": "text-delta", "id": "0", "delta": text}
        f"data: {json.dumps(shape)}\n\n".encode()


def main() -> None:
    """Print the figures."""
    texts = [text_chunk(text, 0, None, "x", "m") for text in TEXTS]
    calls = [Chunk("tool_call", tool_call=ToolCallDelta(0, "c", "w", '{"a": "'))]
    calls += [Chunk("tool_call", tool_call=ToolCallDelta(0, arguments=text)) for text in TEXTS[1:]]
    limit = seconds_of(lambda: by_hand(TEXTS))
    print(f"{'json.dumps by hand':24} {limit / COUNT * 1e6:6.2f} µs a chunk of text")
    for name in ("ui", "text", "data", "openai", "responses", "anthropic", "events"):
        text, call = (seconds_of(lambda name=name, each=each: encode_all(name, each)) for each in (texts, calls))
        print(
            f"{name:24} {text / COUNT * 1e6:6.2f} µs a chunk of text, {text / limit:5.2f} times by hand; "
            f"{call / COUNT * 1e6:6.2f} µs a piece of a call"
        )
    parts = [{"type": "text", "text": "a" * 500}]
    messages = [{"id": "m", "role": ("user", "assistant")[at % 2], "parts": parts} for at in range(1001)]
    body = json.dumps({"id": "c", "messages": messages})
    read = seconds_of(lambda: UiFormat.decode_request(body))
    loads = seconds_of(lambda: json.loads(body))
    print(f"{'useChat, 1,001 messages':24} {read * 1e3:6.2f} ms, {read / loads:5.2f} times json.loads")
    parts = [{"type": "text", "text": "a" * 500}]
    asked = [{"role": ("user", "assistant")[at % 2], "content": parts} for at in range(1001)]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": asked})
    read = seconds_of(lambda: AnthropicFormat.decode_request(body))
    loads = seconds_of(lambda: json.loads(body))
    print(f"{'Anthropic, 1,001 messages':24} {read * 1e3:6.2f} ms, {read / loads:5.2f} times json.loads")


if __name__ == "__main__":
    main()
