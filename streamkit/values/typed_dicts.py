"""The messages and the parameters of a call as type checkers and editors know them.

At run time these are plain dicts, which nothing here checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict

from streamkit.values.messages import FilePart, ImagePart, Role, TextPart, ToolCall

__all__ = ["MessageDict", "RequestParameters", "TurnParameters"]


class _Role(TypedDict):
    role: Role


class MessageDict(_Role, total=False):
    """A message as a dict in OpenAI's shape, where ``Message`` is not used; only ``role`` is required.

    A checker infers ``list[dict[str, str]]`` for a list that stands by itself, so annotate it::

        history: list[MessageDict] = [{"role": "user", "content": "Hi"}]

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant``, ``tool`` or ``function``.
        content: text, or a list of parts; ``None`` beside tool calls.
        tool_calls, function_call, refusal, audio: of an assistant's message.
        tool_call_id: the id of the call that a ``tool`` message answers.
        name: the participant's name, or that of a tool.
        cache_control: Anthropic's mark of how far a prompt is cached.
        prefix: of Mistral and DeepSeek: the reply begins with this assistant's message.
        reasoning_content, reasoning_details, provider_data: what some providers want back with the history.
    """

    content: str | Sequence[str | TextPart | ImagePart | FilePart | Mapping[str, Any]] | None
    tool_calls: Sequence[ToolCall | Mapping[str, Any]] | None
    tool_call_id: str | None
    name: str | None
    function_call: Mapping[str, Any] | None
    refusal: str | None
    audio: Mapping[str, Any] | None
    cache_control: Mapping[str, Any] | None
    prefix: bool | None
    reasoning_content: str | None
    reasoning_details: Sequence[Mapping[str, Any]] | None
    provider_data: Sequence[Mapping[str, Any]] | None


class _OfSingleProviders(TypedDict, total=False):
    """Parameters that only some providers have, under the names that the providers give them."""

    # Anthropic
    cache_control: Mapping[str, Any] | None
    container: str | Mapping[str, Any] | None
    context_management: Mapping[str, Any] | None
    inference_geo: str | None
    mcp_servers: Iterable[Mapping[str, Any]] | None
    output_config: Mapping[str, Any] | None
    speed: str | None
    thinking: Mapping[str, Any] | None  # of several others too
    # Azure OpenAI
    data_sources: Iterable[Mapping[str, Any]] | None
    user_security_context: Mapping[str, Any] | None
    # Bedrock
    additional_model_request_fields: Mapping[str, Any] | None
    guardrail_config: Mapping[str, Any] | None
    performance_config: Mapping[str, Any] | None
    # Cohere
    citation_options: Any  # an object; Groq takes a word
    documents: Iterable[str | Mapping[str, Any]] | None  # of Groq too
    priority: int | None
    safety_mode: str | None
    strict_tools: bool | None
    # Gemini, and its interactions
    background: bool | None  # of OpenAI's Responses too
    cached_content: str | None
    environment: Any
    generation_config: Mapping[str, Any] | None
    labels: Mapping[str, str] | None
    previous_interaction_id: str | None
    response_modalities: Sequence[str] | None
    safety_settings: Iterable[Mapping[str, Any]] | None
    thinking_config: Mapping[str, Any] | None
    # Mistral
    guardrails: Any
    prompt_mode: str | None
    safe_prompt: bool | None
    # Ollama
    keep_alive: str | float | None
    mirostat: int | None
    mirostat_eta: float | None
    mirostat_tau: float | None
    num_ctx: int | None
    num_gpu: int | None
    num_keep: int | None
    num_thread: int | None
    options: Mapping[str, Any] | None
    repeat_last_n: int | None
    think: bool | str | None
    # OpenAI's Responses
    conversation: str | Mapping[str, Any] | None
    include: Sequence[str] | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    moderation: Any
    previous_response_id: str | None
    prompt: Mapping[str, Any] | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: str | None
    reasoning: Mapping[str, Any] | None  # of OpenRouter and Agnic too
    text: Mapping[str, Any] | None
    truncation: str | None
    # OpenAI's text completions
    best_of: int | None
    echo: bool | None
    suffix: str | None
    # OpenRouter and Agnic
    models: Sequence[str] | None
    plugins: Iterable[Mapping[str, Any]] | None
    provider: Mapping[str, Any] | None
    route: str | None
    top_a: float | None
    transforms: Sequence[str] | None
    usage: Mapping[str, Any] | None
    # Perplexity
    disable_search: bool | None
    enable_search_classifier: bool | None
    last_updated_after_filter: str | None
    last_updated_before_filter: str | None
    return_images: bool | None
    return_related_questions: bool | None
    search_after_date_filter: str | None
    search_before_date_filter: str | None
    search_domain_filter: Sequence[str] | None
    search_mode: str | None
    search_recency_filter: str | None
    # Servers of open models: vLLM, llama.cpp, LM Studio, Fireworks, Together, DeepInfra, Nvidia, OpenRouter
    add_generation_prompt: bool | None
    continue_final_message: bool | None
    cache_prompt: bool | None
    chat_template_kwargs: Mapping[str, Any] | None
    context_length_exceeded_behavior: str | None
    grammar: str | None
    ignore_eos: bool | None
    min_p: float | None
    min_tokens: int | None
    mirostat_lr: float | None
    mirostat_target: float | None
    repeat_penalty: float | None
    repetition_penalty: float | None
    skip_special_tokens: bool | None
    ttl: int | None
    # Alibaba, Cerebras, Groq, xAI, Z.ai
    clear_thinking: bool | None
    compound_custom: Mapping[str, Any] | None
    deferred: bool | None
    disable_reasoning: bool | None
    disable_tool_validation: bool | None
    do_sample: bool | None
    enable_search: bool | None
    enable_thinking: bool | None
    include_reasoning: bool | None
    reasoning_format: str | None
    search_options: Mapping[str, Any] | None
    search_parameters: Mapping[str, Any] | None
    search_settings: Mapping[str, Any] | None
    thinking_budget: int | None
    tool_stream: bool | None


class TurnParameters(_OfSingleProviders, total=False):
    """``RequestParameters`` without ``store``, which is a conversation's own: pass that one by ``extra_body=``."""

    audio: Mapping[str, Any] | None
    frequency_penalty: float | None
    function_call: str | Mapping[str, Any] | None
    functions: Iterable[Mapping[str, Any]] | None
    logit_bias: Mapping[str, float] | None
    logprobs: bool | int | None
    max_completion_tokens: int | None
    max_tokens: int | None
    metadata: Mapping[str, Any] | None
    modalities: Sequence[str] | None
    n: int | None
    parallel_tool_calls: bool | None
    prediction: Mapping[str, Any] | None
    presence_penalty: float | None
    prompt_cache_key: str | None
    reasoning_effort: str | None
    response_format: Any  # a union or ``Annotated`` has no type of its own
    safety_identifier: str | None
    seed: int | None
    service_tier: str | None
    stop_sequences: str | Iterable[str] | None
    stream_options: Mapping[str, Any] | None
    temperature: float | None
    tool_choice: str | Mapping[str, Any] | None
    tools: Iterable[Mapping[str, Any] | Callable[..., Any]] | None
    top_k: int | None
    top_logprobs: int | None
    top_p: float | None
    user: str | None
    verbosity: str | None
    web_search_options: Mapping[str, Any] | None


