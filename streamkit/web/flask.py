"""Streams in Flask: ``stream_response`` for a route of one's own, and ``chat_blueprint`` for a whole chat."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from streamkit.client import Client
from streamkit.concurrency.late_import import late_import
from streamkit.conversation.conversation import Conversation
from streamkit.conversation.stores.store import MemoryStore, Store
from streamkit.errors import ConfigError, MisuseError, RequestError, StreamkitError
from streamkit.logs.log import Log
from streamkit.logs.memory_log import MemoryLog
from streamkit.packs.opening import open_pack
from streamkit.packs.values import Pack
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.web.chat import Answer, Chat
from streamkit.web.formats import EventsFormat, Format, Limits, UiFormat, format_class
from streamkit.web.formats.base import ShowErrors
from streamkit.web.formats.json_bytes import json_bytes
from streamkit.web.formats.requests.request import WebRequest
from streamkit.web.model_choice import ModelChoice, Offer
from streamkit.web.relay import relay

if TYPE_CHECKING:
    from flask import Blueprint, Response

__all__ = ["chat_blueprint", "stream_response"]

_LONGEST_NUMBER = 15  # digits of a chunk's number in Last-Event-ID


def stream_response(stream: ChunkStream, format: str | Format = "ui", **options: Any) -> Response:
    """Return a Flask response that relays a stream to the browser of the current request.

    ::

        @app.post("/api/chat")
        def chat():
            return stream_response(client.stream(MODEL, request.json["question"]), format="events")

    Args:
        stream: a ``Stream``, a ``Run``, or the stream of a conversation's turn.
        format: as in ``relay``.
        options: further arguments of ``relay``, such as ``heartbeat``.

    Raises:
        ConfigError: Flask is not installed, or an argument is wrong.
    """
    flask = _flask()
    environ = flask.request.environ if flask.has_request_context() else None
    relayed = relay(stream, format, environ=environ, **options)
    try:
        response: Response = flask.Response(
            relayed, status=relayed.status_code, headers=relayed.headers, direct_passthrough=True
        )
    except BaseException:
        relayed.close()
        raise
    return response


def _flask() -> Any:
    """Return the module ``flask``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return late_import("flask")
    except ImportError as error:
        raise ConfigError('Flask is not installed: python -m pip install "streamkit[flask]"') from error


