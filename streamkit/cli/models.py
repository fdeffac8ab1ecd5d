"""``streamkit models``: list the models."""

from __future__ import annotations

from typing import Any

import click

from streamkit.cli.completing import complete_provider
from streamkit.cli.failures import advised, tell
from streamkit.cli.output import one_line, put, to_json
from streamkit.client import Client
from streamkit.errors import StreamkitError
from streamkit.models.catalog import not_in_use
from streamkit.providers.reply.model_lists import CAPABILITIES, ModelInfo

__all__ = ["models"]


@click.command(
    short_help="List the models, with prices and capabilities.",
    epilog="""\b
Examples:
  streamkit models
  streamkit models --provider openrouter --capability tools --capability images
  streamkit models --json | jq -r 'select(.input_price < 1) | .model'
""",
)
@click.option("-p", "--provider", metavar="NAME", shell_complete=complete_provider, help="Ask this provider alone.")
@click.option(
    "-c",
    "--capability",
    "capabilities",
    metavar="WORD",
    type=click.Choice(CAPABILITIES),
    multiple=True,
    help=f"Only models that are known to have it: {', '.join(CAPABILITIES[:-1])} or {CAPABILITIES[-1]}.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a model, a line each.")
def models(provider: str | None, capabilities: tuple[str, ...], as_json: bool) -> int:
    """List the models of the providers that have a key in the environment.

    Each line has the name to pass to -m, the context window in tokens, the price of a million tokens in and
    out in USD, and what the model is known to be capable of. Prices that a provider does not send are list
    prices, with the extra "prices". A provider that does not answer is named on standard error.
    """
    with Client() as client:
        try:
            found = client.models.list(provider)
        except StreamkitError as failure:
            tell(advised(failure, "models"))
            return 1
    silent = {name for name, error in found.errors.items() if provider is None and not_in_use(name, error)}
    for name, error in sorted(found.errors.items()):
        if name not in silent:
            text = advised(error, "models")
            tell(text if text.startswith(name) else f"{name}: {text}")
    able = [model for model in found if set(capabilities) <= model.capabilities]
    for line in _lines(able, as_json):
        put(line, encoding="utf-8" if as_json else None)
    listed = {model.provider for model in found}
    for name in found.asked:
        if name not in found.errors and name not in listed:
            tell(f"{name} lists no models")
    if silent == set(found.asked):
        tell("no provider has a key in the environment; streamkit doctor --all says which variables there are")
    if found and not able:
        none = "the one model there is is not" if len(found) == 1 else f"none of the {len(found)} models is"
        tell(f"{none} known to have {' and '.join(capabilities)}")
    return 0 if able else 1


def _lines(found: list[ModelInfo], as_json: bool) -> list[str]:
    if as_json:
        return [to_json(_object(model)) for model in found]
    width = max((len(one_line(model.full_name)) for model in found), default=0)
    return [
        f"{one_line(model.full_name):<{width}}  {_count(model.context_window):>6}  {_price(model):>15}  "
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
