"""Agnic's gateway: chat completions of many vendors' models, paid from one wallet.

Source: https://docs.agnic.ai/docs/api-reference/ai-gateway and /docs/authentication/api-tokens, read 2026-11-21.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.contract import Event
from streamkit.providers.openai_chat.provider import ChatCompletions
from streamkit.providers.openai_chat.quirks import Quirks
from streamkit.providers.openai_chat.remembering_decoder import RememberingDecoder
from streamkit.providers.reply.decoder import cost_of
from streamkit.providers.request.addresses import address_of
from streamkit.providers.request.credentials import hidden
from streamkit.values.chunks import Chunk, Usage
from streamkit.wire.json import parse_json
from streamkit.wire.loose_json import as_dict

__all__ = ["Agnic", "AgnicDecoder"]

_OFFICIAL = "https://api.agnic.ai/v1"
# Its upstream deviates as OpenRouter does.
_QUIRKS = Quirks(
    reasoning_back="reasoning_details",
    file_url="file_data",
    own=frozenset({"models", "plugins", "provider", "reasoning"}),
)


class Agnic(ChatCompletions):
    """Chat completions of Agnic's gateway.

    A reply's ``usage.cost`` is what the wallet pays. A spending limit that would be exceeded is a
    ``PaymentRequiredError`` with ``limit``, ``current``, ``requested`` and ``max``.

    Args:
        api_key: an API token or an OAuth2 access token; by default ``AGNIC_TOKEN``, or else ``AGNIC_API_KEY``.
        base_url: up to and including ``/v1``; by default ``AGNIC_BASE_URL``, or Agnic itself.
        key_header: which header carries the token; ``X-Agnic-Token`` is for API tokens only.
        partner_id: sent as ``X-Partner-Id``.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key, the URL or the header cannot be one.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        key_header: Literal["Authorization", "X-Agnic-Token"] = "Authorization",
        partner_id: str | None = None,
        name: str = "agnic",
    ) -> None:
        key, address = hidden(api_key), hidden(base_url)
        del api_key, base_url  # or they would stand in the clear among the locals of a traceback
        if key_header not in ("Authorization", "X-Agnic-Token"):
            raise ConfigError(f"key_header is 'Authorization' or 'X-Agnic-Token', not {key_header!r}")
        url = address_of(address, "AGNIC_BASE_URL", _OFFICIAL)
        super().__init__(
            name,
            url,
            key,
            key_variables=("AGNIC_TOKEN", "AGNIC_API_KEY"),
            key_needed=url == _OFFICIAL,
            quirks=_QUIRKS,
            headers={"X-Partner-Id": partner_id},
        )
        self._key_header = key_header

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller."""
        headers = super().headers()
        if self._key is None or self._key_header == "Authorization":
            return headers
        return {**self._headers, self._key_header: self._key}

    def decoder(self, chat: ChatRequest) -> AgnicDecoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return AgnicDecoder(self.name, choices_of(chat))


class AgnicDecoder(RememberingDecoder):
    """Decodes one stream of Agnic's; ``agnic.cost_usd``, on any event, takes precedence over ``usage.cost``.

    The former is what the wallet pays, the latter what the gateway's supplier charges.
    """

    def __init__(self, provider: str, choices: int = 1) -> None:
        super().__init__(provider, choices, "reasoning_details")
        self._paid: float | None = None

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event."""
        if '"agnic"' not in event.data:
            return super().decode(event)
        try:
            raw = parse_json(event.data)
        except ValueError:
            return super().decode(event)
        return self._decode_any(raw, event.event)

    def _decode_event(self, raw: dict[str, Any], kind: str) -> list[Chunk]:
        paid = cost_of(as_dict(raw.get("agnic")).get("cost_usd"))
        if paid is not None:
            self._paid = paid
            self._note_usage(self._usage or Usage())
        return super()._decode_event(raw, kind)

    def _note_usage(self, usage: Usage | None) -> None:
        if usage is not None and self._paid is not None:
            usage = attrs.evolve(usage, cost=self._paid)
        super()._note_usage(usage)
