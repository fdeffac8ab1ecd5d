"""``streamkit doctor``: show which providers are configured and answer, and how the bytes of a stream arrive."""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec

import click
from click.core import ParameterSource

from streamkit.cli.failures import advised, tell
from streamkit.cli.options import Number
from streamkit.cli.output import one_line, put, to_json
from streamkit.cli.probe import Probe, probe, verdict
from streamkit.cli.probe_request import DEFAULT_MODEL
from streamkit.client import Client
from streamkit.errors import (
    APIError,
    AuthenticationError,
    PermissionDeniedError,
    ProtocolError,
    StreamError,
    StreamkitError,
)
from streamkit.models.catalog import not_in_use
from streamkit.providers.request.credentials import is_not_set_up
from streamkit.version import __version__
from streamkit.wire.secrets import without_userinfo

__all__ = ["doctor"]

_EXTRAS = {"bedrock": "botocore", "cli": "rich", "prices": "genai_prices"}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_NO_KEY = re.compile(r"^\S+ needs an API key: set the environment variable (.*), or pass .*$")
_OF_A_PROBE = ("model", "method", "data", "headers", "key_from", "timeout")


@click.command(
    short_help="Say which providers answer, or how a stream arrives.",
    epilog="""\b
Examples:
  streamkit doctor
  streamkit doctor https://gateway.example/v1/chat/completions --key-from GATEWAY_KEY -m gpt-4o-mini
  streamkit doctor http://localhost:5000/stream --method GET
""",
)
@click.argument("url", required=False)
@click.option("-m", "--model", metavar="MODEL", help=f"Named in the request; by default {DEFAULT_MODEL}.")
@click.option("--method", type=click.Choice(["GET", "POST"]), help="By default POST, of a request for a short answer.")
@click.option("-d", "--data", metavar="JSON", help="The body to send.")
@click.option("-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, help="A header to send.")
@click.option(
    "--key-from", metavar="VARIABLE", help="Send the key that this environment variable has, as bearer token."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="For all of it.",
)
@click.option("--all", "everybody", is_flag=True, help="Name the providers that are not set up or not running as well.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
@click.pass_context
def doctor(
    context: click.Context,
    url: str | None,
    model: str | None,
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
        _refuse_options(context, _OF_A_PROBE, "is about a URL, and there is none")
        return _survey(everybody, as_json)
    _refuse_options(context, ("everybody",), "is about the providers, and not about a URL")
    result = probe(url, method=method, model=model, data=data, headers=headers, key_from=key_from, timeout=timeout)
    if as_json:
        put(to_json({**result.to_dict(), "verdict": verdict(result)}), encoding="utf-8")
    else:
        _show(result)
    return 0 if result.error is None else 1


def _refuse_options(context: click.Context, names: tuple[str, ...], reason: str) -> None:
    """Raise a UsageError for an option that was given and would be ignored."""
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name in names:
            raise click.UsageError(f"{max(param.opts, key=len)} {reason}")


def _survey(everybody: bool, as_json: bool) -> int:
    with Client() as client:
        found = client.models.list()
    counts = Counter(model.provider for model in found)
    providers = {name: _answer(counts[name], found.errors.get(name)) for name in found.asked}
    silent = [name for name, error in found.errors.items() if not_in_use(name, error)]
    shown = {name: text for name, text in sorted(providers.items()) if everybody or name not in silent}
    facts = {
        "streamkit": __version__,
        "python": platform.python_version(),
        "requests": version("requests"),
        "urllib3": version("urllib3"),
        **{f"extra {name}": "installed" if find_spec(module) else "missing" for name, module in _EXTRAS.items()},
        **{name: without_userinfo(value) for name, value in _proxies().items()},
    }
    if as_json:
        put(to_json({**facts, "providers": providers}), encoding="utf-8")
        return 0
    for name, value in {**facts, **shown}.items():
        put(f"{one_line(name):<21} {one_line(value)}")
    if not everybody:
        put(f"{len(providers) - len(shown)} providers not set up or not running; --all names them and their variables")
    return 0


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.upper() in _PROXIES and value}


def _answer(count: int, error: StreamkitError | None) -> str:
    """Return the result of asking a provider for its models, in words."""
    if error is None:
        return f"answers, {count} {'model' if count == 1 else 'models'}"
    if is_not_set_up(error):
        return _NO_KEY.sub(r"no key in \1", error.message)
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return f"answers, refuses the key ({error.status})"
    if isinstance(error, APIError):
        return f"answers with {error.status or 'an error'}: {error.message}"
    if isinstance(error, ProtocolError):
        return f"answers, but not as it should: {error.message}"
    if isinstance(error, StreamError):
        return f"does not answer: {error.message}"
    return f"cannot be asked: {error.message}"


def _show(result: Probe) -> None:
    for name, value in result.lines():
        put(f"{one_line(name):<17} {one_line(value)}")
    put(f"{'verdict':<17} {one_line(verdict(result, with_error=False))}")  # the error itself goes to stderr
    if result.error is not None:
        tell(advised(result.error, "url" if result.keyed else "url without key"))
