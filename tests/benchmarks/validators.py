"""What it costs to judge the text of a reply while it arrives, by the chunk and by the size of the text.

The second line of each validator has ten times the text: it should take about ten times as long. The figure beside it
is the cost of one chunk of five characters, about a token. It is processor time, so other programs do not count.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from streamkit import ChunkStream
from streamkit.validators import (
    BannedWords,
    Contains,
    JsonSchema,
    JsonValid,
    MaxLength,
    MaxSentences,
    MinLength,
    Regex,
    Validator,
    validated,
)
from tests.unit.scripted import Scripted, texts

SIZE = 1_000_000  # characters of the longer text
CHUNK = 5  # characters
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def words(count: int, seed: int) -> list[str]:
    """Return words of the letters of English, as often as they are in it."""
    chance = random.Random(seed)
    weights = [len(LETTERS) - rank for rank in range(len(LETTERS))]
    return ["".join(chance.choices(LETTERS, weights, k=chance.randint(4, 10))) for _ in range(count)]


def prose(size: int) -> str:
    """Return sentences without a banned word."""
    made, length, banned = [], 0, set(BANNED)
    for number, word in enumerate(words(size // 6, 2), 1):
        if word not in banned:
            made.append(word + (". " if number % 12 == 0 else " "))
            length += len(made[-1])
    return "".join(made)[:size]


BANNED = words(100, 1)
TEXT = prose(SIZE)
JSON = "[" + ", ".join(f'{{"name": "{word}", "n": 12.5}}' for word in words(SIZE // 29, 3)) + "]"
VALIDATORS: dict[str, tuple[Callable[[], Validator], str]] = {
    "100 banned words": (lambda: BannedWords(BANNED), TEXT),
    "100 banned parts": (lambda: BannedWords([f"{word}qx" for word in BANNED], match="substring"), TEXT),
    "one banned word": (lambda: BannedWords(["password"]), TEXT),
    "a's and a b": (lambda: BannedWords(["a" * 1000 + "b"]), "a" * SIZE),
    "max_length": (lambda: MaxLength(SIZE * 2, words=SIZE), TEXT),
    "min_length": (lambda: MinLength(SIZE * 2), TEXT),
    "max_sentences": (lambda: MaxSentences(SIZE), TEXT),
    "contains": (lambda: Contains(["qqqq", "zzzz"]), TEXT),
    "regex, limited": (lambda: Regex(r"\d{3}-\d{4}", expect_match=False), TEXT),
    "regex, unlimited": (lambda: Regex(r"[a-z]+@[a-z]+\.[a-z]+", expect_match=False), TEXT),
    "json_valid": (lambda: JsonValid(), JSON),
    "json_schema": (lambda: JsonSchema({"type": "array"}), JSON),
}


def judged(validator: Validator, text: str) -> float:
    """Return the seconds that a text takes in chunks."""
    pieces = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    add = validator.begin().add
    started = time.process_time()
    for piece in pieces:
        add(piece, False)
    add("", True)
    return time.process_time() - started


def delivered(wrap: Callable[[ChunkStream], ChunkStream]) -> float:
    """Return the microseconds that a chunk of a given stream takes until it is delivered."""
    stream = wrap(Scripted(texts(*(TEXT[start : start + CHUNK] for start in range(0, SIZE // 4, CHUNK)))))
    started, count = time.process_time(), 0
    while stream.take() is not None:
        count += 1
    return (time.process_time() - started) / count * 1e6


def main() -> None:
    """Print the figures."""
    print(f"{'':20} {'100 KB':>9} {'1 MB':>9} {'ratio':>7} {'a chunk':>10}")
    for name, (make, text) in VALIDATORS.items():
        validator = make()
        short = min(judged(validator, text[: SIZE // 10]) for _ in range(3))
        long = min(judged(validator, text[:SIZE]) for _ in range(2))
        chunk = long / (min(len(text), SIZE) / CHUNK) * 1e6
        print(f"{name:20} {short * 1e3:6.1f} ms {long * 1e3:6.1f} ms {long / short:7.1f} {chunk:7.2f} us")

    bare = min(delivered(lambda stream: stream) for _ in range(3))
    print("\na chunk through a validated stream, beyond what the stream inside takes:")
    for name, rules in (("no validators", []), ("100 banned words", [BannedWords(BANNED)])):
        more = min(delivered(lambda stream, rules=rules: validated(stream, rules)) for _ in range(3)) - bare
        print(f"{name:20} {more:7.2f} us")


if __name__ == "__main__":
    main()
