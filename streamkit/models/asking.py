"""Asking providers for their lists of models: all at once, each within one deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import attrs

from streamkit.errors import ConfigError, ProtocolError, StreamkitError
from streamkit.providers.contract import Provider
from streamkit.providers.reply.decoder import MOST_KEPT
from streamkit.providers.reply.errors import api_error, reports_error
from streamkit.providers.reply.model_lists import ModelInfo, lists_models, read_models
from streamkit.providers.request.model_lists import ListsModels
from streamkit.transport.small_requests import Deadline, fetch, redirected
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import Masked, mask_error

__all__ = ["Listing", "ask_all"]

_MOST_PAGES = 50
_AT_ONCE = 64  # providers asked at the same time
_GRACE = 0.5  # seconds beyond its time in which a provider's thread may say itself why it has nothing
_SLICE = 0.2  # seconds of one wait; on Windows none ends by Ctrl-C


@attrs.frozen
class Listing:
    """What came of asking one provider.

    Attributes:
        models: those that it lists, up to where its list broke off.
        error: why some, or all, are missing.
    """

    models: tuple[ModelInfo, ...] = ()
    error: StreamkitError | None = None


def ask_all(
    transport: Transport, factories: Mapping[str, Callable[[], Provider]], *, timeout: float
) -> dict[str, Listing]:
    """Return what each provider lists.

    Args:
        factories: what makes each provider, by its name.
        timeout: seconds for all of it.

    Threads: one a provider, up to 64, all daemons: neither Ctrl-C nor the end of the program waits for them,
    and what they wait for is cut off, but for a name lookup, which nothing can cut off.
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
            threading.Thread(target=work, name=f"streamkit-models-{number}", daemon=True).start()
        while len(found) < len(factories) and (left := until - time.monotonic()) > 0:
            with suppress(queue.Empty):
                name, listing = answers.get(timeout=min(left, _SLICE))
                found[name] = listing
    finally:
        waiting.clear()
        for hook in hooks.values():
            hook.halt()
    return {name: found.get(name) or Listing(error=hooks[name].error()) for name in factories}


def _ask(name: str, factory: Callable[[], Provider], transport: Transport, hook: Deadline) -> Listing:
    """Return what one provider lists; whatever fails is in ``error``, also what is none of ours."""
    found: dict[str, ModelInfo] = {}
    secrets: tuple[Masked, ...] = ()
    page: str | None = None
    seen: set[str] = set()
    try:
        provider = factory()
        if not isinstance(provider, ListsModels):
            raise ConfigError(f"{name} has no list of models")
        for _ in range(_MOST_PAGES):
            request = provider.models_request(page)
            secrets = request.secrets
            models, following = read_models(name, _answer(provider, request, transport, hook))
            new = {model.id: model for model in models if model.id not in found}
            found.update(new)
            # One that sends the same again would do so for ever; an empty page with another behind it is allowed.
            if following is None or following in seen or (models and not new):
                return Listing(tuple(found.values()))
            seen.add(following)
            page = following
        error: StreamkitError = ProtocolError(f"the list of {name}'s models has more than {_MOST_PAGES} pages")
    except StreamkitError as caught:
        error = caught
    except Exception as caught:  # of another package's provider
        error = StreamkitError(f"{name} cannot be asked for its models: {type(caught).__name__}: {caught}")
    mask_error(error, secrets)
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
        excerpt = body[:MOST_KEPT].decode("utf-8", "replace")
        kind = info.content_type or "no content type"
        raise ProtocolError(
            f"{provider.name} answers with {kind} that is no JSON, not with a list of models", excerpt=excerpt
        ) from None
    if isinstance(decoded, dict) and not lists_models(decoded) and reports_error(decoded):
        raise api_error(provider.name, decoded, None, in_stream=True)
    return decoded
