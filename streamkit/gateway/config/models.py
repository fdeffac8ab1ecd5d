"""The models of a configuration, their routes and prices: ``read_models``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.config.places import Path
from streamkit.gateway.config.tables import Document, Table, near, written
from streamkit.gateway.config.upstreams import upstream_of
from streamkit.gateway.config.values import ModelConfig, UpstreamConfig
from streamkit.models import prices
from streamkit.providers import registry
from streamkit.settings import Timeout
from streamkit.web.formats.requests.openai_request import OPENAI_FIELDS

__all__ = ["DEMO_MODELS", "demo_model", "read_models"]

#: The models that are always there.
DEMO_MODELS = ("demo/storyteller", "demo/assistant")

_DEMO = "demo"
_WAYS = ("order", "weighted", "cheapest", "fastest")
_MOST_ROUTES = 32  # as a Route has
_MOST_WEIGHT = 1_000_000
_MOST_TOKENS = 10_000_000
_LONGEST_NAME = 200
# What a reply costs at most has to be known before, and so do its messages, tools and shape: they are not left out.
_DROPPED = (
    *("frequency_penalty", "logit_bias", "logprobs", "metadata", "modalities", "parallel_tool_calls", "prediction"),
    *("presence_penalty", "reasoning_effort", "seed", "service_tier", "stop", "store", "temperature", "thinking"),
    *("top_k", "top_logprobs", "top_p", "user", "verbosity"),
)
# Under these, formats have the prompt, or the length of a reply: what they ask for would not be paid for before.
_PAID = (
    *("best_of", "contents", "generationConfig", "generation_config", "inferenceConfig", "input", "instructions"),
    *("max_new_tokens", "max_output_tokens", "n_predict", "num_predict", "options", "prompt", "system"),
    *("systemInstruction", "system_instruction"),
)
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[!-~]+")  # visible characters of ASCII, no blanks: it stands in JSON, URLs and logs


@attrs.frozen
class _Entry:
    """A model as the file has it: its routes may be names of other models."""

    model: ModelConfig
    places: tuple[Path, ...]  # of the routes
    given: frozenset[str]  # the keys of its table


def demo_model(name: str) -> ModelConfig:
    """Return a demo model under its own name. It has a price, so that a balance is seen to go down."""
    return ModelConfig(name, ((name, 1),), input_price=150_000_000, output_price=600_000_000)


def read_models(document: Document, tables: Table, upstreams: dict[str, UpstreamConfig]) -> tuple[ModelConfig, ...]:
    """Return the models of ``[models]``; what is wrong is noted.

    Args:
        document: the file.
        tables: its table of models.
        upstreams: the providers of the file, by name. Others that a route names are added.
    """
    entries = dict(_entries(document, tables))
    return _Models(document, entries, upstreams).resolved()


def _entries(document: Document, tables: Table) -> Iterator[tuple[str, _Entry]]:
    for name, value in tables.tables():
        path = ("models", name)
        if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            document.add(path, f"the name of a model is at most {_LONGEST_NAME} visible characters without blanks")
            continue
        if "*" in name[:-1]:
            document.add(path, 'an asterisk stands at the end of a name, such as "openai/*"')
            continue
        if short := _is_routes(value):
            value = {"routes": value}
        elif not isinstance(value, dict):
            document.add(path, f'has to be a route, such as "openai/gpt-4o-mini", or a table [{written(path)}]')
            continue
        yield name, _entry(document, name, Table(document, path, value), short)


def _is_routes(value: Any) -> bool:
    """Return whether a value is the short form of a model, its routes alone; no key of the long one has a slash."""
    return isinstance(value, (str, list)) or (
        isinstance(value, dict) and bool(value) and all("/" in key for key in value)
    )


def _entry(document: Document, name: str, table: Table, short: bool) -> _Entry:
    routes, places = _routes(document, name, table, short)
    weighted = isinstance(table.raw("routes"), dict)
    choose: Any = table.choice("choose", _WAYS, "weighted" if weighted else "order")
    if weighted and choose != "weighted":
        table.add("choose", f'weights are for choose = "weighted"; for "{choose}" make routes a list')
    hedge = table.seconds("hedge", None)
    if hedge is not None and len(routes) < 2:
        table.add("hedge", "asks a second route as well, and there is one route only")
    limits = {
        limit: table.seconds(f"{limit}_seconds", getattr(_TIMEOUT, limit))
        for limit in ("connect", "first", "idle", "total")
    }
    model = ModelConfig(
        name,
        routes,
        choose,
        hedge,
        table.price("input_price"),
        table.price("output_price"),
        table.price("cached_price"),
        table.whole("max_output", 4096, most=_MOST_TOKENS),
        Timeout(**limits),
        _drop(table),
        _fields(table),
    )
    table.done()
    return _Entry(_with_whole_prices(table, model), places, frozenset(table.keys()))


_TIMEOUT = Timeout()


def _drop(table: Table) -> tuple[str, ...]:
    names = table.texts("drop")
    for name in names:
        if name not in _DROPPED:
            table.add("drop", f"{name!r:.{_LONGEST_NAME}} cannot be left out{near(name, _DROPPED)}")
    return names


def _fields(table: Table) -> tuple[str, ...]:
    names = table.texts("fields")
    for name in names:
        if not _FIELD.fullmatch(name):
            table.add("fields", f"{name!r:.{_LONGEST_NAME}} is no name of a field of a request")
        elif name in _PAID:
            table.add(
                "fields", f"{name} may hold a prompt or the length of a reply, which are paid for by other fields"
            )
        elif name in OPENAI_FIELDS:
            table.add("fields", f"{name} is a field of the format: it is passed on where the provider has it")
    return names


def _with_whole_prices(table: Table, model: ModelConfig) -> ModelConfig:
    """Return the model with both prices of its own, or with none."""
    has_input, has_output = "input_price" in table, "output_price" in table
    if has_input != has_output:
        missing, there = ("output_price", "input_price") if has_input else ("input_price", "output_price")
        table.add(there, f"goes together with {missing}: set both, or none for the list price")
    elif "cached_price" in table and not has_input:
        table.add("cached_price", "goes together with input_price and output_price: set all of them")
    if model.input_price is None or model.output_price is None:
        return attrs.evolve(model, input_price=None, output_price=None, cached_price=None)
    return model


def _routes(
    document: Document, name: str, table: Table, short: bool
) -> tuple[tuple[tuple[str, int], ...], tuple[Path, ...]]:
    """Return the routes with their weights, and where each stands."""
    value = table.raw("routes")
    path = table.path if short else (*table.path, "routes")  # in the short form they are the model's own value
    if value is None:
        return ((name, 1),), (table.path,)
    if isinstance(value, str):
        return _one(document, path, value)
    if not isinstance(value, (list, dict)):
        document.add(path, 'has to be a list of models, such as ["openai/gpt-4o-mini"], or a table of weights')
        return (), ()
    if not 0 < len(value) <= _MOST_ROUTES:
        document.add(path, f"has to have 1 to {_MOST_ROUTES} routes")
        return (), ()
    found: dict[str, int] = {}
    places = []
    for place, route, weight in _pairs(path, value):
        if problem := _wrong(route, weight, found):
            document.add(place, problem)
        else:
            found[route] = weight
            places.append(place)
    return tuple(found.items()), tuple(places)


def _one(document: Document, path: Path, route: str) -> tuple[tuple[tuple[str, int], ...], tuple[Path, ...]]:
    if problem := _wrong(route, 1, {}):
        document.add(path, problem)
        return (), ()
    return ((route, 1),), (path,)


def _pairs(path: Path, value: list[Any] | dict[str, Any]) -> Iterator[tuple[Path, Any, Any]]:
    """Yield where each route stands, the route, and its weight."""
    if isinstance(value, dict):
        yield from (((*path, route), route, weight) for route, weight in value.items())
    else:
        yield from (((*path, number), route, 1) for number, route in enumerate(value))


def _wrong(route: Any, weight: Any, found: Mapping[str, int]) -> str:
    if not isinstance(route, str) or not _NAME.fullmatch(route):
        return 'a route is text such as "openai/gpt-4o-mini"'
    if route in found:
        return f"names {route} twice"
    if isinstance(weight, bool) or not isinstance(weight, int) or not 0 < weight <= _MOST_WEIGHT:
        return f"a weight is a whole number from 1 to {_MOST_WEIGHT}"
    return ""


class _Models:
    """Follows routes to providers, and looks prices up."""

    def __init__(self, document: Document, entries: Mapping[str, _Entry], upstreams: dict[str, UpstreamConfig]) -> None:
        self._document = document
        self._entries = entries
        self._upstreams = upstreams
        self._failed: set[str] = set()  # providers of which a mistake was noted
        self._named = {str(path[1]) for path in document.paths("providers") if len(path) == 2}

    def resolved(self) -> tuple[ModelConfig, ...]:
        made = []
        for name, entry in self._entries.items():
            model = self._followed(name, entry)
            if model is not None and self._checked(model, entry):
                made.append(model)
        return tuple(made)

    def _followed(self, name: str, entry: _Entry) -> ModelConfig | None:
        """Return the model with the routes of the one that it is another name for."""
        chain = [name]
        here = entry
        given: dict[str, Any] = {}
        while True:
            target = self._alias(chain[-1], here)
            if target is None:
                break
            given = {**{key: getattr(here.model, key) for key in _attributes(here.given)}, **given}
            if target in chain:
                if target == name:  # otherwise it leads into a loop, which is noted where that is
                    loop = " -> ".join([*chain, target])
                    self._document.add(entry.places[0], f"is a loop: {loop}; let one of them name provider/model")
                return None
            if target not in self._entries:
                self._document.add(here.places[0], self._nowhere(target))
                return None
            chain.append(target)
            here = self._entries[target]
        return attrs.evolve(here.model, name=name, **given) if len(chain) > 1 else here.model

    def _alias(self, name: str, entry: _Entry) -> str | None:
        """Return the other model that a model is another name for; ``None`` where its routes go to providers."""
        if len(entry.model.routes) != 1:
            return None
        route = entry.model.routes[0][0]
        if route == name:  # it goes by the name of its provider and model
            return None
        return route if route in self._entries or "/" not in route else None

    def _nowhere(self, route: str) -> str:
        close = get_close_matches(route, sorted(self._entries), n=1, cutoff=0.6)
        meant = f"; did you mean {close[0]}?" if close else "; write provider/model, such as openai/gpt-4o-mini"
        return f"no model of this file is called {route}{meant}"

    def _checked(self, model: ModelConfig, entry: _Entry) -> bool:
        """Return whether every route goes to a model that can be asked and paid for."""
        good = bool(model.routes)
        if not good:
            return False
        places = entry.places if len(entry.places) == len(model.routes) else (entry.places[0],) * len(model.routes)
        for (route, _), place in zip(model.routes, places, strict=True):
            problem = self._problem_of(model, route)
            if problem:
                self._document.add(place, problem)
                good = False
        return good

    def _problem_of(self, model: ModelConfig, route: str) -> str:
        provider, slash, rest = route.partition("/")
        if not slash and len(model.routes) > 1 and route in self._entries:
            return "another model of this file can be named alone; among several routes write provider/model"
        if not slash and route == model.name:
            return 'has no routes: write routes = ["provider/model"], such as ["openai/gpt-4o-mini"]'
        if not slash:
            return self._nowhere(route)
        if not provider or not rest:
            return f"has to be provider/model, not {route}"
        if model.name.endswith("*") != rest.endswith("*") or "*" in rest[:-1]:
            return (
                "a route ends in an asterisk if the model's name does, and only then: it stands for the same text "
                'in both, such as "gpt-*" and "openai/gpt-*"'
            )
        if provider == _DEMO:
            known = rest == "*" or route in DEMO_MODELS
            return "" if known else f"there is no {route}; there are {' and '.join(DEMO_MODELS)}"
        if provider not in self._upstreams and (problem := self._added(provider)):
            return problem
        upstream = self._upstreams.get(provider)  # none where a mistake in it was noted
        return "" if upstream is None else self._unpriced(model, upstream, rest)

    def _added(self, provider: str) -> str:
        """Take a registered provider up that the file does not describe."""
        if provider in self._failed or provider in self._named:  # its own mistake was noted
            return ""
        known = sorted({*registry.names(), *self._named, _DEMO})
        if provider not in registry.names():
            meant = registry.meant(provider, known)
            hint = f"; did you mean {meant}?" if meant else f"; for a server of your own write [providers.{provider}]"
            return f"unknown provider {provider}{hint}"
        self._failed.add(provider)
        try:
            self._upstreams[provider] = upstream_of(self._document, provider)
        except ConfigError as error:
            return error.message
        self._failed.discard(provider)
        return ""

    def _unpriced(self, model: ModelConfig, upstream: UpstreamConfig, rest: str) -> str:
        if model.input_price is not None:
            return ""
        costs = "set input_price and output_price, in US dollars for a million tokens; 0 for a model that costs nothing"
        if not prices.has_list(upstream.name):  # its name, as a reply's cost is looked up by it
            return f"no list has prices for {upstream.name}: {costs}"
        if rest.endswith("*") or prices.list_price(upstream.name, rest) is not None:
            return ""
        try:
            prices.require()
        except ConfigError:
            return f'the price of {rest} is not known: {costs}; or install "streamkit[prices]"'
        return f"the price of {rest} is not known: {costs}"


def _attributes(keys: frozenset[str]) -> list[str]:
    """Return the attributes of a model that keys of its table have set; another name for a model keeps the others."""
    timeout = ["timeout"] if any(key.endswith("_seconds") for key in keys) else []
    own = ("choose", "hedge", "input_price", "output_price", "cached_price", "max_output", "drop", "fields")
    return [*(key for key in own if key in keys), *timeout]
