"""The model that is always there: ``demo/storyteller``, served by this very process."""

from __future__ import annotations

from streamkit.providers.openai_chat.openai import OpenAI

__all__ = ["Demo"]


class Demo(OpenAI):
    """Chat completions of the embedded server.

    Args:
        url: where that server listens.
    """

    def __init__(self, url: str) -> None:
        super().__init__(api_key="", base_url=url, name="demo")
        self.direct = True  # to loopback, whatever proxies are set
