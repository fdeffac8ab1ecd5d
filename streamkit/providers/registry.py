"""Find providers by name: the library's own, the services of the table, and those of other packages.

A package registers a provider by an entry point of the group ``streamkit.providers``: its name is the first
segment of model names, its value a class or a function that takes no argument and returns a ``Provider``::

    [options.entry_points]
    streamkit.providers =
        acme = acme_streamkit:Acme

A provider is imported when its name is first used. A package cannot use a name of the library's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.providers.contract import Provider, class_of
from streamkit.providers.request.hints import closest

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["BUILT_IN", "GROUP", "factory", "is_own", "load", "made_by", "meant", "names"]

#: The group of entry points by which a package registers a provider.
GROUP = "streamkit.providers"

#: The library's own providers: the name, and where the class is, as ``module:class`` below this package.
BUILT_IN = {
    "agnic": "openai_chat.agnic:Agnic",
    "anthropic": "anthropic:Anthropic",
    "azure": "openai_chat.azure:AzureOpenAI",
    "bedrock": "bedrock:Bedrock",
    "cohere": "cohere:Cohere",
    "gemini": "gemini:Gemini",
    "gemini-interactions": "gemini_interactions:GeminiInteractions",
    "mistral": "openai_chat.mistral:Mistral",
    "ollama": "ollama:Ollama",
    "openai": "openai_chat:OpenAI",
    "openai-completions": "openai_chat.text_completions:OpenAICompletions",
    "openai-responses": "openai_responses:OpenAIResponses",
}

# Names that other libraries give to providers.
_OTHER_NAMES = {
    "aws": "bedrock",
    "azure_openai": "azure",
    "bedrock_converse": "bedrock",
    "claude": "anthropic",
    "cohere_chat": "cohere",
    "dashscope": "alibaba",
    "fireworks_ai": "fireworks",
    "google": "gemini",
    "google-gla": "gemini",
    "google-vertex": "gemini",
    "google_genai": "gemini",
    "google_vertexai": "gemini",
    "grok": "xai",
    "hf": "huggingface",
    "hosted_vllm": "vllm",
    "kimi": "moonshot",
    "litellm_proxy": "litellm",
    "llama.cpp": "llamacpp",
    "lm_studio": "lmstudio",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "qwen": "alibaba",
    "text-completion-openai": "openai-completions",
    "together_ai": "together",
    "vertex_ai": "gemini",
}

_RESERVED = "demo"  # the model that is always there, which the client makes


def names() -> list[str]:
    """Return the sorted names of all registered providers, without importing any package."""
    return sorted({*BUILT_IN, *_services(), *(point.name for point in _entry_points())} - {_RESERVED})


def meant(name: str, known: Collection[str]) -> str | None:
    """Return the known provider that an unknown name stands for: one misspelt, or another library's; else ``None``."""
    name = name.lower()
    ours = _OTHER_NAMES.get(name, name)
    return ours if ours in known else closest(name, known)


def made_by(name: str) -> str | None:
    """Return the code that makes a provider of the library, such as ``providers.OpenAI()``; ``None`` for any other."""
    if name in _services():
        return f"providers.OpenAICompatible({name!r})"
    return f"providers.{BUILT_IN[name].partition(':')[2]}()" if name in BUILT_IN else None


def is_own(name: str) -> bool:
    """Return whether a name is that of one of the library's own providers."""
    return name in BUILT_IN or name in _services()


def factory(name: str) -> Callable[[], Provider] | None:
    """Return a function that makes the named provider with the environment's key; ``None`` if the name is unknown.

    Raises:
        ConfigError: the package that registers it is broken.
    """
    if name in BUILT_IN:
        made: Callable[[], Provider] = load(BUILT_IN[name])
        return made
    if name in _services():
        return partial(load("openai_chat.compatible:OpenAICompatible"), name)
    points = [point for point in _entry_points() if point.name == name != _RESERVED]
    return _of_packages(name, points) if points else None


def load(place: str) -> Any:
    """Import a class of this package by ``module:class``."""
    module, _, kind = place.partition(":")
    return getattr(late_import(f"streamkit.providers.{module}"), kind)


def _services() -> Collection[str]:
    services: Collection[str] = load("openai_chat.services:SERVICES")
    return services


def _entry_points() -> list[EntryPoint]:
    metadata = late_import("importlib.metadata")  # takes longer than the rest of this module, and few need it
    try:
        return list(metadata.entry_points(group=GROUP))
    except Exception:  # one package's broken file makes it fail for all
        return [point for package in metadata.distributions() for point in _entry_points_of(package)]


def _entry_points_of(package: Distribution) -> list[EntryPoint]:
    try:
        return list(package.entry_points.select(group=GROUP))
    except Exception:
        return []  # a package whose metadata are broken registers nothing


def _of_packages(name: str, points: list[EntryPoint]) -> Callable[[], Provider]:
    if len({point.value for point in points}) > 1:
        packages = ", ".join(sorted(_package(point) for point in points))
        raise ConfigError(f"several packages register a provider {name!r}: {packages}; uninstall all but one of them")
    where = f"the provider {name!r} of {_package(points[0])}"
    try:
        loaded = points[0].load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: a package must not end the program
        raise ConfigError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    return lambda: _made(loaded, where)


def _made(loaded: Any, where: str) -> Provider:
    try:
        provider = loaded() if callable(loaded) else loaded
    except (ConfigError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise ConfigError(f"{where} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(provider, Provider):
        raise ConfigError(f"{where} is no provider but a {type(provider).__name__}")
    if not isinstance(provider.name, str) or not provider.name:
        raise ConfigError(f"{where} has no name: the attribute name of {class_of(provider)} is {provider.name!r}")
    return provider


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist is not None else point.value
