"""``streamkit serve``: the gateway."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any

import click
from click.core import ParameterSource

from streamkit.cli.failures import tell
from streamkit.cli.listening import listen, place_of
from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

__all__ = ["serve"]

_NEEDS = 'serving needs {}: python -m pip install "streamkit[serve]"'
_PASSWORD = re.compile(r"[a-z0-9+]+://[^/@]*:[^/@]+@")
_BACKLOG = 2048
_PROMPT = "Tell me a story about a lighthouse."


@click.command(
    short_help="Serve models to a team, with tokens and budgets.",
    epilog="""\b
Examples:
  streamkit serve
  streamkit serve --config gateway.toml --check
  streamkit serve --config gateway.toml --port 8000 --workers 4
""",
)
@click.option(
    "--config",
    "path",
    metavar="FILE",
    envvar="STREAMKIT_CONFIG",
    show_envvar=True,
    help="The configuration, a file of TOML. Without it the demo models are served.",
)
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65535),
    help="Where to listen, by default 8000; 0 for a free port.",
)
@click.option("--host", metavar="HOST", help="The address to listen on, by default 127.0.0.1: this machine alone.")
@click.option("--workers", metavar="N", type=click.IntRange(1, 256), help="Processes, by default 1.")
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 100_000),
    help="Replies at once that each process can hold, by default 1000.",
)
@click.option(
    "--database",
    metavar="URL",
    envvar="STREAMKIT_GATEWAY_DATABASE",
    show_envvar=True,
    help="Where tokens and balances are kept: a file of SQLite, or postgresql://... By default they are in the folder "
    "of your user's data.",
)
@click.option("--check", is_flag=True, help="Only check the configuration: name each mistake by its line.")
@click.pass_context
def serve(
    context: click.Context,
    path: str | None,
    port: int | None,
    host: str | None,
    workers: int | None,
    threads: int | None,
    database: str | None,
    check: bool,
) -> int:
    """Serve models to any client of OpenAI or Anthropic, with tokens, balances and a ledger; Ctrl-C ends it.

    Without a configuration it serves demo/storyteller and demo/assistant on this machine, and prints a token and a line
    to try it with. Models that cost money are served once a configuration names them.

    SIGHUP reads the configuration again: if it is right it takes effect, and no reply ends for it. SIGTERM lets open
    replies end, and cancels them after a time.
    """
    given = context.get_parameter_source("database") is ParameterSource.COMMANDLINE
    if database is not None and given and _PASSWORD.match(database):
        raise click.UsageError(
            "a password in --database can be read by everybody on this machine: put the URL into an environment "
            "variable, and name it: --database '$DATABASE_URL'"
        )
    _check_system()
    config = late_import("streamkit.gateway.config")
    url = _of_environment(database)

    def read() -> Any:
        return config.read_config(
            path, os.environ, host=host, port=port, workers=workers, threads=threads, database=url
        )

    try:
        found = read()
    except config.ConfigProblems as error:
        for line in error.message.splitlines():
            tell(line)
        return 1
    if check:
        _summarise(found)
        return 0
    late_import("streamkit.gateway.config.storage").make_private(found.database)
    listener = listen(found.host, found.port, backlog=_BACKLOG)
    place = place_of(
        found.host, listener.getsockname()[1], everywhere="127.0.0.1" if listener.family.name == "AF_INET" else "::1"
    )
    process = late_import("streamkit.cli.serve_process")
    code: int = process.run(found, listener, read, lambda gateway: _tell_ready(found, f"http://{place}", gateway))
    return code


def _check_system() -> None:
    """Raise a ConfigError where the gateway cannot run."""
    if sys.platform == "win32":
        raise ConfigError("serving needs a system with forks: on Windows use WSL or a container")
    for library in ("gunicorn", "sqlalchemy"):
        try:
            late_import(library)
        except ModuleNotFoundError:
            raise ConfigError(_NEEDS.format(library)) from None


def _of_environment(text: str | None) -> str | None:
    """Return a value, and for ``$NAME`` that of the environment.

    Raises:
        click.UsageError: it has none.
    """
    if text is None or not text.startswith("$"):
        return text
    name = text[1:].strip("{}")
    if not os.environ.get(name):
        raise click.UsageError(f"the environment variable {name} of --database is not set")
    return os.environ[name]


def _summarise(config: Any) -> None:
    named = config.file or "without a configuration"
    counted = [
        f"{len(config.models)} model{'s' if len(config.models) != 1 else ''}",
        f"{len(config.upstreams)} provider{'s' if len(config.upstreams) != 1 else ''}",
        f"{config.workers} worker{'s' if config.workers != 1 else ''} for {config.streams} streams at once",
        f"at {place_of(config.host, config.port, everywhere='*')}",
    ]
    click.echo(f"{named}: no mistakes; {', '.join(counted)}")
    for note in config.notes:
        click.echo(f"note: {note}")


def _tell_ready(config: Any, address: str, gateway: Any) -> None:
    token = gateway.demo_token()
    names = ", ".join(model.name for model in config.models[:3]) + (", ..." if len(config.models) > 3 else "")
    lines = [f"the gateway is at {address}/v1 with {names}"]
    if config.shows_page:
        lines.append(f"a chat page for whoever has a token: {address}/")
    if token is None:
        lines.append("a token for it: streamkit token create NAME")
    else:
        lines += [f"a token for it: {token}", "try it:", "", _curl(address, token, config.models[0].name), ""]
    lines.append("Ctrl-C ends it")
    click.echo("\n".join(lines), err=True)


def _curl(address: str, token: str, model: str) -> str:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": _PROMPT}]}
    return (
        f"curl -N {address}/v1/chat/completions -H 'Authorization: Bearer {token}' "
        f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
    )
