"""Ask many prompts, a few at once; a failure does not end the others.

``client.map()`` reads the prompts as it needs them, in the thread of the loop, so they may be endless. Results come as
they end, or with ``ordered=True`` in the order of the prompts.

Run it as it is, or with the name of another model: ``python many_prompts.py openai/gpt-4o-mini``.
"""

import sys
from collections.abc import Iterator

from streamkit import Client

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"


def prompts() -> Iterator[object]:
    for topic in ("a fox", "an owl", "a lighthouse", "the moon", "the sea"):
        yield f"Tell me a story about {topic}"
    yield {"messages": "Tell me a story about a robot", "max_tokens": 20}  # parameters of its own
    yield {"question": "no messages in here"}


with Client() as client:
    batch = client.map(model, prompts(), concurrency=3, ordered=True, max_tokens=60)
    for result in batch:
        if result.completion is None:
            print(f"{result.index}: {type(result.error).__name__}")
        else:
            print(f"{result.index}: {len(result.text.split())} words, {result.completion.finish_reason}")
    totals = batch.totals
    print(f"{totals.answered} answered, {totals.failed} failed, {totals.output_tokens} tokens")
