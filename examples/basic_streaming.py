"""Print a reply as it comes, and afterwards what it took.

Run it as it is, or with the name of another model: ``python basic_streaming.py openai/gpt-4o-mini``.
"""

import sys

import streamkit

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

stream = streamkit.stream(model, "Tell me a story about a lighthouse")
for chunk in stream:
    print(chunk.text, end="", flush=True)

# The stream knows afterwards what came through it, and so it does in the middle and after a failure.
usage, stats = stream.completion.usage, stream.stats
print("\n")
print(f"{usage.input_tokens} tokens asked, {usage.output_tokens} answered, in {stats.chunks} chunks")
print(f"first word after {(stats.time_to_first_chunk or 0) * 1000:.0f} ms, all of them after {stats.duration:.1f} s")
