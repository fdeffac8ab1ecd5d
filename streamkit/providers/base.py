"""What a provider is to the rest of the package."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import attrs

from streamkit.chunks import Chunk
from streamkit.errors import APIError, ConfigError
from streamkit.wire import HttpRequest, Masked, ResponseInfo

__all__ = ["ChatRequest", "Decoder", "Event", "Provider", "base_url_of", "choices_of", "key_of"]


class Event(Protocol):
    """A server-sent event, as the transport parses it."""

    event: str
    data: str


@attrs.frozen
class ChatRequest:
    """A call as the user made it, with the model's name as the provider knows it.

    Attributes:
        model: without the provider's segment.
        messages: dicts of the OpenAI shape.
        params: the request's parameters, in OpenAI's names; none is ``None``.
        extra_body: goes into the request's body as it stands, over everything else.
        extra_headers: goes into the request's headers, over everything else.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = attrs.field(factory=dict)
    extra_body: Mapping[str, Any] = attrs.field(factory=dict)
    extra_headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)


def choices_of(chat: ChatRequest) -> int:
    """Return how many replies a call asks for."""
    choices = chat.extra_body.get("n", chat.params.get("n", 1))
    prompts = chat.extra_body.get("prompt")  # of text completions, which take a list of texts as well
    texts = [each for each in prompts if isinstance(each, (str, list))] if isinstance(prompts, (list, tuple)) else []
    return max(1, choices if isinstance(choices, int) else 1) * max(1, len(texts))


class Decoder(Protocol):
    """Turns one stream's events into chunks; holds that stream's state and nothing else.

    Attributes:
        ended: the provider's terminator has come; nothing after it counts.
        whole: all that belongs to the reply has come, so that the end of the bytes may be its end as well.
    """

    @property
    def ended(self) -> bool:
        """Whether the terminator has come."""

    @property
    def whole(self) -> bool:
        """Whether all of the reply has come."""

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event, none for one that carries nothing of the reply.

        Raises:
            ProtocolError: it is not in the provider's format.
            APIError: the provider reports an error.
        """

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a whole reply, decoded from JSON, that came instead of a stream."""

    def leftover(self) -> Sequence[Chunk]:
        """Return what came and no chunk has told yet, such as usage; asked when a reply ends in a failure."""

    def finish(self) -> Chunk:
        """Return the ``done`` chunk; called once, at the end of a reply that is ``ended`` or ``whole``."""


@runtime_checkable
class Provider(Protocol):
    """Knows one service: how to ask it and how to read its answers. Immutable, shared between threads.

    Attributes:
        name: the first segment of model names, as in ``openai/gpt-4o-mini``.
    """

    @property
    def name(self) -> str:
        """The first segment of model names."""

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply.

        Raises:
            ConfigError: the key is missing, or the provider has no word for a parameter.
        """

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""


def key_of(api_key: str | None, variable: str) -> Masked | None:
    """Return the key that was passed, or else the environment's, or ``None``.

    Raises:
        ConfigError: it holds a character that no header can carry; a line break is the common one.
    """
    key = Masked((os.environ.get(variable, "") if api_key is None else api_key).strip())
    del api_key  # or it would stand in the clear among the locals of the traceback
    if not key:
        return None
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"the API key for {variable} holds a line break or another character no key has")
    return key


def base_url_of(url: str) -> str:
    """Return a base URL without its last slash.

    Raises:
        ConfigError: it is not an absolute http or https URL.
    """
    if not re.match(r"https?://[^/\s]+", url) or not _has_valid_port(url):
        raise ConfigError(f"base_url is an absolute http or https URL such as https://host/v1, not {url!r}")
    return url.rstrip("/")


def _has_valid_port(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018 - looking at it is what checks it
    except ValueError:
        return False
    return True
