"""``streamkit models``: what there is to choose from."""

from __future__ import annotations

from typing import Any

import click
import orjson

from streamkit.catalog import ModelList
from streamkit.cli.failures import advised, tell
from streamkit.client import Client
from streamkit.errors import ConfigError
from streamkit.providers.model_lists import ModelInfo
from streamkit.providers.services import SERVICES

__all__ = ["models", "on_this_machine"]


@click.command(
    epilog="""\b
Examples:
  streamkit models
  streamkit models --provider openrouter --capability tools --capability images
  streamkit models --json | jq -r 'select(.input_price < 1) | .model'
"""
)
@click.option("-p", "--provider", metavar="NAME", help="Ask this provider alone.")
@click.option(
    "-c",
    "--capability",
    "capabilities",
    metavar="WORD",
    multiple=True,
    help="Only models that are known to have it: tools, images, audio, video, files, reasoning or json.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a model, a line each.")
def models(provider: str | None, capabilities: tuple[str, ...], as_json: bool) -> int:
    """List the models of the providers that have a key in the environment.

    Each line has the name to pass to -m, the context window in tokens, the price of a million tokens in and
    out in USD, and what the model is known to be capable of. Prices that a provider does not send are list
    prices, with the extra "prices". A provider that does not answer is named on standard error.
    """
    with Client() as client:
        found = client.models.list(provider)
    failed = {name: error for name, error in found.errors.items() if not isinstance(error, ConfigError)}
    for name, error in sorted(failed.items()):
        if not (on_this_machine(name) and provider is None):
            tell(f"{name}: {advised(error)}")
    wanted = [model for model in found if set(capabilities) <= model.capabilities]
    for line in _lines(wanted, as_json):
        click.echo(line)
    if not found:
        _nothing(found, provider)
        return 1
    return 0


def on_this_machine(name: str) -> bool:
    """Say whether a provider is a server on this machine, which most have none of running."""
    return name == "ollama" or (name in SERVICES and SERVICES[name].local)


def _nothing(found: ModelList, provider: str | None) -> None:
    if provider is None and all(
        isinstance(error, ConfigError) or on_this_machine(name) for name, error in found.errors.items()
    ):
        tell("no provider has a key in the environment; streamkit doctor says which variables there are")


def _lines(found: list[ModelInfo], as_json: bool) -> list[str]:
    if as_json:
        return [orjson.dumps(_object(model)).decode() for model in found]
    width = max((len(model.full_name) for model in found), default=0)
    return [
        f"{model.full_name:<{width}}  {_count(model.context_window):>6}  {_price(model):>15}  "
        f"{' '.join(sorted(model.capabilities))}".rstrip()
        for model in found
    ]


def _object(model: ModelInfo) -> dict[str, Any]:
    return {
        "model": model.full_name,
        "name": model.name,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "capabilities": sorted(model.capabilities),
        "input_price": model.input_price,
        "output_price": model.output_price,
        "cached_price": model.cached_price,
        "created": None if model.created is None else model.created.isoformat(),
    }


def _count(tokens: int | None) -> str:
    if tokens is None:
        return "-"
    return f"{tokens // 1_000_000}M" if tokens >= 1_000_000 else f"{tokens // 1000}k" if tokens >= 1000 else str(tokens)


def _price(model: ModelInfo) -> str:
    if model.input_price is None or model.output_price is None:
        return "-"
    return f"${model.input_price:g} / ${model.output_price:g}"
