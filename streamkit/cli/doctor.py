"""``streamkit doctor``: what is set up here, who answers, and how the bytes of a stream arrive."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from importlib.util import find_spec

import click
import orjson

from streamkit.cli.failures import advised, tell
from streamkit.cli.models import on_this_machine
from streamkit.cli.output import without_controls
from streamkit.cli.probe import Probe, probe, verdict
from streamkit.client import Client
from streamkit.errors import (
    APIError,
    AuthenticationError,
    ConfigError,
    ConnectError,
    PermissionDeniedError,
    StreamError,
    StreamkitError,
)
from streamkit.version import __version__

__all__ = ["doctor"]

_EXTRAS = {"bedrock": "botocore", "cli": "rich", "prices": "genai_prices"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_NO_KEY = re.compile(r"^\S+ needs an API key: set the environment variable (.*), or pass api_key=$")
_PASSWORD = re.compile(r"//[^/@]*@")


@click.command(
    epilog="""\b
Examples:
  streamkit doctor
  streamkit doctor https://gateway.example/v1/chat/completions --key-from GATEWAY_KEY -m gpt-4o-mini
  streamkit doctor http://localhost:5000/stream --method GET
"""
)
@click.argument("url", required=False)
@click.option("-m", "--model", metavar="MODEL", default="gpt-4o-mini", show_default=True, help="Named in the request.")
@click.option("--method", type=click.Choice(["GET", "POST"]), help="By default POST, of a request for a short answer.")
@click.option("-d", "--data", metavar="JSON", help="The body to send.")
@click.option("-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="A header to send.")
@click.option(
    "--key-from", metavar="VARIABLE", help="Send the key that this environment variable has, as bearer token."
)
@click.option("--timeout", metavar="SECONDS", type=float, default=30.0, show_default=True, help="For all of it.")
@click.option("--all", "everybody", is_flag=True, help="Name the providers without a key as well.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def doctor(
    url: str | None,
    model: str,
    method: str | None,
    data: str | None,
    headers: tuple[str, ...],
    key_from: str | None,
    timeout: float,
    everybody: bool,
    as_json: bool,
) -> int:
    """Say what is set up here, and which providers answer; or how the bytes of a URL arrive.

    Without a URL: versions, proxies, and for each provider whether the environment has its key, never the key,
    and whether its list of models can be had. With a URL: the times to the connection, the headers, the first
    byte and the first event, the gaps between events, and whether something on the way holds them back.
    """
    if url is None:
        return _survey(everybody, as_json)
    result = probe(url, method=method, model=model, data=data, headers=headers, key_from=key_from, timeout=timeout)
    if as_json:
        click.echo(orjson.dumps({**result.to_dict(), "verdict": verdict(result)}).decode())
    else:
        _show(result)
    return 0 if result.error is None else 1


def _survey(everybody: bool, as_json: bool) -> int:
    with Client() as client:
        found = client.models.list()
    counts: dict[str, int] = {}
    for model in found:
        counts[model.provider] = counts.get(model.provider, 0) + 1
    providers = {name: f"answers, {count} models" for name, count in counts.items()}
    providers |= {name: _trouble(error) for name, error in found.errors.items()}
    silent = [name for name, error in found.errors.items() if _expected(name, error)]
    shown = {name: text for name, text in sorted(providers.items()) if everybody or name not in silent}
    facts = {
        "streamkit": __version__,
        "python": platform.python_version(),
        "requests": version("requests"),
        "urllib3": version("urllib3"),
        **{f"extra {name}": "installed" if find_spec(module) else "missing" for name, module in _EXTRAS.items()},
        **{name: _PASSWORD.sub("//***@", value) for name, value in _proxies().items()},
    }
    if as_json:
        click.echo(orjson.dumps({**facts, "providers": providers}).decode())
        return 0
    for name, value in {**facts, **shown}.items():
        click.echo(without_controls(f"{name:<22}{value}"))
    if not everybody:
        click.echo(f"{len(providers) - len(shown)} providers without a key; --all names them and their variables")
    return 0


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.upper() in _PROXIES and value}


def _expected(name: str, error: StreamkitError) -> bool:
    """Say whether a provider is simply not set up here."""
    return isinstance(error, ConfigError) or (on_this_machine(name) and isinstance(error, ConnectError))


def _trouble(error: StreamkitError) -> str:
    if isinstance(error, ConfigError):
        return _NO_KEY.sub(r"no key in \1", " ".join(str(error).split()))
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return f"answers, refuses the key ({error.status})"
    if isinstance(error, APIError):
        return f"answers with {error.status}: {error.message}"
    return f"does not answer: {error}"


def _show(result: Probe) -> None:
    for name, value in result.lines():
        click.echo(without_controls(f"{name:<16}{value}"))
    if isinstance(result.error, StreamError):
        tell(advised(result.error))
    else:
        click.echo(without_controls(f"{'verdict':<16}{verdict(result)}"))
