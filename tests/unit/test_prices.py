"""The cost of a reply: as the provider reports it, by list prices, or unknown."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import pytest

from streamkit import Completion, ConfigError, Usage
from streamkit.models import prices


def completion(provider: str, model: str, usage: Usage) -> Completion:
    return Completion(provider=provider, model=model, usage=usage)


def test_the_providers_word_counts() -> None:
    """A cost that the provider reports is used, and marked as such."""
    reply = completion("openai", "gpt-4o-mini", Usage(1000, 100, 1100, cost=0.5))
    assert (0.5, "provider") == (reply.cost, reply.cost_source)


def test_list_prices() -> None:
    """Otherwise it is an estimate by list prices, cached tokens at theirs."""
    price = prices.list_price("openai", "gpt-4o-mini")
    assert price is not None
    assert price.input is not None
    assert price.output is not None
    assert price.cached is not None
    reply = completion("openai", "gpt-4o-mini", Usage(1000, 100, 1100, cached_tokens=400))
    assert (600 * price.input + 400 * price.cached + 100 * price.output) / 1e6 == pytest.approx(reply.cost)
    assert "prices" == reply.cost_source


def test_cached_tokens_that_are_counted_apart() -> None:
    """If the input excludes cached tokens, they are added, and not charged twice."""
    apart = completion("anthropic", "claude-sonnet-4-5", Usage(1000, 100, 1100, 500, None, None, 100, True))
    within = completion("anthropic", "claude-sonnet-4-5", Usage(1600, 100, 1700, 500, None, None, 100, False))
    assert apart.cost == pytest.approx(within.cost)
    assert apart.cost is not None


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        ("demo", "storyteller", Usage(1, 1, 2)),
        ("openai", "no-such-model-at-all", Usage(1, 1, 2)),
        ("openai", "gpt-4o-mini", Usage()),
        ("openai", "gpt-4o-mini", Usage(input_tokens=3)),
        ("openai", "gpt-4o-mini", Usage(10, 1, 11, cached_tokens=20)),
        ("my-own", "gpt-4o-mini", Usage(1, 1, 2)),
    ],
)
def test_unknown_is_none(provider: str, model: str, usage: Usage) -> None:
    """A model, a provider or tokens that nobody knows the price of cost None, and never 0."""
    reply = completion(provider, model, usage)
    assert (None, None) == (reply.cost, reply.cost_source)


def test_newer_prices_are_looked_at() -> None:
    """A model that the price data does not have is searched for again once there is other data."""
    data = importlib.import_module("genai_prices.data_snapshot")
    reply = completion("openai", "gpt-4o-mini", Usage(1, 1, 2))
    (provider,) = (each for each in data.get_snapshot().providers if each.id == "openai")
    data.set_custom_snapshot(data.DataSnapshot([dataclasses.replace(provider, models=[])], False))
    try:
        assert [None, None] == [reply.cost, reply.cost]
    finally:
        data.set_custom_snapshot(None)
    assert reply.cost is not None


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the cost is unknown, and who needs prices is told what to install."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    reply = completion("openai", "gpt-4o-mini", Usage(1000, 100, 1100))
    assert (None, None) == (reply.cost, reply.cost_source)
    with pytest.raises(ConfigError, match=r'pip install "streamkit\[prices\]"'):
        prices.require()
