"""The model that is always there: ``demo/storyteller``, served by this very process."""

from __future__ import annotations

import attrs

from streamkit.providers.base import ChatRequest
from streamkit.providers.openai import OpenAI
from streamkit.wire import HttpRequest

__all__ = ["Demo"]


class Demo(OpenAI):
    """Chat completions of the embedded server.

    Args:
        base_url: where that server listens.
    """

    def __init__(self, base_url: str) -> None:
        super().__init__(api_key="", base_url=base_url, name="demo")

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply; it goes to loopback whatever proxies are set."""
        return attrs.evolve(super().request(chat), direct=True)
