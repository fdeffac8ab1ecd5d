"""Translation between streamkit's values and each provider's wire format, without any I/O, thread or clock."""

from streamkit.providers.anthropic import Anthropic
from streamkit.providers.base import ChatRequest, Decoder, Provider
from streamkit.providers.gemini import Gemini
from streamkit.providers.openai import OpenAI
from streamkit.providers.responses import OpenAIResponses

__all__ = ["Anthropic", "ChatRequest", "Decoder", "Gemini", "OpenAI", "OpenAIResponses", "Provider"]
