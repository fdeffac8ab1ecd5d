"""OpenAI's package for Python: set OPENAI_BASE_URL and OPENAI_API_KEY, and change nothing else."""

import os

from openai import OpenAI

client = OpenAI()  # reads OPENAI_BASE_URL, such as http://127.0.0.1:8000/v1, and OPENAI_API_KEY, a token
stream = client.chat.completions.create(
    model=os.environ.get("MODEL", "demo/storyteller"),
    messages=[{"role": "user", "content": "Tell me a story about a lighthouse."}],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    if chunk.usage:
        print(f"\n[{chunk.usage.total_tokens} tokens]")
