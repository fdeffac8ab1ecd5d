"""Complete the names of providers and models for the shell."""

from __future__ import annotations

import threading

import click

from streamkit.client import Client
from streamkit.errors import StreamkitError
from streamkit.providers import registry

__all__ = ["complete_model", "complete_provider"]

_SECONDS = 3.0  # that somebody who pressed Tab may wait for a list of models
_DEMO = "demo"


def complete_provider(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of providers that begin like this."""
    return [name for name in sorted([*registry.names(), _DEMO]) if name.startswith(incomplete)]


def complete_model(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of models that begin like this.

    The models of a provider are asked for once there is only one that is meant; before that, its name is enough.
    """
    provider, slash, _ = incomplete.partition("/")
    providers = [provider] if slash else complete_provider(context, param, incomplete)
    if len(providers) != 1:
        return [f"{name}/" for name in providers]
    models = [model for model in _models_of(providers[0]) if model.startswith(incomplete)]
    return models if models or slash else [f"{providers[0]}/"]


def _models_of(provider: str) -> list[str]:
    found: list[str] = []

    def ask() -> None:
        try:
            with Client() as client:
                found.extend(model.full_name for model in client.models.list(provider))
        except StreamkitError:
            pass  # a line of the shell is no place to report it; streamkit models does

    asking = threading.Thread(target=ask, name="streamkit-completion", daemon=True)
    asking.start()
    asking.join(_SECONDS)
    return list(found)
