"""Stop a reply after so many chunks: the model's server is told at once, and what came is kept.

``break`` would do as well; it cancels the stream too. After ``cancel()`` the loop ends by itself.

Run it as it is, or with the name of another model: ``python cancel_after_n_chunks.py openai/gpt-4o-mini``.
"""

import sys

import streamkit

ENOUGH = 40  # chunks
model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

with streamkit.stream(model, "Tell me a very long story about a lighthouse") as stream:
    for number, chunk in enumerate(stream, start=1):
        print(chunk.text, end="", flush=True)
        if number == ENOUGH:
            stream.cancel()

completion = stream.completion
print(" ...")
print(f"\nstatus: {stream.status}, finish reason: {completion.finish_reason}")
print(f"kept: {len(completion.text.split())} words, of which the last is {completion.text.split()[-1]!r}")
