"""Translation between streamkit's values and each provider's wire format, without any I/O, thread or clock.

A provider is imported when it is asked for: most programs speak to one or two of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamkit.providers.base import ChatRequest, Decoder, Provider

if TYPE_CHECKING:
    from streamkit.providers.agnic import Agnic
    from streamkit.providers.anthropic import Anthropic
    from streamkit.providers.azure import AzureOpenAI
    from streamkit.providers.bedrock import Bedrock
    from streamkit.providers.cohere import Cohere
    from streamkit.providers.compatible import OpenAICompatible
    from streamkit.providers.completions import OpenAICompletions
    from streamkit.providers.gemini import Gemini
    from streamkit.providers.interactions import GeminiInteractions
    from streamkit.providers.mistral import Mistral
    from streamkit.providers.ollama import Ollama
    from streamkit.providers.openai import OpenAI
    from streamkit.providers.quirks import Quirks
    from streamkit.providers.responses import OpenAIResponses

__all__ = [
    "Agnic",
    "Anthropic",
    "AzureOpenAI",
    "Bedrock",
    "ChatRequest",
    "Cohere",
    "Decoder",
    "Gemini",
    "GeminiInteractions",
    "Mistral",
    "Ollama",
    "OpenAI",
    "OpenAICompatible",
    "OpenAICompletions",
    "OpenAIResponses",
    "Provider",
    "Quirks",
]

_MODULES = {
    "Agnic": "agnic",
    "Anthropic": "anthropic",
    "AzureOpenAI": "azure",
    "Bedrock": "bedrock",
    "Cohere": "cohere",
    "Gemini": "gemini",
    "GeminiInteractions": "interactions",
    "Mistral": "mistral",
    "Ollama": "ollama",
    "OpenAI": "openai",
    "OpenAICompatible": "compatible",
    "OpenAICompletions": "completions",
    "OpenAIResponses": "responses",
    "Quirks": "quirks",
}


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for."""
    if name in _MODULES:
        found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
