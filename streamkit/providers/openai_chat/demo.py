"""The demo models, ``demo/storyteller`` and ``demo/assistant``, served by this process."""

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
        self.direct = True  # loopback, so without a proxy
