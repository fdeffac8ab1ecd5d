"""Names of other libraries are refused with a hint that is right: options of calls, providers, attributes."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import typing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import anthropic
import openai
import pytest
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from openai.resources.chat.completions import Completions
from openai.resources.completions import Completions as TextCompletions
from openai.resources.responses import Responses

import streamkit
from streamkit import (
    Choice,
    Chunk,
    Client,
    Completion,
    ConfigError,
    RequestParameters,
    Stream,
    ToolCall,
    ToolCallDelta,
    Usage,
    providers,
    values,
)
from streamkit.providers import ChatRequest, Provider, registry
from streamkit.providers.request import hints
from streamkit.values.attribute_hints import Elsewhere
from streamkit.values.chunks import text_chunk
from tests.unit.test_golden_requests import PROVIDERS

# -- the options of calls in other libraries -------------------------------------------------------------


def names_of(*functions: Callable[..., Any]) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters} - {"self"}


# Those of openai and anthropic are read from the libraries, so that a new one fails here until the table has it.
OPENAI = names_of(
    Completions.create, Completions.parse, Responses.create, Responses.stream, TextCompletions.create, openai.OpenAI
) | names_of(openai.AzureOpenAI)
ANTHROPIC = names_of(Messages.create, Messages.stream, BetaMessages.create, anthropic.Anthropic)
# litellm 1.110: completion(), its constants of OpenAI's parameters, and the options of its own in its
# types/litellm_params.py but for those of its proxy, its router's kinds and its sign-in at single services.
LITELLM = set(
    "model messages timeout temperature top_p n stream stream_options stop max_completion_tokens max_tokens modalities "
    "prediction audio presence_penalty frequency_penalty logit_bias user reasoning_effort verbosity response_format "
    "seed tools tool_choice logprobs top_logprobs parallel_tool_calls web_search_options "
    "include_server_side_tool_invocations deployment_id extra_headers safety_identifier service_tier store "
    "prompt_cache_key prompt_cache_retention functions function_call base_url api_version api_key model_list thinking "
    "shared_session enable_json_schema_validation request_timeout api_base organization default_headers max_retries "
    "custom_llm_provider drop_params allowed_openai_params additional_drop_params metadata context_management "
    "region_name headers provider_specific_header client ssl_verify force_timeout stream_timeout "
    "azure_ad_token_provider use_litellm_proxy fallbacks context_window_fallback_dict num_retries retry_policy "
    "retry_strategy routing_strategy cooldown_time allowed_model_region fastest_response model_info rpm tpm "
    "max_parallel_requests caching cache ttl enable_prompt_caching caching_groups base_model max_budget id "
    "litellm_metadata tags litellm_trace_id litellm_session_id logger_fn verbose no-log guardrails prompt_id "
    "prompt_variables prompt_version litellm_system_prompt custom_prompt_dict initial_prompt_value roles "
    "final_prompt_value bos_token eos_token hf_model_name supports_system_message ensure_alternating_roles "
    "merge_reasoning_content_in_choices complete_response stream_chunk_size mock_response mock_timeout "
    "default_fallbacks context_window_fallbacks content_policy_fallbacks success_callback callbacks aws_region_name "
    "aws_access_key_id aws_secret_access_key aws_session_token aws_profile_name vertex_project vertex_location "
    "vertex_credentials azure_ad_token azure_deployment".split()
)
# llm 0.36: prompt() and chain() of models and conversations, and the options of its models of OpenAI.
LLM = set(
    "prompt fragments attachments system schema tools tool_results system_fragments messages stream key options "
    "hide_reasoning chain_limit before_call after_call temperature max_tokens top_p frequency_penalty presence_penalty "
    "stop logit_bias seed json_object reasoning_effort image_detail verbosity".split()
)

# What a call says to each, by the text; ``openai`` is the provider where a test does not say another.
EFFORT = 'reasoning_effort= says how much to reason, such as "low"'
MESSAGES = "messages, the second argument of the call, has what is sent"
MODELS = "a list of models in place of one asks the next where one fails: ['openai/gpt-4o', 'azure/gpt-4o']"
SAID = {
    "a Client makes its own connections, and keeps them; share one Client": "client http_client shared_session",
    MODELS: (
        "context_window_fallback_dict context_window_fallbacks content_policy_fallbacks default_fallbacks model_list"
    ),
    f"{MODELS}; if the server has fallbacks of its own, they go in extra_body=": "fallbacks",
    "a deployment of Azure is a model: azure/DEPLOYMENT": "azure_deployment deployment_id",
    "a file is a part of a message: ImagePart.read(PATH) or FilePart.read(PATH)": "attachments",
    "a key belongs to a provider, as in providers.OpenAI(api_key=...), or in the environment": "auth_token key",
    "a model's name says the provider, as in openai/gpt-4o-mini": "custom_llm_provider",
    "a class or a JSON schema goes in response_format=, such as response_format=Invoice": (
        "output_format schema text_format"
    ),
    "an access token belongs to a provider, as in providers.AzureOpenAI(token=...)": (
        "azure_ad_token azure_ad_token_provider"
    ),
    "certificates are those of REQUESTS_CA_BUNDLE in the environment": "ssl_verify",
    "chunk.text and completion.text never have the reasoning": "hide_reasoning",
    "extra_body= passes parameters on that the provider is not known to have": "allowed_openai_params",
    "it belongs to a provider, as in providers.Anthropic(betas=...)": "betas",
    "it belongs to a provider, as in providers.AzureOpenAI(api_version=...)": "api_version",
    "it belongs to a provider, as in providers.AzureOpenAI(endpoint=...)": "azure_endpoint",
    "it belongs to a provider, as in providers.Bedrock(access_key=..., secret_key=...)": (
        "aws_access_key_id aws_secret_access_key"
    ),
    "it belongs to a provider, as in providers.Bedrock(profile=...)": "aws_profile_name",
    "it belongs to a provider, as in providers.Bedrock(region=...)": "aws_region_name region_name",
    "it belongs to a provider, as in providers.Bedrock(session_token=...)": "aws_session_token",
    "it belongs to a provider, as in providers.OpenAI(organization=...)": "organization",
    "it belongs to a provider, as in providers.OpenAI(project=...)": "project",
    "it is a setting of a Client: Client(observers=[...])": "callbacks logger_fn success_callback",
    "it is extra_headers= here": "default_headers headers provider_specific_header",
    "it is max_tokens= here": "max_output_tokens",
    "it is timeout= here": "force_timeout request_timeout stream_timeout",
    "JSON is asked for with response_format=": "json_object",
    "Vertex AI is a provider: providers.Gemini(project=..., location=..., token=...)": (
        "vertex_credentials vertex_location vertex_project"
    ),
    MESSAGES: "fragments input prompt",
    "no query is added to an address; extra_body= and extra_headers= add to a request": "default_query extra_query",
    "nothing is dropped in silence here; leave out what the provider does not have": (
        "additional_drop_params drop_params"
    ),
    'put a message with the role "system" first in the list of messages': (
        "instructions litellm_system_prompt system system_fragments"
    ),
    EFFORT: "reasoning thinking",
    "a cache is a policy of a Client: Client(policies=[MemoryCache()])": "cache caching",
    "a limit is a policy of a Client: Client(policies=[RateLimit(...)])": "rpm tpm",
    "retry= counts all tries, the first included: two retries are retry=3": "max_retries num_retries",
    "retry=Retry(attempts=...) says how often to try, and how long to wait between tries": (
        "retry_policy retry_strategy"
    ),
    "streamkit.testing has a server that plays replies: Server(text_reply(...))": "mock_response",
    'the result of a tool is a message: Message("tool", RESULT, tool_call_id=call.id)': "tool_results",
    "client.run(limits=RunLimits(rounds=...)) says how often the model is asked": "chain_limit",
    "client.run(approve=...) decides on each call before it is made": "before_call",
    "each result is a chunk of the type tool_result of client.run": "after_call",
}
HINTS = {name: text for text, names in SAID.items() for name in names.split()}
OF_A_PROVIDER = {"api_key", "base_url", "api_base"}
# No option of ours has the meaning, so the text says what holds for any such name.
NO_HINT = set(
    # openai
    "_enforce_credentials _strict_response_validation access_programs admin_api_key background background_options "
    "best_of context_management conversation data_residency echo image include max_tool_calls moderation "
    "previous_response_id prompt_cache_options prompt_cache_retention provider response_id starting_after suffix text "
    "truncation webhook_secret websocket_base_url workload_identity "
    # anthropic
    "_token_cache billing_policy cache_control compaction config container credentials diagnostics "
    "fallback_credit_token inference_geo mcp_servers middleware open_telemetry output_config profile speed thread "
    "user_profile_id webhook_key workspace_id "
    # litellm
    "allowed_model_region base_model bos_token caching_groups complete_response cooldown_time custom_prompt_dict "
    "enable_json_schema_validation enable_prompt_caching ensure_alternating_roles eos_token fastest_response "
    "final_prompt_value guardrails hf_model_name id include_server_side_tool_invocations initial_prompt_value "
    "litellm_metadata litellm_session_id litellm_trace_id max_budget max_parallel_requests "
    "merge_reasoning_content_in_choices mock_timeout model_info no-log prompt_id prompt_variables prompt_version roles "
    "routing_strategy stream_chunk_size supports_system_message tags ttl use_litellm_proxy verbose "
    # llm
    "image_detail options".split()
)
OPTIONS = set(inspect.signature(Client.stream).parameters) - {"self", "params"}


def client_of(provider: Provider) -> Client:
    return Client([provider])


def refusal_of(name: str, provider: str = "openai", value: Any = 1) -> str | None:
    """Return what a call says to an option, ``None`` if nothing about its name."""
    try:
        PROVIDERS[provider]().request(ChatRequest("m", [{"role": "user", "content": "Hi"}], {name: value}))
    except ConfigError as error:
        return str(error) if f"has no parameter {name}" in str(error) else None
    except (TypeError, ValueError, AttributeError):
        return None
    return None


@pytest.mark.parametrize("name", sorted(OPENAI | ANTHROPIC | LITELLM | LLM))
def test_each_name_of_another_library(name: str) -> None:
    """A name is an option of ours with the same meaning, or refused with what to write, or with extra_body=."""
    rows = [name in HINTS, name in NO_HINT, name in OF_A_PROVIDER, name in ("stream", "stop")]
    if name in HINTS:
        assert f"openai has no parameter {name}: {HINTS[name]}" == refusal_of(name)
    elif name in NO_HINT:
        assert f"openai has no parameter {name}; if the server does, pass it in extra_body=" == refusal_of(name)
    elif name in OF_A_PROVIDER:
        with pytest.raises(ConfigError, match=rf"^{name} belongs to a provider, not to a call: pass providers\.OpenAI"):
            client_of(PROVIDERS["openai"]()).stream("openai/m", "Hi", **{name: "sk-secret"})
    elif name == "stream":
        with pytest.raises(ConfigError, match=r"stream\(\) streams, complete\(\) returns the whole reply"):
            client_of(PROVIDERS["openai"]()).stream("openai/m", "Hi", stream=True)  # type: ignore[call-arg]
    elif name == "stop":
        with pytest.raises(ConfigError, match="texts that end the reply go in stop_sequences="):
            client_of(PROVIDERS["openai"]()).stream("openai/m", "Hi", stop=["END"])  # type: ignore[arg-type]
    else:
        assert name in OPTIONS or (name in typing.get_type_hints(RequestParameters) and refusal_of(name) is None)
    assert sum(rows) <= 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_hint_names_what_a_provider_does_not_have(provider: str) -> None:
    """With any provider, an option that a hint names is one of the call's, or of the class that it names."""
    for name in {*HINTS, *NO_HINT, *(name for rows in hints._HINTS.values() for name in rows)}:
        said = refusal_of(name, provider)
        if said is None or said.endswith("pass it in extra_body="):
            continue
        assert "did you mean" not in said
        for made, arguments in re.findall(r"(providers\.\w+|Client|Retry)\((\w+=.*?)\)", said):
            own = inspect.signature(eval(f"streamkit.{made}")).parameters
            assert set(re.findall(r"(\w+)=", arguments)) <= set(own), said
        for option in re.findall(r"(\w+)=", re.sub(r"\(.*?\)", "", said)):
            assert option in OPTIONS or refusal_of(option, provider) is None, said


