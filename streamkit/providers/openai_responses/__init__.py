"""OpenAI's Responses API."""

from streamkit.providers.openai_responses.provider import OpenAIResponses as OpenAIResponses