def chat_blueprint(
    client: Client,
    *,
    model: str | None = None,
    models: Sequence[str] | Callable[[Any, str], Sequence[str]] | None = None,
    pack: str | Path | Pack | None = None,
    prompt: str = "",
    store: Store | None = None,
    log: Log | None = None,
    authorize: Callable[[Any], str | None] | None = None,
    options_for: Callable[[Any, str], Mapping[str, Any]] | None = None,
    page: bool = False,
    title: str = "Chat",
    sign_out: str = "",
    show_errors: ShowErrors = False,
    limits: Limits | None = None,
    heartbeat: float = 15.0,
    max_replies: int = 1000,
    origins: Collection[str] = (),
    name: str = "chat",
    url_prefix: str | None = None,
    **options: Any,
) -> Blueprint:
    """Return a Flask blueprint with a whole chat, as ``useChat`` of the AI SDK expects it, or the page that ships here.

    ::

        app.register_blueprint(chat_blueprint(client, model="openai/gpt-4o-mini", page=True))

    ======  ======================  ================================================================================
    POST    /api/chat               a question, an edited one, a reply once more, or decisions on calls; the reply
    GET     /api/chat               the chats of the user; only with ``authorize``
    GET     /api/chat/<id>          its messages, and whether a reply is on its way
    DELETE  /api/chat/<id>
    GET     /api/chat/<id>/stream   the reply that is on its way, from its beginning; 204 where there is none
    POST    /api/chat/<id>/stop     stops it, wherever it runs
    GET     /api/chat/<id>/events   ``?prompt=...&message=<unique id>`` for an ``EventSource``; it may connect again
    GET     /api/models             ``{"models": [...], "default": ...}`` to choose from; only with ``models``
    GET     /                       the page, with ``page=True``
    ======  ======================  ================================================================================

    A reply goes on when its browser leaves, and any number of browsers follow it. With a ``RedisLog`` and a
    ``SQLStore`` they may do so through any process of any machine.

    Requests of other sites are refused, as a browser sends the user's cookies with them.

    Args:
        client: asks the model.
        model: to ask.
        models: names of models from which the user chooses, for each question, or a function that takes the Flask
            request and the owner and returns them. A client sends its choice as ``model`` beside the messages, as
            ``useChat`` does with ``sendMessage(message, {body: {model}})``, or as ``&model=...`` for an
            ``EventSource``; another name is answered with 403, and so is everything where the function returns no
            name. Without a choice ``model`` is asked if it is among them, otherwise the first one; a fixed list must
            have it. A reply that waits for decisions goes on with the model that began it. Without ``models`` a client
            chooses nothing.
        pack: a pack, by whose ``prompt`` the conversations are; see ``open_pack``. With ``models``, the chosen one is
            asked in place of the pack's default model, with the parameters that the prompt has for it.
        prompt: the key of the prompt in the pack.
        store: where conversations are kept; by default in the memory of this process.
        log: where replies are written while they come; by default in the memory of this process.
        authorize: takes the Flask request, and returns whose conversations it may see, such as the id of the user, or
            ``None`` for nobody, which is answered with 401. By default who knows the id of a chat may see it.
        options_for: takes the Flask request and the owner, and returns options of the conversation for this request,
            such as ``model``, ``variables`` or ``context``. With ``models``, its ``model`` takes the place of the
            argument ``model``.
        page: whether the page is served at ``/``.
        title: of the page.
        sign_out: an address, relative to that of the page, to which the page's button "Sign out" sends a POST; the
            page then goes where that is redirected. "" for no button.
        show_errors: see ``Format``.
        limits: of a request.
        heartbeat: see ``relay``.
        max_replies: that may be open at once in this process; more are answered with 503.
        origins: of pages of other sites that may use the chat, such as ``https://app.example.com``.
        name: of the blueprint.
        url_prefix: of all addresses.
        options: of the conversations: ``system``, ``tools``, ``window`` and others of ``client.conversation``, or of
            ``open_pack``.

    Raises:
        ConfigError: Flask is not installed, or an argument is wrong.

    Threads: each reply has four threads until it ends: the client's, and three that write it into the log.
    """
    flask = _flask()
    if not isinstance(client, Client):
        raise ConfigError(f"chat_blueprint() takes a Client, not {shown(client)}")
    if (pack is None) == (model is None) and options_for is None and models is None:
        raise ConfigError("chat_blueprint() takes model=..., models=..., or pack=... and prompt=...")
    for which, value, kind in (("store", store, Store), ("log", log, Log)):
        if value is not None and not isinstance(value, kind):
            raise ConfigError(f"chat_blueprint({which}=...) must be a {kind.__name__}, not {shown(value)}")
    kept = MemoryStore() if store is None else store

    def open_conversation(id: str, owner: str, **changes: Any) -> Conversation:
        given = {"model": model, **options, **changes, "store": kept, "id": id, "owner": owner}
        if isinstance(given["model"], Offer):  # nothing is asked, or nothing was chosen
            given["model"] = given["model"].default
        if pack is not None:
            return open_pack(pack, prompt, client=client, **given)
        return client.conversation(given.pop("model"), **given)

    def around(function: Callable[[], object]) -> None:
        with app_of_blueprint[0].app_context():
            function()

    told = UiFormat(show_errors=show_errors).told
    chat = Chat(
        open_conversation,
        kept,
        MemoryLog() if log is None else log,
        most=max_replies,
        around=around,
        told=lambda text: told(StreamkitError(text)),
    )
    blueprint: Blueprint = flask.Blueprint(name, __name__, url_prefix=url_prefix)
    app_of_blueprint: list[Any] = []
    blueprint.record(lambda state: app_of_blueprint.insert(0, state.app))
    choice = None if models is None else ModelChoice(models, model)
    routes = _Routes(
        chat, authorize, options_for, choice, limits or Limits(), heartbeat, show_errors, frozenset(origins)
    )
    routes.add_to(blueprint)
    if page:
        late_import("streamkit.web.page").add_page(blueprint, title=title, models=choice is not None, sign_out=sign_out)
    return blueprint


