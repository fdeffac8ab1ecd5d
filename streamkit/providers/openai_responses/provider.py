"""Responses of OpenAI and of servers that speak the same format.

Source: https://platform.openai.com/docs/api-reference/responses, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

import attrs

from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder
from streamkit.providers.openai_responses.decoder import ResponsesDecoder
from streamkit.providers.openai_responses.request import body_of
from streamkit.providers.request.addresses import address_of, base_url_of, is_openai
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.openai_shape import tool_list
from streamkit.providers.request.post import hidden_headers, masked_headers, post
from streamkit.providers.request.structured_output import OLDER_GPT, OutputWay, OutputWords
from streamkit.providers.request.tool_limits import OPENAI_RESPONSES
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict, as_text
from streamkit.wire.secrets import Masked

__all__ = ["OpenAIResponses"]

_OFFICIAL = "https://api.openai.com/v1"


class OpenAIResponses(KeyedProvider):
    """Responses of OpenAI, or of any server that speaks the same format: Azure, xAI, OpenRouter, LM Studio.

    Args:
        api_key: by default what the environment has in ``key_variable``.
        base_url: up to and including ``/v1``; by default ``OPENAI_BASE_URL``, or OpenAI itself.
        organization: sent as ``OpenAI-Organization``.
        project: sent as ``OpenAI-Project``.
        key_variable: the environment variable that has the key.
        key_header: the header that carries it; ``Authorization`` as a bearer token, any other as it stands,
            such as Azure's ``api-key``.
        headers: sent with each request.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one.
    """

    result_media = frozenset({"image", "file"})
    output_words = OutputWords(serial=True)
    events_format: ClassVar[str | None] = "openai-responses"

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        organization: str | None = None,
        project: str | None = None,
        key_variable: str = "OPENAI_API_KEY",
        key_header: str = "Authorization",
        headers: Mapping[str, str] | None = None,
        name: str = "openai-responses",
    ) -> None:
        key, address, sent = hidden(api_key), hidden(base_url), hidden_headers(headers)
        del api_key, base_url, headers  # or they would stand in the clear among the locals of a traceback
        ours = key_variable == "OPENAI_API_KEY"
        url = address_of(address, "OPENAI_BASE_URL", _OFFICIAL) if ours else base_url_of(address or _OFFICIAL)
        super().__init__(name, url, key, key_variables=[key_variable], key_needed=is_openai(url))
        self._key_header = key_header
        self._headers = {"OpenAI-Organization": organization, "OpenAI-Project": project, **masked_headers(sent)}

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        if key is None:
            return dict(self._headers)
        bearer = self._key_header == "Authorization"
        return {**self._headers, self._key_header: Masked(f"Bearer {key}") if bearer else key}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        body = body_of(self.name, self._asked(chat), OPENAI_RESPONSES if is_openai(self.base_url) else None)
        masked = tuple(value for value in self._headers.values() if isinstance(value, Masked))
        return post(f"{self.base_url}/responses", body, chat, headers=headers, key=self._key, masked=masked)

    def resumption(self, chat: ChatRequest, decoder: Decoder) -> HttpRequest | None:
        """Return the request for the rest of a reply that is made in the background; see ``Resumes``."""
        cursor = decoder.go_on() if isinstance(decoder, ResponsesDecoder) else None
        if cursor is None or not {**chat.params, **chat.extra_body}.get("background"):
            return None
        id, number = cursor
        asked = self.request(chat)
        headers = {name: value for name, value in asked.headers.items() if name.lower() != "content-type"}
        url = f"{self.base_url}/responses/{quote(id, safe='')}?stream=true&starting_after={number}"
        return attrs.evolve(asked, url=url, headers=headers, body=b"", method="GET")

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema is said: OpenAI's older models are forced to a call."""
        return "tool" if is_openai(self.base_url) and OLDER_GPT.search(chat.model) else "schema"

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        tools = [dict(tool) for tool in tool_list(chat.params.get("tools") or ()) if isinstance(tool, Mapping)]
        # xAI's search in posts calls its parts, such as x_keyword_search, as if they were custom tools of the user's.
        searches = any(tool.get("type") == "x_search" for tool in tools)
        names = [as_dict(tool.get("function")).get("name") or tool.get("name") for tool in tools]
        return self._answered(
            chat, ResponsesDecoder(self.name, [as_text(name) for name in names] if searches else None)
        )
