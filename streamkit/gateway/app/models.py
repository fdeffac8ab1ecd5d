"""The models that are served, and the clients that ask them: ``Models``. Replaced as a whole when the file is read
again; open replies keep theirs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.client import Client
from streamkit.concurrency.late_import import late_import
from streamkit.errors import APIError, ConfigError, RequestError
from streamkit.gateway.app.content_log import ContentLog
from streamkit.gateway.app.lenient import lenient
from streamkit.gateway.app.pricing import cost_of
from streamkit.gateway.config.upstreams import provider_of
from streamkit.gateway.config.values import Config, ModelConfig
from streamkit.policies.breaker import Breaker
from streamkit.policies.rate_limit import RateLimit
from streamkit.policies.route import Route
from streamkit.providers.contract import Provider
from streamkit.providers.passing import passing
from streamkit.settings import Retry
from streamkit.streaming.gates import Call, Result
from streamkit.values.chunks import Usage

__all__ = ["Model", "Models"]

_FORMATS = ("openai", "openai-responses", "anthropic")
_AWAY = (502, 503, 504, 529)
_LONGEST = 128  # characters of a model's name in an error
_REST = re.compile(r"[A-Za-z0-9._:@+,=~/-]{1,256}")


@attrs.frozen
class Model:
    """A model as a client asks for it.

    Attributes:
        name: that the client said.
        config: of the alias, or of the pattern that lets the name through.
        routes: provider and model, one for each that may answer.
        kinds: of providers, by their names.
    """

    name: str
    config: ModelConfig
    routes: tuple[tuple[str, str], ...]
    kinds: Mapping[str, str] = attrs.field(factory=dict, hash=False)

    @property
    def priced(self) -> tuple[tuple[str, str], ...]:
        """The routes as price lists know them: kind of provider, and model."""
        return tuple((self.kinds.get(provider, provider), name) for provider, name in self.routes)

    @property
    def target(self) -> str | Route:
        """What the client of the library asks."""
        names = ["/".join(route) for route in self.routes]
        if len(names) == 1:
            return names[0]
        choose: Any = self.config.choose
        if choose == "weighted":
            weights = [weight for _, weight in self.config.routes]
            return Route(dict(zip(names, weights, strict=True)), choose, hedge=self.config.hedge)
        return Route(names, choose, hedge=self.config.hedge)

    def cost(self, route: str, usage: Usage) -> int:
        """Return the cost of a usage in nano-USD.

        Args:
            route: provider and model that have answered; "" for the dearest of all.
            usage: of the reply.
        """
        provider, _, name = route.partition("/")
        if (provider, name) in self.routes:
            return cost_of(self.config, self.kinds.get(provider, provider), name, usage)
        return max(cost_of(self.config, *each, usage) for each in self.priced)


class Models:
    """What one reading of the configuration serves.

    Owner of the fields: they never change; clients protect themselves.

    Args:
        config: as it was read.

    Attributes:
        authorize: the function of the configuration that says who sends a request, ``None`` for none.
        content: where prompts and replies are kept, ``None`` for nowhere.
        providers, gates, once: what each client is made of.

    Raises:
        ConfigError: a provider cannot be made.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.authorize = None if config.authorize is None else _function(config.authorize)
        self.content = None if config.log.content is None else ContentLog(config.log.content)
        self._by_name = {model.name: model for model in config.models if "*" not in model.name}
        self._patterns = [model for model in config.models if "*" in model.name]
        self._kinds = {upstream.name: upstream.kind for upstream in config.upstreams}
        self._plain_providers = [provider_of(upstream) for upstream in config.upstreams]
        self._formats = {each.name: getattr(type(each), "events_format", None) for each in self._plain_providers}
        self.providers = self._lenient(self._plain_providers)
        # Shared by all clients: what one format's requests find out about a provider holds for the others.
        self.gates: list[Any] = [_AwayBreaker(failures=20, within=30.0, pause=5.0)]
        self.gates += [RateLimit(streams=each.streams, of=each.name) for each in config.upstreams if each.streams]
        # A client has tries of its own, and is told when to try again; the routes of a model are tried in one request.
        self.once = Retry(attempts=1)
        self._plain = self._client(self.providers)
        self._passing = {
            format: self._client(self._lenient(passing(each, format) for each in self._plain_providers))
            for format in _FORMATS
        }

    def _lenient(self, providers: Iterable[Provider]) -> list[Provider]:
        return [lenient(each, self._kinds[each.name]) for each in providers]

    def _client(self, providers: Sequence[Provider]) -> Client:
        return Client(providers, policies=self.gates, retry=self.once)

    def client(self, format: str | None) -> Client:
        """Return the client for a format whose events may pass as they came, ``None`` for decoded chunks."""
        return self._plain if format is None else self._passing[format]

    def find(self, name: str) -> Model:
        """Return a model by the name that a client says.

        Raises:
            RequestError: there is none.
        """
        if not name:
            raise RequestError("model is missing", param="model", code="missing_field")
        config = self._by_name.get(name)
        if config is not None:
            return Model(name, config, tuple(_parts(route) for route, _ in config.routes), self._kinds)
        for config in self._patterns:
            prefix = config.name.removesuffix("*")
            rest = name.removeprefix(prefix)
            if name.startswith(prefix) and _passes(rest):
                routes = tuple(_parts(route.replace("*", rest)) for route, _ in config.routes)
                return Model(name, config, routes, self._kinds)
        raise RequestError(
            f"the model {name!r:.{_LONGEST}} does not exist; GET /v1/models lists those that do",
            status=404,
            param="model",
            code="model_not_found",
        )

    def is_all(self, model: Model, format: str) -> bool:
        """Return whether all providers of a model speak a format."""
        return all(self._formats.get(provider) == format for provider, _ in model.routes)

    def names(self) -> Sequence[str]:
        """Return the names that are listed: those of aliases, not of patterns."""
        return sorted(self._by_name)

    def close(self) -> None:
        """Cancel the open replies, and close the connections."""
        for client in (self._plain, *self._passing.values()):
            client.close()


def _passes(rest: str) -> bool:
    """Return whether the text in place of an asterisk can be that of a model.

    Some providers have the name in their address, where ``..`` would lead to another model than the one that was
    allowed and is paid for.
    """
    return _REST.fullmatch(rest) is not None and not {"", ".", ".."} & set(rest.split("/"))


def _parts(route: str) -> tuple[str, str]:
    provider, _, model = route.partition("/")
    return provider, model


class _AwayBreaker(Breaker):
    """A breaker that counts only failures of a provider that is away or overloaded.

    A provider that answers one request with an error of its own may do so for what one client has sent: others must
    not be kept from it for that.
    """

    def left(self, call: Call, result: Result) -> None:
        """See ``Gate``."""
        error = result.error
        if isinstance(error, APIError) and error.status not in _AWAY:
            result = attrs.evolve(result, error=None, cancelled=True, time_to_first_chunk=None)
        super().left(call, result)


def _function(name: str) -> Callable[[Mapping[str, str]], str | None]:
    """Return a function by ``module:function``.

    Raises:
        ConfigError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(late_import(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"authorize = {name!r}: {error}") from None
    if not callable(found):
        raise ConfigError(f"authorize = {name!r} is no function")
    return found  # type: ignore[no-any-return]
