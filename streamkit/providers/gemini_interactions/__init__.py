"""Google's Interactions API."""

from streamkit.providers.gemini_interactions.provider import GeminiInteractions as GeminiInteractions
