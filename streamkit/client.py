"""``Client``: resolve model names to providers, and start streams with shared settings."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError, StreamkitError
from streamkit.observing.observers import Observer
from streamkit.providers import registry
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.providers.contract import Provider, class_of
from streamkit.providers.request.openai_shape import check_parameters
from streamkit.providers.request.post import hidden_headers
from streamkit.settings import Retry, Timeout, shown
from streamkit.streaming.attempt import Job
from streamkit.streaming.stream import Stream, drain
from streamkit.transport.transport import Transport
from streamkit.values.attribute_hints import no_attribute
from streamkit.values.completion import Completion
from streamkit.values.messages import Message
from streamkit.values.typed_dicts import MessageDict, RequestParameters
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Unshown, WrongType

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from streamkit.models.catalog import Catalog
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:  # ``typing.get_type_hints`` evaluates the annotations
        def __class_getitem__(cls, item: Any) -> Any:
            return item


__all__ = ["Client", "complete", "default_client", "stream"]

Messages = str | Iterable[Message | MessageDict]
Stop = StopEvent | threading.Event


class _OfTheClient:
    """The default of an argument that the client has a setting for, where ``None`` means something else."""

    def __repr__(self) -> str:
        return "<the client's>"


_OF_THE_CLIENT: Any = _OfTheClient()

# Providers of bare model names, by prefix; the longest prefix wins.
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

_ASK = "client.stream(model, messages) and client.complete(model, messages) ask a model"
_HINTS = {
    "chat": _ASK,
    "completions": _ASK,
    "messages": _ASK,
    "responses": _ASK,
    "completion": "it is client.complete here",
    "generate_content": _ASK,
    "with_options": "timeout= and retry= are options of each call",
}


class Client:
    """Starts streams. Share one between threads; it keeps connections for the next stream.

    Args:
        providers: the services that it can use; ``None`` for all registered ones: the library's own and those of
            other packages (see ``streamkit.providers.registry``). Each reads its key from the environment when it is
            called.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for ``Retry()``.
        buffer: how many chunks wait for a slow consumer before the reader stops reading, from 1.
        buffer_bytes: the same in bytes of the events' text, from 1; the reader stops where either is reached. One
            chunk always fits, however large.
        observers: are called for each stream. With any, the price data of the extra ``prices`` are loaded at once.

    Raises:
        ConfigError: two providers have the same name, or a setting is impossible.
    """

    def __init__(
        self,
        providers: Iterable[Provider] | None = None,
        *,
        timeout: Timeout | float | None = Timeout(),
        retry: Retry | int | None = Retry(),
        buffer: int = 256,
        buffer_bytes: int = 4 * 1024 * 1024,
        observers: Sequence[Observer] = (),
    ) -> None:
        known = None if providers is None else _listed(providers)
        del providers  # or a key that is passed by mistake would stand in the clear among the locals of a traceback
        self._providers: dict[str, Provider] | None = None if known is None else _by_name(known)
        self._factories: dict[str, Callable[[], Provider]] = {}  # by provider name, for the registered ones used so far
        self._timeout = Timeout.of(timeout)
        self._retry = Retry() if retry is None else Retry.of(retry)
        self._buffer = _checked_buffer("buffer", "chunks", buffer)
        self._buffer_bytes = _checked_buffer("buffer_bytes", "bytes", buffer_bytes)
        self._observers = tuple(observers)
        if self._observers:  # one may ask for a cost when a stream ends, which is no time to import the price data
            late_import("streamkit.models.prices").load()
        self._transport = Transport()
        self._catalog: Catalog | None = None
        self._closed = False
        # The streams that may be open. No lock, as a forked child could inherit it locked. Each single operation on a
        # dict is atomic, with and without the GIL.
        self._streams: dict[int, weakref.ref[Stream]] = {}

    def stream(
        self,
        model: str,
        messages: Messages,
        *,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Stream:
        """Start a request, and return its stream at once.

        Args:
            model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
                name such as ``gpt-4o-mini`` is resolved by its prefix.
            messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
            stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
                at every 50 ms. Texts that end the reply go in ``stop_sequences``.
            timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
            retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
            buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
            buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
            extra_body: fields that are added to the body of the request unchanged, and replace others.
            extra_headers: headers that are added to the request, and replace others.
            params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
                ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
                ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
                leaves one out.

        Raises:
            ConfigError: the call is invalid; nothing was sent.

        Threads: any.
        """
        # Before anything can fail: what was passed would stand in the clear among the locals of the traceback.
        given, body, headers = Unshown(params), _unshown(extra_body), hidden_headers(extra_headers)
        del params, extra_body, extra_headers
        self._check_open()
        _check_types(model, stop)
        if isinstance(body, WrongType):
            raise ConfigError(f"extra_body is a dict, not {body}")
        if isinstance(headers, WrongType):
            raise ConfigError(f"extra_headers is a dict, not {headers}")
        provider, name = self.resolve(model)
        check_parameters(provider, given)
        given = Unshown({key: value for key, value in given.items() if value is not None})
        chat = ChatRequest(name, messages_of(messages), given, body, headers)
        request = provider.request(chat)
        if not isinstance(request, HttpRequest):
            raise ConfigError(f"{class_of(provider)}.request() returned {type(request).__name__}, not an HttpRequest")
        job = Job(
            chat,
            request,
            provider,
            self._transport,
            self._timeout if timeout is _OF_THE_CLIENT else Timeout.of(timeout),
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

    def complete(
        self,
        model: str,
        messages: Messages,
        *,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Completion:
        """Send a request, wait, and return the whole reply: ``stream()`` drained.

        Args:
            model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
                name such as ``gpt-4o-mini`` is resolved by its prefix.
            messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
            stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
                at every 50 ms. Texts that end the reply go in ``stop_sequences``.
            timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
            retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
            buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
            buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
            extra_body: fields that are added to the body of the request unchanged, and replace others.
            extra_headers: headers that are added to the request, and replace others.
            params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
                ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
                ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
                leaves one out.

        Raises:
            ConfigError: the call is invalid; nothing was sent.
            StreamCancelledError: the reply was stopped before it was whole; ``error.partial`` has what came.
            StreamError: the reply failed; ``error.partial`` has what came before.

        An exception that interrupts the reply, such as ``KeyboardInterrupt``, gets ``partial`` too: see
        ``Stream.collect``.

        Threads: any.
        """
        __tracebackhide__ = True
        options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
        options.update(extra_body=extra_body, extra_headers=extra_headers)
        del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
        started = self.stream(model, messages, **options)
        del self, messages, options  # an error's traceback keeps this frame
        return drain(started)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _HINTS)

    def _remember(self, started: Stream) -> None:
        key, streams = id(started), self._streams
        streams[key] = weakref.ref(started, partial(streams.pop, key))
        if self._closed:  # another thread closed the client before this stream was in the list
            started.cancel()

    def resolve(self, model: str) -> tuple[Provider, str]:
        """Return the provider of a model's name, and the rest of the name.

        Raises:
            ConfigError: no provider is known for it.
        """
        segment, slash, rest = model.partition("/")
        if not slash:
            segment, rest = self._provider_of_bare(model), model
        if not rest:
            raise ConfigError(f"{model!r} names no model; write it as {segment}/MODEL")
        return self._provider(segment, model), rest

    def _provider_of_bare(self, model: str) -> str:
        """Return the name of the provider of a model's name without a slash."""
        matching = [prefix for prefix in _PREFIXES if model.startswith(prefix)]
        if matching:
            return _PREFIXES[max(matching, key=len)]
        known = self._known_names()
        if model in known:
            raise ConfigError(f"{model!r} is a provider, not a model; write a model's name as {model}/MODEL")
        segment, colon, rest = model.partition(":")  # as some libraries write it; other names have a colon too
        if colon and segment in known:
            raise ConfigError(f"{model!r} is not the name of a model; did you mean {segment}/{rest}?")
        raise ConfigError(f"no provider is known for the model name {model!r}; write it as provider/{model}")

    def _provider(self, name: str, model: str) -> Provider:
        provider = self._registered(name) if self._providers is None else self._providers.get(name)
        if provider is not None:
            return provider
        if name == "demo":
            server = late_import("streamkit.testing.demo").demo_server()
            demo: Provider = registry.load("openai_chat.demo:Demo")(server.url)
            return demo
        raise ConfigError(f"unknown provider {name!r} in the model name {model!r}{self._hint_for(name, model)}")

    def _hint_for(self, name: str, model: str) -> str:
        """Return what an error adds for a provider that this client does not have."""
        known = self._known_names()
        if (made := registry.made_by(name)) is not None:
            hint = f"; add {made} to its providers"
        elif (meant := registry.meant(name, known)) is not None:
            hint = f"; did you mean {'/'.join([meant, *model.split('/')[1:]])}?"
        else:
            hint = ""
        return f"{hint}; this client knows {', '.join(known)}"

    def _known_names(self) -> list[str]:
        return sorted({*(registry.names() if self._providers is None else self._providers), "demo"})

    def _registered(self, name: str) -> Provider | None:
        """Return a new instance of a registered provider, as the environment's key may have changed."""
        make = self._factories.get(name) or registry.factory(name)
        if make is None:
            return None
        self._factories[name] = make
        return make()

    @property
    def models(self) -> Catalog:
        """The models of this client's providers."""
        if self._catalog is None:
            catalog = late_import("streamkit.models.catalog")  # few programs need it
            self._catalog = catalog.Catalog(self._factories_of, self._transport)
        return self._catalog

    def _factories_of(self, name: str | None) -> dict[str, Callable[[], Provider]]:
        """Return a factory for each provider, or for the named one; the demo provider is included only by name.

        The providers are made here, in the caller's thread, because making one may import its module. The factory of a
        provider that cannot be made raises the error.

        Raises:
            ConfigError: the name is unknown, or this client is closed.
        """
        self._check_open()
        names = registry.names() if self._providers is None else list(self._providers)
        if name is None:
            return {each: self._made(each) for each in names}
        if name not in names and name != "demo":
            raise ConfigError(f"unknown provider {name!r}{self._hint_for(name, name)}")
        return {name: self._made(name)}

    def _made(self, name: str) -> Callable[[], Provider]:
        try:
            return partial(_itself, self._provider(name, name))
        except StreamkitError as error:
            return partial(_raise, error)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("this client was closed; make a new one")

    def close(self) -> None:
        """Cancel open streams and close the connections. Closing again does nothing.

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
        known = vars(self)  # not all of it where the constructor raised
        state = "closed" if known.get("_closed") else "open"
        providers = known.get("_providers")
        names = "the environment's providers" if providers is None else ", ".join(providers)
        return f"<Client {state}, {names or 'no providers'}>"


@attrs.frozen
class _NoProvider:
    """Replaces what was passed in place of a provider: it may be a key, which must not show.

    Attributes:
        what: what an error says that it is; of a name, only one that is a provider's is shown.
        instead: what to pass, such as ``providers.OpenAI()``.
    """

    what: str
    instead: str

    @classmethod
    def of(cls, value: object) -> _NoProvider:
        if isinstance(value, str) and (made := registry.made_by(value)) is not None:
            return cls(f"the name {value!r}", made)
        if isinstance(value, type) and hasattr(value, "decoder"):
            place = "providers." if value.__module__.startswith("streamkit.providers.") else ""
            return cls(f"the class {value.__name__}", f"{place}{value.__name__}()")
        return cls(f"a value of the type {type(value).__name__}", "providers.OpenAI()")


def _listed(providers: Iterable[Provider]) -> list[Provider | _NoProvider] | _NoProvider:
    """Return the providers, with a ``_NoProvider`` in the place of anything else."""
    if isinstance(providers, (Provider, str)) or not isinstance(providers, Iterable):
        return _NoProvider.of(providers)
    return [each if isinstance(each, Provider) else _NoProvider.of(each) for each in providers]


def _by_name(providers: list[Provider | _NoProvider] | _NoProvider) -> dict[str, Provider]:
    if isinstance(providers, _NoProvider):
        raise ConfigError(
            f"providers is a list of providers, not {providers.what}: pass a list such as [{providers.instead}], or "
            "nothing for all that the environment has keys for"
        )
    by_name: dict[str, Provider] = {}
    for provider in providers:
        if isinstance(provider, _NoProvider):
            raise ConfigError(f"{provider.what} is not a provider; pass instances such as {provider.instead}")
        if not isinstance(provider.name, str) or not provider.name:
            raise ConfigError(f"{class_of(provider)} has no name: its attribute name is {provider.name!r}")
        if provider.name in by_name:
            raise ConfigError(f"two providers are called {provider.name!r}; give one of them another name=")
        by_name[provider.name] = provider
    return by_name


def _itself(provider: Provider) -> Provider:
    return provider


def _raise(error: StreamkitError) -> Provider:
    raise error


def _check_types(model: object, stop: object) -> None:
    if not isinstance(model, str):
        raise ConfigError(f"model is a name such as 'openai/gpt-4o-mini', not {type(model).__name__}")
    if stop is not None and not isinstance(stop, threading.Event):
        raise ConfigError(
            f"stop is a StopEvent or a threading.Event, not {type(stop).__name__}; "
            "texts that end the reply go in stop_sequences="
        )


def _unshown(extra_body: object) -> Unshown | WrongType:
    if extra_body is None:
        return Unshown()
    return Unshown(extra_body) if isinstance(extra_body, Mapping) else WrongType.of(extra_body)


def _checked_buffer(name: str, unit: str, given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{name} is a number of {unit} from 1, not {shown(given)}")
    return given


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


def stream(
    model: str,
    messages: Messages,
    *,
    stop: Stop | None = None,
    timeout: Timeout | float | None = _OF_THE_CLIENT,
    retry: Retry | int | None = None,
    buffer: int | None = None,
    buffer_bytes: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    extra_headers: Mapping[str, str] | None = None,
    **params: Unpack[RequestParameters],
) -> Stream:
    """Start a request, and return its stream at once.

    The client is the module's own, with the default settings: ``Timeout()``, ``Retry()``.

    Args:
        model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
            name such as ``gpt-4o-mini`` is resolved by its prefix.
        messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
        stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
            at every 50 ms. Texts that end the reply go in ``stop_sequences``.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
        buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
        buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
        extra_body: fields that are added to the body of the request unchanged, and replace others.
        extra_headers: headers that are added to the request, and replace others.
        params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
            ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
            ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
            leaves one out.

    Raises:
        ConfigError: the call is invalid; nothing was sent.

    Threads: any.
    """
    options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
    options.update(extra_body=extra_body, extra_headers=extra_headers)
    del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
    return default_client().stream(model, messages, **options)


def complete(
    model: str,
    messages: Messages,
    *,
    stop: Stop | None = None,
    timeout: Timeout | float | None = _OF_THE_CLIENT,
    retry: Retry | int | None = None,
    buffer: int | None = None,
    buffer_bytes: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    extra_headers: Mapping[str, str] | None = None,
    **params: Unpack[RequestParameters],
) -> Completion:
    """Send a request, wait, and return the whole reply: ``stream()`` drained.

    The client is the module's own, with the default settings: ``Timeout()``, ``Retry()``.

    Args:
        model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
            name such as ``gpt-4o-mini`` is resolved by its prefix.
        messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
        stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
            at every 50 ms. Texts that end the reply go in ``stop_sequences``.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
        buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
        buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
        extra_body: fields that are added to the body of the request unchanged, and replace others.
        extra_headers: headers that are added to the request, and replace others.
        params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
            ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
            ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
            leaves one out.

    Raises:
        ConfigError: the call is invalid; nothing was sent.
        StreamCancelledError: the reply was stopped before it was whole; ``error.partial`` has what came.
        StreamError: the reply failed; ``error.partial`` has what came before.

    An exception that interrupts the reply, such as ``KeyboardInterrupt``, gets ``partial`` too: see
    ``Stream.collect``.

    Threads: any.
    """
    __tracebackhide__ = True
    options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
    options.update(extra_body=extra_body, extra_headers=extra_headers)
    del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
    started = default_client().stream(model, messages, **options)
    del messages, options  # an error's traceback keeps this frame
    return drain(started)
