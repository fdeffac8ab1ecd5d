"""Google's Gemini API."""

from streamkit.providers.gemini.provider import Gemini as Gemini
