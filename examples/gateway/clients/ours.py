"""streamkit itself: it reads OPENAI_BASE_URL and OPENAI_API_KEY as well."""

import os

import streamkit

model = os.environ.get("MODEL", "demo/storyteller")
stream = streamkit.stream(f"openai/{model}", "Tell me a story about a lighthouse.")  # openai/ is the format here
for chunk in stream:
    print(chunk.text, end="", flush=True)
print(f"\n[{stream.completion.usage.total_tokens} tokens]")
