"""Print a reply as it arrives, then its token counts and times.

Run it as it is, or with the name of another model: ``python basic_streaming.py openai/gpt-4o-mini``.
"""

import sys

import streamkit

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

stream = streamkit.stream(model, "Tell me a story about a lighthouse")
for chunk in stream:
    print(chunk.text, end="", flush=True)

# Both can be read at any time: during the stream, at its end, and after a failure.
usage, stats = stream.completion.usage, stream.stats
print("\n")
print(f"{usage.input_tokens} input tokens, {usage.output_tokens} output tokens, in {stats.chunks} chunks")
print(f"first chunk after {(stats.time_to_first_chunk or 0) * 1000:.0f} ms, whole reply after {stats.duration:.1f} s")
