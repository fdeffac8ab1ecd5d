"""Anthropic's Messages.

Source: https://platform.claude.com/docs/en/api/overview and .../api/versioning, read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from streamkit.providers.anthropic.decoder import AnthropicDecoder
from streamkit.providers.anthropic.request import body_of
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder
from streamkit.providers.request.addresses import address_of
from streamkit.providers.request.continuing import Continuation, prefilled, thinks
from streamkit.providers.request.credentials import hidden
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.openai_shape import texts_of
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OLDER_CLAUDE, OutputWay, OutputWords, is_open
from streamkit.providers.request.tool_limits import ANTHROPIC
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict
from streamkit.wire.secrets import Masked

__all__ = ["Anthropic"]

_OFFICIAL = "https://api.anthropic.com/v1"
_VERSION = "2026-10-21"
_SAMPLING_VERSION = "2023-06-01"  # the last that has these parameters; the newer one refuses them at any value
_SAMPLING = ("temperature", "top_p", "top_k")
# Models that go on with a message of their own; those from 4.6 on refuse it.
_PREFILLED = re.compile(r"claude-(?:2|3|instant|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:$|-latest|-\d{8}|[@:]))")


class Anthropic(KeyedProvider):
    """Anthropic's Messages, or a server that speaks the same format.

    Args:
        api_key: by default ``ANTHROPIC_API_KEY``.
        base_url: with ``/v1`` at its end or without it, as Anthropic's own SDKs have it; by default
            ``ANTHROPIC_BASE_URL``, or Anthropic itself.
        max_tokens: the longest reply, in tokens, where a call does not say; the API demands a number.
        betas: one or several, sent as ``anthropic-beta``.
        version: sent as ``anthropic-version``; by default the newest, or for a call that has ``temperature``,
            ``top_p`` or ``top_k`` the one before, which knows them.
        key_header: the header that carries the key; ``Authorization`` as a bearer token, as Anthropic's own
            SDKs send it, any other as it stands, such as the ``x-api-key`` of older servers.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the URL cannot be one, or the betas are no texts.
    """

    result_media = frozenset({"image", "file"})
    output_words = OutputWords(serial=True)
    events_format: ClassVar[str | None] = "anthropic"

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        max_tokens: int = 4096,
        betas: str | Sequence[str] = (),
        version: str | None = None,
        key_header: str = "Authorization",
        name: str = "anthropic",
    ) -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        url = address_of(address, "ANTHROPIC_BASE_URL", _OFFICIAL)
        url = url if url.endswith("/v1") else f"{url}/v1"
        super().__init__(name, url, key, key_variables=["ANTHROPIC_API_KEY"], key_needed=url == _OFFICIAL)
        self._max_tokens = max_tokens
        self._version = version
        self._key_header = key_header
        self._betas = ",".join(texts_of("betas", betas)) or None

    @property
    def models_query(self) -> str:
        """The query that each page of the list of models is asked with."""
        return "limit=1000"

    def headers(self, version: str = _VERSION) -> dict[str, str | None]:
        """Return the headers that identify the caller and the version.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        headers = {"anthropic-version": self._version or version, "anthropic-beta": self._betas}
        if key is None:
            return headers
        bearer = self._key_header == "Authorization"
        return {**headers, self._key_header: Masked(f"Bearer {key}") if bearer else key}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        sampling = any(name in chat.params for name in _SAMPLING)
        headers = self.headers(_SAMPLING_VERSION if sampling else _VERSION)
        limits = ANTHROPIC if self.base_url == _OFFICIAL or "claude" in chat.model else None
        body = body_of(self.name, self._asked(chat), self._max_tokens, limits)
        return post(f"{self.base_url}/messages", body, chat, headers=headers, key=self._key)

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema is said.

        Older models, and all models for a schema that they cannot be held to, are forced to a call, which goes with no
        thinking.
        """
        if not OLDER_CLAUDE.search(chat.model) and not is_open(chat):
            return "schema"
        thinking = as_dict(chat.params.get("thinking")).get("type", "disabled") != "disabled"
        return "prompt" if thinking else "tool"

    def continuation(self, chat: ChatRequest, text: str) -> Continuation | None:
        """Return the call for the rest of a reply, for models that take a beginning of it; see ``Continues``."""
        sent = text.rstrip()  # white space at the end is refused
        if not sent or not _PREFILLED.search(chat.model) or thinks(chat.params, ("thinking", "reasoning_effort")):
            return None
        return Continuation(prefilled(chat, sent), sent)

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return self._answered(chat, AnthropicDecoder(self.name))
