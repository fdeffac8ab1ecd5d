"""Google's Gemini, with an API key, or on Vertex AI with an access token.

Source: https://ai.google.dev/api/generate-content and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, read 2026-11-21.
"""

from __future__ import annotations

import os
from urllib.parse import quote

from streamkit.errors import APIError, ConfigError
from streamkit.providers.base import ChatRequest, base_url_of, choices_of, key_of
from streamkit.providers.gemini_decoder import GeminiDecoder
from streamkit.providers.gemini_request import body_of
from streamkit.providers.http import missing_key, post, refusal
from streamkit.wire import HttpRequest, Masked, ResponseInfo

__all__ = ["Gemini"]

_OFFICIAL = "https://generativelanguage.googleapis.com/v1beta"


class Gemini:
    """Gemini's generated content, streamed.

    Args:
        api_key: by default ``GEMINI_API_KEY``, or ``GOOGLE_API_KEY``. Sent in a header, never in the URL.
        base_url: up to and including the version; by default Google's own, or that of the project on Vertex.
        project: of Google Cloud; asks Vertex AI instead, with ``token`` in place of a key.
        location: of Vertex AI, such as ``europe-west4``.
        token: an access token, by default ``GOOGLE_ACCESS_TOKEN``; it lasts an hour, and renewing it is the
            caller's, with a new ``Gemini``.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    key_variable = "GEMINI_API_KEY"
    models_query = "pageSize=1000"

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
        key = None if api_key is None else Masked(api_key)
        access = None if token is None else Masked(token)
        del api_key, token  # or they would stand in the clear among the locals of a traceback
        self.name = name
        self._vertex = project is not None
        if project is not None:
            if key is not None:
                raise ConfigError("Vertex AI takes an access token, token=, and no api_key")
            self.key_variable = "GOOGLE_ACCESS_TOKEN"
            base_url = base_url or _vertex_url(project, location)
            self._key = key_of(access, self.key_variable)
        else:
            self._key = key_of(key, self.key_variable)
            if self._key is None and key is None:
                self._key = key_of(None, "GOOGLE_API_KEY")
        self.base_url = base_url_of(base_url or os.environ.get("GEMINI_BASE_URL") or _OFFICIAL)
        self._key_needed = "googleapis.com" in self.base_url

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        if self._key is None:
            if self._key_needed:
                raise missing_key(self.name, self.key_variable)
            return {}
        if self._vertex:
            return {"Authorization": Masked(f"Bearer {self._key}")}
        return {"x-goog-api-key": self._key}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        model = chat.model if "/" in chat.model else f"models/{chat.model}"
        url = f"{self.base_url}/{quote(model)}:streamGenerateContent?alt=sse"
        return post(url, body_of(self.name, chat, ids=not self._vertex), chat, headers=headers, key=self._key)

    def decoder(self, chat: ChatRequest) -> GeminiDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return GeminiDecoder(self.name, choices_of(chat))

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        return refusal(self.name, info, body, self.key_variable)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.base_url}>"


def _vertex_url(project: str, location: str) -> str:
    host = "aiplatform.googleapis.com" if location == "global" else f"{location}-aiplatform.googleapis.com"
    return f"https://{host}/v1/projects/{quote(project)}/locations/{quote(location)}/publishers/google"
