"""Read the body of OpenAI's ``/v1/responses``.

Source: https://platform.openai.com/docs/api-reference/responses/create, and ResponseCreateParams of openai 3.57 of
PyPI, read 2026-11-27.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamkit.errors import RequestError
from streamkit.values.messages import Message
from streamkit.web.formats.requests.request import Limits, WebRequest, body_of, list_of, mapping_of, text_in
from streamkit.web.formats.requests.responses_input import naming, read_input

__all__ = ["ENCRYPTED", "native_params", "read_responses_request"]

#: What asks for reasoning that only its provider can read, in ``include``.
ENCRYPTED = "reasoning.encrypted_content"

# What needs a memory of earlier replies, or a worker that goes on without the client.
_STATE = {
    "previous_response_id": "no reply is stored here; send the whole conversation as input",
    "conversation": "no conversation is stored here; send all of it as input",
    "prompt": "no prompts are stored here; send its text as instructions",
    "background": "a reply is made while its client waits",
    "context_management": "no conversation is compacted here; send what the model is to see",
}
_OWN = frozenset(
    "input instructions model stream tools tool_choice text temperature top_p max_output_tokens parallel_tool_calls "
    "metadata user service_tier store background conversation previous_response_id prompt context_management".split()
)
# Fields that a response repeats as they came; those that are missing here it has with other values.
_REPEATED = (
    *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "prompt_cache_key"),
    *("reasoning", "safety_identifier", "service_tier", "temperature", "text", "tool_choice", "tools", "top_p", "user"),
)
_WORDS = ("auto", "none", "required")
_MOST_TOKENS = 2**31 - 1  # of max_output_tokens
_MOST_PAIRS = 16  # of metadata, as OpenAI has it


def read_responses_request(
    body: bytes | str | Mapping[str, Any], limits: Limits, *, allow_system: bool = True
) -> WebRequest:
    """Return the request.

    ``include``, ``reasoning``, ``truncation`` and what else says nothing to every provider are in ``extra``.
    ``truncation: "auto"`` is taken and not done, as nobody here knows what would fit: too long an input is the
    provider's error.

    Raises:
        RequestError: it cannot be taken; ``param`` says where.
    """
    return _Reading(body_of(body, limits), limits).request(allow_system)


def native_params(request: WebRequest) -> dict[str, Any]:
    """Return what a provider of the Responses format takes beside ``params``; others refuse it.

    The provider stores nothing, whatever the client says, as nobody could ask for it here.
    """
    extra = request.extra
    params: dict[str, Any] = {"store": False}
    if ENCRYPTED in extra.get("include", ()):
        params["include"] = [ENCRYPTED]
    reasoning = extra.get("reasoning", {})
    if summary := reasoning.get("summary") or reasoning.get("generate_summary"):
        params["reasoning"] = {"summary": summary}
    passed = ("prompt_cache_key", "safety_identifier", "truncation")
    return params | {name: extra[name] for name in passed if extra.get(name)}


class _Reading:
    """Reads one body, a field at a time."""

    def __init__(self, shape: Mapping[str, Any], limits: Limits) -> None:
        self._shape = {name: value for name, value in shape.items() if value is not None}
        self._limits = limits

    def request(self, allow_system: bool) -> WebRequest:
        shape, limits = self._shape, self._limits
        self._refuse_state()
        with naming("model"):
            model = text_in(shape, "model", "", limits.id, "")
        stream = self._truth("stream")
        params = self._params()  # before the input, so that what is wrong for any input is said first
        messages = read_input(shape.get("input"), limits, allow_system=allow_system)
        with naming("instructions"):
            told = text_in(shape, "instructions", "", limits.text, "")
        if told and not allow_system:
            raise RequestError("instructions are not taken from a client", param="instructions")
        last = messages[-1]
        return WebRequest(
            messages=((Message("system", told),) if told else ()) + messages,
            message=last if last.role == "user" else None,
            model=model,
            stream=bool(stream),
            include_usage=True,
            params=params,
            extra={name: value for name, value in shape.items() if name not in _OWN},
            echo={name: shape[name] for name in _REPEATED if name in shape},
        )

    def _refuse_state(self) -> None:
        for name, why in _STATE.items():
            if self._shape.get(name) not in (None, False, []):
                raise RequestError(f"{name} is not supported: {why}", code="unsupported_parameter", param=name)
        self._truth("store")

    # -- parameters --------------------------------------------------------------------------------------

    def _params(self) -> dict[str, Any]:
        """Return the parameters for the model; not those that say what is so without them, which not all take."""
        params: dict[str, Any] = {}
        for name, most in (("temperature", 2), ("top_p", 1)):
            if (number := self._number(name, most)) is not None:
                params[name] = number
        tokens = self._shape.get("max_output_tokens")
        if tokens is not None:
            if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MOST_TOKENS:
                raise RequestError("max_output_tokens is no whole number above 0", param="max_output_tokens")
            params["max_tokens"] = tokens
        if self._truth("parallel_tool_calls") is False:
            params["parallel_tool_calls"] = False
        for name, default in (("user", ""), ("service_tier", "auto")):
            with naming(name):
                if (word := text_in(self._shape, name, "", self._limits.id, "")) not in ("", default):
                    params[name] = word
        self._check_unsent()
        return {**params, **self._effort(), **self._form(), **self._tools()}

    def _truth(self, name: str) -> bool | None:
        value = self._shape.get(name)
        if value is not None and not isinstance(value, bool):
            raise RequestError(f"{name} is neither true nor false", param=name)
        return value

    def _number(self, name: str, most: int) -> float | None:
        value = self._shape.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most
        ):
            raise RequestError(f"{name} is no number from 0 to {most}", param=name)
        return value

    def _check_unsent(self) -> None:
        """Check fields that are no parameters of the request to the model."""
        shape, limits = self._shape, self._limits
        if shape.get("truncation", "auto") not in ("auto", "disabled"):
            raise RequestError("truncation is neither auto nor disabled", param="truncation")
        with naming("stream_options"):
            mapping_of(shape.get("stream_options", {}), "stream_options")
        with naming("include"):
            included = list_of(shape.get("include", ()), "include", limits.parts)
        if "message.output_text.logprobs" in included or shape.get("top_logprobs"):
            name = "top_logprobs" if shape.get("top_logprobs") else "include"
            raise RequestError("logprobs are not supported", code="unsupported_parameter", param=name)
        with naming("metadata"):
            pairs = mapping_of(shape.get("metadata", {}), "metadata")
            if len(pairs) > _MOST_PAIRS:
                raise RequestError(f"metadata has more than {_MOST_PAIRS} pairs")
            for name in pairs:
                text_in({"key": name}, "key", "metadata", limits.id)
                text_in({"value": pairs[name]}, "value", "metadata", limits.id)
        for name in ("prompt_cache_key", "safety_identifier"):
            with naming(name):
                text_in(shape, name, "", limits.id, "")

    def _effort(self) -> dict[str, Any]:
        with naming("reasoning"):
            reasoning = mapping_of(self._shape.get("reasoning", {}), "reasoning")
        with naming("reasoning.effort"):
            effort = text_in(reasoning, "effort", "reasoning", self._limits.id, "")
        for name in ("summary", "generate_summary"):
            with naming(f"reasoning.{name}"):
                text_in(reasoning, name, "reasoning", self._limits.id, "")
        return {"reasoning_effort": effort} if effort else {}

    def _form(self) -> dict[str, Any]:
        """Return ``text`` as the parameters that chat completions have for it."""
        limits = self._limits
        with naming("text"):
            text = mapping_of(self._shape.get("text", {}), "text")
        params: dict[str, Any] = {}
        with naming("text.verbosity"):
            if (verbosity := text_in(text, "verbosity", "text", limits.id, "medium")) != "medium":
                params["verbosity"] = verbosity
        if text.get("format") is None:
            return params
        with naming("text.format"):
            form = mapping_of(text["format"], "text.format")
            kind = form.get("type")
            if kind == "json_object":
                params["response_format"] = {"type": "json_object"}
            elif kind == "json_schema":
                params["response_format"] = {"type": "json_schema", "json_schema": self._schema(form)}
            elif kind != "text":
                raise RequestError("text.format.type is none of text, json_object, json_schema")
        return params

    def _schema(self, form: Mapping[str, Any]) -> dict[str, Any]:
        where, limits = "text.format", self._limits
        shape: dict[str, Any] = {"name": text_in(form, "name", where, limits.id)}
        shape["schema"] = mapping_of(form.get("schema"), f"{where}.schema")
        if form.get("description") is not None:
            shape["description"] = text_in(form, "description", where, limits.text)
        return shape | _strict_of(form, where)

    # -- tools -------------------------------------------------------------------------------------------

    def _tools(self) -> dict[str, Any]:
        with naming("tools"):
            given = list_of(self._shape.get("tools", ()), "tools", self._limits.parts)
        tools = []
        for at, tool in enumerate(given):
            with naming(f"tools[{at}]"):
                tools.append(self._tool(mapping_of(tool, f"tools[{at}]"), f"tools[{at}]"))
        with naming("tool_choice"):
            choice, tools = self._choice(tools)
        return {name: value for name, value in (("tools", tools), ("tool_choice", choice)) if value}

    def _tool(self, tool: Mapping[str, Any], where: str) -> dict[str, Any]:
        if tool.get("type") != "function":
            text_in(tool, "type", where, self._limits.id)
            raise RequestError(
                f"{where}.type is not supported: there are functions alone, which the client calls",
                code="unsupported_value",
            )
        function: dict[str, Any] = {"name": text_in(tool, "name", where, self._limits.id)}
        if not function["name"]:
            raise RequestError(f"{where}.name is empty")
        if tool.get("description") is not None:
            function["description"] = text_in(tool, "description", where, self._limits.text)
        if tool.get("parameters") is not None:
            function["parameters"] = mapping_of(tool["parameters"], f"{where}.parameters")
        return {"type": "function", "function": function | _strict_of(tool, where)}

    def _choice(self, tools: list[dict[str, Any]]) -> tuple[Any, list[dict[str, Any]]]:
        """Return the choice, and the tools that it leaves: of those that are not allowed no model is told."""
        choice = self._shape.get("tool_choice")
        if choice is None or (isinstance(choice, str) and choice in _WORDS):
            if choice == "required" and not tools:
                raise RequestError("tool_choice is required, and there are no tools")
            return choice if tools and choice != "auto" else None, tools
        shape = mapping_of(choice, "tool_choice")
        known = {tool["function"]["name"] for tool in tools}
        if shape.get("type") == "function":
            name = text_in(shape, "name", "tool_choice", self._limits.id)
            if name not in known:
                raise RequestError("tool_choice.name is none of the tools")
            return {"type": "function", "function": {"name": name}}, tools
        if shape.get("type") != "allowed_tools" or shape.get("mode") not in ("auto", "required"):
            raise RequestError("tool_choice is none of auto, none, required, a function and allowed_tools with a mode")
        allowed = list_of(shape.get("tools"), "tool_choice.tools", self._limits.parts)
        names = {
            text_in(mapping_of(each, "tool_choice.tools[]"), "name", "tool_choice.tools[]", self._limits.id)
            for each in allowed
        }
        if not names or names - known:
            raise RequestError("tool_choice.tools are not all among the tools")
        left = [tool for tool in tools if tool["function"]["name"] in names]
        return "required" if shape["mode"] == "required" else None, left


def _strict_of(shape: Mapping[str, Any], where: str) -> dict[str, bool]:
    strict = shape.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise RequestError(f"{where}.strict is neither true nor false")
    return {} if strict is None else {"strict": strict}
