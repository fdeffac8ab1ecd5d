"""Hashes that need the gateway's secret: ``KeyedHash``."""

from __future__ import annotations

import hashlib
import hmac

from streamkit.errors import ConfigError

__all__ = ["KeyedHash"]

_SHORTEST = 16  # bytes


class KeyedHash:
    """HMAC-SHA256 with the secret, which no repr and no traceback shows.

    Threads: any.

    Args:
        secret: at least 16 bytes.

    Raises:
        ConfigError: it is shorter.
    """

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST:
            raise ConfigError(f"the gateway's secret has to have {_SHORTEST} bytes or more")
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256)

    def of(self, text: str) -> str:
        """Return the hash of a text, of all of it, as 64 hexadecimal digits."""
        keyed = self._keyed.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()

    def __repr__(self) -> str:
        return "<KeyedHash>"
