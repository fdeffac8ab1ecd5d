"""Cancel a reply after 40 chunks. The connection is closed at once, and the text so far is kept.

After ``cancel()`` the loop ends without an error. ``break`` cancels the stream as well.

Run it as it is, or with the name of another model: ``python cancel_after_n_chunks.py openai/gpt-4o-mini``.
"""

import sys

import streamkit

LIMIT = 40  # chunks
model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

with streamkit.stream(model, "Tell me a very long story about a lighthouse") as stream:
    for number, chunk in enumerate(stream, start=1):
        print(chunk.text, end="", flush=True)
        if number == LIMIT:
            stream.cancel()

completion = stream.completion
print(" ...")
print(f"\nstatus: {stream.status}, finish reason: {completion.finish_reason}")
print(f"kept: {len(completion.text.split())} words, the last one is {completion.text.split()[-1]!r}")
