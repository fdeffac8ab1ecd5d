"""The gateway as a WSGI application: ``Gateway``."""

from __future__ import annotations

import logging
import time
import traceback
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from streamkit.errors import ConfigError, RequestError, StoreError
from streamkit.gateway.app.apis import APIS, Api
from streamkit.gateway.app.body import discard_body
from streamkit.gateway.app.exchange import Exchange, Record, StartResponse
from streamkit.gateway.app.failures import client_error
from streamkit.gateway.app.information import Information
from streamkit.gateway.app.metrics import Metrics
from streamkit.gateway.app.models import Models
from streamkit.gateway.app.page import Page
from streamkit.gateway.app.payment import Payments
from streamkit.gateway.app.replying import Replying
from streamkit.gateway.app.request_log import RequestLog
from streamkit.gateway.config.values import Config
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.money import NANO
from streamkit.gateway.core.rates import Rates
from streamkit.gateway.core.replies import Replies
from streamkit.gateway.core.tokens import Token, Tokens

__all__ = ["Gateway"]

_log = logging.getLogger("streamkit.gateway")

_Handler = Callable[[Exchange], Iterable[bytes]]


class Gateway:
    """One address for models of many providers, with tokens, balances and a ledger: a WSGI application.

    ::

        application = Gateway(read_config("gateway.toml", os.environ))

    Owner of the fields: ``_models`` is replaced by a single assignment when the configuration is read again; a request
    uses the one that it began with. The others never change, and protect themselves.

    Args:
        config: as it was read.

    Raises:
        ConfigError: a library is missing, or a provider cannot be made.
        StoreError: the database cannot be used.

    Threads: any number of requests at a time. To be made in the process that serves, after a fork.
    """

    def __init__(self, config: Config) -> None:
        self._models = Models(config)
        self._earlier: weakref.WeakSet[Models] = weakref.WeakSet()  # those of open replies that others have replaced
        self.database = GatewayDatabase(config.database)
        self.tokens = Tokens(self.database, config.secret.read())
        ledger = Ledger(self.database)
        self._payments = Payments(ledger)
        self._metrics = Metrics()
        self._rates = Rates(config.redis)
        self._replying = Replying(self.tokens, self._rates, Replies(self.database), self._payments, self._metrics)
        self._information = Information(ledger, self.tokens, self.database, self._metrics)
        self._log = RequestLog()
        self._page = Page(self._replying, lambda: self._models, self._finished) if config.shows_page else None
        self._closed = False
        self._payments.recover()

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        models = self._models
        exchange = Exchange(environ, start_response, models.config.cors)
        api = _APIS.get(exchange.path)
        try:
            body = self._handled(exchange, api, models)
        except Exception as error:
            try:
                if not exchange.body_is_read:
                    discard_body(environ, seconds=models.config.body_seconds)
                body = self._refused(exchange, api, error)
            except BaseException:  # of the server: the head cannot be sent
                self._ended(exchange)
                raise
        if isinstance(body, list):
            self._ended(exchange)
            return body
        return _Logged(body, lambda: self._ended(exchange))

    def _handled(self, exchange: Exchange, api: Api | None, models: Models) -> Iterable[bytes]:
        method = exchange.method
        if method == "OPTIONS":
            return exchange.preflight()
        if api is not None:
            exchange.record.endpoint = api.path
            if method != "POST":
                raise _wrong_method("POST")
            return self._replying.answer(exchange, api, models, self._authorised(exchange, models))
        if self._page is not None and self._page.serves(exchange.path):
            return self._page(exchange.environ, exchange.pass_on)
        return self._information.answer(exchange, models, lambda: self._authorised(exchange, models))

    def _authorised(self, exchange: Exchange, models: Models) -> Token:
        """Return the token of a request. Each handler that needs one calls this itself.

        Raises:
            RequestError: there is none, or it is not valid.
        """
        token = None
        if models.authorize is not None and (id := models.authorize(_Headers(exchange.environ))) is not None:
            token = self.tokens.identified(id)
            if token is None:
                _log.warning("authorize named a token that does not exist")
                raise RequestError("nobody is known by this", status=401, code="invalid_token")
        if token is None:
            token = self.tokens.find(exchange.presented())
        if token is None:
            raise RequestError("the token is not valid", status=401, code="invalid_token", type="authentication_error")
        exchange.record.token, exchange.record.team = token.id, token.team
        return token

    def _refused(self, exchange: Exchange, api: Api | None, error: Exception) -> list[bytes]:
        told = client_error(error)
        if isinstance(told, RequestError):
            exchange.record.code = told.code
            if told.status == 500:
                _log.error("a request failed: %s", _places(error))
        refusal = (api or APIS[0]).plain(exchange.told_id).refusal(told)
        return exchange.answer(refusal.status, refusal.body, refusal.headers)

    def _ended(self, exchange: Exchange) -> None:
        exchange.record.seconds = time.monotonic() - exchange.record.begun
        self._finished(exchange.record)

    def _finished(self, record: Record) -> None:
        """Write the line of a request that is over, and count it."""
        self._log.write(record)
        self._metrics.request(
            record.endpoint,
            record.configured,
            record.status,
            record.seconds,
            first=record.first,
            input_tokens=record.input_tokens,
            output_tokens=record.output_tokens,
            nano=record.nano,
            estimated=record.estimated,
        )

    # -- its life ----------------------------------------------------------------------------------------

    def reload(self, config: Config) -> None:
        """Serve by another configuration from now on; open replies end by theirs.

        The database, the secret and the Redis are those that it began with.

        Raises:
            ConfigError: a provider cannot be made; nothing has changed.
        """
        models = Models(config)
        self._earlier.add(self._models)
        self._models = models

    @property
    def open_replies(self) -> int:
        """How many replies are under way in this process."""
        return self._payments.count

    def close(self) -> None:
        """Cancel the open replies, write what they have cost, and close the connections."""
        if self._closed:
            return
        self._closed = True
        for models in (self._models, *self._earlier):
            models.close()
        if self._page is not None:
            self._page.close()
        self._payments.close()
        self._rates.close()
        try:
            self.database.close()
        except StoreError as error:
            _log.warning("the database could not be closed: %s", error)

    def demo_token(self) -> str | None:
        """Return a token for the demo models, with a dollar at least; ``None`` where a configuration names models."""
        if not self._models.config.demo:
            return None
        by, ledger = "streamkit serve", self._payments.ledger
        try:
            token, text = self.tokens.rotate("demo", by=by)  # of an earlier start
        except ConfigError:
            token, text = self.tokens.create("demo", by=by, balance="own")
        available = ledger.balance(token.holder.name).available
        if available < NANO:
            ledger.top_up(token.holder.name, NANO - available, id=f"demo:{uuid.uuid4().hex}", by=by)
        return str.__str__(text)  # to be shown once


_APIS = {api.path: api for api in APIS}


def _places(error: BaseException) -> str:
    """Return the class of an error and where it was raised: its text may quote what a client has sent."""
    places = traceback.extract_tb(error.__traceback__)
    return " in ".join(
        [type(error).__name__, *(f"{Path(each.filename).name}:{each.lineno}" for each in places[-8:][::-1])]
    )


def _wrong_method(allowed: str) -> RequestError:
    return RequestError(f"only {allowed} is answered here", status=405, code="wrong_method", headers={"allow": allowed})


class _Headers(Mapping[str, str]):
    """The headers of a request, by their names in lower case."""

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        return str(self._environ[f"HTTP_{name.upper().replace('-', '_')}"])

    def __iter__(self) -> Iterator[str]:
        return (name[5:].lower().replace("_", "-") for name in self._environ if name.startswith("HTTP_"))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Logged:
    """The body of a response, and what happens once when it is over."""

    def __init__(self, body: Iterable[bytes], over: Callable[[], object]) -> None:
        self._body = body
        self._over: Callable[[], object] | None = over

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        over, self._over = self._over, None
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            if over is not None:
                over()
