"""Base class of providers with a name, a base URL and one API key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from streamkit.errors import APIError, ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder
from streamkit.providers.reply.refusal import refusal
from streamkit.providers.request.credentials import key_of, missing_key, name_of, repr_of
from streamkit.providers.request.model_lists import page_request
from streamkit.providers.request.structured_output import OutputWay, OutputWords, answered, asked
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.secrets import Masked

__all__ = ["KeyedProvider", "first_key"]


def first_key(api_key: Masked | None, variables: Sequence[str]) -> tuple[Masked | None, str]:
    """Return the key that was passed, or the first of the environment's, with the variable it stands for.

    Raises:
        ConfigError: it holds a character that no header can carry.
    """
    if api_key is not None:
        return key_of(api_key, variables[0]), variables[0]
    found = ((key, variable) for variable in variables if (key := key_of(None, variable)) is not None)
    return next(found, (None, variables[0]))


class KeyedProvider(ABC):
    """Base of providers; see ``Provider`` for the contract.

    Args:
        name: the first segment of the model names that go to it.
        base_url: what the paths of the API are added to.
        api_key: by default the first that the environment has.
        key_variables: where the environment has it, the usual one first.
        key_needed: whether a request without a key is refused before it is sent.

    Raises:
        ConfigError: the name or the key cannot be one.
    """

    result_media: frozenset[str] = frozenset()  # see ``result_media_of``
    output_words = OutputWords()
    direct = False  # whether to pass by the proxies of the environment
    _key_argument = "api_key"

    def __init__(
        self, name: str, base_url: str, api_key: Masked | None, *, key_variables: Sequence[str], key_needed: bool
    ) -> None:
        self.name = name_of(name)
        self.base_url = base_url
        self.key_variables = tuple(key_variables)
        self._key, self.key_variable = first_key(api_key, self.key_variables)
        self._key_needed = key_needed

    def _checked_key(self) -> Masked | None:
        """Return the key, ``None`` where there is none and none is needed.

        Raises:
            ConfigError: it is needed.
        """
        if self._key is None and self._key_needed:
            raise missing_key(type(self), self.name, " or ".join(self.key_variables), self._key_argument)
        return self._key

    @abstractmethod
    def headers(self) -> Mapping[str, str | None]:
        """Return the headers that identify the caller; those that are ``None`` are left out.

        Raises:
            ConfigError: the key is missing.
        """

    @property
    def models_url(self) -> str:
        """Where the list of models is, without a query.

        Raises:
            ConfigError: there is no base URL.
        """
        if not self.base_url:
            raise ConfigError(f"{self.name} has no address to ask: pass it, or set its environment variable")
        return f"{self.base_url}/models"

    @property
    def models_query(self) -> str:
        """The query that each page of the list of models is asked with, such as ``limit=1000``."""
        return ""

    def models_request(self, page: str | None) -> HttpRequest:
        """Return the request for one page of the list of models; see ``ListsModels``."""
        headers = self.headers()
        return page_request(self.models_url, self.models_query, page, headers, direct=self.direct)

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a call's JSON schema for the reply is said to its model; see ``OutputWay``."""
        return "schema"

    def _asked(self, chat: ChatRequest) -> ChatRequest:
        """Return a call whose JSON schema, if it has one, is said as its model understands it."""
        return asked(self.name, chat, self.structured_output(chat), self.output_words)

    def _answered(self, chat: ChatRequest, decoder: Decoder) -> Decoder:
        """Return the decoder of the reply to ``_asked``."""
        return answered(chat, decoder, self.structured_output(chat))

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        return refusal(self.name, info, body, self.key_variable)

    def __repr__(self) -> str:
        return repr_of(self)
