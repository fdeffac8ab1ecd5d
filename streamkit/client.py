"""``Client``: which provider a model's name means, and everything that is common to its streams."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError
from streamkit.observing.observers import Observer
from streamkit.providers import registry
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.providers.contract import Provider
from streamkit.providers.request.openai_shape import check_parameters
from streamkit.settings import Retry, Timeout
from streamkit.streaming.attempt import Job
from streamkit.streaming.stream import Stream
from streamkit.transport.transport import Transport
from streamkit.values.completion import Completion
from streamkit.values.messages import Message
from streamkit.wire.secrets import Masked

if TYPE_CHECKING:
    from streamkit.models.catalog import Catalog

__all__ = ["Client", "complete", "default_client", "stream"]

Messages = str | Iterable[Message | Mapping[str, Any]]
Stop = StopEvent | threading.Event

_DEFAULT: Any = object()  # stands for "the client's own", as None has a meaning for a timeout

# Bare names, by what they begin with; the longest match counts.
_PREFIXES = {
    "chatgpt-": "openai",
    "claude-": "anthropic",
    "codestral-": "mistral",
    "command-": "cohere",
    "deepseek-": "deepseek",
    "devstral-": "mistral",
    "gemini-": "gemini",
    "glm-": "zai",
    "gpt-": "openai",
    "grok-": "xai",
    "kimi-": "moonshot",
    "magistral-": "mistral",
    "ministral-": "mistral",
    "mistral-": "mistral",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "pixtral-": "mistral",
    "qwen": "alibaba",
    "sonar": "perplexity",
}


class Client:
    """Starts streams. Share one between threads; it keeps connections for the next stream.

    Args:
        providers: which services it knows; ``None`` for all that are registered, the library's own and those of
            other packages (see ``streamkit.providers.registry``), each with the key that the environment has for
            it when it is called.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits.
        retry: a ``Retry``, or a number of tries.
        buffer: how many chunks wait for a slow consumer before the reader stops reading, from 1.
        buffer_bytes: the same in bytes of the events' text, from 1; the reader stops where either is reached. One
            chunk always fits, however large.
        observers: are told of each stream.

    Raises:
        ConfigError: two providers have the same name, or a setting is impossible.
    """

    def __init__(
        self,
        providers: Iterable[Provider] | None = None,
        *,
        timeout: Timeout | float | None = _DEFAULT,
        retry: Retry | int | None = None,
        buffer: int = 256,
        buffer_bytes: int = 4 * 1024 * 1024,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._providers: dict[str, Provider] | None = None if providers is None else _by_name(providers)
        self._factories: dict[str, Callable[[], Provider]] = {}  # of the registered ones that were asked for
        self._timeout = Timeout() if timeout is _DEFAULT else Timeout.of(timeout)
        self._retry = Retry() if retry is None else Retry.of(retry)
        self._buffer = _checked_buffer("buffer", "chunks", buffer)
        self._buffer_bytes = _checked_buffer("buffer_bytes", "bytes", buffer_bytes)
        self._observers = tuple(observers)
        self._transport = Transport()
        self._catalog: Catalog | None = None
        self._closed = False
        # The streams that may be open. No lock, for a forked child could inherit it locked; each step on a
        # dict is one step under the interpreter's lock.
        self._streams: dict[int, weakref.ref[Stream]] = {}

    def stream(
        self,
        model: str,
        messages: Messages,
        *,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _DEFAULT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Stream:
        """Start a reply, and return it at once.

        Args:
            model: ``provider/model``; only the first segment is ours. A bare name such as ``gpt-4o-mini``
                is resolved by its beginning.
            messages: a string (one user message), or a list of ``Message`` or dicts in the OpenAI shape.
            stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which
                is looked at every 50 ms.
            timeout, retry, buffer, buffer_bytes: in place of the client's.
            extra_body, extra_headers: go into the request as they stand.
            params: the request's parameters in OpenAI's names; ``None`` leaves one out.

        Raises:
            ConfigError: the call cannot work as it stands; nothing was sent.

        Threads: any.
        """
        self._check_open()
        _check_types(model, stop, extra_body, extra_headers)
        provider, name = self.resolve(model)
        check_parameters(provider, params)
        chat = ChatRequest(
            name,
            messages_of(messages),
            {key: value for key, value in params.items() if value is not None},
            extra_body or {},
            {name: Masked(text) if isinstance(text, str) else text for name, text in (extra_headers or {}).items()},
        )
        job = Job(
            chat,
            provider.request(chat),
            provider,
            self._transport,
            self._timeout if timeout is _DEFAULT else Timeout.of(timeout),
            self._retry if retry is None else Retry.of(retry),
        )
        started = Stream(
            job,
            model=name,
            buffer=self._buffer if buffer is None else _checked_buffer("buffer", "chunks", buffer),
            buffer_bytes=(
                self._buffer_bytes if buffer_bytes is None else _checked_buffer("buffer_bytes", "bytes", buffer_bytes)
            ),
            stop=stop,
            observers=self._observers,
        )
        self._remember(started)
        return started

    def complete(self, model: str, messages: Messages, **options: Any) -> Completion:
        """Return a whole reply: ``stream()`` drained, with the same arguments, limits and errors."""
        with self.stream(model, messages, **options) as started:
            return started.collect()

    def _remember(self, started: Stream) -> None:
        key, streams = id(started), self._streams
        streams[key] = weakref.ref(started, lambda _: streams.pop(key, None))
        if self._closed:  # by another thread, which did not see this stream yet
            started.cancel()

    def resolve(self, model: str) -> tuple[Provider, str]:
        """Return the provider of a model's name, and the rest of the name.

        Raises:
            ConfigError: no provider is known for it.
        """
        segment, slash, rest = model.partition("/")
        if not slash:
            segment, rest = _provider_by_prefix(model), model
        if not rest:
            raise ConfigError(f"{model!r} names no model; write it as {segment}/MODEL")
        return self._provider(segment, model), rest

    def _provider(self, name: str, model: str) -> Provider:
        known = self._registered(name) if self._providers is None else self._providers.get(name)
        if known is not None:
            return known
        if name == "demo":
            from streamkit.providers.openai_chat.demo import Demo
            from streamkit.testing import demo_server

            return Demo(demo_server().url)
        names = ", ".join(sorted({*(registry.names() if self._providers is None else self._providers), "demo"}))
        raise ConfigError(f"unknown provider {name!r} in the model name {model!r}; this client knows {names}")

    def _registered(self, name: str) -> Provider | None:
        """Return a provider that is registered, made anew: the environment may have got its key since."""
        make = self._factories.get(name) or registry.factory(name)
        if make is None:
            return None
        self._factories[name] = make
        return make()

    @property
    def models(self) -> Catalog:
        """The models of this client's providers."""
        from streamkit.models.catalog import Catalog  # which few programs need, and none to start

        if self._catalog is None:
            self._catalog = Catalog(self._factories_of, self._transport)
        return self._catalog

    def _factories_of(self, name: str | None) -> dict[str, Callable[[], Provider]]:
        """Return what makes each provider, or the one of a name; the demo's is among them only by name.

        Raises:
            ConfigError: nobody has the name, or this client is closed.
        """
        self._check_open()
        if self._providers is not None:
            known: dict[str, Callable[[], Provider]] = {
                each: partial(_itself, provider) for each, provider in self._providers.items()
            }
        else:
            known = {each: partial(self._made, each) for each in registry.names()}
        if name is None:
            return known
        if name == "demo" and name not in known:
            return {name: partial(self._made, name)}
        if name not in known:
            raise ConfigError(f"unknown provider {name!r}; this client knows {', '.join(sorted({*known, 'demo'}))}")
        return {name: known[name]}

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("this client was closed; make a new one")

    def _made(self, name: str) -> Provider:
        return self._provider(name, name)

    def close(self) -> None:
        """Cancel what is open and close the connections. Closing again changes nothing.

        Threads: any; waits for no stream.
        """
        self._closed = True
        for reference in list(self._streams.values()):
            started = reference()
            if started is not None and started.status == "open" and not started.inherited:
                started.cancel()
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        names = "the environment's providers" if self._providers is None else ", ".join(self._providers)
        return f"<Client {state}, {names or 'no providers'}>"


