"""``streamkit record``: real traffic into a cassette, for tests."""

from __future__ import annotations

import copy
import threading
from typing import Any

import click

from streamkit.cli.answer import show
from streamkit.cli.output import sink
from streamkit.client import Client
from streamkit.errors import ConfigError
from streamkit.providers.base import Provider

__all__ = ["record"]


@click.command(
    epilog="""\b
Examples:
  streamkit record hello.jsonl -m openai/gpt-4o-mini "Say hello"
  streamkit record session.jsonl --upstream https://api.openai.com/v1
"""
)
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, writable=True))
@click.argument("prompt", required=False)
@click.option("-m", "--model", metavar="MODEL", help="The model to ask, as provider/model.")
@click.option("--upstream", metavar="URL", help="Listen, and pass on to this base URL what any client asks.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; by default any free port.")
def record(path: str, prompt: str | None, model: str | None, upstream: str | None, port: int) -> int:
    """Write real traffic into a cassette, a file of JSON lines with the time of each read, without keys.

    With a PROMPT, asks the model once, and shows the answer as well. With --upstream, listens on loopback
    until Ctrl-C, for clients that take the URL it prints as their base URL.

    In tests, Server(*cassette_replies(FILE)) of streamkit.testing plays it again.
    """
    from streamkit.testing.recorder import Recorder

    if (upstream is None) == (prompt is None):
        raise click.UsageError("give a PROMPT with --model, or --upstream")
    if upstream is not None:
        with Recorder(upstream, path, port=port) as recorder:
            click.echo(f"listening on {recorder.url} before {upstream}; Ctrl-C ends it", err=True)
            return _until_interrupted()
    if model is None:
        raise click.UsageError("a PROMPT needs --model")
    with Client() as client:
        provider, name = client.resolve(model)
        with Recorder(_base_url(provider), path, port=port) as recorder:
            copied: Any = copy.copy(provider)
            copied.base_url = recorder.url
            with (
                Client([copied], retry=1) as recorded,
                recorded.stream(f"{provider.name}/{name}", prompt or "") as stream,
            ):
                return 0 if show(stream, sink(as_json=False)) else 130


def _base_url(provider: Provider) -> str:
    url = getattr(provider, "base_url", None)
    if not isinstance(url, str):
        raise ConfigError(f"{provider.name} cannot be recorded: it has no base URL; use --upstream")
    return url


def _until_interrupted() -> int:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo(err=True)
    return 0
