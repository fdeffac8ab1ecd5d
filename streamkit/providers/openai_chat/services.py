"""The known services of chat completions and their deviations, as data.

Source: the API reference of each service, and the client libraries that speak to many of them (LiteLLM,
Pydantic AI, Vercel's AI SDK), read 2026-11-21.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from streamkit.providers.openai_chat.quirks import Quirks

__all__ = ["SERVICES", "Service"]


@attrs.frozen
class Service:
    """One service of chat completions.

    Attributes:
        name: the first segment of model names.
        base_url: what ``/chat/completions`` is added to; ``NAME_BASE_URL`` of the environment replaces it.
        key_variables: where the environment has its key, the usual one first.
        key_needed: whether it refuses requests without a key.
        quirks: how it deviates.
        headers: sent with each request.
    """

    name: str
    base_url: str
    key_variables: tuple[str, ...]
    key_needed: bool = True
    quirks: Quirks = attrs.field(factory=Quirks)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def local(self) -> bool:
        """Whether it is a server on this machine, which is reached without a proxy."""
        return self.base_url.startswith("http://127.0.0.1:")


def _own(names: str) -> frozenset[str]:
    return frozenset(names.split())


# Sampling parameters that servers of open models add to OpenAI's.
_SAMPLING = "min_p repetition_penalty"
_VLLM = (
    f"{_SAMPLING} add_generation_prompt chat_template_kwargs continue_final_message ignore_eos min_tokens "
    "skip_special_tokens"
)

_ROWS = (
    Service(
        "alibaba",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        ("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        quirks=Quirks(
            max_tokens_only=True,
            own=_own("enable_search enable_thinking repetition_penalty search_options thinking_budget"),
            refused={"reasoning_effort": "say enable_thinking=True or False, and thinking_budget= in tokens"},
        ),
    ),
    Service(
        "cerebras",
        "https://api.cerebras.ai/v1",
        ("CEREBRAS_API_KEY",),
        quirks=Quirks(max_tokens_field="max_completion_tokens", own=_own("clear_thinking disable_reasoning")),
    ),
    Service("crusoe", "https://managed-inference-api-proxy.crusoecloud.com/v1", ("CRUSOE_API_KEY",)),
    Service(
        "deepinfra",
        "https://api.deepinfra.com/v1/openai",
        ("DEEPINFRA_API_KEY",),
        quirks=Quirks(max_tokens_only=True, own=_own(_SAMPLING)),
    ),
    Service(
        "deepseek",
        "https://api.deepseek.com",
        ("DEEPSEEK_API_KEY",),
        quirks=Quirks(
            max_tokens_only=True,
            reasoning_back="reasoning_content",
            # It knows json_object only, and its thinking models refuse a forced call: BerriAI/litellm#31466.
            structured_output="prompt",
            prefill="prefix",
            own=_own("thinking"),
        ),
    ),
    Service(
        "fireworks",
        "https://api.fireworks.ai/inference/v1",
        ("FIREWORKS_API_KEY",),
        quirks=Quirks(own=_own(f"{_SAMPLING} context_length_exceeded_behavior mirostat_lr mirostat_target")),
    ),
    Service(
        "github",
        "https://models.github.ai/inference",
        ("GITHUB_TOKEN", "GITHUB_API_KEY"),
        headers={"X-GitHub-Api-Version": "2022-11-28"},
    ),
    Service(
        "groq",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        quirks=Quirks(
            max_tokens_field="max_completion_tokens",
            # Few models know schemas, and none of them beside tools: openai/openai-agents-python#2140,
            # langchain-ai/langchain#34155, console.groq.com/docs/structured-outputs.
            structured_output="tool",
            output_by_model=((re.compile("gpt-oss|kimi-k2|llama-4"), "schema"),),
            schema_beside_tools=False,
            own=_own(
                "citation_options compound_custom disable_tool_validation documents include_reasoning "
                "reasoning_format search_settings"
            ),
        ),
    ),
    Service("huggingface", "https://router.huggingface.co/v1", ("HF_TOKEN", "HUGGINGFACE_API_KEY")),
    Service("litellm", "http://127.0.0.1:4000/v1", ("LITELLM_API_KEY",), key_needed=False),
    Service(
        "llamacpp",
        "http://127.0.0.1:8080/v1",
        ("LLAMACPP_API_KEY", "LLAMA_API_KEY"),
        key_needed=False,
        quirks=Quirks(own=_own("cache_prompt chat_template_kwargs grammar min_p repeat_penalty")),
    ),
    Service(
        "lmstudio",
        "http://127.0.0.1:1234/v1",
        ("LM_API_TOKEN", "LMSTUDIO_API_KEY"),
        key_needed=False,
        quirks=Quirks(own=_own("repeat_penalty ttl")),
    ),
    Service(
        "moonshot",
        "https://api.moonshot.ai/v1",
        ("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
        quirks=Quirks(reasoning_back="reasoning_content", own=_own("thinking")),
    ),
    Service("nvidia", "https://integrate.api.nvidia.com/v1", ("NVIDIA_API_KEY",), quirks=Quirks(own=_own(_VLLM))),
    Service(
        "openrouter",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        quirks=Quirks(
            effort_field="reasoning",
            reasoning_back="reasoning_details",
            file_url="file_data",
            own=_own(f"{_SAMPLING} models plugins provider reasoning route top_a transforms usage"),
        ),
    ),
    Service(
        "perplexity",
        "https://api.perplexity.ai",
        ("PERPLEXITY_API_KEY", "PPLX_API_KEY"),
        quirks=Quirks(
            max_tokens_only=True,
            include_usage=False,  # it sends the usage so far in every chunk
            own=_own(
                "disable_search enable_search_classifier last_updated_after_filter last_updated_before_filter "
                "return_images return_related_questions search_after_date_filter search_before_date_filter "
                "search_domain_filter search_mode search_recency_filter"
            ),
        ),
    ),
    Service("sambanova", "https://api.sambanova.ai/v1", ("SAMBANOVA_API_KEY",)),
    Service(
        "together",
        "https://api.together.ai/v1",
        ("TOGETHER_API_KEY",),
        quirks=Quirks(max_tokens_only=True, own=_own(_SAMPLING)),
    ),
    Service(
        "vllm",
        "http://127.0.0.1:8000/v1",
        ("VLLM_API_KEY",),
        key_needed=False,
        quirks=Quirks(prefill="continue_final_message", own=_own(_VLLM)),
    ),
    Service(
        "xai",
        "https://api.x.ai/v1",
        ("XAI_API_KEY",),
        quirks=Quirks(max_tokens_field="max_completion_tokens", own=_own("deferred search_parameters")),
    ),
    Service(
        "zai",
        "https://api.z.ai/api/paas/v4",
        ("ZAI_API_KEY",),
        quirks=Quirks(
            max_tokens_only=True,
            reasoning_back="reasoning_content",
            # It knows json_object only, and no tool_choice but "auto": java.agentscope.io/v2/en/integration/model/glm.
            structured_output="prompt",
            own=_own("do_sample thinking tool_stream"),
            refused={"reasoning_effort": "say thinking={'type': 'enabled'} or 'disabled'"},
        ),
    ),
)

#: The services by name.
SERVICES: Mapping[str, Service] = {service.name: service for service in _ROWS}
