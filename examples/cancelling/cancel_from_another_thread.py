"""Cancel a reply from another thread, as a Stop button does.

The loop ends without an error, within 100 ms, whether it waits for the connection, the first chunk or the next one.

Run it as it is, or with the name of another model: ``python cancel_from_another_thread.py openai/gpt-4o-mini``.
"""

import sys
import threading
import time

import streamkit

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"
pressed_at = 0.0


def press_stop() -> None:
    global pressed_at
    pressed_at = time.monotonic()
    stream.cancel()


stream = streamkit.stream(model, "Tell me a very long story about a lighthouse")
threading.Timer(1.5, press_stop).start()
with stream:
    for chunk in stream:
        print(chunk.text, end="", flush=True)
    ended_at = time.monotonic()

print(" ...")
if stream.status == "cancelled":
    print(f"\nThe loop ended {(ended_at - pressed_at) * 1000:.1f} ms after the button was pressed.")
print(f"status: {stream.status}, kept: {len(stream.completion.text)} characters")
