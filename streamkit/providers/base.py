"""What a provider is to the rest of the package."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

import attrs

from streamkit.errors import APIError, ConfigError
from streamkit.values.chunks import Chunk
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.secrets import Masked, without_userinfo

__all__ = [
    "ChatRequest",
    "Decoder",
    "Event",
    "Provider",
    "address_of",
    "base_url_of",
    "choices_of",
    "hidden",
    "is_openai",
    "key_of",
    "made_with",
    "name_of",
    "secret_of",
    "shown_url",
]


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


class _NoText(Masked):
    """In place of a key that is no text: the name of its type, for the error."""

    __slots__ = ()


def hidden(api_key: str | None) -> Masked | None:
    """Return a key that was passed so that it does not show; whether it can be one, ``key_of`` judges."""
    if api_key is None:
        return None
    return Masked(api_key) if isinstance(api_key, str) else _NoText(type(api_key).__name__)


def key_of(api_key: str | None, variable: str) -> Masked | None:
    """Return the key that was passed, or else the environment's, or ``None``.

    Raises:
        ConfigError: it is no text, or holds a character that no header can carry; a line break is the common one.
    """
    given = api_key if isinstance(api_key, _NoText) else hidden(api_key)
    del api_key  # or it would stand in the clear among the locals of the traceback
    return secret_of(hidden(os.environ.get(variable)) if given is None else given, f"the API key for {variable}")


def secret_of(given: Masked | None, what: str) -> Masked | None:
    """Return what ``hidden`` hid, without blanks around it; ``None`` where there is nothing.

    Raises:
        ConfigError: it is no text, or holds a character that no header can carry; ``what`` says which it is.
    """
    if isinstance(given, _NoText):
        raise ConfigError(f"{what} is text, not {given}")
    key = Masked((given or "").strip())
    if not key:
        return None
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"{what} holds a line break or another character no key has")
    return key


def name_of(name: str) -> str:
    """Return the name of a provider.

    Raises:
        ConfigError: no model's name can begin with it.
    """
    if not isinstance(name, str) or not name.strip() or "/" in name:
        raise ConfigError(f"the name of a provider is text without a slash, such as 'openai', not {name!r}")
    return name


def made_with(kind: type, name: str, argument: str) -> str:
    """Return where an argument of a provider goes: ``pass providers.OpenAI(api_key=...) to a Client``."""
    own = inspect.signature(kind).parameters
    if argument not in own and not any(each.kind is each.VAR_KEYWORD for each in own.values()):
        return f"{kind.__name__} takes none; leave it out"
    given = f"{argument}=..."
    if "name" in own and own["name"].default != name:
        given = f"name={name!r}, {given}"
    place = "providers." if kind.__module__.startswith("streamkit.providers.") else ""
    return f"pass {place}{kind.__name__}({given}) to a Client"


def address_of(base_url: str | None, variable: str, default: str) -> str:
    """Return the base URL that was passed, or else the environment's, or the default; see ``base_url_of``."""
    if not base_url and (given := os.environ.get(variable)):
        return base_url_of(given, variable)
    return base_url_of(base_url or default)


def base_url_of(url: str, source: str = "base_url") -> str:
    """Return a base URL without its last slash and without blanks around it.

    Args:
        source: the argument or the variable that it comes from, for errors.

    Raises:
        ConfigError: it is not an absolute http or https URL, or has more than scheme, host and path.
    """
    if not isinstance(url, str) or not re.match(r"\s*https?://[^/\s]+", url) or not _has_valid_port(url.strip()):
        raise ConfigError(f"{source} is an absolute http or https URL such as https://host/v1, not {shown_url(url)}")
    url = url.strip()
    if "@" in urlsplit(url).netloc:
        raise ConfigError(
            f"{source} takes no user name and password, as in {shown_url(url)}: the key goes in api_key= or in a "
            "variable of its own"
        )
    if "?" in url or "#" in url:
        raise ConfigError(f"{source} takes no query and no fragment, as in {shown_url(url)}: paths are added to it")
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", url):
        raise ConfigError(f"{source} holds a blank or a control character: {shown_url(url)}")
    return url.rstrip("/")


def shown_url(url: Any) -> str:
    """Return what an error may show of a URL: the parts that may hold a secret are left out."""
    if not isinstance(url, str):
        return repr(url)
    return repr(re.sub(r"[?#].*", "***", without_userinfo(url), flags=re.DOTALL))


def is_openai(base_url: str) -> bool:
    """Return whether a base URL is OpenAI's own, of whichever region."""
    return f".{urlsplit(base_url).hostname}".endswith(".api.openai.com")


def _has_valid_port(url: str) -> bool:
    try:
        urlsplit(url).port  # noqa: B018 - looking at it is what checks it
    except ValueError:
        return False
    return True
