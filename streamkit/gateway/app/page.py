"""The chat page of the gateway, for who has a token: ``Page``. Its replies are paid as all others are."""

from __future__ import annotations

import html
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.client import Client
from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, RequestError, StreamkitError
from streamkit.gateway.app.exchange import Record, StartResponse
from streamkit.gateway.app.failures import client_error
from streamkit.gateway.app.models import Models
from streamkit.gateway.app.paid_stream import PaidStream
from streamkit.gateway.app.pricing import quote
from streamkit.gateway.app.replying import Replying, capped, note
from streamkit.gateway.core.records import About
from streamkit.gateway.core.tokens import Token
from streamkit.policies.middleware import Middleware, Next, Request
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.stream import Stream
from streamkit.values.completion import Completion
from streamkit.values.messages import Message
from streamkit.web.formats.requests.request import WebRequest

__all__ = ["Page", "PaidTurn"]

_log = logging.getLogger("streamkit.gateway")

_COOKIE = "streamkit-gateway"
_WHO = "gateway_payer"  # a parameter of a conversation's requests that goes no further than the middleware
_SECONDS = 30 * 86400
_ENDPOINT = "/"
_FORM = """<!doctype html><html lang="en"><meta charset="utf-8"><title>streamkit gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:18vh auto;padding:0 1rem}}
@media (prefers-color-scheme:dark){{body{{background:#161616;color:#eee}}input,button{{background:#222;color:#eee}}}}
label,input,button{{display:block;width:100%;box-sizing:border-box}}input,button{{font:inherit;padding:.6rem;
margin:.4rem 0 1rem;border:1px solid #8888;border-radius:.4rem}}p[role=alert]{{color:#c33}}</style>
<h1>Sign in</h1>{problem}<form method="post" action="login"><label for="token">Your token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus
 placeholder="sk-..."><button>Open the chat</button></form></html>"""
_FORM_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PaidTurn(PaidStream, Stream):
    """A ``Stream`` that is paid for; of ``Stream`` it has what a user sees, and none of the fields."""


class _Paying(Middleware):
    """Pays for each request of a conversation, in the thread that starts it.

    Owner of the fields: they never change.
    """

    def __init__(self, page: Page) -> None:
        self._page = page

    def request(self, request: Request, next: Next) -> ChunkStream:
        params = dict(request.params)
        return self._page.paid(request, params, params.pop(_WHO), next)


