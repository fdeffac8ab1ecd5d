"""The parts of a UI message stream: which fields each type has, as the client of the AI SDK checks them.

Source: ``uiMessageChunkSchema`` of the npm package ai 7.0.173, measured by calling its ``validate()``, 2026-11-26.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import ConfigError

__all__ = ["FINISH_REASONS", "check_part"]

#: The client refuses any other, after the whole text.
FINISH_REASONS = frozenset({"stop", "length", "content-filter", "tool-calls", "error", "interrupted", "other"})

_Fields = dict[str, tuple[type, ...]]

_STRING: tuple[type, ...] = (str,)
_BOOL: tuple[type, ...] = (bool,)
_OBJECT: tuple[type, ...] = (Mapping,)
_LIST: tuple[type, ...] = (list, tuple)
_ANY: tuple[type, ...] = (object,)
_PROVIDER: _Fields = {"providerMetadata?": _OBJECT}
_TOOL: _Fields = {
    "providerExecuted?": _BOOL,
    **_PROVIDER,
    "toolMetadata?": _OBJECT,
    "dynamic?": _BOOL,
}
_NAMED: _Fields = {"toolCallId": _STRING, "toolName": _STRING, **_TOOL, "title?": _STRING}
_BLOCK: _Fields = {"id": _STRING, **_PROVIDER}
_FILE: _Fields = {"url": _STRING, "mediaType": _STRING, **_PROVIDER}

# A name with a question mark may be missing; none may be None unless it is of any type.
_PARTS: dict[str, _Fields] = {
    "start": {"messageId?": _STRING, "messageMetadata?": _ANY},
    "start-step": {},
    "finish-step": {},
    "reset-step": {},
    "text-start": _BLOCK,
    "text-delta": {**_BLOCK, "delta": _STRING},
    "text-end": {**_BLOCK, "citations?": _LIST},
    "reasoning-start": _BLOCK,
    "reasoning-delta": {**_BLOCK, "delta": _STRING},
    "reasoning-end": _BLOCK,
    "tool-input-start": {**_NAMED, "inputEncoding?": _STRING},
    "tool-input-delta": {"toolCallId": _STRING, "inputTextDelta": _STRING},
    "tool-input-available": {**_NAMED, "input": _ANY},
    "tool-input-error": {**_NAMED, "input": _ANY, "errorText": _STRING},
    "tool-approval-request": {
        "approvalId": _STRING,
        "toolCallId": _STRING,
        "approvalDescriptor?": _ANY,
        "inputSchemaInput?": _ANY,
        "reason?": _STRING,
        "isAutomatic?": _BOOL,
        "signature?": _STRING,
    },
    "tool-approval-response": {
        "approvalId": _STRING,
        "approved": _BOOL,
        "reason?": _STRING,
        "providerExecuted?": _BOOL,
        **_PROVIDER,
    },
    "tool-output-available": {"toolCallId": _STRING, "output": _ANY, **_TOOL, "preliminary?": _BOOL},
    "tool-output-error": {"toolCallId": _STRING, "errorText": _STRING, **_TOOL},
    "tool-output-denied": {"toolCallId": _STRING},
    "source-url": {"sourceId": _STRING, "url": _STRING, "title?": _STRING, **_PROVIDER},
    "source-document": {
        "sourceId": _STRING,
        "mediaType": _STRING,
        "title": _STRING,
        "filename?": _STRING,
        **_PROVIDER,
    },
    "file": _FILE,
    "reasoning-file": _FILE,
    "custom": {"kind": _STRING, **_PROVIDER},
    "steering-message": {"id": _STRING, "parts": _LIST},
    "message-metadata": {"messageMetadata": _ANY},
    "error": {"errorText": _STRING},
    "abort": {"reason?": _STRING},
    "finish": {"finishReason?": _STRING, "messageMetadata?": _ANY},
}
_DATA: _Fields = {"data": _ANY, "id?": _STRING, "transient?": _BOOL}
_VALUES = {"finishReason": FINISH_REASONS, "inputEncoding": frozenset({"json", "text"})}
_OF_OBJECTS = ("citations", "parts", "providerMetadata")


def check_part(part: Mapping[str, Any]) -> None:
    """Check a part of the program's own; the client ends the stream with an error at one that it does not know.

    Raises:
        ConfigError: its type is unknown, a field is missing or has a wrong type. Further fields are allowed.
    """
    kind = part.get("type")
    fields = _DATA if isinstance(kind, str) and kind.startswith("data-") else _PARTS.get(kind)  # type: ignore[arg-type]
    if fields is None:
        raise ConfigError(f"a UI message stream has no part of the type {kind!r}; data of your own is data-<name>")
    for name, types in fields.items():
        field = name.rstrip("?")
        if field not in part:
            if field == name:
                raise ConfigError(f"the part {kind} needs the field {field}")
        elif not isinstance(part[field], types) or (field in _OF_OBJECTS and not _has_objects(part[field])):
            raise ConfigError(f"the field {field} of the part {kind} has the wrong type {type(part[field]).__name__}")
    for field, values in _VALUES.items():
        if f"{field}?" in fields and field in part and part[field] not in values:
            raise ConfigError(f"the field {field} of the part {kind} is one of {', '.join(sorted(values))}")


def _has_objects(value: Any) -> bool:
    """Return whether all that a list or an object holds are objects."""
    return all(isinstance(each, Mapping) for each in (value.values() if isinstance(value, Mapping) else value))
