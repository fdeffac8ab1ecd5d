"""The models of all providers: their own lists, completed with known prices and limits."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from streamkit.errors import ConfigError, ConnectError, NotFoundError, ProtocolError, StreamkitError
from streamkit.models import prices
from streamkit.models.asking import Listing, ask_all
from streamkit.providers.contract import Provider
from streamkit.providers.reply.model_lists import ModelInfo
from streamkit.providers.request.credentials import is_not_set_up
from streamkit.transport.transport import Transport

__all__ = ["Catalog", "ModelList", "not_in_use"]


@attrs.frozen
class ModelList(Sequence[ModelInfo]):
    """The models that were found, in the order of their providers, and the errors of providers that failed.

    Attributes:
        models: the models.
        errors: by the provider's name, the reason why its list could not be fetched. Its models are missing, or are
            those of an earlier answer, or those received before the failure.
        asked: the names of all providers asked, including those without models.
    """

    models: tuple[ModelInfo, ...] = ()
    errors: Mapping[str, StreamkitError] = attrs.field(factory=dict)
    asked: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Return a model, or a tuple of some."""
        return self.models[index]

    def __iter__(self) -> Iterator[ModelInfo]:
        return iter(self.models)


@attrs.frozen
class _Known:
    models: tuple[ModelInfo, ...]
    until: float


class Catalog:
    """The models of a client's providers; ``client.models``.

    Lists are fetched on demand, and kept for ``ttl`` seconds.

    Args:
        providers: returns factories of the providers by name; they read the keys that are set at that time.
        transport: sends the requests.
        ttl: seconds that a list is kept.
        timeout: seconds for all pages of all lists; the providers are asked at the same time.
        now: a monotonic clock, in seconds.

    Threads: safe to share. Blocks for as long as the slowest provider takes, at most ``timeout`` and half a second.
    """

    def __init__(
        self,
        providers: Callable[[str | None], Mapping[str, Callable[[], Provider]]],
        transport: Transport,
        *,
        ttl: float = 300.0,
        timeout: float = 10.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = providers
        self._transport = transport
        self._ttl = ttl
        self._timeout = timeout
        self._now = now
        # No lock, as a forked child could inherit it locked. Each single operation on a dict is atomic, with and
        # without the GIL, and two threads that fetch the same list at once do no harm.
        self._known: dict[str, _Known] = {}

    def list(self, provider: str | None = None, *, refresh: bool = False) -> ModelList:
        """Return the models of one provider, or of all that can be asked.

        When all are asked, a provider that has no key or cannot be reached is reported in ``errors``; the models of the
        others are returned.

        Args:
            provider: its name.
            refresh: ask again even if the last answer is recent.

        Raises:
            ConfigError: asked for one provider: it is unknown, has no key or no list. Or the client is closed.
            StreamError: asked for one provider: it cannot be reached, or refuses, and there is no earlier answer.
            StreamkitError: asked for one provider of another package: it failed in a way of its own.
        """
        factories = self._providers(provider)
        known = {name: self._known[name] for name in factories if name in self._known}
        fresh = set() if refresh else {name for name, last in known.items() if self._now() < last.until}
        unknown = {name: factory for name, factory in factories.items() if name not in fresh}
        answers = ask_all(self._transport, unknown, timeout=self._timeout)
        errors: dict[str, StreamkitError] = {}
        models: list[ModelInfo] = []
        for name in factories:
            models += self._taken(name, answers.get(name), known.get(name), errors)
        if provider is not None and errors and not models:
            raise errors[provider]
        return ModelList(tuple(models), errors, tuple(factories))

    def _taken(
        self, name: str, answer: Listing | None, known: _Known | None, errors: dict[str, StreamkitError]
    ) -> tuple[ModelInfo, ...]:
        """Return the models of a provider, and keep them if the list is complete; otherwise prefer an earlier list."""
        if answer is None:
            return known.models if known else ()
        models = tuple(_priced(model) for model in answer.models)
        if answer.error is None:
            self._known[name] = _Known(models, self._now() + self._ttl)
            return models
        errors[name] = answer.error
        return known.models if known else models

    def get(self, model: str) -> ModelInfo | None:
        """Return one model by ``provider/id``, or ``None`` if its provider does not list it.

        Raises:
            What ``list`` raises for the provider.
        """
        provider, slash, id = model.partition("/")
        if not slash:
            raise ConfigError(f"write the model as provider/{model}")
        return next((info for info in self.list(provider) if info.id == id), None)

    def find(self, capabilities: Iterable[str] = (), *, provider: str | None = None) -> tuple[ModelInfo, ...]:
        """Return the models that have all the given capabilities; ``ModelInfo`` lists the names of capabilities.

        Raises:
            StreamkitError: none was found, and a provider that may have one failed: the first such failure. A
                provider without a key has not failed, nor has, beside others, a server on this machine that does
                not run and that nobody has set up.
        """
        wanted = set([capabilities] if isinstance(capabilities, str) else capabilities)
        listed = self.list(provider)
        found = tuple(model for model in listed if wanted <= model.capabilities)
        if not found:
            alone = len(listed.asked) == 1
            for name, error in listed.errors.items():
                if not (is_not_set_up(error) if alone else not_in_use(name, error)):
                    raise error
        return found

    def cheapest(self, capabilities: Iterable[str] = (), *, provider: str | None = None) -> ModelInfo | None:
        """Return the model with the lowest price for a million input and a million output tokens; skip unpriced ones.

        Raises:
            ConfigError: no provider sends prices, and the extra that knows them is not installed.
            What ``find`` raises.
        """
        found = self.find(capabilities, provider=provider)
        priced = [model for model in found if math.isfinite(_both(model))]
        if found and not priced:
            prices.require()
        return min(priced, key=_both, default=None)

    def forget(self) -> None:
        """Delete all lists; the next call fetches them again."""
        self._known.clear()

    def __repr__(self) -> str:
        return f"<Catalog of {len(self._known)} lists>"


def not_in_use(name: str, error: StreamkitError) -> bool:
    """Return whether a provider is not in use on this machine.

    It has no key; or it is a local server that no environment variable configures, and its port is closed or belongs to
    a server without a list of models.
    """
    if is_not_set_up(error):
        return True
    absent = isinstance(error, (ConnectError, NotFoundError, ProtocolError))
    variables = _variables_of_local(name) if absent else ()
    return bool(variables) and not any(os.environ.get(variable, "").strip() for variable in variables)


def _variables_of_local(name: str) -> tuple[str, ...]:
    """Return the environment variables that configure a local server, by its name; none for other providers."""
    from streamkit.providers.openai_chat.provider import variable_of
    from streamkit.providers.openai_chat.services import SERVICES

    if name == "ollama":
        return "OLLAMA_API_KEY", "OLLAMA_HOST"
    service = SERVICES.get(name)
    return (*service.key_variables, variable_of(name, "BASE_URL")) if service is not None and service.local else ()


def _both(model: ModelInfo) -> float:
    if model.input_price is None or model.output_price is None:
        return math.inf
    return model.input_price + model.output_price


def _priced(model: ModelInfo) -> ModelInfo:
    """Add prices and limits from the price data where the provider sent none."""
    listed = prices.list_price(model.provider, model.id)
    if listed is None:
        return model
    own = model.input_price is not None or model.output_price is not None
    return attrs.evolve(
        model,
        context_window=model.context_window or listed.context_window,
        input_price=model.input_price if own else listed.input,
        output_price=model.output_price if own else listed.output,
        cached_price=model.cached_price if own else listed.cached,
    )
