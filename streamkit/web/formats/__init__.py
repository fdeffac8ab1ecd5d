"""Chunks to bytes for browsers and other clients, and their requests to messages: without I/O, threads or a clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import ConfigError, RequestError
from streamkit.values.messages import Message
from streamkit.web.formats.anthropic import AnthropicFormat
from streamkit.web.formats.base import Format, Refusal
from streamkit.web.formats.data import DataFormat
from streamkit.web.formats.events import EventsFormat
from streamkit.web.formats.openai import OpenAIFormat
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.responses import ResponsesFormat
from streamkit.web.formats.text import TextFormat
from streamkit.web.formats.ui import UiFormat

__all__ = [
    "AnthropicFormat",
    "DataFormat",
    "EventsFormat",
    "Format",
    "Limits",
    "OpenAIFormat",
    "Refusal",
    "RequestError",
    "ResponsesFormat",
    "TextFormat",
    "UiFormat",
    "WebRequest",
    "format_class",
    "format_of",
    "messages_in",
]

_FORMATS: dict[str, type[Format]] = {
    "ui": UiFormat,
    "text": TextFormat,
    "data": DataFormat,
    "openai": OpenAIFormat,
    "events": EventsFormat,
    "anthropic": AnthropicFormat,
    "responses": ResponsesFormat,
}


def format_class(name: str) -> type[Format]:
    """Return the class of a format: ``ui``, ``text``, ``data``, ``openai``, ``responses``, ``anthropic`` or ``events``.

    Raises:
        ConfigError: there is no such format.
    """
    try:
        return _FORMATS[name]
    except (KeyError, TypeError):
        raise ConfigError(f"there is no format {name!r:.60}; there are {', '.join(_FORMATS)}") from None


def format_of(name: str, **options: Any) -> Format:
    """Return the encoder of one stream.

    Args:
        name: ``ui`` for ``useChat`` of the AI SDK from version 5 on, ``data`` for that of version 4, ``text``,
            ``openai``, ``responses``, ``anthropic``, or ``events`` for an ``EventSource``.
        options: of the format, such as ``show_errors=True``.

    Raises:
        ConfigError: there is no such format, or it has no such option.
    """
    kind = format_class(name)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(f"the format {name!r}: {str(error).partition('__init__() ')[2] or error}") from None


def messages_in(body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None) -> list[Message]:
    """Return the messages of a body that ``useChat`` or ``useCompletion`` sends, for a route without a store.

    ::

        client.stream(MODEL, messages_in(request.get_data()))

    Args:
        body: as it came, or decoded.
        limits: what is too much.

    Raises:
        RequestError: it cannot be taken; ``status`` is what to answer with.
    """
    return list(UiFormat.decode_request(body, limits=limits).messages)
