"""The providers of a configuration: ``read_upstreams``, and what makes one of them, ``provider_of``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.config.tables import Document, Table, near
from streamkit.gateway.config.values import UpstreamConfig
from streamkit.providers import registry
from streamkit.providers.contract import Provider
from streamkit.providers.request.addresses import base_url_of
from streamkit.wire.secrets import Masked

__all__ = ["COMPATIBLE", "provider_of", "read_upstreams", "upstream_of"]

#: The kind of a server that speaks OpenAI's format and is not known by name.
COMPATIBLE = "compatible"

_DEMO = "demo"
_SECRET_OPTIONS = frozenset({"access_key", "secret_key", "session_token", "token"})
# The further arguments of each kind that are text; of the others there are none.
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "agnic": ("partner_id",),
    "anthropic": ("version",),
    "azure": ("api_version", "token"),
    "bedrock": ("region", "profile", "access_key", "secret_key", "session_token"),
    "gemini": ("project", "location", "token"),
    "openai": ("organization", "project"),
    "openai-responses": ("organization", "project"),
}


def _kinds() -> list[str]:
    """Return the names of all kinds."""
    return sorted({*registry.names(), COMPATIBLE})


def read_upstreams(document: Document, tables: Table) -> dict[str, UpstreamConfig]:
    """Return the providers of ``[providers]`` by name; what is wrong is noted."""
    found = {}
    for name, value in tables.tables():
        if not isinstance(value, dict):
            tables.add(name, f"has to be a table, such as [providers.{name}]")
            continue
        upstream = _read(document, name, Table(document, ("providers", name), value))
        if upstream is not None:
            found[name] = upstream
    return found


def upstream_of(document: Document, name: str) -> UpstreamConfig:
    """Return a registered provider that the file does not describe, with the key of the environment.

    Raises:
        ConfigError: it has no key, or cannot be made.
    """
    return _with_key(UpstreamConfig(name, name), document.environ)


def _read(document: Document, name: str, table: Table) -> UpstreamConfig | None:
    before = len(document.problems)
    if name == _DEMO:
        table.add("", "the provider demo is always there and cannot be changed; use another name")
        return None
    if "/" in name or not name.strip():
        table.add("", "the name of a provider is the first part of provider/model, and has no slash")
        return None
    base_url = table.text("base_url")
    if base_url is not None:
        hidden = Masked(base_url)
        table.checked("base_url", lambda: base_url_of(hidden))
    kind = _kind_of(name, table, base_url)
    key = table.secret("key")
    streams = table.whole("streams", None)
    headers = table.mapping("headers")
    options = {}
    for option in _OPTIONS.get(kind, ()):
        read = table.secret if option in _SECRET_OPTIONS else table.text
        if (value := read(option)) is not None:
            options[option] = value
    table.done()
    if len(document.problems) > before:
        return None
    upstream = UpstreamConfig(name, kind, base_url, key, streams, headers, options)
    return table.checked("", lambda: _with_key(upstream, document.environ))


def _kind_of(name: str, table: Table, base_url: str | None) -> str:
    given = table.text("kind")
    known = _kinds()
    if given is not None and given not in known:
        table.add("kind", f"unknown kind of a provider{_close(given, known)}")
        return COMPATIBLE
    if given is None and name not in known:
        if base_url is None and "base_url" not in table:
            table.add(
                "",
                f"unknown provider{_close(name, known)} For a server that speaks OpenAI's format write its base_url",
            )
        return COMPATIBLE
    kind = given or name
    if kind == COMPATIBLE and base_url is None and "base_url" not in table:
        table.add("", 'needs a base_url, such as base_url = "http://127.0.0.1:8000/v1"')
    return kind


def _close(name: str, known: list[str]) -> str:
    meant = registry.meant(name, known)
    return f"; did you mean {meant}?" if meant else f"{near(name, known)}."


def provider_of(upstream: UpstreamConfig) -> Provider:
    """Return the provider that a configuration describes.

    Raises:
        ConfigError: it cannot be made: a wrong key or address, a missing library.
    """
    arguments: dict[str, Any] = {**upstream.options}
    if upstream.key is not None:
        arguments["api_key"] = upstream.key
    address = None if upstream.base_url is None else base_url_of(Masked(upstream.base_url))
    if upstream.kind == COMPATIBLE or upstream.kind not in registry.BUILT_IN:
        return _service(upstream, address, arguments)
    make: Callable[..., Provider] = registry.load(registry.BUILT_IN[upstream.kind])
    taken = inspect.signature(make).parameters
    if address is not None:
        arguments["base_url" if "base_url" in taken else "endpoint"] = address
    if upstream.headers and "headers" not in taken:
        raise ConfigError(f"{upstream.kind} takes no headers of your own: leave them out")
    if upstream.headers:
        arguments["headers"] = dict(upstream.headers)
    return make(name=upstream.name, **arguments)


def _service(upstream: UpstreamConfig, address: str | None, arguments: dict[str, Any]) -> Provider:
    """Return a service of chat completions, a server of unknown kind, or the provider of another package."""
    service = _services().get(upstream.kind)
    if service is None and upstream.kind != COMPATIBLE:
        if arguments or address or upstream.headers or upstream.name != upstream.kind:
            raise ConfigError(
                f"the provider {upstream.kind} of another package is set up by its environment variables, not here"
            )
        make = registry.factory(upstream.kind)
        assert make is not None, "its kind was looked up in the registry"
        return make()
    compatible: Callable[..., Provider] = registry.load("openai_chat.compatible:OpenAICompatible")
    headers = dict(upstream.headers)
    if service is not None and upstream.name != service.name:  # the same service under another name
        arguments |= {"quirks": service.quirks, "key_needed": service.key_needed and address is None}
        arguments["key_variable"] = service.key_variables[0]
        headers = {**service.headers, **headers}
        address = address or service.base_url
    return compatible(upstream.name, address, headers=headers or None, **arguments)


def _services() -> Mapping[str, Any]:
    services: Mapping[str, Any] = registry.load("openai_chat.services:SERVICES")
    return services


def _with_key(upstream: UpstreamConfig, environ: Mapping[str, str]) -> UpstreamConfig:
    """Return the provider with the key that the environment has for it, where the file has none; it can be made.

    Raises:
        ConfigError: it cannot be made, or needs a key and has none.
    """
    provider = provider_of(upstream)
    if upstream.key is None and "token" not in upstream.options:
        variables = getattr(provider, "key_variables", ())
        given = next((value for name in variables if (value := environ.get(name, "").strip())), None)
        if given is not None:
            upstream = attrs.evolve(upstream, key=Masked(given))
            provider = provider_of(upstream)
    headers = getattr(provider, "headers", None)
    if callable(headers):
        try:
            headers()
        except ConfigError as error:
            raise ConfigError(_in_terms_of_the_file(error.message, upstream)) from None
    return upstream


def _in_terms_of_the_file(message: str, upstream: UpstreamConfig) -> str:
    """Return the message of a missing key with what to write in the file in place of a Python argument."""
    head, comma, _ = message.partition(", or pass providers.")
    return f'{head}, or write key = "$NAME" in [providers.{upstream.name}]' if comma else message
