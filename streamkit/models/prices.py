"""What tokens cost, from the offline data of genai-prices, where the extra ``prices`` is installed.

Nothing here goes to the network: the data are those of the installed release, and a newer release has newer ones.
They are loaded when a client with observers is made, or else when a price is first asked for; that takes a fifth of a
second.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

import attrs

from streamkit.concurrency.late_import import forks_wait
from streamkit.errors import ConfigError
from streamkit.values.chunks import Usage

__all__ = ["ListPrice", "cost_of", "list_price", "load", "require"]

# Our names of providers, and genai-prices' where it has another; those that it has not are not priced.
_NAMES = {
    "openai-responses": "openai",
    "openai-completions": "openai",
    "gemini": "google",
    "gemini-interactions": "google",
    "bedrock": "aws",
    "xai": "x-ai",
    "moonshot": "moonshotai",
    **{
        name: name
        for name in "anthropic azure cerebras cohere deepseek fireworks groq mistral novita openai openrouter "
        "perplexity together zai".split()
    },
}


@attrs.frozen
class ListPrice:
    """What a model costs, in USD per million tokens, and how much it reads; ``None`` is unknown.

    Attributes:
        input, output: of a short prompt, where longer ones cost more.
        cached: of input tokens that came from a cache.
        context_window: tokens.
    """

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    context_window: int | None = None


# Whether the library was looked for. Set by any thread that calls ``load``, which does the same each time.
_loaded = False


def load() -> None:
    """Import the price data in this thread, where the extra is installed, so that no later price imports anything."""
    global _loaded
    with forks_wait(), suppress(ImportError, LookupError, ValueError):
        library = import_module("genai_prices")
        import_module("genai_prices.data_snapshot")
        # The first price imports the rest.
        library.calc_price(library.Usage(input_tokens=1, output_tokens=1), "gpt-4o", provider_id="openai")
    _loaded = sys.modules.get("genai_prices", "missing") is not None  # None is how a program forbids an import


def require() -> None:
    """Raise a ConfigError where the extra is not installed."""
    if _library() is None:
        raise ConfigError('prices need the extra "prices": python -m pip install "streamkit[prices]"')


def list_price(provider: str, model: str) -> ListPrice | None:
    """Return what is known of a model, ``None`` for one that is unknown, or without the extra."""
    found = _find(provider, model)
    if found is None:
        return None
    price = found.get_prices(datetime.now(timezone.utc))
    given, made, cached = (
        _amount(getattr(price, name, None)) for name in ("input_mtok", "output_mtok", "cache_read_mtok")
    )
    return ListPrice(given, made, cached, found.context_window)


def cost_of(provider: str, model: str, usage: Usage) -> float | None:
    """Return what a usage costs in USD, ``None`` where the model or the tokens are unknown, or without the extra.

    It is an estimate by list prices: discounts, batches and service tiers are not known here.
    """
    if usage.input_tokens is None or usage.output_tokens is None or _find(provider, model) is None:
        return None
    library = _library()
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    given = usage.input_tokens + (cached + written if usage.cached_apart else 0)
    counts = {"input_tokens": given, "cache_read_tokens": cached, "cache_write_tokens": written}
    try:
        counted = library.Usage(**counts, output_tokens=usage.output_tokens)
        return float(library.calc_price(counted, model, provider_id=_NAMES[provider]).total_price)
    except (LookupError, ValueError, TypeError):
        return None  # counts that contradict each other, or a model without a price


def _find(provider: str, model: str) -> Any:
    library = _library()
    if library is None or provider not in _NAMES:
        return None
    try:
        return library.data_snapshot.get_snapshot().find_provider_model(model, None, _NAMES[provider], None)[1]
    except LookupError:
        return None


def _library() -> Any:
    """Return genai-prices, or ``None``; looked for once, as to look for a missing module is half an import."""
    if not _loaded:
        load()
    return sys.modules.get("genai_prices")


def _amount(price: Any) -> float | None:
    price = getattr(price, "base", price)  # of one that grows with the length of the prompt
    return None if price is None else float(price)
