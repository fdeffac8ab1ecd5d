"""What it costs to look at the arguments of a tool call with each of their pieces, and what it costs not to look.

The second line of each pair has ten times the text in ten times the pieces: it should take about ten times as long.
"""

from __future__ import annotations

import json
import time
import timeit

import jiter

from streamkit.values.chunks import ToolCallDelta, link_delta
from streamkit.values.growing_text import GrowingText

PIECE = 12  # characters


def arguments(times: int) -> dict[str, str]:
    """Return arguments of some 22 KB, times a number."""
    items = [{"name": f"thing {number}", "n": number, "ok": True, "tags": ["a", "b"]} for number in range(350 * times)]
    return {
        "a file": json.dumps({"path": "a.py", "content": 'def f(x):\n    return "x" + y\n' * 650 * times}),
        "objects": json.dumps({"items": items}),
        "numbers": json.dumps({"values": [number % 100 / 7 for number in range(1150 * times)]}),
    }


def deltas(text: str) -> list[ToolCallDelta]:
    """Return the pieces of a call, linked as a decoder does."""
    whole, made = GrowingText(), []
    for start in range(0, len(text), PIECE):
        delta = ToolCallDelta(0, "", "", text[start : start + PIECE])
        link_delta(delta, whole)
        made.append(delta)
    return made


def looks(text: str) -> float:
    """Return the seconds that a look at each piece takes."""
    pieces = deltas(text)
    started = time.perf_counter()
    for delta in pieces:
        value = delta.partial()
    seconds = time.perf_counter() - started
    assert value == json.loads(text)
    return seconds


def looks_by_jiter(text: str) -> float:
    """Return the seconds that jiter takes for all prefixes, measured at every 20th."""
    started = time.perf_counter()
    for end in range(PIECE, len(text), PIECE * 20):
        jiter.from_json(text[:end].encode(), partial_mode="trailing-strings")
    return (time.perf_counter() - started) * 20


def main() -> None:
    """Print the figures."""
    looks(arguments(1)["a file"])  # imports what it needs
    for name in arguments(1):
        for times in (1, 10):
            text = arguments(times)[name]
            seconds, whole = looks(text), looks_by_jiter(text)
            print(
                f"{name:8} {len(text) / 1000:6.0f} KB in {len(text) // PIECE:6} pieces: {seconds * 1000:7.1f} ms; "
                f"each prefix by jiter {whole * 1000:8.1f} ms"
            )
    rounds, text = 200_000, GrowingText()
    bare = timeit.timeit(lambda: ToolCallDelta(0, "", "", "abc"), number=rounds)
    linked = timeit.timeit(lambda: link_delta(ToolCallDelta(0, "", "", "abc"), text), number=rounds)
    print(
        f"a delta that nobody looks at: {(linked - bare) / rounds * 1e6:.2f} µs more than {bare / rounds * 1e6:.2f} µs"
    )


if __name__ == "__main__":
    main()
