"""What OpenAI's APIs have in common: the words of an error, and how tokens are counted."""

from __future__ import annotations

from typing import Any

from streamkit.errors import APIError, RequestError
from streamkit.values.chunks import Usage

__all__ = ["openai_error", "token_counts"]


def openai_error(error: BaseException | None, told: str, *, shown: bool) -> dict[str, Any]:
    """Return what is under ``error``: ``message``, ``type``, ``param`` and ``code``, and a refusal's own details.

    Args:
        error: that is told.
        told: the text that the client is told of it.
        shown: whether the provider's own kind and code are told.
    """
    shape: dict[str, Any] = {"message": told, "type": "server_error", "param": None, "code": None}
    if isinstance(error, RequestError):
        shape |= error.details
        shape["type"] = error.type or _type_of(error.status)
        shape["param"], shape["code"] = error.param or None, error.code or None
    elif isinstance(error, APIError) and shown:
        shape["type"], shape["code"] = error.type or shape["type"], error.code
    return shape


def _type_of(status: int) -> str:
    """Return OpenAI's word for the kind of error that a status stands for."""
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"


def token_counts(usage: Usage) -> tuple[int, int, int] | None:
    """Return the tokens of the prompt, cached ones included, of the reply, and of both; ``None`` if unknown."""
    if usage.input_tokens is None and usage.output_tokens is None and usage.total_tokens is None:
        return None
    given, answer = usage.input_tokens or 0, usage.output_tokens or 0
    if usage.cached_apart:
        given += (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0)
    total = usage.total_tokens if usage.total_tokens is not None and not usage.cached_apart else given + answer
    return given, answer, total
