"""Complete the names of providers, models, tools and conversations for the shell."""

from __future__ import annotations

import ast
import threading
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from streamkit.client import Client
from streamkit.errors import StreamkitError
from streamkit.providers import registry

__all__ = ["complete_conversation", "complete_model", "complete_provider", "complete_tool"]

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


def complete_conversation(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of kept conversations that begin like this, or whose title does, with the titles as help."""
    from streamkit.cli.keeping import entries
    from streamkit.cli.naming import about, matching, short_ids

    try:
        kept = entries()
    except StreamkitError:
        return []  # as for models
    shorts = short_ids(kept)
    return [
        CompletionItem(shorts[entry.id], help=about(entry))
        for entry in (matching(kept, incomplete) if incomplete.strip() else kept)
    ]


def complete_tool(_context: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the modules in the current directory that begin like this; after a colon, the functions of the module.

    The module is read and not imported: no code runs because somebody pressed Tab.
    """
    module, colon, _ = incomplete.partition(":")
    if not colon:
        names = [path.stem for path in Path().glob("*.py")] + [
            path.parent.name for path in Path().glob("*/__init__.py")
        ]
        return [f"{name}:" for name in sorted(names) if name.isidentifier() and name.startswith(incomplete)]
    path = Path(*module.split("."))
    found = next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
    try:
        tree = ast.parse(found.read_bytes()) if found is not None else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return []
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [name for each in functions if (name := f"{module}:{each}").startswith(incomplete) and each[0] != "_"]
