"""Several models for one request: ``Route``."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.models import prices
from streamkit.policies.checks import renew_after_fork
from streamkit.settings import seconds_of, shown
from streamkit.streaming.gates import Call, Gate, Result, Wait
from streamkit.streaming.job import Job
from streamkit.values.text import estimate_tokens

__all__ = ["Choose", "Model", "Route", "Speeds", "name_of", "ordered", "route_of"]

Choose = Literal["order", "weighted", "cheapest", "fastest"]

_WAYS = ("order", "weighted", "cheapest", "fastest")
_MOST = 32  # models of one route
_SHARE = 0.3  # of the latest time in the average
_SET_BACK = 60.0  # seconds for which a model that failed comes after the others


def _models(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (Sequence, Mapping)):
        return tuple(value)
    raise ConfigError(f"Route(models) is a list of models, or a dict of weights by model, not {shown(value)}")


@attrs.frozen(init=False)
class Route:
    """Models that can answer the same request. Where one fails before its first chunk, the next one is tried.

    ::

        client.stream(["openai/gpt-4o", "anthropic/claude-sonnet-5"], "Hello")
        client.stream(Route({"openai/gpt-4o": 3, "azure/gpt-4o": 1}, choose="weighted"), "Hello")

    A list in place of a model is a ``Route`` in its order. Each model is tried as ``retry=`` says, before the next one
    is. All limits of time hold for all of them together, but ``first`` and ``connect``, which each has for itself.

    Args:
        models: names of models; for ``weighted`` a dict of weights by model.
        choose: which one is tried first, and the order of the others: ``order`` as they stand, ``weighted`` at random
            by their weights, ``cheapest`` by list price (extra ``prices``; those without a price come last), or
            ``fastest`` by the time to the first chunk of their latest replies in this process. One that has not
            answered yet is tried first, and one that has just failed last.
        hedge: seconds without a first chunk after which the next model is asked as well. The first one to speak
            answers, and the others are cancelled. What these have cost is not known.

    Raises:
        ConfigError: a value is of a wrong kind.
    """

    models: tuple[str, ...]
    choose: Choose = "order"
    hedge: float | None = None
    weights: tuple[float, ...] = attrs.field(default=(), repr=False)

    def __init__(
        self, models: Sequence[str] | Mapping[str, float], choose: Choose = "order", *, hedge: float | None = None
    ) -> None:
        names = _models(models)
        if not names or len(names) > _MOST or not all(isinstance(name, str) and name for name in names):
            raise ConfigError(f"Route(models) has 1 to {_MOST} names of models, not {shown(models)}")
        if len(set(names)) != len(names):
            raise ConfigError(f"Route(models) names a model twice: {shown(models)}")
        if choose not in _WAYS:
            raise ConfigError(f"Route(choose=...) is one of {', '.join(_WAYS)}, not {shown(choose)}")
        weights = tuple(models.values()) if isinstance(models, Mapping) else (1.0,) * len(names)
        if isinstance(models, Mapping) and choose != "weighted":
            raise ConfigError(f'Route(models) is a dict of weights, which needs choose="weighted", not {choose!r}')
        for weight in weights:
            if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
                raise ConfigError(f"a weight is a number above 0, not {shown(weight)}")
        self.__attrs_init__(names, choose, seconds_of(hedge, "Route(hedge=...)"), weights)


#: What is asked: a model, several in the order in which they are tried, or a route.
Model = str | Sequence[str] | Route


def route_of(model: Any) -> Route:
    """Return the route for what was passed as a model.

    Raises:
        ConfigError: it is neither a ``Route`` nor a list of names.
    """
    if isinstance(model, Route):
        return model
    if isinstance(model, (list, tuple)):
        return Route(model)
    raise ConfigError(
        f"model is a name such as 'openai/gpt-4o-mini', a list of names, or a Route, not {type(model).__name__}"
    )


def name_of(model: Any) -> str:
    """Return the name of a model, or of the first one of a route.

    Raises:
        ConfigError: it is neither.
    """
    return model if isinstance(model, str) else route_of(model).models[0]


class Speeds(Gate):
    """Notes how soon models begin to answer, for ``Route(choose="fastest")``.

    Owner of the fields: ``_lock`` guards ``_seconds`` and ``_failed_at``.

    Args:
        clock: in seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds: dict[tuple[str, str], float] = {}
        self._failed_at: dict[tuple[str, str], float] = {}
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def enter(self, call: Call, wait: Wait) -> None:
        """Let it pass."""

    def left(self, call: Call, result: Result) -> None:
        """Note the time to its first chunk."""
        key, seconds = (call.provider, call.model), result.time_to_first_chunk
        with self._lock:
            if seconds is not None:
                before = self._seconds.get(key, seconds)
                self._seconds[key] = before + _SHARE * (seconds - before)
                self._failed_at.pop(key, None)
            elif result.sent and result.error is not None:
                self._failed_at[key] = self._clock()

    def rank(self, key: tuple[str, str]) -> tuple[bool, float]:
        """Return by what to sort a provider and its model: the smallest first."""
        with self._lock:
            failed_at = self._failed_at.get(key)
            set_back = failed_at is not None and self._clock() - failed_at < _SET_BACK
            return set_back, self._seconds.get(key, 0.0)


def ordered(route: Route, jobs: Sequence[Job], speeds: Speeds) -> list[Job]:
    """Return the jobs of a route's models in the order in which they are tried.

    Args:
        route: the route.
        jobs: one for each of its models, in the same order.
        speeds: of the client.
    """
    if route.choose == "weighted":
        # Each place is drawn by the weights of those that are left (Efraimidis and Spirakis 2006).
        keys = {id(job): random.random() ** (1.0 / weight) for job, weight in zip(jobs, route.weights, strict=True)}
        return sorted(jobs, key=lambda job: keys[id(job)], reverse=True)
    if route.choose == "cheapest":
        prices.require()
        return sorted(jobs, key=_expected_cost)
    if route.choose == "fastest":
        return sorted(jobs, key=lambda job: speeds.rank(job.route))
    return list(jobs)


_USUAL_ANSWER = 500  # tokens


def _expected_cost(job: Job) -> float:
    """Return the cost of a reply of a usual length, in millionths of a USD; infinite where a price is unknown."""
    price = prices.list_price(*job.route)
    if price is None or price.input is None or price.output is None:
        return float("inf")
    given = job.chat.params.get("max_tokens") or job.chat.params.get("max_completion_tokens")
    answer = min(given, _USUAL_ANSWER) if isinstance(given, int) else _USUAL_ANSWER
    return price.input * _tokens(message.get("content") for message in job.chat.messages) + price.output * answer


def _tokens(contents: Iterable[Any]) -> int:
    return sum(estimate_tokens(content) for content in contents if isinstance(content, str))