@pytest.mark.parametrize(
    ("provider", "name", "words"),
    [
        ("openai", "timout", "did you mean timeout?"),
        ("openai", "temprature", "did you mean temperature?"),
        ("anthropic", "temprature", "did you mean temperature?"),
        ("gemini", "max_token", "did you mean max_tokens?"),
        ("cohere", "tolos", "did you mean tools?"),
        ("bedrock", "stop_sequence", "did you mean stop_sequences?"),
        ("anthropic", "sede", "pass it in extra_body="),  # Anthropic has no seed
        ("openai", "speed", "pass it in extra_body="),  # Anthropic's
        ("ollama", "sede", "did you mean seed?"),
        ("ollama", "num_ctxt", "did you mean num_ctx?"),
        ("openai", "num_ctxt", "pass it in extra_body="),
        ("openai", "maxTokens", "did you mean max_tokens?"),
        ("openai", "maxOutputTokens", "it is max_tokens= here"),
        ("openai", "topk", "pass it in extra_body="),  # OpenAI has no top_k
        ("openai", "min_tokens", "pass it in extra_body="),
        ("openai", "timeout_ms", "pass it in extra_body="),
        ("openai", "top_n", "pass it in extra_body="),
        ("openai", "extra_header", "did you mean extra_headers?"),
        ("openai", "retrys", "did you mean retry?"),
        ("anthropic", "functions", 'they are tools=, each a function, or as {"type": "function", "function": {...}}'),
        ("anthropic", "function_call", 'it is tool_choice=, as {"type": "function", "function": {"name": ...}}'),
        ("openai-completions", "system", "pass it in extra_body="),  # which has no roles
        ("openai-completions", "topk", "pass it in extra_body="),
    ],
)
def test_what_is_close(provider: str, name: str, words: str) -> None:
    """A misspelt name gets the one that it is close to, if the provider has that, and no other."""
    assert (refusal_of(name, provider) or "").endswith(words)


