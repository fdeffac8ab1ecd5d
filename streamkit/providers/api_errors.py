"""The errors that chat-completions servers report, in all the shapes that are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import APIError
from streamkit.providers.lenient import as_dict, as_json, as_list, as_text, as_word

__all__ = ["api_error", "chose_error", "reports_error"]

_MOST_KEPT = 16384  # characters of what a server sent, in an error; masked and cut to less where it is raised


def reports_error(raw: Mapping[str, Any]) -> bool:
    """Say whether an event, or a whole body, is about an error."""
    return bool(
        raw.get("error")
        or (raw.get("error") is not None and not raw.get("choices"))  # {"error": {}}
        or raw.get("object") == "error"
        or raw.get("type") == "error"
        or as_dict(raw.get("x_groq")).get("error")
    )


def chose_error(choice: Mapping[str, Any]) -> bool:
    """Say whether a choice ended in an error."""
    return choice.get("finish_reason") == "error" or bool(choice.get("error"))


_STATUS_BY_WORD = {
    "validationException": 400,
    "ValidationException": 400,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "billing_error": 402,
    "PERMISSION_DENIED": 403,
    "accessDeniedException": 403,
    "NOT_FOUND": 404,
    "resourceNotFoundException": 404,
    "timeout_error": 408,
    "modelTimeoutException": 408,
    "request_too_large": 413,
    "RESOURCE_EXHAUSTED": 429,
    "throttlingException": 429,
    "serviceQuotaExceededException": 429,
    "INTERNAL": 500,
    "internalServerException": 500,
    "modelStreamErrorException": 500,
    "modelErrorException": 500,
    "UNAVAILABLE": 503,
    "serviceUnavailableException": 503,
    "DEADLINE_EXCEEDED": 504,
    "invalid_request_error": 400,
    "invalid_request": 400,
    "bad_request": 400,
    "BadRequestError": 400,
    "context_length_exceeded": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_credits": 402,
    "spending_limit_exceeded": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "NotFoundError": 404,
    "timeout": 408,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "too_many_requests": 429,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "InternalServerError": 500,
    "api_error": 500,
    "service_unavailable": 503,
    "overloaded": 529,
    "overloaded_error": 529,
}


def api_error(provider: str, body: Any, status: int | None, *, in_stream: bool = False) -> APIError:
    """Return the error that a body reports, in any of the shapes that are about.

    ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}`` with ``message`` or
    ``error_description`` beside it, ``{"object": "error", "message"}``, ``{"detail": ...}``, an error inside a
    choice, and plain text.

    Args:
        body: decoded JSON, or text.
        status: the HTTP status; ``None`` inside a stream, where code and type have to tell it.
    """
    outer = as_dict(body[0] if isinstance(body, list) and body else body)  # Google's servers send a list of one
    inner = _inner_error(outer)
    code = inner.get("code", outer.get("code"))
    code = code if isinstance(code, (str, int)) else None
    kind = as_text(inner.get("type")) or as_text(outer.get("type")) or None
    if status is None:
        status = _status_told(inner, outer, code, kind)
    message = _message(inner, outer) or (body.strip()[:_MOST_KEPT] if isinstance(body, str) else "")
    message = as_word(message)
    shown = f"{provider} answered {status or 'with an error'}: {message or 'it gave no reason'}"
    return APIError.class_for(status)(
        shown,
        status=status,
        code=None if code is None else str(code),
        type=kind,
        body=body,
        in_stream=in_stream,
        retryable=APIError.is_retryable(status),
    )


def _inner_error(outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that describes the error; text becomes one of its code."""
    candidates = [outer.get("error"), as_dict(outer.get("x_groq")).get("error")]
    candidates += [as_dict(choice).get("error") for choice in as_list(outer.get("choices"))]
    found = next((candidate for candidate in candidates if candidate), None)
    return {"code": found} if isinstance(found, str) else as_dict(found)


def _message(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> str:
    told = [inner.get("message"), outer.get("error_description"), outer.get("message"), outer.get("detail")]
    for text in (*told, inner.get("code")):
        if text:
            return text if isinstance(text, str) else as_json(text)[:_MOST_KEPT]
    return ""


def _status_told(inner: Mapping[str, Any], outer: Mapping[str, Any], code: Any, kind: str | None) -> int | None:
    for value in (inner.get("status_code"), inner.get("status"), code, outer.get("status_code"), outer.get("status")):
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    return next((_STATUS_BY_WORD[word] for word in (str(code), str(kind)) if word in _STATUS_BY_WORD), None)
