"""Translation between streamkit's values and each provider's wire format, without any I/O, thread or clock.

A provider is imported when it is first used: most programs use one or two of them.
"""

from typing import TYPE_CHECKING

from streamkit.providers import registry
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider

if TYPE_CHECKING:
    from streamkit.providers.anthropic import Anthropic
    from streamkit.providers.bedrock import Bedrock
    from streamkit.providers.cohere import Cohere
    from streamkit.providers.gemini import Gemini
    from streamkit.providers.gemini_interactions import GeminiInteractions
    from streamkit.providers.ollama import Ollama
    from streamkit.providers.openai_chat import OpenAI
    from streamkit.providers.openai_chat.agnic import Agnic
    from streamkit.providers.openai_chat.azure import AzureOpenAI
    from streamkit.providers.openai_chat.compatible import OpenAICompatible
    from streamkit.providers.openai_chat.mistral import Mistral
    from streamkit.providers.openai_chat.quirks import Quirks
    from streamkit.providers.openai_chat.text_completions import OpenAICompletions
    from streamkit.providers.openai_responses import OpenAIResponses

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

_CLASSES = {
    **{place.partition(":")[2]: place for place in registry.BUILT_IN.values()},
    "OpenAICompatible": "openai_chat.compatible:OpenAICompatible",
    "Quirks": "openai_chat.quirks:Quirks",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of this module's

    def __getattr__(name: str) -> object:
        """Import a name when it is first used."""
        if name in _CLASSES:
            found = globals()[name] = registry.load(_CLASSES[name])
            return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
