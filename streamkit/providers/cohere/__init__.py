"""Cohere's Chat API, version 2."""

from streamkit.providers.cohere.provider import Cohere as Cohere
