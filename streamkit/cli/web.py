"""``streamkit web``: the chat page, for one person."""

from __future__ import annotations

import copy
import hmac
import ipaddress
import logging
import os
import re
import secrets
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.completing import complete_model, complete_tool
from streamkit.cli.keeping import open_store
from streamkit.cli.listening import listen, place_of
from streamkit.cli.question import check
from streamkit.cli.starting import system_of
from streamkit.client import Client
from streamkit.concurrency.late_import import late_import
from streamkit.conversation.stores.store import Store
from streamkit.errors import ConfigError
from streamkit.values.messages import Message
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.tools.tool import Tool

__all__ = ["web"]

_DEMO_MODEL = "demo/assistant"
_TOKEN = "STREAMKIT_WEB_TOKEN"  # noqa: S105  # the name of a variable
_SHORTEST_TOKEN = 16  # characters
_OWNER = "web"  # of the chats; those of the command line have none
_FILE = "web.db"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@click.command(
    short_help="Talk to a model on a page in the browser.",
    epilog="""\b
Examples:
  streamkit web
  streamkit web -m openai/gpt-4o-mini -s "Be brief."
  streamkit web -m openai/gpt-4o-mini -m anthropic/claude-sonnet-5
  streamkit web --tool weather:forecast
  streamkit web --host 0.0.0.0 --token
""",
)
@click.option(
    "-m",
    "--model",
    "named",
    metavar="MODEL",
    multiple=True,
    envvar="STREAMKIT_MODEL",
    show_envvar=True,
    shell_complete=complete_model,
    help="The model, as provider/model; given more than once, the page lets you choose. By default one of the first "
    f"provider that has a key, or {_DEMO_MODEL}.",
)
@click.option("-s", "--system", metavar="SYSTEM", default="", help="The system prompt.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Where to listen; 0 for a free port."
)
@click.option(
    "--host",
    metavar="HOST",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen on. Any but this machine's own needs --token.",
)
@click.option(
    "--token",
    "with_token",
    is_flag=True,
    help=f"Let in only who has the address that is printed: it holds a secret, that of {_TOKEN} or a new one.",
)
@click.option(
    "--store",
    "path",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True),
    help="Keep the chats in this file of SQLite. By default they are in the folder of your user's data.",
)
@click.option("--no-store", is_flag=True, envvar="STREAMKIT_NO_STORE", show_envvar=True, help="Keep no chat.")
@click.option(
    "--tool",
    "names",
    metavar="MODULE:FUNCTION",
    multiple=True,
    shell_complete=complete_tool,
    help="A Python function that the model may call; may be given more than once. The page asks before each call.",
)
@click.option("-y", "--yes", is_flag=True, help="Call the functions of --tool without asking.")
@click.option("--title", metavar="TITLE", default="streamkit", show_default=True, help="What the page is called.")
def web(
    named: tuple[str, ...],
    system: str,
    port: int,
    host: str,
    with_token: bool,
    path: str | None,
    no_store: bool,
    names: tuple[str, ...],
    yes: bool,
    title: str,
) -> int:
    """Serve a chat page for one person, and print its address; Ctrl-C ends it.

    It listens on this machine alone. With --host it can be reached from others, and then needs --token: whoever has
    the address asks models with your keys and calls the functions of --tool. The page is sent without encryption, so
    put a server with TLS before it where others can read along.

    A reply goes on when the page is closed or loaded again. Chats are kept in a file for your user alone; with
    --no-store they end with the command.
    """
    local = _is_local(host)
    if not local and not with_token:
        raise click.UsageError(f"--host {host} lets others in: give --token, so that they need a secret")
    if path is not None and no_store:
        raise click.UsageError("--no-store keeps nothing, and --store says where to: give one of them")
    if yes and not names:
        raise click.UsageError("--yes is for the calls of --tool, and there is no --tool")
    models = list(dict.fromkeys(_model(each) for each in named or (None,)))
    tools = _tools(names, yes)
    token = _token() if with_token else None
    with ExitStack() as ending:
        client = ending.enter_context(Client())
        declared = {"tools": [tool.declaration for tool in tools]} if tools else {}
        for model in models:
            check(client, model, [Message("user", "Hello")], declared)  # for a missing key, before anybody asks
        app = _app(client, models, as_word(system), tools, _store(path, no_store), title)
        listener = ending.enter_context(listen(host, port))
        app.before_request(_guard(app, local, token))
        _serve(app, listener, _address(host, listener.getsockname()[1], token))
    return 0


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _model(named: str | None) -> str:
    choose = late_import("streamkit.packs.choosing").choose_model
    try:
        model: str = choose(named, environ=os.environ)
    except ConfigError:  # no key
        model = _DEMO_MODEL
    return model


