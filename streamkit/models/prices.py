"""Prices of tokens, from the offline data of genai-prices, if the extra ``prices`` is installed.

No network is used: the prices are those of the installed release. They are loaded when a client with observers is
made, otherwise when a price is first needed; loading takes about 0.2 s.
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

__all__ = ["ListPrice", "cost_of", "has_list", "list_price", "load", "require"]

# The name of each provider in genai-prices. Providers that are not listed here have no prices.
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
    """A model's prices in USD per million tokens, and its context window; ``None`` is unknown.

    Attributes:
        input, output: for short prompts, if long ones cost more.
        cached: for input tokens read from a cache.
        context_window: tokens.
    """

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    context_window: int | None = None


# Whether ``load`` was called. Any thread may set it; calling ``load`` again does no harm.
_loaded = False

# Models that the price data does not have, such as those of one's own server, by provider and model, with the data that
# was searched: all of it, each time. Each single operation on a dict is atomic, with and without the GIL.
_missing: dict[tuple[str, str], object] = {}
_MOST_MISSING = 1000


def load() -> None:
    """Import the price data in this thread, where the extra is installed, so that no later price imports anything."""
    global _loaded
    with forks_wait(), suppress(ImportError, LookupError, ValueError):
        library = import_module("genai_prices")
        import_module("genai_prices.data_snapshot")
        # The first price imports the rest.
        library.calc_price(library.Usage(input_tokens=1, output_tokens=1), "gpt-4o", provider_id="openai")
    _loaded = sys.modules.get("genai_prices", "missing") is not None  # None there blocks the import


def require() -> None:
    """Raise a ConfigError if the extra is not installed."""
    if _library() is None:
        raise ConfigError('prices need the extra "prices": python -m pip install "streamkit[prices]"')


def has_list(provider: str) -> bool:
    """Return whether there are prices for models of a provider, if the extra is installed."""
    return provider in _NAMES


def list_price(provider: str, model: str) -> ListPrice | None:
    """Return a model's prices, ``None`` if they are unknown or the extra is not installed."""
    found = _find(provider, model)
    if found is None:
        return None
    price = found.get_prices(datetime.now(timezone.utc))
    given, made, cached = (
        _amount(getattr(price, name, None)) for name in ("input_mtok", "output_mtok", "cache_read_mtok")
    )
    return ListPrice(given, made, cached, found.context_window)


def cost_of(provider: str, model: str, usage: Usage) -> float | None:
    """Return the cost of a usage in USD, ``None`` if it is unknown or the extra is not installed.

    It is an estimate from list prices, without discounts, batch prices and service tiers.
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
        return None  # inconsistent counts, or a model without a price


def _find(provider: str, model: str) -> Any:
    library = _library()
    if library is None or provider not in _NAMES:
        return None
    data = library.data_snapshot.get_snapshot()
    if _missing.get((provider, model)) is data:
        return None
    try:
        return data.find_provider_model(model, None, _NAMES[provider], None)[1]
    except LookupError:
        if len(_missing) >= _MOST_MISSING:
            _missing.clear()
        _missing[provider, model] = data
        return None


def _library() -> Any:
    """Return genai-prices, or ``None``; search for it only once, because a search also locks the module's name."""
    if not _loaded:
        load()
    return sys.modules.get("genai_prices")


def _amount(price: Any) -> float | None:
    price = getattr(price, "base", price)  # of a price that depends on the prompt's length
    return None if price is None else float(price)
