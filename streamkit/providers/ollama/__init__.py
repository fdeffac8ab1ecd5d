"""Ollama's own API."""

from streamkit.providers.ollama.provider import Ollama as Ollama
