"""The providers that a client knows, and which of them a model's name means: ``KnownProviders``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import attrs

from streamkit.errors import ConfigError, StreamkitError
from streamkit.providers import registry
from streamkit.providers.contract import Provider, class_of

__all__ = ["KnownProviders", "listed"]

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


Listed = list[Provider | _NoProvider] | _NoProvider


def listed(providers: Iterable[Provider]) -> Listed:
    """Return the providers for ``KnownProviders``; replace anything else, which may be a key, by a value to show."""
    if isinstance(providers, (Provider, str)) or not isinstance(providers, Iterable):
        return _NoProvider.of(providers)
    return [each if isinstance(each, Provider) else _NoProvider.of(each) for each in providers]


def _by_name(providers: Listed) -> dict[str, Provider]:
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


class KnownProviders:
    """The providers that a client was given, or all registered ones; and ``demo``, which is always there.

    Owner of the fields: ``_factories`` is a dict of which each single operation is atomic, with and without the GIL;
    the others never change.

    Args:
        given: what ``listed`` returned; ``None`` for all registered providers.
        demo_url: returns the address of the server of the ``demo/`` models, and starts it if need be.

    Raises:
        ConfigError: an item is not a provider, or two have the same name.

    Threads: safe to share.
    """

    def __init__(self, given: Listed | None, *, demo_url: Callable[[], str]) -> None:
        self._given: dict[str, Provider] | None = None if given is None else _by_name(given)
        self._demo_url = demo_url
        self._factories: dict[str, Callable[[], Provider]] = {}  # by provider name, for the registered ones used so far

    @property
    def given(self) -> bool:
        """Whether the client was given providers."""
        return self._given is not None

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
        raise ConfigError(f"no provider is known for the model name {model!r}; write it as provider/{model or 'MODEL'}")

    def _provider(self, name: str, model: str) -> Provider:
        provider = self._registered(name) if self._given is None else self._given.get(name)
        if provider is not None:
            return provider
        if name == "demo":
            demo: Provider = registry.load("openai_chat.demo:Demo")(self._demo_url())
            return demo
        raise ConfigError(f"unknown provider {name!r} in the model name {model!r}{self._hint_for(name, model)}")

    def _hint_for(self, name: str, model: str) -> str:
        """Return what an error adds for a provider that this client does not have."""
        known = self._known_names()
        made, meant = registry.made_by(name), registry.meant(name, known)
        if made is None and meant is not None:
            return f"; did you mean {'/'.join([meant, *model.split('/')[1:]])}?"
        return f"{f'; add {made} to its providers' if made else ''}; this client knows {', '.join(known)}"

    def _known_names(self) -> list[str]:
        return sorted({*(registry.names() if self._given is None else self._given), "demo"})

    def _registered(self, name: str) -> Provider | None:
        """Return a new instance of a registered provider, as the environment's key may have changed."""
        make = self._factories.get(name) or registry.factory(name)
        if make is None:
            return None
        self._factories[name] = make
        return make()

    def factories(self, name: str | None) -> dict[str, Callable[[], Provider]]:
        """Return a factory for each provider, or for the named one; the demo provider is included only by name.

        The providers are made here, in the caller's thread, because making one may import its module. The factory of a
        provider that cannot be made raises the error.

        Raises:
            ConfigError: the name is unknown.
        """
        names = registry.names() if self._given is None else list(self._given)
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

    def __repr__(self) -> str:
        given = vars(self).get("_given", {})  # missing where the constructor raised
        return "the environment's providers" if given is None else ", ".join(given) or "no providers"


def _itself(provider: Provider) -> Provider:
    return provider


def _raise(error: StreamkitError) -> Provider:
    raise error