def _token() -> str:
    """Return the secret of the address.

    Raises:
        click.UsageError: that of the environment can be guessed, or cannot stand in an address.
    """
    given = os.environ.get(_TOKEN, "")
    if given and not re.fullmatch(rf"[A-Za-z0-9._~-]{{{_SHORTEST_TOKEN},}}", given):
        raise click.UsageError(f"{_TOKEN} has to be {_SHORTEST_TOKEN} or more letters, digits, - . _ or ~")
    return given or secrets.token_urlsafe(24)


def _tools(names: tuple[str, ...], yes: bool) -> list[Tool]:
    if not names:
        return []
    from streamkit.cli.tools import tools_named

    found = [copy.copy(tool) for tool in tools_named(names)]
    for tool in found:
        tool.needs_approval = not yes
    return found


def _store(path: str | None, no_store: bool) -> Store | None:
    """Return where chats are kept: ``None`` for this process's memory.

    Raises:
        ConfigError: a library is not installed.
        StoreError: it cannot be written.
    """
    if no_store:
        return None
    if path is None:
        return open_store(_FILE)
    try:
        store: Store = late_import("streamkit.conversation.stores.sql_store").SQLStore(Path(path).absolute())
        store.list(owner=_OWNER)  # so that a file that is none is told at once
    except ConfigError as error:
        raise ConfigError(error.message.replace("streamkit[sql]", "streamkit[cli]")) from None
    return store


def _app(client: Client, models: list[str], system: str, tools: list[Tool], store: Store | None, title: str) -> Any:
    from streamkit.web.flask import chat_blueprint

    options: dict[str, Any] = {"tools": tools} if tools else {}
    if system:
        options |= {"system": system_of(system), "variables": {"system": system}}
    blueprint = chat_blueprint(
        client,
        model=models[0],
        models=models if len(models) > 1 else None,
        store=store,
        authorize=lambda request: _OWNER,
        page=True,
        title=title,
        show_errors=True,  # they are the person's own
        **options,
    )
    app = late_import("flask").Flask("streamkit.cli.web", static_folder=None)
    app.register_blueprint(blueprint)
    return app


def _guard(app: Any, local: bool, token: str | None) -> Callable[[], Any]:
    """Return what looks at each request first.

    A page of another site reaches a server on this machine by a name that it lets point to 127.0.0.1: to the browser
    both are one site then. So a server for this machine alone answers to this machine's names only.
    """
    flask = late_import("flask")
    cookie = "streamkit-web"

    def refusal(status: int, why: str) -> Any:
        return app.response_class(f"{why}\n", status, content_type="text/plain; charset=utf-8")

    def guard() -> Any:
        request = flask.request
        host = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
        host = (host or request.host).strip("[]").lower()
        if local and token is None and host not in _LOCAL_NAMES:
            return refusal(403, "This server is for its own machine: open it as http://localhost.")
        if token is None:
            return None
        given = request.args.get("token", "")
        if given and request.path == "/" and _same(given, token):
            response = flask.redirect("/")
            response.set_cookie(cookie, token, httponly=True, samesite="Strict", max_age=30 * 86400)
            response.headers["Referrer-Policy"] = "no-referrer"
            return response
        if not _same(request.cookies.get(cookie, ""), token):
            return refusal(401, "Open the address that streamkit web has printed: it holds the secret.")
        return None

    return guard


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())


def _address(host: str, port: int, token: str | None) -> str:
    return f"http://{place_of(host, port, everywhere=socket.gethostname())}/" + (f"?token={token}" if token else "")


def _serve(app: Any, listener: socket.socket, address: str) -> None:
    serving = late_import("werkzeug.serving")
    logging.getLogger("werkzeug").disabled = True  # its lines for each request have the token
    server = serving.make_server(
        listener.getsockname()[0], listener.getsockname()[1], app, threaded=True, fd=listener.fileno()
    )
    click.echo(f"the page is at {address}\nCtrl-C ends it", err=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    click.echo(err=True)
