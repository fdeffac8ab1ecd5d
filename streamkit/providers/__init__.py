"""Translation between streamkit's values and each provider's wire format, without any I/O, thread or clock."""

from streamkit.providers.anthropic import Anthropic
from streamkit.providers.base import ChatRequest, Decoder, Provider
from streamkit.providers.bedrock import Bedrock
from streamkit.providers.cohere import Cohere
from streamkit.providers.completions import OpenAICompletions
from streamkit.providers.gemini import Gemini
from streamkit.providers.interactions import GeminiInteractions
from streamkit.providers.mistral import Mistral
from streamkit.providers.ollama import Ollama
from streamkit.providers.openai import OpenAI
from streamkit.providers.responses import OpenAIResponses

__all__ = [
    "Anthropic",
    "Bedrock",
    "ChatRequest",
    "Cohere",
    "Decoder",
    "Gemini",
    "GeminiInteractions",
    "Mistral",
    "Ollama",
    "OpenAI",
    "OpenAICompletions",
    "OpenAIResponses",
    "Provider",
]
