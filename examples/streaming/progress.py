"""Show progress on stderr and keep stdout for the reply: ``python progress.py > story.txt``.

With tqdm installed it shows tqdm's counter, otherwise a plain one. The length of a reply is not known in advance, so
both count characters up and show no percentage.

Run it as it is, or with the name of another model: ``python progress.py openai/gpt-4o-mini``.
"""

import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

import streamkit


def counted(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces unchanged, and count their characters on stderr."""
    if find_spec("tqdm"):
        from tqdm import tqdm

        with tqdm(unit=" characters", desc="Receiving") as bar:
            for piece in pieces:
                yield piece
                bar.update(len(piece))
        return
    total = 0
    for piece in pieces:
        yield piece
        total += len(piece)
        print(f"\rReceiving: {total} characters", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"
with streamkit.stream(model, "Tell me a story about a lighthouse") as stream:
    print("".join(counted(stream.iter_text())))
