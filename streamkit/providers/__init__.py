"""Translation between streamkit's values and each provider's wire format, without any I/O, thread or clock."""

from streamkit.providers.anthropic import Anthropic
from streamkit.providers.base import ChatRequest, Decoder, Provider
from streamkit.providers.openai import OpenAI

__all__ = ["Anthropic", "ChatRequest", "Decoder", "OpenAI", "Provider"]
