"""The errors that servers report, in all the shapes that are about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from streamkit.errors import APIError, PaymentRequiredError
from streamkit.providers.reply.error_words import status_of_word
from streamkit.providers.reply.html_page import without_markup
from streamkit.values.json_text import MAX_TEXT
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word, shortened
from streamkit.wire.secrets import MAX_ERROR_BODY

__all__ = ["FAILED_FINISHES", "api_error", "chose_error", "reports_error"]

#: The finish reasons by which servers say that a reply broke off: DeepSeek's and Z.ai's words are among them.
FAILED_FINISHES = ("error", "insufficient_system_resource", "network_error")

# Without one of these it is none, whatever else there is.
_SIGNS = frozenset(("error", "message", "x_groq", "base_resp", "success", "error_code", "detail"))
_HEALTHY = (
    r"0*|2\d\d|[12]0*|ok|success\w*\W*|accepted|active|complete[d]?|done|finished|heartbeat|in[ _-]?progress|"
    r"info|keep-?alive|loading|pending|ping|processing|progress|queued|running|searching|started|status|thinking|none"
)
_OF_REPLIES = ("choices", "usage", "data", "models", "output", "candidates")
_MOST_KEPT = 16384  # characters of what a server sent, in an error; masked and cut to less where it is raised
_LONGEST_TEXT = 2 * MAX_ERROR_BODY  # more than is kept: masked before it is cut to that, as half a key is not found
_LONGEST_WORD = 100  # characters of a code, a type or a status


def reports_error(raw: Mapping[str, Any]) -> bool:
    """Say whether an event, or a whole body, is about an error."""
    if raw.keys().isdisjoint(_SIGNS):
        return raw.get("object") == "error" or raw.get("type") == "error"
    error = raw.get("error")
    return bool(
        error
        # {"error": {}}, but not an empty field beside what a reply has.
        or (error is not None and error is not False and not any(raw.get(name) for name in _OF_REPLIES))
        or raw.get("object") == "error"
        or raw.get("type") == "error"
        or as_dict(raw.get("x_groq")).get("error")
        or _is_code(as_dict(raw.get("base_resp")).get("status_code"))  # MiniMax
        or _is_bare_error(raw)
    )


def _is_bare_error(raw: Mapping[str, Any]) -> bool:
    """Say whether it is one of the errors that stand in no ``error``: words, and beside them what says failure.

    Gateways send words and codes of their own in healthy streams; those that are known say nothing.
    """
    if len(raw) == 1 and raw.get("detail"):  # FastAPI
        return not _is_healthy(raw["detail"])
    failed = raw.get("success") is False or _is_code(raw.get("error_code"))  # Cloudflare, Baidu
    message = raw.get("message")
    if not (failed or (isinstance(message, str) and message)) or any(raw.get(name) for name in _OF_REPLIES):
        return False
    kind = as_text(raw.get("type"))[:_LONGEST_WORD]
    names_error = kind.lower().endswith(("error", "exception")) and status_of_word(kind) is not None
    if failed or names_error or _is_failed_status(raw.get("status")):
        return True
    codes = [raw[name] for name in ("code", "status_code", "statusCode") if name in raw]
    return any(code is not None and not _is_healthy(code) for code in codes)


def _is_failed_status(status: Any) -> bool:
    """Say so of a field that mostly tells how far a healthy reply is."""
    if isinstance(status, str) and len(status) > _LONGEST_WORD:
        return False
    if isinstance(status, str) and not status.isdecimal():
        return status.lower() in ("error", "failed", "failure") or status_of_word(status) is not None
    return _is_code(status) and 400 <= int(status) <= 599


def _is_healthy(code: Any) -> bool:
    """Say whether a code is one of those by which gateways say that all is well, or how far they are."""
    if isinstance(code, (dict, list)) or (isinstance(code, str) and len(code) > _LONGEST_WORD):
        return False
    text = str(code).strip().lower()
    return isinstance(code, bool) or re.fullmatch(_HEALTHY, text) is not None


def _is_code(code: Any) -> bool:
    """Say whether it is a number, or its digits, other than 0."""
    number = str(code) if isinstance(code, (int, str)) and not isinstance(code, bool) else ""
    return number.isdecimal() and len(number) < 10 and int(number) != 0


def chose_error(choice: Mapping[str, Any]) -> bool:
    """Say whether a choice ended in an error."""
    return choice.get("finish_reason") in FAILED_FINISHES or bool(choice.get("error"))


def api_error(provider: str, body: Any, status: int | None, *, in_stream: bool = False) -> APIError:
    """Return the error that a body reports, in any of the shapes that are about.

    ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}`` or ``{"error": "word"}`` with ``message`` or
    ``error_description`` beside it, ``{"type": "error", "error": {...}, "request_id"}``, ``{"error": {"code",
    "message", "status", "details": [...]}}``, ``{"object": "error", "message"}``, ``{"message", "type", "code"}``,
    ``{"id", "message"}``, ``{"detail": ...}``, ``{"base_resp": {"status_code", "status_msg"}}``, an error inside a
    choice, and plain text.

    Args:
        body: decoded JSON, or text.
        status: the HTTP status; ``None`` inside a stream, where code and type have to tell it.
    """
    body = shortened(body, MAX_TEXT, each=_LONGEST_TEXT)
    outer = as_dict(body[0] if isinstance(body, list) and body else body)  # Google's servers send a list of one
    inner = _inner_error(outer)
    code = _code(inner, outer)
    kind = _kind(inner, outer)
    if status is None:
        status = _status_told(inner, outer, code, kind)
    message = _message(inner, outer) or (without_markup(body.strip())[:_MOST_KEPT] if isinstance(body, str) else "")
    message = as_word(without_markup(message))
    shown = f"{provider} answered {status or 'with an error'}: {message or 'it gave no reason'}"
    error = APIError.class_for(status)(
        shown,
        status=status,
        code=code,
        type=kind,
        request_id=_request_id(inner, outer),
        retry_after=_wait_told(inner, outer, message) if status is None or APIError.is_retryable(status) else None,
        body=shortened(body, _LONGEST_TEXT),
        in_stream=in_stream,
        retryable=APIError.is_retryable(status),
    )
    if isinstance(error, PaymentRequiredError):
        _note_limit(error, inner if "limit" in inner else outer)
    return error


def _inner_error(outer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that describes the error; a word becomes its code, a sentence its message."""
    candidates = [outer.get("error"), as_dict(outer.get("x_groq")).get("error")]
    candidates += [as_dict(choice).get("error") for choice in as_list(outer.get("choices"))]
    candidates.append(_failed_choice(outer))
    if (base := as_dict(outer.get("base_resp"))).get("status_code"):
        candidates.append({"code": base["status_code"], "message": base.get("status_msg")})
    found = next((candidate for candidate in candidates if candidate), None)
    if isinstance(found, str):
        return {"code": found} if re.fullmatch(r"[\w.:-]+", found) else {"message": found}
    return {"message": found} if isinstance(found, list) else as_dict(found)


