"""Stream the replies of a prompt that is kept in a file: PromptKit's Go example ``sdk/examples/streaming`` in Python.

What the Go program does by ``sdk.Open("./streaming.pack.json", "storyteller")`` and ``conv.Stream(ctx, "...")`` is
``open_pack`` and ``chat.stream`` here. There is no chunk for an error: the loop raises it. The loop ends by itself, so
there is no need to look for the last chunk.

Run it as it is, or with the name of another model: ``python storyteller.py openai/gpt-4o-mini``. Without ``model=`` the
model is that of ``STREAMKIT_MODEL``, or the default one of the first provider whose key is in the environment.
"""

import sys
from pathlib import Path

from streamkit import StreamError, open_pack

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

chat = open_pack(Path(__file__).with_name("streaming.pack.json"), "storyteller", model=model)
try:
    for chunk in chat.stream("Tell me a short story"):
        print(chunk.text, end="", flush=True)
    print("\n[Complete]\n")
except StreamError as error:
    print(f"\nError: {error}\n")

# The second question goes with the first one and its answer.
characters = 0
for chunk in chat.stream("Tell me about AI", max_tokens=60):
    if chunk.type == "done":
        print(f"\n[Complete - {characters} characters, {chunk.finish_reason}]")
    print(chunk.text, end="", flush=True)
    characters += len(chunk.text)