class Page:
    """The page at ``/``, its sign-in and its chats, as a WSGI application of Flask.

    It is made when it is first asked for: importing Flask and the rest takes as long as all else at the start.

    Owner of the fields: ``_making`` guards ``_app``, ``_asked``, ``_places`` and ``_clients``. The others never change,
    and protect themselves.

    Args:
        replying: pays for replies.
        models: returns what is served now.
        ended: is told of the record of each reply that is over.
    """

    def __init__(self, replying: Replying, models: Callable[[], Models], ended: Callable[[Record], object]) -> None:
        self._replying = replying
        self._models = models
        self._ended = ended
        self._making = threading.Lock()
        self._app: Any = None
        self._asked: Models | None = None  # those that the app asks
        self._places: dict[str, Any] = {}  # where chats and replies are kept
        self._clients: list[Client] = []

    @property
    def _flask(self) -> Any:
        try:
            return late_import("flask")
        except ImportError:
            raise ConfigError('the page needs the extra "serve": python -m pip install "streamkit[serve]"') from None

    def _made(self) -> Any:
        """Return the application of the models that are served now; open replies end by those they began with."""
        models = self._models()
        with self._making:
            if self._asked is not models:
                self._app, self._asked = self._make(models), models
            return self._app

    def _make(self, models: Models) -> Any:
        flask, config = self._flask, models.config
        if not self._places:
            self._places = {"store": _store(config.database), "log": _log_of(config.redis)}
        client = Client(models.providers, policies=[_Paying(self), *models.gates], retry=models.once)
        self._clients.append(client)
        app = flask.Flask("streamkit.gateway.page", static_folder=None)
        app.config["MAX_CONTENT_LENGTH"] = config.limits.bytes
        blueprint = late_import("streamkit.web.flask").chat_blueprint(
            client,
            models=self._names,
            options_for=lambda request, owner: {_WHO: owner},
            authorize=self._owner,
            limits=config.limits,
            heartbeat=config.heartbeat,
            page=True,
            title="streamkit gateway",
            sign_out="logout",
            **self._places,
        )
        app.register_blueprint(blueprint)
        app.add_url_rule("/login", "login", self._login, methods=["GET", "POST"])
        app.add_url_rule("/logout", "logout", self._logout, methods=["POST"])
        app.before_request(self._guard)
        return app

    @staticmethod
    def serves(path: str) -> bool:
        """Return whether an address is one of the page's."""
        return path in ("/", "/login", "/logout", "/api/chat", "/api/models") or path.startswith(
            ("/api/chat/", "/chat-page/")
        )

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request as a WSGI application."""
        answer: Iterable[bytes] = self._made()(environ, start_response)
        return answer

    # -- who asks ----------------------------------------------------------------------------------------

    def _token(self, request: Any) -> Token | None:
        text = request.cookies.get(_COOKIE, "")
        try:
            return self._replying.tokens.find(text) if text else None
        except RequestError:  # it was revoked, or has expired
            return None

    def _owner(self, request: Any) -> str | None:
        token = self._token(request)
        return None if token is None else token.id

    def _guard(self) -> Any:
        flask = self._flask
        if flask.request.path == "/" and self._token(flask.request) is None:
            return flask.redirect("login")
        return None

    def _login(self) -> Any:
        flask = self._flask
        request, problem = flask.request, ""
        if request.method == "POST":
            text = request.form.get("token", "").strip()
            site = request.headers.get("Sec-Fetch-Site", "same-origin")
            try:
                found = self._replying.tokens.find(text) if site in ("same-origin", "none") else None
                problem = "" if found is not None else "This token is not valid."
            except RequestError as error:
                found, problem = None, str(error)
            if found is not None:
                response = flask.redirect("./")
                secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
                response.set_cookie(_COOKIE, text, httponly=True, samesite="Strict", max_age=_SECONDS, secure=secure)
                return response
        shown = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
        return flask.Response(_FORM.format(problem=shown), 401 if problem else 200, _FORM_HEADERS, mimetype="text/html")

    def _logout(self) -> Any:
        response = self._flask.redirect("login")
        response.delete_cookie(_COOKIE)
        return response

    def _names(self, request: Any, owner: str) -> Sequence[str]:
        """Return the models that a token may choose from, as ``GET /v1/models`` lists them."""
        tokens, token = self._replying.tokens, self._token(request)
        if token is None:  # it was revoked since the owner was looked up
            return []
        return [name for name in self._models().names() if tokens.allows(token, name)]

    # -- replies -----------------------------------------------------------------------------------------

    def paid(self, request: Request, params: dict[str, Any], token_id: str, next: Next) -> PaidTurn:
        """Return the stream of a request, paid by a token.

        The model of a conversation is the name that the person has chosen. Here it becomes what a provider is asked,
        so that no other model is paid for than the one that is asked.

        Raises:
            RequestError: it is refused.
        """
        replying, models, name = self._replying, self._models(), str(request.model)
        token = replying.tokens.identified(token_id)
        if token is None:
            raise RequestError("the token is not valid", status=401, code="invalid_token")
        model = models.find(name)
        replying.tokens.check(token, name)
        messages = tuple(Message.from_dict(message) for message in request.messages)
        asked = WebRequest(messages=messages, params=params)
        priced = quote(model.config, model.priced, asked)
        payer = replying.tokens.payer(token)
        replying.rates.ask(payer.holders, priced.input.likely)
        record = Record(f"req-{uuid.uuid4().hex}", endpoint=_ENDPOINT, method="POST", token=token.id, team=token.team)
        record.model = record.configured = name
        record.stream, record.status = True, 200
        about = About(token.id, token.team, model.config.name, _ENDPOINT, token.name)
        payment = replying.payments.begin(payer, record.request_id, priced, about, model.cost)
        replying.metrics.begun()

        def ended(stream: PaidStream) -> None:
            note(record, stream)
            record.seconds = time.monotonic() - record.begun
            replying.metrics.ended()
            self._ended(record)

        try:
            inner = next(attrs.evolve(request, model=model.target, params=capped(asked, priced, payment)))
        except BaseException as error:
            replying.metrics.ended()
            try:
                payment.end("error", Completion(), route="", accepted=False, seconds=0.0)
            except StreamkitError as failure:
                _log.warning("the ledger cannot be written: %s", failure)
            raise client_error(error) from error
        return PaidTurn(inner, payment, ended)

    def close(self) -> None:
        """Cancel the open replies, and close the connections."""
        for client in self._clients:
            client.close()


def _store(database: str) -> Any:
    """Return where chats are kept: in the gateway's database, in tables of their own."""
    return late_import("streamkit.conversation.stores.sql_store").SQLStore(database)


def _log_of(redis: Any) -> Any:
    """Return where replies are written while they come: Redis, or this process's memory."""
    if redis is None:
        return late_import("streamkit.logs.memory_log").MemoryLog()
    return late_import("streamkit.logs.redis_log").RedisLog(str.__str__(redis))
