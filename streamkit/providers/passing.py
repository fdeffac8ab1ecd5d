"""A provider whose replies pass as they came: ``passing``."""

from __future__ import annotations

import re

from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider
from streamkit.providers.reply.passing import PassingDecoder, Telling
from streamkit.providers.wrapped import WrappedProvider

__all__ = ["FORMATS", "passing"]

_USAGE_OR_ERROR = r'"(?:usage|error)"\s*:\s*(?!null)'
_ODD = ('"usage"', '"error"')
#: What an event has that says more than the next piece of a reply, by the format. An event that only quotes such words
#: is decoded too, which does no harm. A word with an escape in it would be missed; no server writes one.
FORMATS: dict[str, Telling] = {
    "openai": Telling(
        re.compile(rf'{_USAGE_OR_ERROR}|"finish_reason"\s*:\s*(?!null)|"x_groq"|^[^{{]'),
        usual='"finish_reason":null',
        odd=(*_ODD, '"x_groq"'),
    ),
    "anthropic": Telling(
        re.compile(rf'{_USAGE_OR_ERROR}|"type"\s*:\s*"(?:message_\w+|error)"|^[^{{]'),
        usual='{"type":"content_block_delta"',
        odd=_ODD,
    ),
    "openai-responses": Telling(
        re.compile(
            rf'{_USAGE_OR_ERROR}|"type"\s*:\s*"(?:error|response\.(?:created|completed|incomplete|failed|done))"|^[^{{]'
        ),
        usual='{"type":"response.output_text.delta"',
        odd=_ODD,
    ),
}


class _Passing(WrappedProvider):
    """A provider that is in all as the one inside, but for the decoder of its replies."""

    def __init__(self, inner: Provider, telling: Telling) -> None:
        super().__init__(inner)
        self._telling = telling

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        return PassingDecoder(super().decoder(chat), self._telling)


def passing(provider: Provider, format: str) -> Provider:
    """Return the provider, whose events pass as they came where they are in a format.

    Args:
        provider: the provider.
        format: that of the client: ``openai`` (chat completions), ``openai-responses`` or ``anthropic``.

    Returns:
        The provider itself where its events are in another format. Otherwise one whose chunks have a ``PassedEvent`` as
        ``raw``; see ``PassingDecoder``.
    """
    if getattr(type(provider), "events_format", None) != format:
        return provider
    return _Passing(provider, FORMATS[format])
