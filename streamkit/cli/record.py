"""``streamkit record``: record real traffic in a cassette, for tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs
import click

from streamkit.cli.answer import show
from streamkit.cli.completing import complete_model
from streamkit.cli.sinks import sink
from streamkit.client import Client
from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Provider
from streamkit.wire.http import HttpRequest
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.testing.recorder import Recorder

__all__ = ["record"]


@click.command(
    short_help="Write real traffic into a file for tests.",
    epilog="""\b
Examples:
  streamkit record hello.jsonl -m openai/gpt-4o-mini "Say hello"
  streamkit record session.jsonl --upstream https://api.openai.com/v1
""",
)
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, writable=True))
@click.argument("prompt", required=False)
@click.option(
    "-m", "--model", metavar="MODEL", shell_complete=complete_model, help="The model to ask, as provider/model."
)
@click.option("--upstream", metavar="URL", help="Listen, and pass on to this base URL what any client asks.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; by default any free port.")
def record(path: str, prompt: str | None, model: str | None, upstream: str | None, port: int) -> int:
    """Write real traffic into a cassette, a file of JSON lines with the time of each read, without keys.

    With a PROMPT, asks the model once, and shows the answer as well. With --upstream, listens on loopback
    until Ctrl-C, for clients that take the URL it prints as their base URL.

    In tests, Server(*cassette_replies(FILE)) of streamkit.testing plays it again.
    """
    if (upstream is None) == (prompt is None):
        raise click.UsageError("give a PROMPT with --model, or --upstream")
    if path == "-":
        raise click.UsageError("FILE is a file; - is none, and ./- is one of that name")
    if upstream is not None:
        if model is not None:
            raise click.UsageError("--upstream records whatever a client asks, so that --model has no place beside it")
        with _recorder(upstream, path, port) as recorder:
            click.echo(f"listening on {recorder.url} before {recorder.upstream}; Ctrl-C ends it", err=True)
            code = _until_interrupted()
        _check_written(recorder, path)
        return code
    if model is None:
        raise click.UsageError("a PROMPT needs --model")
    prompt = as_word(prompt)  # bytes that are no text come as half characters
    if not prompt.strip():
        raise click.UsageError("the PROMPT is empty")
    with Client() as client:
        provider, name = client.resolve(model)
        with _recorder(_base_url(provider), path, port) as recorder:
            recorded = _Recorded(provider, recorder)
            try:
                with (
                    Client([recorded], retry=1) as asking,
                    asking.stream(f"{provider.name}/{name}", prompt) as stream,
                ):
                    return 0 if show(stream, sink(as_json=False)) else 130
            finally:
                _check_written(recorder, path)  # or the provider would be blamed for what the recorder answers


class _Recorded:
    """A provider whose requests go through a recorder, not through the proxies of the environment.

    Each request is made for the real server and only its address is changed, since a signature covers the host.
    """

    def __init__(self, provider: Provider, recorder: Recorder) -> None:
        self.name = provider.name
        self._provider = provider
        self._recorder = recorder
        self.decoder = provider.decoder
        self.error = provider.error

    def request(self, chat: ChatRequest) -> HttpRequest:
        """Return the request for a streamed reply.

        Raises:
            ConfigError: as the provider does, or it asks elsewhere than at its base URL.
        """
        request = self._provider.request(chat)
        base, rest = request.url[: len(self._recorder.upstream)], request.url[len(self._recorder.upstream) :]
        if base != self._recorder.upstream or not rest.startswith("/"):
            raise ConfigError(f"{self.name} cannot be recorded: it asks at another place than its base URL")
        return attrs.evolve(request, url=self._recorder.url + rest, direct=True)


def _recorder(upstream: str, path: str, port: int) -> Recorder:
    from streamkit.testing.recorder import Recorder

    try:
        return Recorder(upstream, path, port=port)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        if error.filename is not None:
            raise _unwritable(path, error) from error
        raise ConfigError(f"cannot listen on port {port}: {error.strerror}; leave --port out for a free one") from error


def _check_written(recorder: Recorder, path: str) -> None:
    if recorder.failure is not None:
        raise _unwritable(path, recorder.failure) from recorder.failure


def _unwritable(path: str, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {error.strerror}; name a file that can be written")


def _base_url(provider: Provider) -> str:
    url = getattr(provider, "base_url", None)
    if not isinstance(url, str) or not url:
        raise ConfigError(f"{provider.name} cannot be recorded: it has no base URL; set its address, or use --upstream")
    return url


def _until_interrupted() -> int:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo(err=True)
    return 0