def test_several_at_once() -> None:
    """Each name has a sentence of its own, and those without a hint share one."""
    chat = ChatRequest("m", [{"role": "user", "content": "Hi"}], {"system": "x", "timout": 1, "b": 2, "a": 3})
    with pytest.raises(ConfigError) as caught:
        PROVIDERS["openai"]().request(chat)
    assert (
        'openai has no parameter system: put a message with the role "system" first in the list of messages. '
        "openai has no parameter timout: did you mean timeout? "
        "openai has no parameter a, b; if the server does, pass it in extra_body="
    ) == str(caught.value)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_value_shows(provider: str) -> None:
    """An option that is refused may be a key: only its name shows."""
    for name in ("key", "auth_token", "max_retries", "unheard_of"):
        assert "sk-secret" not in (refusal_of(name, provider, "sk-secret") or "")


def weather(city: str) -> str:
    """Say how the weather is."""
    return city


class Weather:
    """A class, as libraries take models of data for tools."""


@pytest.mark.parametrize("provider", [name for name in PROVIDERS if name != "openai-completions"])
@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([weather], r"tools\[0\] is a dict .*, not the function weather: a Client takes functions in a list, tools="),
        ([Weather], r"tools\[0\] is a dict .*, not the class Weather: .* asked for by response_format=Weather$"),
        ([print], r"tools\[0\] is a dict .*, not the function print: a Client takes functions"),
        ([partial(weather, "Oslo")], r"tools\[0\] is a dict in the OpenAI shape here, not partial$"),
        (weather, r"tools is a list of .*, not the function weather: .*, tools=\[weather\]$"),
    ],
)
def test_functions_as_tools(provider: str, tools: Any, words: str) -> None:
    """A provider's request has dicts: a function or a class is refused with where to pass it."""
    with pytest.raises(ConfigError, match=words):
        PROVIDERS[provider]().request(ChatRequest("m", [{"role": "user", "content": "Hi"}], {"tools": tools}))