class RequestParameters(TurnParameters, total=False):
    """The parameters of a request: those in OpenAI's names, and those that only some providers have.

    A call takes them as keyword arguments; ``None`` leaves one out. Whether a provider has one is checked when it is
    called: one that it cannot express is a ``ConfigError``. To pass a parameter that is not here, use ``extra_body=``.

    A function of your own that hands them on can be typed with this class::

        def ask(question: str, **parameters: Unpack[streamkit.RequestParameters]) -> str:
            return streamkit.complete("openai/gpt-4o-mini", question, **parameters).text

    Attributes:
        temperature, top_p, top_k, presence_penalty, frequency_penalty, logit_bias, seed: how the next token is chosen.
        max_tokens, max_completion_tokens: the most tokens of the reply; both are the same.
        stop_sequences: a text or texts that end the reply.
        n: how many replies to give, from 1.
        tools: what the model may call: functions, ``Tool``, or dicts in OpenAI's shape.
        tool_choice: ``auto``, ``none``, ``required``, or a dict that names a tool.
        parallel_tool_calls: whether several tools may be called at once.
        response_format: the type of the reply: a dataclass, attrs class, TypedDict, NamedTuple, pydantic model,
            ``list[...]`` of them, a JSON schema, or OpenAI's ``{"type": "json_schema", "json_schema": {...}}``.
        reasoning_effort: how much to reason: ``none``, ``minimal``, ``low``, ``medium``, ``high``; some have more.
        verbosity: how long the answer should be: ``low``, ``medium``, ``high``.
        logprobs, top_logprobs: whether to send the probabilities of tokens, and of how many; see ``chunk.raw``.
        metadata, user, safety_identifier: what the provider is told of the caller and the request.
        stream_options, service_tier, store, prompt_cache_key, modalities, audio, prediction, web_search_options:
            see OpenAI's reference of chat completions.
        functions, function_call: the older form of ``tools`` and ``tool_choice``, for servers that still want it.
    """

    store: bool | None