def _failed_choice(outer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a finish reason tells that is an error, and has nothing beside it that says more."""
    words = [as_dict(choice).get("finish_reason") for choice in as_list(outer.get("choices"))]
    word = next((word for word in words if word in FAILED_FINISHES[1:]), None)
    return word and {"type": "service_unavailable", "message": f"the reply broke off: {word}"}


# -- what it says ----------------------------------------------------------------------------------------


def _code(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> str | None:
    code = inner.get("code", outer.get("code"))
    if isinstance(code, int) and not isinstance(code, bool):
        return str(code)[:_LONGEST_ID]
    return as_text(code) or None


def _kind(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> str | None:
    """Return the provider's type; Google's is called ``status``, Azure's stands in an inner error, AWS's has a path."""
    told = (
        inner.get("type"),
        _word(inner.get("status")),
        inner.get("error_type"),
        as_dict(inner.get("metadata")).get("error_type"),
        as_dict(inner.get("innererror")).get("code"),
        outer.get("error_type"),
        as_text(outer.get("__type")).rpartition("#")[2],
        outer.get("type"),
    )
    return next((text for text in map(as_text, told) if text), None)


def _word(value: Any) -> str:
    text = as_text(value)
    return "" if text.isdecimal() else text


def _message(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> str:
    told = [inner.get("message"), outer.get("error_description"), outer.get("message"), outer.get("detail")]
    message = next(
        (_sentence(text) for text in (*told, outer.get("Message"), outer.get("error_msg"), inner.get("code")) if text),
        "",
    )
    metadata = as_dict(inner.get("metadata"))
    upstream = as_text(metadata.get("raw"))  # OpenRouter: what the provider behind it had to say
    if upstream and upstream not in message:
        message = f"{message}: {upstream[:_MOST_KEPT]}"
    return message


def _sentence(told: Any) -> str:
    """Return the text of a message that may be an object, or a list of what did not pass a validation."""
    if isinstance(told, str):
        return told
    if isinstance(told, dict) and told.get("detail"):
        told = told["detail"]
    items = told if isinstance(told, list) else []
    parts = [item if isinstance(item, str) else _violation(as_dict(item)) for item in items]
    if parts and all(parts):
        return "; ".join(parts)[:_MOST_KEPT]
    return as_json(told)[:_MOST_KEPT]


def _violation(item: Mapping[str, Any]) -> str:
    where = ".".join(as_text(step) or as_json(step) for step in as_list(item.get("loc")))
    text = as_text(item.get("msg"))
    return f"{where}: {text}" if where and text else text


def _status_told(inner: Mapping[str, Any], outer: Mapping[str, Any], code: str | None, kind: str | None) -> int | None:
    told = (inner.get("status_code"), inner.get("status"), inner.get("code", outer.get("code")))
    for value in (*told, outer.get("status_code"), outer.get("status"), outer.get("statusCode")):
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
    words = (code, kind, as_text(outer.get("type")))
    return next((status for word in words if word and (status := status_of_word(word))), None)


def _request_id(inner: Mapping[str, Any], outer: Mapping[str, Any]) -> str | None:
    told = [holder.get("request_id") for holder in (outer, inner, as_dict(outer.get("agnic")))]
    if not any(name in outer for name in ("choices", "object", "output", "status", "steps")):  # or it is the reply's
        told.append(outer.get("id"))
    return next((text[:_LONGEST_ID] for text in map(as_word, told) if text), None)


# -- how long to wait, and for what ----------------------------------------------------------------------

_LONGEST_ID = 200  # characters
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}  # seconds
_PIECE = r"(\d{1,6}(?:\.\d{1,9})?) ?(ms|h|m|s)[a-z]*"
# "try again in 6m0s", "retry after 26 seconds", "wait 42 seconds before retrying"
_WAIT = re.compile(rf"(?:again in|retry after|retry in|wait) ((?:{_PIECE} ?)+)", re.IGNORECASE)


def _wait_told(inner: Mapping[str, Any], outer: Mapping[str, Any], message: str) -> float | None:
    """Return the seconds that the body asks to wait, for where no header says so."""
    for detail in as_list(inner.get("details")):
        delay = as_text(as_dict(detail).get("retryDelay"))  # google.rpc.RetryInfo
        if re.fullmatch(r"\d{1,6}(\.\d{1,9})?s", delay):
            return float(delay[:-1])
    metadata = as_dict(inner.get("metadata"))
    told = [holder.get(name) for holder in (inner, outer, metadata) for name in ("retry_after", "retry_after_seconds")]
    for value in (*told, outer.get("estimated_time")):  # the last is Hugging Face's, of a model that is loading
        seconds = _amount(value)
        if seconds is not None:
            return seconds
    found = _WAIT.search(message[:2000])
    if found is None:
        return None
    return sum(float(number) * _UNITS[unit.lower()] for number, unit in re.findall(_PIECE, found[1], re.IGNORECASE))


def _note_limit(error: PaymentRequiredError, told: Mapping[str, Any]) -> None:
    """Take down which spending limit it was, as Agnic says it; the amounts may be texts."""
    error.limit = as_word(told.get("limit"))[:_LONGEST_ID] or None
    error.current, error.requested = _amount(told.get("current")), _amount(told.get("requested"))
    error.max = _amount(told.get("max"))


def _amount(value: Any) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}(\.\d{1,12})?", value):
        value = float(value)
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**12
    return float(value) if known else None
