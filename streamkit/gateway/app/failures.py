"""What a client is told of a failure: ``client_error``. Nothing of it names our keys, addresses or accounts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from streamkit.errors import (
    APIError,
    AuthenticationError,
    CircuitOpenError,
    ConfigError,
    LocalLimitError,
    MisuseError,
    OverloadedError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestError,
    StoreConflictError,
    StoreError,
    StreamCancelledError,
    StreamError,
    StreamTimeout,
    TruncatedStreamError,
    ValidationError,
)

__all__ = ["client_error", "told_by_provider"]

_LONGEST = 500  # characters of a provider's words
# Names of our account and traces of our keys, in the words of a provider.
_OURS = re.compile(
    r"\b(?:org|proj|acct|wrkspc)[-_][A-Za-z0-9_-]{4,}"
    # Names of parameters, such as user_location, are no ids: those have a digit or a capital.
    r"|\b(?:organization|project|req|request|user|asst|sess|team|workspace)[-_](?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{4,}"
    r"|\b(?:sk|pk|rk|gsk|csk|xai|pplx|nvapi|hf|key)[-_][A-Za-z0-9_*.-]{4,}"
    r"|\b(?:AIza|ya29\.|eyJ)[A-Za-z0-9_.-]{8,}"
    r"|\b(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{8,}"
    r"|\barn:aws[\w-]*:[^\s'\"`,;]+"
    r"|\bprojects/[^\s'\"`,;/]+"
    r"|[\w.+-]+@[\w-]+\.[\w.]+"
    r"|\b[a-z][a-z0-9+.-]*://\S+"
    r"|\b[\w-]+(?:\.[\w-]+)*\.(?:azure|amazonaws|googleapis|windows)\.(?:com|net)\b"
    r"|\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b"
    r"|\b\d{10,}\b"
    r"|\b[0-9a-f]{32,}\b"
    r"|\b(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{32,}"
)
# What the library says of a parameter, and its advice to a programmer, who can write another one.
_LACKS = re.compile(r"\S+ has no (?:parameter (\w+)|(\w+)(?=: ))")
_ADVICE = re.compile(r"(?:; if the server does, pass it in extra_body=|; pass \w+=.*)$")
# A provider's statuses that are about the client's request.
_THE_CLIENTS = (400, 404, 405, 408, 409, 413, 415, 422)
_OUR_QUOTA = ("insufficient_quota", "billing_not_active", "billing_hard_limit_reached")


def client_error(error: BaseException) -> BaseException:
    """Return the error that a client is told: with a status, a code and words of its own.

    A provider's refusal of our key or account is no business of the client's: it is told that the provider failed.
    What a provider says about the client's request is passed on, without what names our account.
    """
    if isinstance(error, RequestError) or not isinstance(error, Exception):
        return error
    if isinstance(error, APIError):
        return _of_provider(error)
    if isinstance(error, (ConfigError, MisuseError)):
        return _of_parameter(_masked(str(error)))
    for kinds, status, code, words in _TOLD:
        if isinstance(error, kinds):
            waits = isinstance(error, (CircuitOpenError, LocalLimitError))
            headers = _retry_after(getattr(error, "retry_after", None)) if waits or status == 503 else {}
            return RequestError(words, status=status, code=code, headers=headers)
    return RequestError("the gateway failed by itself", status=500, code="internal_error")


_TOLD: tuple[tuple[tuple[type[Exception], ...], int, str, str], ...] = (
    ((StreamCancelledError,), 499, "cancelled", "the request was cancelled"),
    (
        (CircuitOpenError, LocalLimitError),
        503,
        "provider_unavailable",
        "the provider is not asked at the moment; try again later",
    ),
    ((StreamTimeout,), 504, "provider_timeout", "the provider did not answer in time"),
    ((ValidationError,), 422, "reply_refused", "the reply broke a rule"),
    ((TruncatedStreamError,), 502, "reply_truncated", "the reply of the provider broke off"),
    ((StreamError,), 502, "provider_failed", "the provider could not be reached, or failed"),
    (
        (StoreError, StoreConflictError),
        503,
        "ledger_unavailable",
        "the gateway cannot write its ledger at the moment; try again later",
    ),
)


def _of_parameter(text: str) -> RequestError:
    """Return the error for what a model's provider cannot have."""
    found = _LACKS.match(text)
    if found is None:
        return RequestError(text, status=400, code="unsupported_parameter")
    told = f"{_ADVICE.sub('', text)}; leave it out"
    return RequestError(told, status=400, param=found[1] or found[2], code="unsupported_parameter")


def _of_provider(error: APIError) -> RequestError:
    status, words = error.status, told_by_provider(error)
    if isinstance(error, RateLimitError) and error.code not in _OUR_QUOTA:
        message = words or "the provider has had too many requests"
        return RequestError(
            message, status=429, code="provider_rate_limit", headers=_retry_after(error.retry_after, default=1.0)
        )
    if isinstance(error, OverloadedError) or status == 503:
        return RequestError(
            "the provider is overloaded; try again later",
            status=503,
            code="provider_overloaded",
            headers=_retry_after(error.retry_after),
        )
    ours = isinstance(error, (AuthenticationError, PermissionDeniedError, PaymentRequiredError))
    if ours or error.code in _OUR_QUOTA:
        return RequestError("the provider refused the gateway", status=502, code="provider_refused")
    if status in _THE_CLIENTS:
        message = words or "the provider refused the request"
        return RequestError(message, status=status, code=_word(error.code) or "invalid_request")
    if status in (504, 524):
        return RequestError("the provider did not answer in time", status=504, code="provider_timeout")
    return RequestError(words or "the provider failed", status=502, code=_word(error.code) or "provider_failed")


def told_by_provider(error: APIError) -> str:
    """Return a provider's own words, without what names our account; "" where it has said nothing."""
    body: Any = error.body
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        if isinstance(inner, Mapping):
            found = next((inner[name] for name in ("message", "error_description", "detail") if inner.get(name)), "")
        else:
            found = body.get("error_description") or body.get("message") or inner
        return _masked(found) if isinstance(found, str) else ""
    return ""


def _masked(text: str) -> str:
    return _OURS.sub("***", " ".join(text.split()))[:_LONGEST]


def _word(code: Any) -> str:
    known = isinstance(code, str) and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", code) and not _OURS.search(code)
    return code if known else ""


def _retry_after(seconds: float | None, default: float = 5.0) -> dict[str, str]:
    return {"retry-after": str(max(1, math.ceil(default if seconds is None else seconds)))}
