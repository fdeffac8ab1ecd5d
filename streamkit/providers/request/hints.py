"""Say what to write instead of a parameter that a provider does not have: ours, where it is another library's name.

Source: the signatures of openai 3.57, anthropic 2.14, litellm 1.110 and llm 0.36, read 2026-11-27.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from streamkit.errors import ConfigError
from streamkit.values.typed_dicts import RequestParameters

__all__ = ["closest", "unknown_parameters"]

_CALL_OPTIONS = ("timeout", "retry", "buffer", "buffer_bytes", "extra_body", "extra_headers")
_CLOSE = 0.85  # of difflib's ratio: ``timout`` is close to ``timeout``, but ``min_tokens`` is not to ``max_tokens``

_RETRIES = "retry= counts all tries, the first included: two retries are retry=3"
_SYSTEM = 'put a message with the role "system" first in the list of messages'
_KEY = "a key belongs to a provider, as in providers.OpenAI(api_key=...), or in the environment"
_MESSAGES = "messages, the second argument of the call, has what is sent"
_MODELS = "a list of models in place of one asks the next where one fails: ['openai/gpt-4o', 'azure/gpt-4o']"
_NAMED = "a model's name says the provider, as in openai/gpt-4o-mini"
_AZURE = "a deployment of Azure is a model: azure/DEPLOYMENT"
_SCHEMA = "a class or a JSON schema goes in response_format=, such as response_format=Invoice"
_OF_RUN = "it is an argument of client.run, which calls the functions of tools="
_LIMITS = "client.run(limits=RunLimits(rounds=...)) says how often the model is asked"
_CONTEXT = "client.run(context=...) hands a value to the functions, as context.context of their ToolContext"
_ENTRA = "an access token belongs to a provider, as in providers.AzureOpenAI(token=...)"
_CONNECTIONS = "a Client makes its own connections, and keeps them; share one Client"
_OBSERVERS = "it is a setting of a Client: Client(observers=[...])"
_TRUST = "certificates are those of REQUESTS_CA_BUNDLE in the environment"
_NO_DROP = "nothing is dropped in silence here; leave out what the provider does not have"
_VERTEX = "Vertex AI is a provider: providers.Gemini(project=..., location=..., token=...)"
_CACHE = "a cache is a policy of a Client: Client(policies=[MemoryCache()])"
_LIMIT = "a limit is a policy of a Client: Client(policies=[RateLimit(...)])"
_AT_ONCE = "client.map(concurrency=...) says how many are asked at once"
_WAITS = "retry=Retry(attempts=...) says how often to try, and how long to wait between tries"
_NO_QUERY = "no query is added to an address; extra_body= and extra_headers= add to a request"
_EFFORT = 'reasoning_effort= says how much to reason, such as "low"'
_JSON = "JSON is asked for with response_format="
_STOPS = "texts that end the reply go in stop_sequences="

# By the parameter that a provider must have for the hint to help, None for any. Only one with messages has tools.
_HINTS: dict[str | None, dict[str, str]] = {
    None: {
        "cache": _CACHE,
        "caching": _CACHE,
        "rpm": _LIMIT,
        "tpm": _LIMIT,
        "max_workers": _AT_ONCE,
        "max_concurrency": _AT_ONCE,
        "retries": _RETRIES,
        "max_retries": _RETRIES,
        "num_retries": _RETRIES,
        "retry_policy": _WAITS,
        "retry_strategy": _WAITS,
        "request_timeout": "it is timeout= here",
        "stream_timeout": "it is timeout= here",
        "force_timeout": "it is timeout= here",
        "headers": "it is extra_headers= here",
        "default_headers": "it is extra_headers= here",
        "provider_specific_header": "it is extra_headers= here",
        "extra_query": _NO_QUERY,
        "default_query": _NO_QUERY,
        "fallbacks": f"{_MODELS}; if the server has fallbacks of its own, they go in extra_body=",
        "default_fallbacks": _MODELS,
        "context_window_fallbacks": _MODELS,
        "context_window_fallback_dict": _MODELS,
        "content_policy_fallbacks": _MODELS,
        "model_list": _MODELS,
        "mock_response": "streamkit.testing has a server that plays replies: Server(text_reply(...))",
        "callbacks": _OBSERVERS,
        "success_callback": _OBSERVERS,
        "logger_fn": _OBSERVERS,
        "drop_params": _NO_DROP,
        "additional_drop_params": _NO_DROP,
        "allowed_openai_params": "extra_body= passes parameters on that the provider is not known to have",
        "input": _MESSAGES,
        "prompt": _MESSAGES,
        "contents": _MESSAGES,
        "fragments": _MESSAGES,
        "hide_reasoning": "chunk.text and completion.text never have the reasoning",
        "custom_llm_provider": _NAMED,
        "model_provider": _NAMED,
        "key": _KEY,
        "auth_token": _KEY,
        "organization": "it belongs to a provider, as in providers.OpenAI(organization=...)",
        "project": "it belongs to a provider, as in providers.OpenAI(project=...)",
        "betas": "it belongs to a provider, as in providers.Anthropic(betas=...)",
        "api_version": "it belongs to a provider, as in providers.AzureOpenAI(api_version=...)",
        "azure_endpoint": "it belongs to a provider, as in providers.AzureOpenAI(endpoint=...)",
        "azure_ad_token": _ENTRA,
        "azure_ad_token_provider": _ENTRA,
        "azure_deployment": _AZURE,
        "deployment_id": _AZURE,
        "region_name": "it belongs to a provider, as in providers.Bedrock(region=...)",
        "aws_region_name": "it belongs to a provider, as in providers.Bedrock(region=...)",
        "aws_access_key_id": "it belongs to a provider, as in providers.Bedrock(access_key=..., secret_key=...)",
        "aws_secret_access_key": "it belongs to a provider, as in providers.Bedrock(access_key=..., secret_key=...)",
        "aws_session_token": "it belongs to a provider, as in providers.Bedrock(session_token=...)",
        "aws_profile_name": "it belongs to a provider, as in providers.Bedrock(profile=...)",
        "vertex_project": _VERTEX,
        "vertex_location": _VERTEX,
        "vertex_credentials": _VERTEX,
        "client": _CONNECTIONS,
        "http_client": _CONNECTIONS,
        "shared_session": _CONNECTIONS,
        "ssl_verify": _TRUST,
        "verify": _TRUST,
    },
    "tools": {
        "system": _SYSTEM,
        "system_prompt": _SYSTEM,
        "system_instruction": _SYSTEM,
        "system_fragments": _SYSTEM,
        "litellm_system_prompt": _SYSTEM,
        "instructions": _SYSTEM,
        "attachments": "a file is a part of a message: ImagePart.read(PATH) or FilePart.read(PATH)",
        "tool_results": 'the result of a tool is a message: Message("tool", RESULT, tool_call_id=call.id)',
        "functions": 'they are tools=, each a function, or as {"type": "function", "function": {...}}',
        "approve": _OF_RUN,
        "parallel": _OF_RUN,
        "limits": _OF_RUN,
        "on_error": _OF_RUN,
        "context": _OF_RUN,
        "claims": _OF_RUN,
        "chain_limit": _LIMITS,
        "max_iterations": _LIMITS,
        "max_rounds": _LIMITS,
        "max_steps": _LIMITS,
        "max_turns": _LIMITS,
        "recursion_limit": _LIMITS,
        "usage_limits": _LIMITS,
        "deps": _CONTEXT,
        "context_variables": _CONTEXT,
        "before_call": "client.run(approve=...) decides on each call before it is made",
        "after_call": "each result is a chunk of the type tool_result of client.run",
    },
    "tool_choice": {"function_call": 'it is tool_choice=, as {"type": "function", "function": {"name": ...}}'},
    "response_format": {
        "schema": _SCHEMA,
        "json_schema": _SCHEMA,
        "response_model": _SCHEMA,
        "text_format": _SCHEMA,
        "output_format": _SCHEMA,
        "output_schema": _SCHEMA,
        "output_type": _SCHEMA,
        "result_type": _SCHEMA,
        "json_object": _JSON,
        "json_mode": _JSON,
    },
    "reasoning_effort": {
        "effort": _EFFORT,
        "reasoning": _EFFORT,
        "think": _EFFORT,
        "thinking": _EFFORT,
        "thinking_config": _EFFORT,
        "thinking_level": _EFFORT,
    },
    "max_tokens": {
        "max_output_tokens": "it is max_tokens= here",
        "max_new_tokens": "it is max_tokens= here",
        "max_tokens_to_sample": "it is max_tokens= here",
        "num_predict": "it is max_tokens= here",
        "n_predict": "it is max_tokens= here",
    },
    "stop_sequences": {"stops": _STOPS, "stop_words": _STOPS, "stop_strings": _STOPS},
    "temperature": {"temp": "it is temperature= here"},
}


def closest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that a misspelt one stands for, ``None`` if none is close."""
    letters = sorted(name)
    swapped = [other for other in sorted(known) if sorted(other) == letters]
    from difflib import get_close_matches  # only where a name is unknown: it costs 3 ms of the import

    return next(iter(swapped or get_close_matches(name, sorted(known), n=1, cutoff=_CLOSE)), None)


def unknown_parameters(provider: str, unknown: Collection[str], known: Collection[str]) -> ConfigError:
    """Return the error for parameters that a provider does not have. It shows no value, which may be a key.

    Args:
        provider: its name.
        unknown: the parameters.
        known: those that it has.
    """
    hints = {name: _hint(_snake_case(name), known) for name in sorted(unknown)}
    texts = [f"{provider} has no parameter {name}: {hint}" for name, hint in hints.items() if hint]
    texts = [text if text.endswith("?") else f"{text}." for text in texts]
    if rest := [name for name, hint in hints.items() if not hint]:
        texts.append(f"{provider} has no parameter {', '.join(rest)}; if the server does, pass it in extra_body=")
    return ConfigError(" ".join(texts).removesuffix("."))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def _hint(name: str, known: Collection[str]) -> str | None:
    for needed, hints in _HINTS.items():
        if name in hints and (needed is None or needed in known):
            return hints[name]
    if name in RequestParameters.__optional_keys__ - {*known}:  # another provider's, and not misspelt
        return None
    close = closest(name, {*known, *_CALL_OPTIONS})
    return close and f"did you mean {close}?"
