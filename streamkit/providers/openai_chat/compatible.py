"""Chat completions of a service of the table, or of any other server."""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.openai_chat.provider import ChatCompletions, variable_of
from streamkit.providers.openai_chat.quirks import Quirks
from streamkit.providers.openai_chat.services import SERVICES, Service
from streamkit.providers.request.addresses import address_of
from streamkit.providers.request.credentials import hidden, name_of
from streamkit.providers.request.post import hidden_headers, masked_headers
from streamkit.wire.secrets import Masked

__all__ = ["OpenAICompatible"]


class OpenAICompatible(ChatCompletions):
    """Chat completions of a service that is known by name, or of any other server that speaks the format.

    ::

        OpenAICompatible("groq")
        OpenAICompatible("openrouter", headers={"HTTP-Referer": "https://my.site", "X-Title": "My site"})
        OpenAICompatible("my-server", "https://my.host/v1", include_usage=False)

    Args:
        name: the first segment of the model names that go to it. For a name of ``SERVICES``, the address, the key's
            variable and the deviations are known.
        base_url: what ``/chat/completions`` is added to; by default ``MY_SERVER_BASE_URL`` of the environment for
            ``name="my-server"``, or the service's own.
        api_key: by default what the environment has in ``key_variable``.
        key_variable: by default the service's, or ``MY_SERVER_API_KEY`` for ``name="my-server"``.
        key_needed: refuse a request without a key before it is sent; by default for a service at its own address
            that answers nobody without one.
        headers: sent with each request, beside the service's.
        include_usage: ask for the usage at the end of a stream.
        max_tokens_field: how ``max_tokens`` is called on the wire.
        quirks: all deviations of the server, instead of the service's; the two arguments above take precedence.

    Raises:
        ConfigError: the key or the URL cannot be one, or there is no URL and none is known.
    """

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        key_variable: str | None = None,
        key_needed: bool | None = None,
        headers: Mapping[str, str] | None = None,
        include_usage: bool | None = None,
        max_tokens_field: str | None = None,
        quirks: Quirks | None = None,
    ) -> None:
        key, address, sent = hidden(api_key), hidden(base_url), hidden_headers(headers)
        del api_key, base_url, headers  # or they would stand in the clear among the locals of a traceback
        service = SERVICES.get(name_of(name)) or Service(name, "", (variable_of(name, "API_KEY"),), key_needed=False)
        url = _address(service, address)
        at_home = url == service.base_url
        if quirks is None:
            quirks = service.quirks
        if include_usage is not None:
            quirks = attrs.evolve(quirks, include_usage=include_usage)
        if max_tokens_field is not None:
            quirks = attrs.evolve(quirks, max_tokens_field=max_tokens_field, max_tokens_only=True)
        super().__init__(
            name,
            url,
            key,
            key_variables=service.key_variables if key_variable is None else (key_variable,),
            key_needed=at_home and service.key_needed if key_needed is None else key_needed,
            quirks=quirks,
            headers={**service.headers, **masked_headers(sent)},
            direct=at_home and service.local,
        )


def _address(service: Service, base_url: Masked | None) -> str:
    variable = variable_of(service.name, "BASE_URL")
    if not (base_url or os.environ.get(variable) or service.base_url):
        raise ConfigError(
            f"no address is known for {service.name!r}: pass base_url=, or set the environment variable {variable}; "
            f"known by name are {', '.join(SERVICES)}"
        )
    return address_of(base_url, variable, service.base_url)
