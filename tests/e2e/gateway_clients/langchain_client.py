"""LangChain's ChatOpenAI against the gateway of OPENAI_BASE_URL; prints what came of it as a line of JSON."""

from __future__ import annotations

import json
from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather."""

    city: str
    degrees: int


@tool
def look(city: str) -> str:
    """Look at the weather of a city."""
    return "cold"


def model_of(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": "fast", "max_retries": 0, "stream_usage": True, **options})


def counts(message: Any) -> list[int]:
    return [message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]]


def error_of(what: str = "hello", **options: Any) -> openai.APIStatusError:
    try:
        model_of(**options).invoke(f"ask: {what}")
    except openai.APIStatusError as error:
        return error
    raise AssertionError("no error")


model = model_of()
got: dict[str, Any] = {}
whole: Any = None
for chunk in model.stream("ask: hello"):
    whole = chunk if whole is None else whole + chunk
got["streamed"], got["streamed usage"] = whole.text, counts(whole)
answer = model.invoke("ask: hello")
got["whole"], got["usage"] = answer.text, counts(answer)
got["responses"] = model_of(use_responses_api=True).invoke("ask: hello").text

asked: list[Any] = [HumanMessage("ask: tools")]
called = model.bind_tools([look]).invoke(asked)
got["calls"] = [call["args"] for call in called.tool_calls]
results = [ToolMessage("cold", tool_call_id=call["id"]) for call in called.tool_calls]
got["after tools"] = model.bind_tools([look]).invoke([*asked, called, *results]).text
got["json"] = model.with_structured_output(Weather).invoke("ask: json").model_dump()

got["wrong token"] = type(error_of(api_key="sk-wrong")).__name__
got["unknown model"] = type(error_of(model="none")).__name__
got["without money"] = error_of(max_tokens=2_000_000).status_code
text = ""
try:
    for chunk in model.stream("ask: broken"):
        text += chunk.text
except openai.APIError:
    got["broken"] = text
print(json.dumps(got))
