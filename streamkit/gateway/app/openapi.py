"""The description of the gateway's addresses that it serves itself, as OpenAPI 3.1: ``description``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamkit.version import __version__

__all__ = ["description"]

_TEXT: dict[str, Any] = {"type": "string"}
_FRACTION: dict[str, Any] = {"type": "number"}


def _number(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def _list(of: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


def _object(required: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    shape: dict[str, Any] = {"type": "object", "properties": fields}
    if required:
        shape["required"] = list(required)
    return shape


_PART = {
    "oneOf": [
        _object(["type", "text"], type={"const": "text"}, text=_TEXT),
        _object(["type", "image_url"], type={"const": "image_url"}, image_url=_object(["url"], url=_TEXT)),
    ]
}
_TOOL = _object(
    ["type", "function"],
    type={"const": "function"},
    function=_object(["name"], name=_TEXT, description=_TEXT, parameters={"type": "object"}),
)


_MAYBE: dict[str, Any] = {"type": ["string", "null"]}
_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}

#: What is answered with 4xx and 5xx.
_ERROR = _object(
    ["error"], error=_object(["message", "type", "param", "code"], message=_TEXT, type=_TEXT, param=_MAYBE, code=_MAYBE)
)
_ANTHROPIC_ERROR = _object(
    ["type", "error"], type={"const": "error"}, error=_object(["type", "message"], type=_TEXT, message=_TEXT)
)

#: What is answered with 200.
_COMPLETION = _object(
    ["id", "object", "created", "model", "choices"],
    id=_TEXT,
    object={"const": "chat.completion"},
    created=_WHOLE,
    model=_TEXT,
    choices=_list(
        _object(
            ["index", "message", "finish_reason"],
            index=_WHOLE,
            message=_object(["role", "content"], role={"const": "assistant"}, content=_MAYBE),
            finish_reason=_TEXT,
        )
    ),
)
_RESPONSE = _object(
    ["id", "object", "created_at", "model", "status", "output"],
    id=_TEXT,
    object={"const": "response"},
    model=_TEXT,
    status={"enum": ["completed", "incomplete"]},
    output=_list(_object(["type"], type=_TEXT)),
)
_MESSAGE = _object(
    ["id", "type", "role", "content", "model", "stop_reason", "usage"],
    id=_TEXT,
    type={"const": "message"},
    role={"const": "assistant"},
    model=_TEXT,
    content=_list(_object(["type"], type=_TEXT)),
    usage=_object(["input_tokens", "output_tokens"], input_tokens=_WHOLE, output_tokens=_WHOLE),
)
_MODEL = _object(["id", "object", "created", "owned_by"], id=_TEXT, object={"const": "model"}, created=_WHOLE)
_MODELS = _object(["object", "data"], object={"const": "list"}, data=_list(_MODEL))
_BALANCE = _object(
    ["currency", "account", "unlimited", "available", "reserved", "spent"],
    currency={"const": "USD"},
    account={"enum": ["token", "team"]},
    unlimited={"type": "boolean"},
    available=_MAYBE,
    reserved=_TEXT,
    spent=_TEXT,
)
_USAGE = _object(
    ["currency", "by", "data"],
    currency={"const": "USD"},
    by={"enum": ["day", "model"]},
    data=_list(
        _object(
            ["requests", "input_tokens", "output_tokens", "cost"],
            requests=_WHOLE,
            input_tokens=_WHOLE,
            output_tokens=_WHOLE,
            cost=_TEXT,
        )
    ),
)


def description(models: Sequence[str]) -> dict[str, Any]:
    """Return the description.

    Args:
        models: names of models that can be asked for.
    """
    model = {"type": "string", "enum": list(models)} if models else _TEXT
    message = _object(
        ["role", "content"],
        role={"enum": ["system", "developer", "user", "assistant"]},
        content={"anyOf": [_TEXT, _list(_PART)]},
    )
    chat = _object(
        ["model", "messages"],
        model=model,
        messages=_list(message, minItems=1, maxItems=2000),
        stream={"type": "boolean"},
        stream_options=_object(include_usage={"type": "boolean"}),
        max_tokens=_number(1, 10_000_000),
        max_completion_tokens=_number(1, 10_000_000),
        n=_number(1, 128),
        temperature={**_FRACTION, "minimum": 0, "maximum": 2},
        top_p={**_FRACTION, "minimum": 0, "maximum": 1},
        stop={"anyOf": [_TEXT, _list(_TEXT, maxItems=4)]},
        seed={"type": "integer"},
        user=_TEXT,
        tools=_list(_TOOL, maxItems=128),
        tool_choice={"enum": ["none", "auto", "required"]},
        response_format=_object(["type"], type={"enum": ["text", "json_object"]}),
    )
    responses = _object(
        ["model", "input"],
        model=model,
        input={
            "anyOf": [_TEXT, _list(_object(["role", "content"], role={"enum": ["user", "assistant"]}, content=_TEXT))]
        },
        instructions=_TEXT,
        max_output_tokens=_number(1, 10_000_000),
        stream={"type": "boolean"},
        store={"const": False},
        temperature={**_FRACTION, "minimum": 0, "maximum": 2},
    )
    messages = _object(
        ["model", "messages", "max_tokens"],
        model=model,
        messages=_list(_object(["role", "content"], role={"enum": ["user", "assistant"]}, content=_TEXT), minItems=1),
        max_tokens=_number(1, 10_000_000),
        system=_TEXT,
        stream={"type": "boolean"},
        temperature={**_FRACTION, "minimum": 0, "maximum": 1},
    )
    days = {"name": "days", "in": "query", "schema": _number(1, 366)}
    by = {"name": "by", "in": "query", "schema": {"enum": ["day", "model"]}}
    id = {"name": "model", "in": "path", "required": True, "schema": _TEXT}
    return {
        "openapi": "3.1.0",
        "info": {"title": "streamkit gateway", "version": __version__},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/v1/chat/completions": _post("A reply, in the format of OpenAI's chat completions", chat, _COMPLETION),
            "/v1/responses": _post("A reply, in the format of OpenAI's responses", responses, _RESPONSE),
            "/v1/messages": _post(
                "A reply, in the format of Anthropic's messages", messages, _MESSAGE, _ANTHROPIC_ERROR
            ),
            "/v1/models": _get("The models that the token may ask", _MODELS),
            "/v1/models/{model}": _get("One model", _MODEL, id),
            "/api/balance": _get("What can be spent", _BALANCE),
            "/api/usage": _get("What was spent", _USAGE, days, by),
            "/healthz": _get("Whether the process runs", None, security=[]),
            "/readyz": _get("Whether the ledger can be used", None, security=[]),
        },
    }


def _post(summary: str, body: Any, reply: Any, error: Any = _ERROR) -> dict[str, Any]:
    answer = {"application/json": {"schema": reply}, "text/event-stream": {}}
    return {
        "post": {
            "summary": summary,
            "parameters": [{"name": "Idempotency-Key", "in": "header", "schema": {**_TEXT, "maxLength": 255}}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {"200": {"description": "The reply", "content": answer}, **_refusals(error)},
        }
    }


def _get(summary: str, reply: Any, *parameters: Any, security: Any = None) -> dict[str, Any]:
    """Return the description of an address.

    Args:
        summary: what it is for.
        reply: the schema; ``None`` for plain text.
        parameters: of the request.
        security: ``[]`` where no token is needed.
    """
    content: dict[str, Any] = {"text/plain": {}} if reply is None else {"application/json": {"schema": reply}}
    refusals = _refusals(_ERROR)
    if reply is None:
        refusals["5XX"] = {"description": "It cannot", "content": content}
    shape: dict[str, Any] = {
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": {"description": "Done", "content": content}, **refusals},
    }
    if security is not None:
        shape["security"] = security
    return {"get": shape}


def _refusals(error: Any) -> dict[str, Any]:
    refused = {"description": "Refused, or failed", "content": {"application/json": {"schema": error}}}
    return {"4XX": refused, "5XX": refused}