# -- providers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("opneai/gpt-4o", "did you mean openai/gpt-4o?"),
        ("OpenAI/gpt-4o", "did you mean openai/gpt-4o?"),
        ("antropic/claude-sonnet-5", "did you mean anthropic/claude-sonnet-5?"),
        ("openai_responses/o3", "did you mean openai-responses/o3?"),
        ("google/gemini-3-pro", "did you mean gemini/gemini-3-pro?"),
        ("vertex_ai/gemini-3-pro", "did you mean gemini/gemini-3-pro?"),
        ("together_ai/meta-llama/Llama-4", "did you mean together/meta-llama/Llama-4?"),
        ("ollama_chat/gemma3:1b", "did you mean ollama/gemma3:1b?"),
        ("x-ai/grok-4", "did you mean xai/grok-4?"),
        ("grok/grok-4", "did you mean xai/grok-4?"),
        ("openai:gpt-4o", "did you mean openai/gpt-4o?"),
        ("openai", "'openai' is a provider, not a model; write a model's name as openai/MODEL"),
        ("gemma3:1b", "write it as provider/gemma3:1b"),
        ("meta-llama/Llama-4", "in the model name 'meta-llama/Llama-4'; this client knows"),
        ("", "no provider is known for the model name ''"),
        ("/x", "unknown provider '' in the model name '/x'; this client knows"),
    ],
)
def test_names_of_providers(model: str, words: str) -> None:
    """A provider's name that is misspelt, or another library's, gets ours."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        Client().stream(model, "Hi")


def test_a_provider_that_a_client_was_not_given() -> None:
    """A provider of the library that a client does not have is named with what makes it."""
    client = client_of(providers.OpenAI(api_key="k", name="local"))
    with pytest.raises(ConfigError, match=r"add providers\.OpenAI\(\) to its providers; this client knows demo, local"):
        client.stream("openai/gpt-4o", "Hi")
    with pytest.raises(ConfigError, match=r"add providers\.OpenAICompatible\('groq'\) to its providers"):
        client.stream("groq/m", "Hi")
    with pytest.raises(ConfigError, match=r"did you mean local/m\?"):
        client.stream("locla/m", "Hi")


@pytest.mark.parametrize("name", sorted(registry._OTHER_NAMES))
def test_each_other_name_stands_for_a_provider(name: str) -> None:
    """What stands for a name of another library's is a provider that there is, and the name itself is none."""
    assert registry.meant(name, registry.names()) in registry.names()
    assert name not in registry.names()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("openai", r"not the name 'openai': pass a list such as \[providers\.OpenAI\(\)\], or nothing for all"),
        ("groq", r"not the name 'groq': pass a list such as \[providers\.OpenAICompatible\('groq'\)\]"),
        ("sk-secret", r"not a value of the type str: pass a list such as \[providers\.OpenAI\(\)\]"),
        (providers.OpenAI(api_key="sk-secret"), r"not a value of the type OpenAI: pass a list such as \["),
        (["anthropic"], r"the name 'anthropic' is not a provider; pass instances such as providers\.Anthropic\(\)"),
        ([providers.Anthropic], r"the class Anthropic is not a provider; pass instances such as providers\.Anthropic"),
        (["sk-secret"], r"a value of the type str is not a provider; pass instances such as providers\.OpenAI\(\)"),
        ({"openai": providers.OpenAI(api_key="sk-secret")}, r"the name 'openai' is not a provider"),
        (5, r"not a value of the type int: pass a list"),
    ],
)
def test_what_a_client_takes_for_providers(given: Any, words: str) -> None:
    """Anything but a list of providers is refused with what to pass; what may be a key does not show."""
    with pytest.raises(ConfigError, match=words) as caught:
        Client(given)
    assert "sk-secret" not in str(caught.value)


