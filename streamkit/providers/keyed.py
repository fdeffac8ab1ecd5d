"""What most providers have in common: a name, an address, one key, and refusals that name its variable."""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.errors import APIError
from streamkit.providers.base import key_of, name_of
from streamkit.providers.http import missing_key, refusal
from streamkit.wire.http import ResponseInfo
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


class KeyedProvider:
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

    def error(self, info: ResponseInfo, body: bytes) -> APIError:
        """Return the error that a response with a status other than 2xx stands for."""
        return refusal(self.name, info, body, self.key_variable)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.base_url}>"
