"""What models there are: the providers' own lists, with prices and limits where somebody knows them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from streamkit import prices
from streamkit.errors import ConfigError, ProtocolError, StreamkitError
from streamkit.providers.base import Provider
from streamkit.providers.model_lists import ListsModels, ModelInfo, models_request, read_models
from streamkit.transport.fetch import fetch
from streamkit.transport.http import Transport
from streamkit.wire import parse_json

__all__ = ["Catalog", "ModelList"]

_MOST_PAGES = 50
_AT_ONCE = 8  # providers asked at the same time


@attrs.frozen
class ModelList(Sequence[ModelInfo]):
    """The models that were found, in the order of their providers, and why some may be missing.

    Attributes:
        models: the models.
        errors: by the name of the provider, why its list could not be had; its models are missing, or those of
            an earlier answer.
    """

    models: tuple[ModelInfo, ...] = ()
    errors: Mapping[str, StreamkitError] = attrs.field(factory=dict)

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
        timeout: seconds that a provider has for its list.
        now: a monotonic clock, in seconds.

    Threads: safe to share. Blocks for as long as the slowest provider takes, at most ``timeout``.
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
            ConfigError: asked for one provider: it is unknown, has no key or no list.
            StreamError: asked for one provider: it cannot be reached, or refuses, and there is no earlier answer.
        """
        from concurrent.futures import ThreadPoolExecutor  # takes a while to import, and few need it

        factories = self._providers(provider)
        names = list(factories)
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(names))), thread_name_prefix="streamkit-models") as pool:
            answers = list(pool.map(lambda name: self._one(name, factories[name], refresh), names))
        errors = {name: error for name, (_, error) in zip(names, answers, strict=True) if error is not None}
        models = tuple(model for found, _ in answers for model in found)
        if provider is not None and errors and not models:
            raise next(iter(errors.values()))
        return ModelList(models, errors)

    def _one(
        self, name: str, factory: Callable[[], Provider], refresh: bool
    ) -> tuple[tuple[ModelInfo, ...], StreamkitError | None]:
        known = self._known.get(name)
        if known is not None and not refresh and self._now() < known.until:
            return known.models, None
        try:
            models = tuple(_priced(model) for model in self._fetch(factory()))
        except StreamkitError as error:
            return (known.models if known else ()), error
        self._known[name] = _Known(models, self._now() + self._ttl)
        return models, None

    def _fetch(self, provider: Provider) -> Iterator[ModelInfo]:
        refused = provider
        if not isinstance(provider, ListsModels):
            raise ConfigError(f"{provider.name} has no list of models")
        page: str | None = None
        for _ in range(_MOST_PAGES):
            info, body = fetch(self._transport, models_request(provider, page), timeout=self._timeout)
            if info.status != 200:
                raise refused.error(info, body)
            try:
                decoded = parse_json(body)
            except ValueError:
                excerpt = body[:512].decode("utf-8", "replace")
                raise ProtocolError(f"the list of {provider.name}'s models is no JSON", excerpt=excerpt) from None
            models, page = read_models(provider.name, decoded)
            yield from models
            if page is None:
                return

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
        """Return the models that are known to have all of some capabilities; see ``ModelInfo`` for the words."""
        wanted = set([capabilities] if isinstance(capabilities, str) else capabilities)
        return tuple(model for model in self.list(provider) if wanted <= model.capabilities)

    def cheapest(self, capabilities: Iterable[str] = (), *, provider: str | None = None) -> ModelInfo | None:
        """Return the model that asks the least for a million tokens in and a million out, of those with a price.

        Raises:
            ConfigError: no provider sends prices, and the extra that knows them is not installed.
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
