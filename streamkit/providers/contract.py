"""The protocols that the rest of the package uses: ``Provider`` and ``Decoder``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from streamkit.errors import APIError
from streamkit.providers.call import ChatRequest
from streamkit.values.chunks import Chunk
from streamkit.wire.http import HttpRequest, ResponseInfo

__all__ = ["Decoder", "Event", "Provider", "class_of", "result_media_of"]


class Event(Protocol):
    """A server-sent event, as the transport parses it."""

    event: str
    data: str


class Decoder(Protocol):
    """Turns one stream's events into chunks; holds that stream's state and nothing else.

    Attributes:
        ended: the provider's terminator has come; nothing after it counts.
        whole: all that belongs to the reply has come, so that the end of the bytes may be its end as well, even an
            end by a failure of the connection.

    A decoder may also have ``enough``, a property: a clean end of the bytes counts as the end of the reply, though
    more was asked for, such as a second choice. Without it ``whole`` decides.
    """

    @property
    def ended(self) -> bool:
        """Whether the terminator has come."""

    @property
    def whole(self) -> bool:
        """Whether all of the reply has come."""

    def decode(self, event: Event) -> Sequence[Chunk]:
        """Return the chunks of one event; an event without content gives none.

        Raises:
            ProtocolError: it is not in the provider's format.
            APIError: the provider reports an error.
        """

    def decode_whole(self, body: Any) -> Sequence[Chunk]:
        """Return the chunks of a whole reply, decoded from JSON, that came instead of a stream."""

    def leftover(self) -> Sequence[Chunk]:
        """Return chunks for what was received but not delivered yet, such as usage; called when a reply fails."""

    def finish(self) -> Chunk:
        """Return the ``done`` chunk; called once, at the end of a reply that is ``ended``, ``whole`` or ``enough``."""


@runtime_checkable
class Provider(Protocol):
    """Knows one service: how to ask it and how to read its answers. Immutable, shared between threads.

    One that has a list of its models also has ``models_request``; see ``ListsModels`` in ``request.model_lists``. One
    that takes more than text as the result of a tool also has ``result_media``; see ``result_media_of``. One whose
    replies can be gone on with where they broke off has ``resumption`` or ``continuation``; see ``request.continuing``.

    Attributes:
        name: the first segment of model names, as in ``openai/gpt-4o-mini``.
    """

    @property
    def name(self) -> str:
        """The first segment of model names."""

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply.

        Raises:
            ConfigError: the key is missing, or the provider does not support a parameter.
        """

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""


def result_media_of(provider: object) -> frozenset[str]:
    """Return what a provider takes in the result of a tool beside text: ``image``, ``file``, both or nothing.

    It is the attribute ``result_media`` of its class, which providers of other packages need not have. A model may take
    less than its provider: then the model's server answers with an error.
    """
    return getattr(provider, "result_media", frozenset())


def class_of(provider: object) -> str:
    """Return the class of a provider with its module, to name whose code an error comes from."""
    return f"{type(provider).__module__}.{type(provider).__qualname__}"
