"""OpenAI's Chat Completions, and the servers that speak it."""

from streamkit.providers.openai_chat.openai import OpenAI as OpenAI
