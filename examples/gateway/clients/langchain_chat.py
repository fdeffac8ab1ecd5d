"""LangChain: python -m pip install langchain-openai."""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model=os.environ.get("MODEL", "demo/storyteller"),
    base_url=os.environ["OPENAI_BASE_URL"],  # such as http://127.0.0.1:8000/v1
    stream_usage=True,
)  # the token is that of OPENAI_API_KEY
tokens = 0
for chunk in model.stream("Tell me a story about a lighthouse."):
    print(chunk.text, end="", flush=True)
    if chunk.usage_metadata:
        tokens += chunk.usage_metadata["total_tokens"]
print(f"\n[{tokens} tokens]")
