"""The words by which servers say what went wrong, and the HTTP status that each stands for.

Source: the error pages of OpenAI, Anthropic, Google (google.rpc.Code), AWS (Bedrock's common errors), Azure OpenAI,
Groq, Cerebras, Mistral, Moonshot, GitHub Models and llama.cpp's server, read 2026-11-21.
"""

from __future__ import annotations

import re

__all__ = ["status_of_word"]

# Spelt as they are sent; the case and what stands between the words make no difference.
_WORDS = {
    400: (
        "bad_request BadRequestError content_filter context_length_exceeded exceed_context_size_error "
        "FAILED_PRECONDITION INVALID_ARGUMENT invalid_model invalid_parameter_error invalid_prompt "
        "invalid_request invalid_request_error model_not_supported OUT_OF_RANGE string_above_max_length "
        "tool_use_failed unsupported_parameter unsupported_value validation validation_error "
        "validationException"
    ),
    401: (
        "authentication_error ExpiredTokenException incorrect_api_key invalid_api_key "
        "invalid_authentication_error InvalidSignatureException UNAUTHENTICATED Unauthorized "
        "UnrecognizedClientException"
    ),
    402: (
        "billing_error insufficient_balance insufficient_credits insufficient_funds out_of_credits "
        "payment_required spending_limit_exceeded"
    ),
    403: ("accessDeniedException forbidden no_access PERMISSION_DENIED permission_denied_error permission_error"),
    404: ("DeploymentNotFound model_not_found NOT_FOUND not_found_error resourceNotFoundException unknown_model"),
    408: ("modelTimeoutException request_timeout timeout"),
    409: ("ABORTED ALREADY_EXISTS conflict conflict_error ConflictException"),
    413: ("payload_too_large request_too_large tokens_limit_reached"),
    429: (
        "exceeded_current_quota_error insufficient_quota limit_burst_rate limit_requests rate_limit "
        "rate_limit_error rate_limit_exceeded rate_limit_reached_error rate_limited RateLimitReached "
        "request_quota_exceeded RESOURCE_EXHAUSTED serviceQuotaExceededException throttling throttlingException "
        "token_quota_exceeded too_many_requests too_many_requests_error"
    ),
    500: (
        "api_error DATA_LOSS InternalFailure INTERNAL internal_error internal_server_error internal_service_error "
        "internalServerException modelErrorException modelStreamErrorException processing_error server_error "
        "unexpected_error"
    ),
    501: ("not_supported_error UNIMPLEMENTED"),
    503: (
        "capacity_exceeded engine_overloaded_error model_not_ready ModelNotReadyException no_capacity "
        "server_is_overloaded service_tier_capacity_exceeded service_unavailable "
        "service_unavailable_error serviceUnavailableException UNAVAILABLE unavailable_error"
    ),
    504: ("DEADLINE_EXCEEDED gateway_timeout timeout_error"),
    529: ("overloaded overloaded_error"),
}


def _plain(word: str) -> str:
    return re.sub(r"[^a-z]", "", word.lower())


_STATUS = {_plain(word): status for status, words in _WORDS.items() for word in words.split()}


def status_of_word(word: str) -> int | None:
    """Return the HTTP status that a provider's word stands for, ``None`` if it is not known."""
    return _STATUS.get(_plain(word)) if len(word) < 100 else None
