"""Request lists of models from several providers at once, each within one deadline."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs

from streamkit.concurrency.own_thread import OwnThread
from streamkit.errors import ConfigError, ProtocolError, StreamError, StreamkitError
from streamkit.providers.contract import Provider
from streamkit.providers.reply.decoder import MOST_KEPT
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.model_lists import ModelInfo, lists_models, read_models
from streamkit.providers.reply.remedies import remedy_for, unexpected
from streamkit.providers.request.model_lists import ListsModels
from streamkit.transport.small_requests import Deadline, fetch, redirected
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import parse_json
from streamkit.wire.messages import Subject, explain
from streamkit.wire.secrets import Masked, mask, mask_error

__all__ = ["Listing", "ask_all"]

_MOST_PAGES = 50
_AT_ONCE = 64  # providers asked at the same time
_GRACE = 0.5  # seconds beyond the timeout, for a provider's thread to report its own error
_SLICE = 0.2  # seconds of one wait; on Windows, Ctrl-C does not end a wait


@attrs.frozen
class Listing:
    """The result of asking one provider.

    Attributes:
        models: those received, also where a later page failed.
        error: the reason why some or all are missing, ``None`` if none are.
    """

    models: tuple[ModelInfo, ...] = ()
    error: StreamkitError | None = None


def ask_all(
    transport: Transport, factories: Mapping[str, Callable[[], Provider]], *, timeout: float
) -> dict[str, Listing]:
    """Return what each provider lists.

    Args:
        factories: a function for each provider's name that makes it.
        timeout: seconds for all of it.

    Threads: one for each provider, at most 64, all daemons: neither Ctrl-C nor the end of the program waits for them.
    Their connections and name lookups are ended at the end; only code of another package's provider may go on.
    """
    hooks = {name: Deadline(timeout) for name in factories}
    waiting = deque(factories)
    answers: queue.SimpleQueue[tuple[str, Listing]] = queue.SimpleQueue()

    def work() -> None:
        with suppress(IndexError):
            while True:
                name = waiting.popleft()
                answers.put((name, _ask(name, factories[name], transport, hooks[name])))

    found: dict[str, Listing] = {}
    until = time.monotonic() + timeout + _GRACE
    try:
        for number in range(min(_AT_ONCE, len(factories))):
            OwnThread(work, (), f"streamkit-models-{number}").start()
        while len(found) < len(factories) and (left := until - time.monotonic()) > 0:
            with suppress(queue.Empty):
                name, listing = answers.get(timeout=min(left, _SLICE))
                found[name] = listing
    finally:
        waiting.clear()
        for hook in hooks.values():
            hook.halt()
    return {name: found.get(name) or _overdue(name, hooks[name]) for name in factories}


def _overdue(name: str, hook: Deadline) -> Listing:
    """Return the listing of a provider whose thread did not report in time: its own code does not return."""
    error = hook.error()
    explain(error, Subject(name, "", ""), remedy=remedy_for(error, name, "", ""))
    return Listing(error=error)


def _ask(name: str, factory: Callable[[], Provider], transport: Transport, hook: Deadline) -> Listing:
    """Return the list of one provider, with any exception as ``error``."""
    found: dict[str, ModelInfo] = {}
    secrets: tuple[Masked, ...] = ()
    subject, variable = Subject(name, "", ""), None
    page: str | None = None
    seen: set[str] = set()
    try:
        provider = factory()
        if not isinstance(provider, ListsModels):
            raise ConfigError(f"{name} has no list of models")
        for _ in range(_MOST_PAGES):
            request = provider.models_request(page)
            secrets = request.secrets
            subject, variable = Subject.of(name, "", request.url, secrets), getattr(provider, "key_variable", None)
            models, following = read_models(name, _answer(provider, request, transport, hook))
            new = {model.id: model for model in models if model.id not in found}
            found.update(new)
            # Stop at a page that repeats an earlier one, or the loop would not end. An empty page may have a next one.
            if following is None or following in seen or (models and not new):
                return Listing(tuple(found.values()))
            seen.add(following)
            page = following
        error: StreamkitError = ProtocolError(f"the list of {name}'s models has more than {_MOST_PAGES} pages")
    except StreamkitError as caught:
        error = caught
    except BaseException as caught:  # another package's provider may raise anything, SystemExit too
        error = StreamkitError(f"{name} cannot be asked for its models: {type(caught).__name__}: {caught}")
    mask_error(error, secrets)
    if isinstance(error, StreamError):
        explain(error, subject, remedy=remedy_for(error, name, "", subject.address, key_variable=variable))
    return Listing(tuple(found.values()), error)


def _answer(provider: Any, request: HttpRequest, transport: Transport, hook: Deadline) -> Any:
    """Return the decoded JSON of one page."""
    info, body = fetch(transport, request, hook)
    if 300 <= info.status < 400:
        raise redirected(info, "set base_url to the right address")
    if info.status != 200:
        raise provider.error(info, body)
    try:
        decoded = parse_json(body)
    except ValueError:
        excerpt = mask(body[:MOST_KEPT].decode("utf-8", "replace"), request.secrets)  # before a title is cut from it
        raise unexpected(info.content_type, excerpt, "a list of models in JSON") from None
    if isinstance(decoded, dict) and not lists_models(decoded) and reports_error(decoded):
        raise api_error(provider.name, decoded, None, in_stream=True)
    return decoded
