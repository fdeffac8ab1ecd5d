"""Google's Gemini, with an API key, or on Vertex AI with an access token.

Source: https://ai.google.dev/api/generate-content and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, read 2026-11-21.
"""

from __future__ import annotations

from urllib.parse import quote

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.contract import Decoder
from streamkit.providers.gemini.decoder import GeminiDecoder
from streamkit.providers.gemini.request import body_of, is_recent
from streamkit.providers.request.addresses import address_of, base_url_of
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.openai_shape import tool_list
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OutputWay, has_function_tools
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict
from streamkit.wire.secrets import Masked

__all__ = ["Gemini"]

_OFFICIAL = "https://generativelanguage.googleapis.com/v1beta"


class Gemini(KeyedProvider):
    """Gemini's generated content, streamed.

    Args:
        api_key: by default ``GEMINI_API_KEY``, or ``GOOGLE_API_KEY``. Sent in a header, never in the URL.
        base_url: up to and including the version; by default Google's own, or that of the project on Vertex.
        project: of Google Cloud; asks Vertex AI instead, with ``token`` in place of a key.
        location: of Vertex AI, such as ``europe-west4``.
        token: an access token, by default ``GOOGLE_ACCESS_TOKEN``; it lasts an hour. To renew it, make a new
            ``Gemini``.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    result_media = frozenset({"image", "file"})

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        project: str | None = None,
        location: str = "global",
        token: str | None = None,
        name: str = "gemini",
    ) -> None:
        key, access, address = hidden(api_key), hidden(token), hidden(base_url)
        del api_key, token, base_url  # or they would stand in the clear among the locals of a traceback
        if project is not None and key is not None:
            raise ConfigError("Vertex AI takes an access token, token=, and no api_key")
        self._vertex = project is not None
        variables = ["GOOGLE_ACCESS_TOKEN"] if self._vertex else ["GEMINI_API_KEY", "GOOGLE_API_KEY"]
        if project is None:
            url = address_of(address, "GEMINI_BASE_URL", _OFFICIAL)
        else:
            url = base_url_of(address or _vertex_url(project, location))
        needed = "googleapis.com" in url
        if self._vertex:
            self._key_argument = "token"
        super().__init__(name, url, access if self._vertex else key, key_variables=variables, key_needed=needed)

    @property
    def models_query(self) -> str:
        """The query that each page of the list of models is asked with."""
        return "pageSize=1000"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        if key is None:
            return {}
        return {"Authorization": Masked(f"Bearer {key}")} if self._vertex else {"x-goog-api-key": key}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        model = chat.model if "/" in chat.model else f"models/{chat.model}"
        url = f"{self.base_url}/{quote(model)}:streamGenerateContent?alt=sse"
        return post(
            url, body_of(self.name, self._asked(chat), vertex=self._vertex), chat, headers=headers, key=self._key
        )

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema is said: before Gemini 3 a model takes no schema beside tools.

        Source: "Function calling with a response mime type: 'application/json' is unsupported", symfony/ai#803, and
        https://ai.google.dev/gemini-api/docs/tool-combination, read 2026-11-27.
        """
        if is_recent(chat.model) or not has_function_tools(chat):
            return "schema"
        functions = all(as_dict(tool).get("type") == "function" for tool in tool_list(chat.params["tools"]))
        return "tool" if functions else "prompt"  # nor functions beside tools of Google's own

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return self._answered(chat, GeminiDecoder(self.name, choices_of(chat)))


def _vertex_url(project: str, location: str) -> str:
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
    return f"https://{host}/v1/projects/{quote(project)}/locations/{quote(location)}/publishers/google"
