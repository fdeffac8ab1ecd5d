"""Lists of models, in all the shapes in which providers send them.

Sources, read 2026-11-21: the references of ``GET /models`` of OpenAI, Anthropic, Gemini, Mistral, Cohere,
OpenRouter, Together, Groq, Ollama (``/api/tags``) and Bedrock (``ListFoundationModels``), and Agnic's two shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

import attrs

from streamkit.errors import ProtocolError
from streamkit.providers.reply.decoder import MOST_KEPT, count_of
from streamkit.wire.loose_json import as_dict, as_json, as_list, as_text, as_word

__all__ = ["CAPABILITIES", "ModelInfo", "lists_models", "read_models"]

_LONGEST_NUMBER = 100  # characters of a price
_LISTS = ("data", "models", "modelSummaries")
_IDS = ("id", "modelId", "model", "name")
_NAMES = ("display_name", "displayName", "modelName", "name")
_INPUTS = {"image": "images", "audio": "audio", "file": "files", "video": "video", "pdf": "files"}
# What providers call a capability, by the word that we have for it.
_WORDS = {
    "tools": ("tools", "function_calling", "tool_use", "tool_choice"),
    "images": ("vision", "image", "images", "image_input"),
    "reasoning": ("reasoning", "thinking", "include_reasoning", "effort"),
    "json": ("structured_outputs", "json_mode", "response_format"),
    "audio": ("audio", "audio_input"),
    "files": ("ocr", "pdf_input", "citations"),
}
#: The words that we have for what a model is capable of.
CAPABILITIES = tuple(sorted({*_WORDS, *_INPUTS.values()}))


@attrs.frozen
class ModelInfo:
    """A model that a provider offers; ``None`` is unknown.

    Attributes:
        id: what the provider calls it; ``provider/id`` is the name to pass to ``stream()``.
        provider: our name of the provider.
        name: for people.
        context_window: tokens that it reads, the reply included where the provider counts so.
        max_output_tokens: tokens of a reply.
        capabilities: of ``tools``, ``images``, ``audio``, ``video``, ``files``, ``reasoning``, ``json``; those that
            are known, which may be none.
        input_price, output_price, cached_price: USD per million tokens.
        created: when it came out, in UTC.
        raw: what the provider sent.
    """

    id: str
    provider: str
    name: str = ""
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()
    input_price: float | None = None
    output_price: float | None = None
    cached_price: float | None = None
    created: datetime | None = None
    raw: Mapping[str, Any] = attrs.field(factory=dict, repr=False, eq=False)  # eq: a dict has no hash

    @property
    def full_name(self) -> str:
        """What to pass to ``stream()``."""
        return f"{self.provider}/{self.id}"


def read_models(provider: str, body: Any) -> tuple[list[ModelInfo], str | None]:
    """Read one page of a list.

    Args:
        provider: our name of it.
        body: decoded JSON of any shape; what is no model in a list is passed over.

    Returns:
        The models, and the query for the next page, ``None`` after the last.

    Raises:
        ProtocolError: it is no list of anything.
    """
    outer = as_dict(body)
    entries = body if isinstance(body, list) else _entries(outer) if isinstance(body, dict) else None
    if entries is None:
        raise ProtocolError(
            f"{provider} answers with something else than a list of models", excerpt=as_json(body)[:MOST_KEPT]
        )
    models = [_model(provider, entry) for entry in entries if isinstance(entry, dict)]
    return [model for model in models if model.id], _next_page(outer)


def lists_models(body: Mapping[str, Any]) -> bool:
    """Say whether a body has a list of models, whatever stands beside it."""
    return any(isinstance(body.get(name), list) for name in _LISTS)


def _entries(outer: dict[str, Any]) -> list[Any] | None:
    """Return the entries of a list, ``None`` where there is none.

    Some servers write an empty list as null, and those that write JSON from protocol buffers leave it out.
    """
    told = [outer[name] for name in _LISTS if name in outer]
    if not told:
        return [] if set(outer) <= {"nextPageToken"} else None
    return next((entries for entries in told if isinstance(entries, list)), None if any(told) else [])


def _next_page(outer: Mapping[str, Any]) -> str | None:
    if outer.get("has_more") and (last := as_word(outer.get("last_id"))):
        return f"after_id={quote(last, safe='')}"
    for field, parameter in (("nextPageToken", "pageToken"), ("next_page_token", "page_token")):
        if token := as_word(outer.get(field)):
            return f"{parameter}={quote(token, safe='')}"
    return None


def _model(provider: str, entry: dict[str, Any]) -> ModelInfo:
    id = next((id for name in _IDS if (id := as_word(entry.get(name)))), "").removeprefix("models/")
    top, prices = as_dict(entry.get("top_provider")), as_dict(entry.get("pricing"))
    per_token = "prompt" in prices or "completion" in prices
    given, made, cached = (
        (prices.get("prompt"), prices.get("completion"), prices.get("input_cache_read"))
        if per_token
        else (prices.get("input"), prices.get("output"), prices.get("cached_input"))
    )
    scale = 1e6 if per_token else 1.0
    windows = ("context_length", "context_window", "max_context_length", "inputTokenLimit", "max_input_tokens")
    outputs = ("max_output_tokens", "outputTokenLimit", "max_completion_tokens", "max_output_length")
    return ModelInfo(
        id,
        provider,
        next((told for name in _NAMES if (told := as_word(entry.get(name)))), id),
        _first(entry, windows) or count_of(top.get("context_length")),
        _first(entry, outputs) or count_of(top.get("max_completion_tokens")),
        _capabilities(entry),
        _price(given, scale),
        _price(made, scale),
        _price(cached, scale),
        _moment(entry),
        entry,
    )


def _first(entry: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := count_of(entry.get(name)))), None)


def _price(value: Any, scale: float) -> float | None:
    """Return USD per million tokens of a number, or of one sent as text; a negative one means that it varies."""
    try:
        amount = float(value[:_LONGEST_NUMBER] if isinstance(value, str) else value) * scale
    except (TypeError, ValueError, OverflowError):
        return None
    return round(amount, 9) if 0 <= amount < 1e9 else None


def _capabilities(entry: Mapping[str, Any]) -> frozenset[str]:
    said: set[str] = set()
    sent = entry.get("capabilities")
    if isinstance(sent, dict):
        said |= {name for name, value in sent.items() if value is True or as_dict(value).get("supported") is True}
    for words in (sent, entry.get("supported_parameters"), entry.get("features"), entry.get("supported_features")):
        said |= {word for word in as_list(words) if isinstance(word, str)}
    said |= {name for name in ("thinking", "vision", "reasoning") if entry.get(name) is True}
    said |= {name.removeprefix("supports_") for name, value in entry.items() if name.startswith("supports_") and value}
    found = {ours for ours, theirs in _WORDS.items() if said & set(theirs)}
    kinds = as_list(as_dict(entry.get("architecture")).get("input_modalities")) + as_list(entry.get("inputModalities"))
    return frozenset(found | {_INPUTS[kind.lower()] for kind in kinds if as_text(kind).lower() in _INPUTS})


def _moment(entry: Mapping[str, Any]) -> datetime | None:
    created = entry.get("created") or entry.get("created_at")
    try:
        if isinstance(created, (int, float)):
            return datetime.fromtimestamp(created, timezone.utc)
        if isinstance(created, str):
            moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
            return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError, OSError):
        pass
    return None
