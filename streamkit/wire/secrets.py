"""Keep keys out of logs, errors and reprs: masked strings and texts, addresses without credentials."""

from __future__ import annotations

import json
import re
from typing import Any

from streamkit.errors import APIError, ProtocolError, StreamkitError

__all__ = [
    "MAX_ERROR_BODY",
    "MOST_SHOWN",
    "Masked",
    "Unshown",
    "WrongType",
    "mask",
    "mask_all",
    "mask_error",
    "place_of",
    "without_userinfo",
]

MAX_ERROR_BODY = 64 * 1024  # bytes read of an error's body, and characters kept
MOST_SHOWN = 2048  # characters kept of an error's text


class Masked(str):
    """A secret string whose ``repr`` does not show it.

    It stays this type until it is written to the socket. So code that prints a dict of headers or a frame's locals,
    here or in a dependency, prints asterisks.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class WrongType(Masked):
    """Replaces a value of a wrong type whose own ``repr`` could show a secret; the text is the type's name."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> WrongType:
        """Return the replacement for a value."""
        return cls(type(value).__name__)


class Unshown(dict[str, Any]):
    """A dict of options whose ``repr`` shows only the names, because a value may be a key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{', '.join(map(str, self)) or 'empty'}>"


def mask_all(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return decoded JSON with the secrets masked in every string, dict keys included."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, list):
        return [mask_all(item, secrets) for item in value]
    if isinstance(value, dict):
        return {mask(key, secrets): mask_all(item, secrets) for key, item in value.items()}
    return value


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text with each secret replaced by asterisks; some servers repeat the key in their response."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def mask_error(error: StreamkitError, secrets: tuple[str, ...]) -> None:
    """Mask the secrets in an error's texts, some of which come from the server, and cut the texts to their bounds."""
    # Mask before cutting: a part of a key would not be found.
    error.args = tuple(mask(arg, secrets)[:MOST_SHOWN] if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, ProtocolError):
        error.excerpt = mask(error.excerpt, secrets)[:512]
    elif isinstance(error, APIError):
        for name in ("code", "type", "request_id", "limit"):
            if text := getattr(error, name, None):
                setattr(error, name, mask(text, secrets))
        try:
            error.body = mask_all(error.body, secrets)
            if len(text := error.body if isinstance(error.body, str) else json.dumps(error.body)) > MAX_ERROR_BODY:
                error.body = text[:MAX_ERROR_BODY]
        except RecursionError:
            error.body = None


def without_userinfo(address: str) -> str:
    """Return an address, with or without a scheme, with its user and password replaced by asterisks."""
    return re.sub(r"^([a-zA-Z][\w+.-]*://)?.*@", r"\1***@", address, flags=re.DOTALL)


def place_of(url: str) -> str:
    """Return scheme, host and path of a URL or a part of one; user, query and fragment may contain secrets."""
    place = re.split("[?#]", url, maxsplit=1)[0]
    return re.sub(r"^((?:[a-zA-Z][\w+.-]*:)?//)[^/]*@", r"\1", place)
