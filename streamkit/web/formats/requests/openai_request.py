"""Read the body of OpenAI's ``/v1/chat/completions``.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import ConfigError, RequestError
from streamkit.values.messages import Message
from streamkit.web.formats.requests.request import Limits, WebRequest, body_of, list_of, mapping_of, text_in

__all__ = ["OPENAI_FIELDS", "read_openai_request"]

# Only these become keyword arguments of client.stream: it has others, such as extra_headers, that are not the client's.
_PARAMS = frozenset(
    "frequency_penalty logit_bias logprobs max_completion_tokens max_tokens metadata modalities n parallel_tool_calls "
    "prediction presence_penalty reasoning_effort response_format seed service_tier store temperature tool_choice "
    "tools top_logprobs top_p user verbosity".split()
)
_OWN = ("messages", "model", "stream", "stream_options", "stop")
#: The fields of a request that are understood.
OPENAI_FIELDS = frozenset({*_PARAMS, *_OWN})
_LONGEST_ERROR = 200  # characters
_INSTRUCTIONS = ("system", "developer")
_FILE_KEYS = {"image_url": "url", "file": "file_data", "input_audio": "data", "video_url": "url"}


def read_openai_request(
    body: bytes | str | Mapping[str, Any], limits: Limits, *, allow_system: bool = True
) -> WebRequest:
    """Return the request.

    Raises:
        RequestError: it cannot be taken.
    """
    shape = body_of(body, limits)
    given = list_of(shape.get("messages"), "messages", limits.messages)
    if not given:
        raise RequestError("messages is empty")
    files = _Files(limits)
    messages = tuple(
        _message(mapping_of(each, f"messages[{at}]"), f"messages[{at}]", limits, files, allow_system)
        for at, each in enumerate(given)
    )
    stream = shape.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise RequestError("stream is neither true nor false")
    options = shape.get("stream_options")
    usage = mapping_of(options, "stream_options").get("include_usage") if options is not None else False
    params = {name: value for name, value in shape.items() if name in _PARAMS and value is not None}
    stop = shape.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else list_of(stop, "stop", 16)
        if not all(isinstance(each, str) for each in stops):
            raise RequestError("stop is neither a text nor a list of texts")
        params["stop_sequences"] = list(stops)
    last = messages[-1]
    return WebRequest(
        messages=messages,
        message=last if last.role == "user" else None,
        model=text_in(shape, "model", "", limits.id, ""),
        stream=bool(stream),
        include_usage=usage is True,
        params=params,
        extra={name: value for name, value in shape.items() if name not in _PARAMS and name not in _OWN},
    )


class _Files:
    """Counts the files of a request."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0

    def add(self, url: Any, where: str) -> None:
        self._count += 1
        if self._count > self._limits.files:
            raise RequestError(f"there are more than {self._limits.files} files", status=413)
        if isinstance(url, str) and len(url) > self._limits.file_bytes:
            raise RequestError(f"{where} has more than {self._limits.file_bytes} bytes", status=413)


def _message(shape: Mapping[str, Any], where: str, limits: Limits, files: _Files, allow_system: bool) -> Message:
    if not allow_system and shape.get("role") in _INSTRUCTIONS:
        raise RequestError(f"{where}: instructions of the role {shape['role']} are not taken from a client")
    content = shape.get("content")
    if isinstance(content, str):
        text_in(shape, "content", where, limits.text)
    elif content is not None:
        for at, part in enumerate(list_of(content, f"{where}.content", limits.parts)):
            _check_part(mapping_of(part, f"{where}.content[{at}]"), f"{where}.content[{at}]", limits, files)
    # The provider's own data are signed by it or private to it, and come from our history alone.
    given = {name: value for name, value in shape.items() if name != "provider_data"}
    try:
        return Message.from_dict(given)
    except ConfigError as error:
        what = str(error).removeprefix("Message.from_dict(): ")[:_LONGEST_ERROR]  # it may quote a role
        raise RequestError(f"{where}: {what}") from None


def _check_part(part: Mapping[str, Any], where: str, limits: Limits, files: _Files) -> None:
    kind = part.get("type")
    if not isinstance(kind, str):
        raise RequestError(f"{where}.type is missing")
    if kind == "text":
        text_in(part, "text", where, limits.text)
    elif kind in _FILE_KEYS:
        inner = mapping_of(part.get(kind), f"{where}.{kind}")
        files.add(inner.get(_FILE_KEYS[kind]), f"{where}.{kind}")