def _by_name(providers: Iterable[Provider]) -> dict[str, Provider]:
    if isinstance(providers, Provider) or not isinstance(providers, Iterable):
        raise ConfigError(
            f"providers is a list of providers, not {type(providers).__name__}; put a single one into a list"
        )
    by_name: dict[str, Provider] = {}
    for provider in providers:
        if not isinstance(provider, Provider):
            raise ConfigError(f"{provider!r} is not a provider; pass instances such as providers.OpenAI()")
        if provider.name in by_name:
            raise ConfigError(f"two providers are called {provider.name!r}; give one of them another name=")
        by_name[provider.name] = provider
    return by_name


def _itself(provider: Provider) -> Provider:
    return provider


def _check_types(model: object, stop: object, extra_body: object, extra_headers: object) -> None:
    if not isinstance(model, str):
        raise ConfigError(f"model is a name such as 'openai/gpt-4o-mini', not {type(model).__name__}")
    if stop is not None and not isinstance(stop, threading.Event):
        raise ConfigError(
            f"stop is a StopEvent or a threading.Event, not {type(stop).__name__}; "
            "texts that end the reply go in stop_sequences="
        )
    for option, given in (("extra_body", extra_body), ("extra_headers", extra_headers)):
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"{option} is a dict, not {type(given).__name__}")


def _checked_buffer(name: str, unit: str, given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{name} is a number of {unit} from 1, not {given!r}")
    return given


def _provider_by_prefix(model: str) -> str:
    matching = [prefix for prefix in _PREFIXES if model.startswith(prefix)]
    if not matching:
        raise ConfigError(f"no provider is known for the model name {model!r}; write it as provider/{model}")
    return _PREFIXES[max(matching, key=len)]


_default: Client | None = None


def default_client() -> Client:
    """Return the client that ``streamkit.stream()`` and ``streamkit.complete()`` use, made on first use."""
    global _default
    # No lock, which a forked child could inherit locked. Two threads that come first at once may each make
    # one; the one that is not kept goes when its stream does.
    client = _default
    if client is None:
        client = _default = Client()
    return client


def stream(model: str, messages: Messages, **options: Any) -> Stream:
    """Start a reply with the default client; see ``Client.stream``."""
    return default_client().stream(model, messages, **options)


def complete(model: str, messages: Messages, **options: Any) -> Completion:
    """Return a whole reply with the default client; see ``Client.complete``."""
    return default_client().complete(model, messages, **options)
