"""What models there are: the providers' own lists, with prices and limits where somebody knows them."""

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
    """The models that were found, in the order of their providers, and why some may be missing.

    Attributes:
        models: the models.
        errors: by the name of the provider, why its list could not be had; its models are missing, or those of
            an earlier answer, or those up to where the list broke off.
        asked: the names of the providers, those included that list no models.
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

    Lists are fetched when they are asked for, and kept for a while.

    Args:
        providers: returns the providers by name, made with the keys there are at the time.
        transport: what to fetch with.
        ttl: seconds that a list is kept.
        timeout: seconds that the providers have, which are asked all at once, for all pages of their lists.
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
        # No lock, which a forked child could inherit locked: each step on a dict is one step under the
        # interpreter's lock, and two threads that fetch the same list at once do no harm.
        self._known: dict[str, _Known] = {}

    def list(self, provider: str | None = None, *, refresh: bool = False) -> ModelList:
        """Return the models of one provider, or of all that can be asked.

        Asked for all, a provider without a key, or one that cannot be reached, is reported in ``errors``, and
        hides nothing of the others.

        Args:
            provider: its name.
            refresh: ask again although the last answer is recent.

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
        """Return the models of a provider, kept if its list is whole; an earlier list is better than half a new one."""
        if answer is None:
            return known.models if known else ()
        models = tuple(_priced(model) for model in answer.models)
        if answer.error is None:
            self._known[name] = _Known(models, self._now() + self._ttl)
            return models
        errors[name] = answer.error
        return known.models if known else models

    def get(self, model: str) -> ModelInfo | None:
        """Return one model by ``provider/id``, ``None`` for one that its provider does not list.

        Raises:
            What ``list`` raises for the provider.
        """
        provider, slash, id = model.partition("/")
        if not slash:
            raise ConfigError(f"write the model as provider/{model}")
        return next((info for info in self.list(provider) if info.id == id), None)

    def find(self, capabilities: Iterable[str] = (), *, provider: str | None = None) -> tuple[ModelInfo, ...]:
        """Return the models that are known to have all of some capabilities; see ``ModelInfo`` for the words.

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
        """Return the model that asks the least for a million tokens in and a million out, of those with a price.

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
        """Forget all lists; the next call fetches them again."""
        self._known.clear()

    def __repr__(self) -> str:
        return f"<Catalog of {len(self._known)} lists>"


def not_in_use(name: str, error: StreamkitError) -> bool:
    """Say whether a provider is simply not in use here.

    It has no key, or is a server on this machine that no variable of the environment is about, and that does not
    run: nobody listens on its port, or something else that has no list of models.
    """
    if is_not_set_up(error):
        return True
    absent = isinstance(error, (ConnectError, NotFoundError, ProtocolError))
    variables = _variables_of_local(name) if absent else ()
    return bool(variables) and not any(os.environ.get(variable, "").strip() for variable in variables)


def _variables_of_local(name: str) -> tuple[str, ...]:
    """Return what sets up a provider that is by its name a server on this machine; nothing for another."""
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
    """Fill in what the provider did not send and the price data know."""
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
