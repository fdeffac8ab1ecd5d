"""Anthropic's words: for the reason of an end, the tokens, and the kinds of errors.

Source: https://platform.claude.com/docs/en/api/errors and .../api/messages, read 2026-11-27.
"""

from __future__ import annotations

from typing import Any

from streamkit.values.chunks import FinishReason, Usage

__all__ = ["error_type_of", "stop_of", "usage_of"]

# Anthropic has no word for a reply that was cancelled: "max_tokens" is the one that says that there would be more.
_REASONS: dict[FinishReason | None, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "cancelled": "max_tokens",
    "error": "max_tokens",
}
# Anthropic's own words that say more than ours; they are passed on from a provider that has them.
_OWN_REASONS = ("stop_sequence", "pause_turn", "model_context_window_exceeded")
_TYPES_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def stop_of(reason: FinishReason | None, raw: str | None, refusal: str, *, calls: bool) -> dict[str, Any]:
    """Return why a reply ended.

    Args:
        reason: in our words; where none of them says it, a reply with calls waits for their results.
        raw: the provider's own word.
        refusal: the text of a refusal, which is told as its explanation.
        calls: whether there are any.
    """
    word = raw if raw in _OWN_REASONS else _REASONS.get(reason, "tool_use" if calls else "end_turn")
    word = "refusal" if refusal else word
    stop: dict[str, Any] = {"stop_reason": word, "stop_sequence": None}
    if refusal:
        stop["stop_details"] = {"type": "refusal", "category": None, "explanation": refusal}
    return stop


def error_type_of(status: int) -> str:
    """Return Anthropic's word for the kind of error that a status stands for."""
    return _TYPES_BY_STATUS.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def usage_of(usage: Usage, *, last: bool = False) -> dict[str, Any]:
    """Return a usage in Anthropic's words, where the tokens of the prompt exclude the cached ones.

    The format has to have both numbers in a message: what is unknown is 0.

    Args:
        usage: the usage.
        last: whether it is the one at the end of a stream, where a number that is left out keeps its value.
    """
    read, written, given = usage.cached_tokens, usage.cache_write_tokens, usage.input_tokens
    if given is not None and not usage.cached_apart:
        given = max(0, given - (read or 0) - (written or 0))
    shape: dict[str, Any] = {}
    if given is not None or not last:
        shape["input_tokens"] = given or 0
    if written is not None:
        shape["cache_creation_input_tokens"] = written
    if read is not None:
        shape["cache_read_input_tokens"] = read
    shape["output_tokens"] = usage.output_tokens or 0
    if usage.reasoning_tokens is not None:
        shape["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return shape
