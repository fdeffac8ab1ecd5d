"""Keep keys out of logs, errors and reprs: masked strings, masked texts, addresses without credentials."""

from __future__ import annotations

import json
import re
from typing import Any

from streamkit.errors import APIError, ProtocolError, StreamkitError

__all__ = [
    "MAX_ERROR_BODY",
    "Masked",
    "Unshown",
    "WrongType",
    "mask",
    "mask_all",
    "mask_error",
    "place_of",
    "without_userinfo",
]

MAX_ERROR_BODY = 64 * 1024  # bytes of a refusal that are read, characters that are kept
_MOST_SHOWN = 2048  # characters of an error's text


class Masked(str):
    """A secret string whose ``repr`` does not show it.

    It stays a ``str`` all the way into the socket, so whatever prints a dict of headers or the locals of a
    frame, ours or a dependency's, prints asterisks.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class WrongType(Masked):
    """Stands for a value of the wrong type, whose own ``repr`` could show a secret; the text is the type's name."""

    __slots__ = ()

    @classmethod
    def of(cls, value: object) -> WrongType:
        """Return what stands for a value."""
        return cls(type(value).__name__)


class Unshown(dict[str, Any]):
    """A dict whose ``repr`` shows the names only: among what users pass as options there may be a key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{', '.join(map(str, self)) or 'empty'}>"


def mask_all(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return decoded JSON with the secrets masked in every string of it."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, list):
        return [mask_all(item, secrets) for item in value]
    if isinstance(value, dict):
        return {mask(key, secrets): mask_all(item, secrets) for key, item in value.items()}
    return value


def mask(text: str, secrets: tuple[str, ...]) -> str:
    """Return the text without the secrets: some servers repeat the key they were sent."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def mask_error(error: StreamkitError, secrets: tuple[str, ...]) -> None:
    """Take the secrets out of what the server said, and cut it to what is kept: some repeat the key."""
    # Masked before they are cut, as half a key would no longer be found.
    error.args = tuple(mask(arg, secrets)[:_MOST_SHOWN] if isinstance(arg, str) else arg for arg in error.args)
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
    """Return an address, with or without a scheme, without the name and the password in it."""
    return re.sub(r"^([a-zA-Z][\w+.-]*://)?.*@", r"\1***@", address, flags=re.DOTALL)


def place_of(url: str) -> str:
    """Return scheme, host and path of a URL, or as much of it as it has: in the rest there may be secrets."""
    place = re.split("[?#]", url, maxsplit=1)[0]
    return re.sub(r"^((?:[a-zA-Z][\w+.-]*:)?//)[^/]*@", r"\1", place)