# -- attributes ------------------------------------------------------------------------------------------

INSTANCES: dict[type, Any] = {
    Chunk: Chunk("text", text="Hi"),
    Usage: Usage(1, 2, 3),
    Completion: Completion("Hi"),
    Choice: Choice(text="Hi"),
    ToolCall: ToolCall("1", "f", {}, "{}"),
    ToolCallDelta: ToolCallDelta(),
}


@pytest.mark.parametrize(
    ("instance", "name", "words"),
    [
        (INSTANCES[Chunk], "choices", "the text is chunk.text, and chunk.index says of which choice it is"),
        (INSTANCES[Chunk], "delta", "the text is chunk.text"),
        (INSTANCES[Chunk], "content", "the text is chunk.text"),
        (text_chunk("Hi", 0, None, "", ""), "choices", "the text is chunk.text"),
        (INSTANCES[Usage], "prompt_tokens", "it is usage.input_tokens here"),
        (INSTANCES[Usage], "completion_tokens", "it is usage.output_tokens here"),
        (INSTANCES[Usage], "cache_read_input_tokens", "it is usage.cached_tokens here"),
        (INSTANCES[Completion], "content", "the text is completion.text"),
        (INSTANCES[Completion], "output_text", "it is completion.text here"),
        (INSTANCES[Completion], "stop_reason", "it is completion.finish_reason here"),
        (INSTANCES[Completion].choices[0], "message", "the text is choice.text"),
        (INSTANCES[ToolCall], "function", "the call has call.name and call.arguments itself"),
        (INSTANCES[ToolCallDelta], "function", "the call has call.name and call.arguments itself"),
        (Client(), "chat", "client.stream(model, messages) and client.complete(model, messages) ask a model"),
        (Client(), "messages", "client.stream(model, messages)"),
        (streamkit, "completion", "streamkit.complete() returns a whole reply"),
        (streamkit, "OpenAI", "it is streamkit.providers.OpenAI"),
    ],
)
def test_attributes_of_other_libraries(instance: Any, name: str, words: str) -> None:
    """An attribute of another library's is an ``AttributeError`` that names ours, and nothing else knows it."""
    with pytest.raises(AttributeError, match=rf"has no attribute '{name}': {re.escape(words)}") as caught:
        getattr(instance, name)
    assert name == caught.value.name
    assert not hasattr(instance, name)
    assert instance is streamkit or name not in vars(type(instance)).get("__annotations__", {})


