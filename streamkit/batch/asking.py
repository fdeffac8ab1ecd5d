"""Ask one prompt, in this process or in another: ``Asker``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from streamkit.batch.requests import BatchRequest, models_of
from streamkit.concurrency.late_import import late_import
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.providers.contract import Provider
from streamkit.providers.request.openai_shape import check_parameters
from streamkit.values.completion import Completion
from streamkit.wire.secrets import Unshown

if TYPE_CHECKING:
    from streamkit.policies.route import Model

__all__ = ["AsksPrompts", "Asker", "Outcome", "check"]

#: A whole reply, or an error; neither, if it was cancelled.
Outcome = tuple["Completion | None", "Exception | None"]

# Clients that this process made for askers that came from another one, the newest last. Each single operation on a dict
# is atomic, with and without the GIL.
_made: dict[str, AsksPrompts] = {}
_MOST_MADE = 8


class AsksPrompts(Protocol):
    """What a batch needs of a ``Client``."""

    @property
    def complete(self) -> Callable[..., Completion]:
        """See ``Client.complete``."""

    def resolve(self, model: str, /) -> tuple[Provider, str]:
        """See ``Client.resolve``."""

    def portable(self) -> Callable[[], AsksPrompts]:
        """See ``Client.portable``."""


class Asker:
    """Asks prompts, with the client and the options of a batch.

    In the process that made it, it uses the client itself. Pickled, it has a factory, by which the process that
    receives it makes a client. Keys are never pickled: that process reads them from its own environment, or its factory
    knows them.

    Args:
        client: of this process.
        factory: makes the client of another process; ``None`` for one with the settings of this one.
        model: that is asked.
        options: arguments of ``Client.complete``.
        stop: ends what is asked in this process.

    Threads: any, many at once.
    """

    def __init__(
        self,
        client: AsksPrompts,
        factory: Callable[[], AsksPrompts] | None,
        model: Model,
        options: Mapping[str, Any],
        stop: StopEvent,
    ) -> None:
        self._client: AsksPrompts | None = client
        self._factory = factory
        self._model = model
        self._options = Unshown(options)
        self._stop: StopEvent | None = stop
        self._id = uuid.uuid4().hex

    def __call__(self, request: BatchRequest) -> Outcome:
        """Return what came of a request."""
        client, stop = self._client or self._client_here(), self._stop
        try:
            options = Unshown(self._options, **request.params, stop=stop)
            messages: Any = request.messages
            completion = client.complete(self._model, messages, **options)
            completion.parsed  # noqa: B018 - raises for a reply of a wrong type
        except Exception as error:
            # The frames would keep the request and more for as long as the program keeps the result.
            return None, error.with_traceback(None)
        return completion, None

    def __getstate__(self) -> dict[str, Any]:
        if self._options.get("extra_headers"):
            raise ConfigError(
                "extra_headers may hold keys, which do not travel to other processes; "
                "have factory= make a client whose providers send them"
            )
        factory = self._factory
        if factory is None:
            assert self._client is not None  # in another process there is a factory
            factory = self._client.portable()
        return {**vars(self), "_client": None, "_stop": None, "_factory": factory}

    def _client_here(self) -> AsksPrompts:
        client = _made.get(self._id)
        if client is None:
            assert self._factory is not None
            client = _made.setdefault(self._id, self._factory())
            for id in list(_made)[:-_MOST_MADE]:
                _made.pop(id, None)
        return client


def check(client: AsksPrompts, model: Model, params: Mapping[str, Any], extra_body: Any, extra_headers: Any) -> None:
    """Raise the ConfigError that any prompt would, such as for a missing key."""
    given = {name: value for name, value in params.items() if value is not None}
    if "response_format" in given:
        output = late_import("streamkit.tools.output").output_of(given["response_format"])
        if output is not None:
            given["response_format"] = output.response_format
    if any(map(callable, given.get("tools") or ())):
        given["tools"] = late_import("streamkit.tools.starting").declared(given["tools"])
    for each in models_of(model):
        provider, name = client.resolve(each)
        check_parameters(provider, given)
        provider.request(ChatRequest(name, messages_of("?"), Unshown(given), extra_body or {}, extra_headers or {}))
