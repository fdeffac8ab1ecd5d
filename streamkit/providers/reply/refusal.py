"""The error of a response with a status other than 2xx."""

from __future__ import annotations

from streamkit.errors import APIError
from streamkit.providers.reply.errors import api_error
from streamkit.wire.http import ResponseInfo
from streamkit.wire.json import parse_json
from streamkit.wire.messages import with_remedy
from streamkit.wire.secrets import MAX_ERROR_BODY

__all__ = ["refusal"]


def refusal(provider: str, info: ResponseInfo, body: bytes, variable: str | None) -> APIError:
    """Return the error that a response with a status other than 2xx stands for.

    Args:
        provider: its name.
        info: the head of the response.
        body: as much of it as is worth reading.
        variable: the environment variable that has the key, ``None`` where nobody can tell.
    """
    body = body[:MAX_ERROR_BODY]
    try:
        decoded = parse_json(body)
    except ValueError:
        decoded = body.decode("utf-8", "replace")
    error = api_error(provider, decoded, info.status)
    sure = None if info.request_id == info.headers.get("cf-ray") else info.request_id  # that one is Cloudflare's
    error.request_id = sure or error.request_id or info.request_id
    if info.retry_after is not None:
        error.retry_after = info.retry_after
    if info.status == 401 and variable is not None:
        return with_remedy(error, f"check the key in {variable}")
    return error