@pytest.mark.parametrize("kind", INSTANCES, ids=lambda kind: kind.__name__)
def test_values_are_as_they_were(kind: type) -> None:
    """A value with hints is copied, pickled and compared as before; an unknown attribute is Python's own error."""
    value = INSTANCES[kind]
    for same in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert value == same
        assert repr(value) == repr(same)
    for name in ("no_such", "__deepcopy__", "_repr_svg_", "_ipython_display_"):
        with pytest.raises(AttributeError, match=rf"^'{kind.__name__}' object has no attribute '{name}'$") as caught:
            getattr(value, name)
        assert (name, value) == (caught.value.name, caught.value.obj)
    with pytest.raises(AttributeError, match=r"no attribute 'text'|no attribute 'name'|no attribute 'input_tokens'"):
        empty = object.__new__(kind)  # as a debugger sees one whose constructor raised
        getattr(empty, next(name for name in ("text", "name", "input_tokens") if hasattr(kind, name)))


def hinted() -> Iterable[tuple[type, str]]:
    tables = {
        Usage: values.chunks._USAGE_HINTS,
        ToolCall: values.messages._CALL_HINTS,
        Choice: values.completion._CHOICE_HINTS,
        Completion: values.completion._COMPLETION_HINTS,
        Client: streamkit.client._HINTS,
    }
    for kind in (Chunk, ToolCallDelta, Stream):
        tables[kind] = {name: each._hint for name, each in vars(kind).items() if isinstance(each, Elsewhere)}
    for kind, table in tables.items():
        yield from ((kind, f"{name}: {hint}") for name, hint in table.items())


@pytest.mark.parametrize(("kind", "row"), list(hinted()))
def test_what_a_hint_names_is_there(kind: type, row: str) -> None:
    """Each attribute that a hint names is one of ours, and the one that it is for is none."""
    name, _, hint = row.partition(": ")
    instance = INSTANCES[kind] if kind in INSTANCES else object.__new__(kind)
    assert name not in dir(instance)
    assert not hasattr(instance, name)
    ours: dict[str, tuple[type, ...]] = {"stream": (Stream,)}
    ours |= {"call": (ToolCall, ToolCallDelta), "choice": (Choice,), "client": (Client,), "usage": (Usage,)}
    ours |= {"completion": (Completion,), "chunk": (Chunk,)}
    named = re.findall(r"\b(call|choice|client|usage|completion|chunk|stream)\.(\w+)", hint)
    assert all(hasattr(each, attribute) for owner, attribute in named for each in ours[owner])
