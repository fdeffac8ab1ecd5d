"""The demo models, ``demo/storyteller`` and ``demo/assistant``, served by this process."""

from __future__ import annotations

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.openai_chat.openai import OpenAI
from streamkit.wire.http import HttpRequest

__all__ = ["Demo"]

_MODELS = ("storyteller", "assistant")
_NAMES = tuple(f"demo/{name}" for name in _MODELS)


class Demo(OpenAI):
    """Chat completions of the embedded server.

    Args:
        url: where that server listens.
    """

    def __init__(self, url: str) -> None:
        super().__init__(api_key="", base_url=url, name="demo")
        self.direct = True  # loopback, so without a proxy

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request; the server would tell a story by any name.

        Raises:
            ConfigError: there is no such demo model.
        """
        if chat.model not in _MODELS:
            from difflib import get_close_matches  # only where a name is unknown: it costs 3 ms of the import

            near = get_close_matches(chat.model, _MODELS, 1, 0.4)
            meant = f"; did you mean demo/{near[0]}?" if near else ""
            raise ConfigError(f"there is no demo/{chat.model:.60}; there are {' and '.join(_NAMES)}{meant}")
        return super().request(chat)
