"""Read a request that has one prompt: the query of an address, or ``{"prompt": ...}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from streamkit.errors import RequestError
from streamkit.values.messages import user
from streamkit.web.formats.requests.request import Limits, WebRequest, body_of, text_in

__all__ = ["prompt_request", "read_prompt_request"]


def read_prompt_request(body: bytes | str | Mapping[str, Any], limits: Limits) -> WebRequest:
    """Read ``?prompt=...&id=...``, the same with or without the question mark, or JSON with these names.

    ``message`` is the id of the question, for a client that may send it twice.

    Raises:
        RequestError: there is no prompt, or it is too long.
    """
    if isinstance(body, Mapping):
        return prompt_request(body, limits)
    start = body[:1]
    if start in (b"{", "{"):
        return prompt_request(body_of(body, limits), limits)
    if len(body) > limits.bytes:
        raise RequestError(f"the query has more than {limits.bytes} bytes", status=413)
    query = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    try:
        pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise RequestError("the query has more than 100 fields", status=413) from None
    return prompt_request(dict(pairs), limits)


def prompt_request(shape: Mapping[str, Any], limits: Limits) -> WebRequest:
    """Return the request of an object with a ``prompt``.

    Raises:
        RequestError: there is none, it is empty, or too long.
    """
    prompt = text_in(shape, "prompt", "", limits.text)
    if not prompt.strip():
        raise RequestError("prompt is empty")
    message = user(prompt)
    extra = {name: value for name, value in shape.items() if name not in ("prompt", "id", "message")}
    return WebRequest(
        text_in(shape, "id", "", limits.id, ""),
        messages=(message,),
        message=message,
        message_id=text_in(shape, "message", "", limits.id, ""),
        extra=extra,
    )
