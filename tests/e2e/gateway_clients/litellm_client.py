"""LiteLLM against the gateway of OPENAI_BASE_URL and ANTHROPIC_BASE_URL; prints what came of it as a line of JSON."""

from __future__ import annotations

import json
import os
from typing import Any

import litellm

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
TOKEN = os.environ["OPENAI_API_KEY"]


def complete(what: Any, model: str = "openai/fast", **options: Any) -> Any:
    messages = [{"role": "user", "content": f"ask: {what}"}] if isinstance(what, str) else what
    base = os.environ["ANTHROPIC_BASE_URL" if model.startswith("anthropic/") else "OPENAI_BASE_URL"]
    given = {"api_base": base, "api_key": TOKEN, "num_retries": 0, "max_retries": 0, **options}
    return litellm.completion(model=model, messages=messages, **given)


def counts(usage: Any) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens]


def text_of(chunks: Any) -> tuple[str, list[int]]:
    text, usage = "", []
    for chunk in chunks:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        if getattr(chunk, "usage", None):
            usage = counts(chunk.usage)
    return text, usage


def error_of(**options: Any) -> Any:
    try:
        complete("hello", **options)
    except Exception as error:
        return error
    raise AssertionError("no error")


got: dict[str, Any] = {}
got["streamed"], got["streamed usage"] = text_of(complete("hello", stream=True, stream_options={"include_usage": True}))
answer = complete("hello")
got["whole"], got["usage"] = answer.choices[0].message.content, counts(answer.usage)
response = litellm.responses(
    model="openai/fast", input="ask: hello", api_base=os.environ["OPENAI_BASE_URL"], api_key=TOKEN
)
got["responses"] = response.output_text
claude = complete("hello", "anthropic/fast", max_tokens=100)
got["anthropic"] = [claude.choices[0].message.content, *counts(claude.usage)]
got["anthropic streamed"] = text_of(complete("hello", "anthropic/fast", max_tokens=100, stream=True))[0]

asked: list[Any] = [{"role": "user", "content": "ask: tools"}]
message = complete(asked, tools=TOOLS).choices[0].message
got["calls"] = [json.loads(call.function.arguments) for call in message.tool_calls]
results = [{"role": "tool", "tool_call_id": call.id, "content": "cold"} for call in message.tool_calls]
got["after tools"] = complete([*asked, message.model_dump(), *results], tools=TOOLS).choices[0].message.content
schema = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
got["json"] = json.loads(complete("json", response_format=schema).choices[0].message.content)

got["wrong token"] = type(error_of(api_key="sk-wrong")).__name__
got["unknown model"] = type(error_of(model="openai/none")).__name__
got["without money"] = error_of(max_tokens=2_000_000).status_code
text = ""
try:
    for chunk in complete("broken", stream=True):
        text += chunk.choices[0].delta.content or ""
except Exception:
    got["broken"] = text
print(json.dumps(got))
