"""Azure OpenAI's chat completions, with the deployment in the path or by the v1 API.

Source: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle and /azure/ai-services/openai/reference
(data plane, 2024-10-21), read 2026-11-21.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.openai_chat.provider import ChatCompletions
from streamkit.providers.openai_chat.quirks import NO_TOP_K, Quirks
from streamkit.providers.request.addresses import base_url_of, shown_url
from streamkit.providers.request.call_ids import CHAT_IDS
from streamkit.providers.request.credentials import hidden, key_of, made_with, missing_key, repr_of
from streamkit.providers.request.tool_limits import OPENAI
from streamkit.wire.secrets import Masked

__all__ = ["AzureOpenAI"]

_LAST_DATED = "2024-10-21"  # the last dated version that is generally available
_V1 = "/openai/v1"
_KEY, _TOKEN = "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"
_ENDPOINT = "AZURE_OPENAI_ENDPOINT"
_QUIRKS = Quirks(
    max_tokens_only=True,
    file_url=None,
    text_results=True,
    tool_limits=OPENAI,
    call_ids=CHAT_IDS,
    own=frozenset({"data_sources", "user_security_context"}),
    refused=NO_TOP_K,
)


class AzureOpenAI(ChatCompletions):
    """Chat completions of an Azure OpenAI resource; a model's name is that of the deployment.

    Args:
        api_key: by default ``AZURE_OPENAI_API_KEY``; sent as ``api-key``.
        endpoint: such as ``https://NAME.openai.azure.com``, by default ``AZURE_OPENAI_ENDPOINT``. One that ends in
            ``/openai/v1`` means the v1 surface, which has no dated versions.
        api_version: by default ``OPENAI_API_VERSION``, or 2024-10-21; ``v1`` means the v1 surface.
        token: an access token of Microsoft Entra ID, or a function that is called for each request and returns one,
            as text or as azure-identity's ``AccessToken``; by default ``AZURE_OPENAI_AD_TOKEN``. Sent as
            ``Authorization: Bearer``.
        max_tokens_field: how ``max_tokens`` is called on the wire; ``"max_tokens"`` for models of other vendors.
        name: the first segment of the model names that go to it.

    Raises:
        ConfigError: the key or the endpoint cannot be one, or both a key and a token are passed.
    """

    def __init__(
        self,
        api_key: str | None = None,
        endpoint: str | None = None,
        *,
        api_version: str | None = None,
        token: str | Callable[[], str] | Any = None,
        max_tokens_field: str = "max_completion_tokens",
        name: str = "azure",
    ) -> None:
        key, address = hidden(api_key), hidden(endpoint)
        del api_key, endpoint  # or they would stand in the clear among the locals of a traceback
        held = token if callable(token) else getattr(token, "token", token)  # azure.identity's AccessToken has it there
        self._token = Masked(held) if isinstance(held, str) else held
        del token, held
        if key is not None and self._token is not None:
            raise ConfigError("api_key and token are two ways to authenticate; give one of them")
        if self._token is not None:
            key = Masked()
        url = _resource(address, "endpoint") if address else _resource(hidden(os.environ.get(_ENDPOINT)), _ENDPOINT)
        version = api_version or os.environ.get("OPENAI_API_VERSION") or _LAST_DATED
        self._v1 = url.endswith(_V1) or version == "v1"
        if self._v1:
            self._version = None if api_version == "v1" else api_version
        else:
            self._version = version
        super().__init__(
            name,
            f"{url.removesuffix(_V1)}{_V1}" if self._v1 and url else url,
            key,
            key_variables=(_KEY,),
            key_needed=True,
            quirks=attrs.evolve(_QUIRKS, max_tokens_field=max_tokens_field),
        )

    def url(self, chat: ChatRequest) -> str:
        """Return the address of a deployment.

        Raises:
            ConfigError: there is no endpoint.
        """
        deployment = "" if self._v1 else f"/openai/deployments/{quote(chat.model, safe='')}"
        query = f"?{self.models_query}" if self.models_query else ""
        return f"{self._resource()}{deployment}/chat/completions{query}"

    @property
    def models_url(self) -> str:
        """The URL of the list of models: those of the resource, not its deployments.

        Raises:
            ConfigError: there is no endpoint.
        """
        return f"{self._resource()}{'' if self._v1 else '/openai'}/models"

    @property
    def models_query(self) -> str:
        """The query with the API version, for the list of models."""
        return urlencode({"api-version": self._version}) if self._version else ""

    def _resource(self) -> str:
        if not self.base_url:
            raise ConfigError(
                f"{self.name} needs the address of your resource, such as https://NAME.openai.azure.com: set the "
                f"environment variable {_ENDPOINT}, or {made_with(type(self), self.name, 'endpoint')}"
            )
        return self.base_url

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: there is neither a key nor a token, or the function that returns one fails.
        """
        if self._key is not None:
            return {**self._headers, "api-key": self._key}
        bearer = key_of(self._fresh_token(), _TOKEN)
        if bearer is None:
            raise missing_key(type(self), self.name, f"{_KEY} or {_TOKEN}")
        return {**self._headers, "Authorization": Masked(f"Bearer {bearer}")}

    def _fresh_token(self) -> Masked | None:
        """Return the token that was passed or that the function returns; ``None`` if neither was passed."""
        token: Any = self._token
        if callable(token):
            try:
                token = token()
            except Exception as error:
                raise ConfigError(
                    f"{self.name} got no token: {type(error).__name__} in the function of token="
                ) from error
        text = getattr(token, "token", token)  # azure.identity returns an AccessToken
        kind = type(token).__name__
        del token
        if text is None and self._token is None:
            return None
        if not isinstance(text, str):
            del text
            raise ConfigError(f"{self.name} takes a token that is text, or a function that returns one, not {kind}")
        return Masked(text)

    def __repr__(self) -> str:
        return repr_of(self, nowhere="no endpoint")


def _resource(endpoint: Masked | None, source: str) -> str:
    """Return the address of a resource, "" for none."""
    if not endpoint:
        return ""
    if "?" in endpoint or "/deployments" in endpoint:
        raise ConfigError(
            f"{source} is the address of the resource, such as https://NAME.openai.azure.com, not "
            f"{shown_url(endpoint)}: the deployment is the model's name, and the version goes in api_version="
        )
    return base_url_of(endpoint, source).removesuffix("/openai")
