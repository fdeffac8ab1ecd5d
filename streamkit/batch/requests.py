"""A prompt as it is asked: ``BatchRequest``, its key and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.providers.call import messages_of
from streamkit.settings import shown
from streamkit.values.messages import Message
from streamkit.values.plain import to_plain

__all__ = ["BatchRequest", "Key", "digest_of", "digest_of_call", "key_of", "models_of", "request_of"]

#: The name of a field of prompts that are dicts, or a function that takes a prompt and returns its key.
Key = str | Callable[[Any], object]

# Bytes. Two prompts with one digest would have to be at one place, so a few are enough.
_OF_CALL, _OF_PROMPT = 4, 12
_OF_BATCH = frozenset(("model", "stop", "extra_headers"))


@attrs.frozen
class BatchRequest:
    """A prompt as it is asked.

    Attributes:
        messages: dicts of the OpenAI shape.
        params: the request's own parameters, beside those of the whole batch.
    """

    messages: list[dict[str, Any]] = attrs.field(repr=False)
    params: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


def request_of(prompt: Any, key: Key | None) -> BatchRequest:
    """Return the request for a prompt.

    Args:
        prompt: text, a message, a list of messages, or a dict with ``messages`` and parameters of this request alone.
        key: if it is a name, that field of a dict is not sent.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(prompt, Message) or (isinstance(prompt, Mapping) and "role" in prompt):
        return BatchRequest(messages_of([prompt]))
    if isinstance(prompt, Mapping):
        if "messages" not in prompt:
            raise ConfigError(
                "a dict as a prompt is a message with role and content, or has messages and parameters of its own; "
                f"this one has {', '.join(map(shown, prompt)) or 'nothing'}"
            )
        params = {name: value for name, value in prompt.items() if name not in ("messages", key)}
        if taken := _OF_BATCH & params.keys():
            raise ConfigError(f"{min(taken)} is an argument of the whole batch, and not of one prompt")
        return BatchRequest(messages_of(prompt["messages"]), params)
    if not isinstance(prompt, str) and not isinstance(prompt, Iterable):
        raise ConfigError(f"a prompt is text, a message, a list of messages or a dict, not {type(prompt).__name__}")
    return BatchRequest(messages_of(prompt))


def key_of(prompt: Any, key: Key | None) -> str:
    """Return the key of a prompt, "" where none is asked for.

    Raises:
        ConfigError: it has none.
    """
    if key is None:
        return ""
    found = key(prompt) if callable(key) else prompt.get(key) if isinstance(prompt, Mapping) else None
    if found is None or found == "" or not isinstance(found, (str, int)):
        what = "key= returned" if callable(key) else f"its {key!r} is"
        raise ConfigError(f"a prompt has no key: {what} {shown(found)}, and a key is text or a number")
    return str(found)


def digest_of_call(model: object, params: Mapping[str, Any], extra_body: object) -> str:
    """Return a digest of what all requests of a batch have in common."""
    params = {name: value for name, value in params.items() if value is not None}
    wanted = params.get("response_format")
    if wanted is not None:
        output = late_import("streamkit.tools.output").output_of(wanted)
        params["response_format"] = wanted if output is None else output.response_format
    if any(map(callable, params.get("tools") or ())):
        params["tools"] = late_import("streamkit.tools.starting").declared(params["tools"])
    models = model if isinstance(model, str) else models_of(model)
    return _digest([models, params, extra_body or {}], _OF_CALL)


def models_of(model: object) -> tuple[str, ...]:
    """Return the names of the models that may answer."""
    if isinstance(model, str):
        return (model,)
    models: tuple[str, ...] = late_import("streamkit.policies.route").route_of(model).models
    return models


def digest_of(request: BatchRequest, of_call: str) -> str:
    """Return a digest of a request: that of what all have in common, a hyphen, and its own."""
    return f"{of_call}-{_digest([request.messages, request.params], _OF_PROMPT)}"


def _digest(value: object, size: int) -> str:
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