class _Routes:
    """The routes of a chat: they read requests of Flask, ask the ``Chat``, and write responses.

    Threads: any; nothing changes.
    """

    def __init__(
        self,
        chat: Chat,
        authorize: Callable[[Any], str | None] | None,
        options_for: Callable[[Any, str], Mapping[str, Any]] | None,
        choice: ModelChoice | None,
        limits: Limits,
        heartbeat: float,
        show_errors: ShowErrors,
        origins: frozenset[str],
    ) -> None:
        self._flask = _flask()
        self._chat = chat
        self._authorize = authorize
        self._options_for = options_for
        self._choice = choice
        self._limits = limits
        self._heartbeat = heartbeat
        self._show_errors = show_errors
        self._origins = origins

    def add_to(self, blueprint: Any) -> None:
        """Add the routes to a blueprint."""
        one = "/api/chat/<path:id>"
        for address, view, method in (
            ("/api/chat", self.ask, "POST"),
            ("/api/chat", self.list, "GET"),
            (one, self.history, "GET"),
            (one, self.delete, "DELETE"),
            (f"{one}/stream", self.resume, "GET"),
            (f"{one}/stop", self.stop, "POST"),
            (f"{one}/events", self.events, "GET"),
            ("/api/models", self.models, "GET"),
        ):
            blueprint.add_url_rule(address, view.__name__, self._guarded(view), methods=[method])
        blueprint.after_request(self._allow_origin)

    def _guarded(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return the view with what all have in common: who asks, and what an error becomes."""

        def guarded(**arguments: Any) -> Any:
            request = self._flask.request
            try:
                self._check_site(request)
                owner = self._owner(request)
                given = {} if self._options_for is None else dict(self._options_for(request, owner))
                if self._choice is not None:
                    given["model"] = self._choice.offer(request, owner, given.get("model"))
                return view(request, owner, given, **arguments)
            except (StreamkitError, MisuseError) as error:
                refused = UiFormat(show_errors=self._show_errors).refusal(error)
                if refused.status >= 500:
                    self._flask.current_app.logger.error("a request of the chat failed: %s", error)
                return self._flask.Response(refused.body, refused.status, dict(refused.headers))

        return guarded

    def _owner(self, request: Any) -> str:
        if self._authorize is None:
            return ""
        owner = self._authorize(request)
        if owner is None:
            raise RequestError("not signed in", status=401)
        if not isinstance(owner, str) or not owner:
            raise ConfigError(f"authorize(request) must return the id of a user or None, not {shown(owner)}")
        return owner

    def _check_site(self, request: Any) -> None:
        """Refuse what a page of another site sends."""
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if origin in self._origins:
            return
        foreign = site in ("cross-site", "same-site") if site else origin and _host_of(origin) != request.host
        if foreign:
            raise RequestError("requests of other sites are not allowed; see chat_blueprint(origins=...)", status=403)

    def _check_event_source(self, request: Any) -> None:
        """Refuse what no ``EventSource`` sends: over plain HTTP nothing else tells an image of another site from it."""
        if request.headers.get("Origin") or request.headers.get("Sec-Fetch-Site"):
            return
        accepted = request.headers.get("Accept")
        if accepted is not None and "text/event-stream" not in accepted.lower():
            raise RequestError("the request must accept text/event-stream", status=406)

    def _allow_origin(self, response: Any) -> Any:
        """Tell the browser that a page of another site may read the response."""
        origin = self._flask.request.headers.get("Origin")
        if self._origins:
            response.vary.add("Origin")
        if origin in self._origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
            if self._flask.request.method == "OPTIONS":
                response.headers["Access-Control-Allow-Headers"] = "Content-Type, Last-Event-ID"
                response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
        return response

    # -- views -------------------------------------------------------------------------------------------

    def ask(self, request: Any, owner: str, options: Mapping[str, Any]) -> Any:
        """POST /api/chat."""
        if request.mimetype != "application/json":
            raise RequestError("the body must be application/json", status=415)
        asked = UiFormat.decode_request(self._body(request), limits=self._limits)
        return self._response(self._ask(asked, owner, options, asked.extra.get("model")))

    def _ask(self, asked: WebRequest, owner: str, options: Mapping[str, Any], chosen: object) -> Answer:
        """Ask the model that the client has chosen.

        Raises:
            RequestError: it may not be asked; nothing was sent or stored.
        """
        offer = options.get("model")
        if not isinstance(offer, Offer):
            return self._chat.ask(asked, owner, **options)
        return self._chat.ask(asked, owner, offer.names, **{**options, "model": offer.chosen(chosen)})

    def _body(self, request: Any) -> bytes:
        most = self._limits.bytes
        if request.content_length is not None and request.content_length > most:
            raise RequestError(f"the body has more than {most} bytes", status=413)
        body: bytes = request.stream.read(most + 1)
        return body

    def list(self, request: Any, owner: str, options: Mapping[str, Any]) -> Any:
        """GET /api/chat."""
        if self._authorize is None:  # they would be everybody's
            raise RequestError("there is no list of chats without chat_blueprint(authorize=...)", status=404)
        return self._json({"chats": self._chat.list(owner)})

    def history(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        """GET /api/chat/<id>."""
        return self._json(self._chat.history(id, owner, **options))

    def delete(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        """DELETE /api/chat/<id>."""
        self._chat.delete(id, owner, **options)
        return self._nothing()

    def resume(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        """GET /api/chat/<id>/stream."""
        format = request.args.get("format", "ui")
        if format == "events" and request.headers.get("Last-Event-ID"):
            return self._next_events(request, owner, options, id)
        answer = self._chat.resume(id, owner, **options)
        return self._nothing() if answer is None else self._response(answer, format)

    def stop(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        """POST /api/chat/<id>/stop."""
        self._chat.stop(id, owner, **options)
        return self._nothing()

    def events(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        """GET /api/chat/<id>/events, which an EventSource sends again when its connection was lost."""
        if request.headers.get("Last-Event-ID"):
            return self._next_events(request, owner, options, id)
        self._check_event_source(request)
        query = {"prompt": request.args.get("prompt", ""), "id": id, "message": request.args.get("message", "")}
        asked = EventsFormat.decode_request(query, limits=self._limits)
        answer = None
        if not asked.message_id:  # the browser has not heard of the reply yet, and asks again
            answer = self._chat.asking(id, owner, query["prompt"], **options)
        return self._response(answer or self._ask(asked, owner, options, request.args.get("model")), "events")

    def models(self, request: Any, owner: str, options: Mapping[str, Any]) -> Any:
        """GET /api/models."""
        offer = options.get("model")
        if not isinstance(offer, Offer):
            raise RequestError("there is no model to choose without chat_blueprint(models=...)", status=404)
        return self._json({"models": offer.names, "default": offer.default})

    def _next_events(self, request: Any, owner: str, options: Mapping[str, Any], id: str) -> Any:
        stream_id, _, number = request.headers["Last-Event-ID"].rpartition(".")
        if number == "end":
            return self._nothing()  # which tells the browser not to connect again
        if not (number.isascii() and number.isdigit() and len(number) <= _LONGEST_NUMBER):
            raise RequestError("Last-Event-ID is not one of this chat")
        answer = self._chat.go_on(id, owner, stream_id, int(number), **options)
        return self._nothing() if answer is None else self._response(answer, "events", after=int(number))

    # -- responses ---------------------------------------------------------------------------------------

    def _response(self, answer: Answer, format: str = "ui", *, after: int = 0) -> Any:
        made: Format
        if format == "events":
            made = EventsFormat(after=after, reply=answer.stream_id, show_errors=self._show_errors)
        elif format == "ui":
            made = UiFormat(browser_tools=answer.browser_tools, show_errors=self._show_errors)
        elif format == "text":
            made = format_class(format)(show_errors=self._show_errors)
        else:
            answer.stream.close()
            raise RequestError("format is ui, events or text")
        return stream_response(
            answer.stream,
            made,
            id=answer.message_id,
            heartbeat=self._heartbeat,
            model=answer.model,
            created=answer.created,
            earlier=answer.earlier,
            calls=answer.calls,
            spent=answer.spent,
            metadata=answer.metadata,
        )

    def _json(self, shape: Mapping[str, Any]) -> Any:
        # Not by jsonify, which sorts the names: the arguments of a call stay as the model wrote them.
        body = json_bytes(shape)
        return self._flask.Response(body, content_type="application/json", headers={"Cache-Control": "no-store"})

    def _nothing(self) -> Any:
        return self._flask.Response(status=204, headers={"Cache-Control": "no-store"})


def _host_of(origin: str) -> str:
    """Return the host and the port of an ``Origin``, "" where it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
