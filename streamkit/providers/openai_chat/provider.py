"""Base class of the services of chat completions: request, decoder, errors.

Source: OpenAI's API reference of chat completions (streaming), read 2026-11-20; the deviations are those of the
recordings in ``tests/recordings`` and of the services' own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.contract import Decoder
from streamkit.providers.openai_chat.decoder import ChatDecoder
from streamkit.providers.openai_chat.quirks import Quirks
from streamkit.providers.openai_chat.remembering_decoder import RememberingDecoder
from streamkit.providers.request.call_ids import messages_with_ids
from streamkit.providers.request.continuing import Continuation, prefilled
from streamkit.providers.request.credentials import name_of
from streamkit.providers.request.hints import unknown_parameters
from streamkit.providers.request.keyed_provider import KeyedProvider
from streamkit.providers.request.openai_shape import (
    answered_call_of,
    arguments_text,
    check_tool_choice,
    content_of,
    function_of,
    items_of,
    normalise,
    with_named_results,
)
from streamkit.providers.request.post import post
from streamkit.providers.request.structured_output import OutputWay, OutputWords, has_function_tools, way_of
from streamkit.providers.request.tool_limits import limited_shapes
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_dict, as_text
from streamkit.wire.secrets import Masked, Unshown

__all__ = ["ChatCompletions", "variable_of"]

_PARAMETERS = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
    "metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "reasoning_effort response_format safety_identifier seed service_tier stop stop_sequences store "
    "stream_options temperature tool_choice tools top_k top_logprobs top_p user verbosity "
    "web_search_options".split()
)


def variable_of(name: str, suffix: str) -> str:
    """Return the environment variable of a provider, such as ``MY_SERVER_API_KEY`` of ``my-server``."""
    return f"{re.sub(r'[^A-Za-z0-9]', '_', name_of(name)).upper()}_{suffix}"


class ChatCompletions(KeyedProvider):
    """Base of the providers of chat completions; see ``Provider`` for the contract.

    Args:
        name: the first segment of the model names that go to it.
        base_url: what ``/chat/completions`` is added to.
        api_key: by default the first that the environment has.
        key_variables: where the environment has it, the usual one first.
        key_needed: whether a request without a key is refused before it is sent.
        quirks: how the server deviates.
        headers: sent with each request; those that are ``None`` are left out, secret ones are ``Masked``.
        direct: ignore the proxies of the environment.

    Raises:
        ConfigError: the key cannot be one.
    """

    output_words = OutputWords(serial=True, json_object=True)
    #: The format of the events of its replies, for clients that speak it; ``None`` where they deviate.
    events_format: ClassVar[str | None] = "openai"

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: Masked | None,
        *,
        key_variables: Sequence[str],
        key_needed: bool,
        quirks: Quirks,
        headers: Mapping[str, str | None] | None = None,
        direct: bool = False,
    ) -> None:
        super().__init__(name, base_url, api_key, key_variables=key_variables, key_needed=key_needed)
        self._quirks = quirks
        self._headers = dict(headers or {})
        self.direct = direct

    def url(self, chat: ChatRequest) -> str:
        """Return the address that a call goes to."""
        return f"{self.base_url}/chat/completions"

    def headers(self) -> dict[str, str | None]:
        """Return the headers that identify the caller.

        Raises:
            ConfigError: the key is missing.
        """
        key = self._checked_key()
        if key is None:
            return self._headers
        return {**self._headers, "Authorization": Masked(f"Bearer {key}")}

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply."""
        headers = self.headers()
        masked = tuple(Masked(value.removeprefix("Bearer ")) for value in headers.values() if isinstance(value, Masked))
        request = post(
            self.url(chat), self.body(self._asked(chat)), chat, headers=headers, key=self._key, masked=masked
        )
        return attrs.evolve(request, direct=self.direct)

    def body(self, chat: ChatRequest) -> dict[str, Any]:
        """Return the request's body, before ``extra_body`` is added and it becomes JSON.

        Raises:
            ConfigError: a parameter is unknown, or the service does not support it.
        """
        given = with_named_results(chat.messages)
        messages: list[Any] = [self._sent(f"messages[{number}]", message) for number, message in enumerate(given)]
        if self._quirks.call_ids is not None:
            messages = messages_with_ids(messages, self._quirks.call_ids)
        body: dict[str, Any] = {"model": chat.model, "messages": messages, "stream": True, **self._params(chat)}
        self._ask_for_usage(body)
        return body

    def _ask_for_usage(self, body: dict[str, Any]) -> None:
        given = body.get("stream_options", {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"stream_options is a dict, not {type(given).__name__}")
        if self._quirks.include_usage:
            body["stream_options"] = {"include_usage": True, **given}

    def _sent(self, where: str, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message in the server's form: with its own provider data, without that of other formats."""
        sent = {key: value for key, value in message.items() if key != "provider_data"}
        sent |= _own_data(where, message, self._quirks.reasoning_back)
        content = content_of(where, message)
        if content is not None and not isinstance(content, str):
            if message["role"] == "tool" and self._quirks.text_results:
                self._check_text(content)
            sent["content"] = [self._sent_part(part) for part in content]
        if calls := items_of(where, message, "tool_calls"):
            sent["tool_calls"] = [_sent_call(where, call) for call in calls]
        else:
            sent.pop("tool_calls", None)  # an empty list is refused
        if (call := as_dict(message.get("function_call"))) and isinstance(call.get("arguments"), str):
            sent["function_call"] = {**call, "arguments": arguments_text(call["arguments"])}
        if (
            not content
            and message["role"] in ("assistant", "tool")
            and not any((calls, call, message.get("refusal"), message.get("audio")))
        ):
            sent["content"] = ""  # neither null nor an empty list is taken
        if message["role"] == "tool":
            sent["tool_call_id"] = answered_call_of(where, message)
        return sent

    def _check_text(self, content: Sequence[Any]) -> None:
        """Raise a ConfigError if a tool's result has parts other than text.

        Source: "Image URLs are only allowed for messages with role 'user'", OpenHands/OpenHands#7700; newer models take
        such a request and do not see the image, openai/openai-openapi#523, read 2026-11-27.
        """
        kinds = [as_text(part.get("type")) for part in content if isinstance(part, Mapping)]
        for kind in kinds:
            if kind != "text":
                raise ConfigError(
                    f"{self.name} takes text as the result of a tool, no {kind}; openai-responses takes such parts"
                )

    def _sent_part(self, part: Any) -> Any:
        """Return a part in the server's form; servers differ only in where the URL of a document goes."""
        file = as_dict(as_dict(part).get("file"))
        held = "file_url" if file.get("file_url") else "file_data"
        url, field = as_text(file.get(held)), self._quirks.file_url
        if held == "file_data" and (field is not None or not url.startswith(("http:", "https:"))):
            return part
        if url.startswith("data:"):
            field = "file_data"
        if field is None:
            raise ConfigError(
                f"{self.name} takes documents by content, not by address: pass FilePart.read(path) or a data: URL, or "
                "ask a provider that fetches them, such as openai-responses"
            )
        return {**part, "file": {**{key: value for key, value in file.items() if key != held}, field: url}}

    def _params(self, chat: ChatRequest) -> dict[str, Any]:
        params, quirks = Unshown(chat.params), self._quirks  # as an unknown parameter may be a key
        for name, instead in quirks.refused.items():
            if name in params:
                raise ConfigError(f"{self.name} has no {name}: {instead}")
        known = (_PARAMETERS | quirks.own) - set(quirks.refused)
        if unknown := set(params) - known:
            raise unknown_parameters(self.name, unknown, known)
        check_tool_choice(chat)
        normalise(params)
        if "tools" in params:
            params["tools"] = limited_shapes(self.name, params["tools"], quirks.tool_limits)
        _free(params, "max_tokens", "max_completion_tokens")
        renamed = ["max_tokens", *(["max_completion_tokens"] if quirks.max_tokens_only else [])]
        for given, sent in (("stop_sequences", "stop"), *((name, quirks.max_tokens_field) for name in renamed)):
            if given in params and sent != given:
                _free(params, given, sent)
                params[sent] = params.pop(given)
        if quirks.effort_field == "reasoning" and "reasoning_effort" in params:
            _free(params, "reasoning_effort", "reasoning")
            params["reasoning"] = {"effort": params.pop("reasoning_effort")}
        return params

    def continuation(self, chat: ChatRequest, text: str) -> Continuation | None:
        """Return the call for the rest of a reply, where the server goes on with a last message; see ``Continues``."""
        prefill = self._quirks.prefill
        if prefill == "continue_final_message":
            body = {**chat.extra_body, "continue_final_message": True, "add_generation_prompt": False}
            return Continuation(attrs.evolve(prefilled(chat, text), extra_body=body), text)
        if prefill == "prefix" and self.base_url.endswith("/beta"):
            return Continuation(prefilled(chat, text, prefix=True), text)
        return None

    def structured_output(self, chat: ChatRequest) -> OutputWay:
        """Return how a JSON schema for the reply is said to the server, or to its model."""
        way = way_of(chat.model, self._quirks.output_by_model, self._quirks.structured_output)
        both = way == "schema" and has_function_tools(chat)
        return "tool" if both and not self._quirks.schema_beside_tools else way

    def decoder(self, chat: ChatRequest) -> Decoder:
        """Return a decoder for one stream, the answer to ``chat``."""
        back = self._quirks.reasoning_back
        if back is None:
            return self._answered(chat, ChatDecoder(self.name, choices_of(chat)))
        return self._answered(chat, RememberingDecoder(self.name, choices_of(chat), back))


def _free(params: Mapping[str, Any], given: str, sent: str) -> None:
    if given in params and sent in params:
        raise ConfigError(f"{given} and {sent} are the same parameter; give one of them")


def _own_data(where: str, message: Mapping[str, Any], field: str | None) -> dict[str, Any]:
    """Return the last provider data of a field as a dict of that field; empty if there is none."""
    data = items_of(where, message, "provider_data")
    if field is None or field in message:
        return {}
    own = [datum[field] for datum in data if isinstance(datum, Mapping) and field in datum]
    return {field: own[-1]} if own else {}


def _sent_call(where: str, call: Any) -> Any:
    if isinstance(call, Mapping) and call.get("type", "function") != "function":
        return call  # a tool of the server's own kind
    name, arguments = function_of(where, call)
    return {**call, "function": {**call["function"], "name": name, "arguments": arguments_text(arguments)}}
