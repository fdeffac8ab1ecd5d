"""From a client's request to its reply, paid: ``Replying``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import attrs

from streamkit.errors import RequestError, StoreError, StreamkitError
from streamkit.gateway.app.apis import Api
from streamkit.gateway.app.body import read_body
from streamkit.gateway.app.exchange import Exchange, Record
from streamkit.gateway.app.failures import client_error
from streamkit.gateway.app.metrics import Metrics
from streamkit.gateway.app.models import Model, Models
from streamkit.gateway.app.paid_stream import PaidStream
from streamkit.gateway.app.parameters import check_parameters, configured
from streamkit.gateway.app.passing_format import ended
from streamkit.gateway.app.payment import Payment, Payments
from streamkit.gateway.app.pricing import Quote, quote
from streamkit.gateway.core.holders import Payer
from streamkit.gateway.core.rates import Rates
from streamkit.gateway.core.records import About
from streamkit.gateway.core.replies import Replies, digest_of
from streamkit.gateway.core.tokens import Token, Tokens
from streamkit.values.completion import Completion
from streamkit.web.client_sockets import on_leaving
from streamkit.web.formats.requests.request import WebRequest
from streamkit.web.relay import relay

__all__ = ["Replying", "capped", "note"]

_log = logging.getLogger("streamkit.gateway")

_LIMITS = ("max_tokens", "max_completion_tokens")


@attrs.frozen
class Replying:
    """Answers requests for replies.

    The order of the checks is: token, body, model, permission, a repeated key, rates, money. What is refused has cost
    nothing, and no provider was asked.

    Attributes:
        tokens, rates, replies, payments: of the core.
        metrics: are told of open replies.
    """

    tokens: Tokens
    rates: Rates
    replies: Replies
    payments: Payments
    metrics: Metrics

    def answer(self, exchange: Exchange, api: Api, models: Models, token: Token) -> Iterable[bytes]:
        """Return the response's body; its status and headers are sent.

        Raises:
            RequestError, StreamkitError: it is refused, or failed before its first chunk.
        """
        config, record = models.config, exchange.record
        try:
            body = read_body(exchange.environ, most=config.limits.bytes, seconds=config.body_seconds)
        except RequestError as error:
            exchange.body_is_read = error.status != 413
            raise
        exchange.body_is_read = True
        request = api.decode(body, config.limits)
        record.stream = bool(request.stream)
        model = models.find(request.model)
        request = configured(request, model.config)
        check_parameters(request)
        request = api.suited(request, own=models.is_all(model, api.events))
        record.model, record.configured = model.name, model.config.name
        self.tokens.check(token, model.name)
        priced = quote(model.config, model.priced, request)
        key = exchange.header("idempotency-key")
        asked = _Asked(exchange, api, models, request, model, token, self.tokens.payer(token), priced, key)
        if not key:
            return self._paid(asked)
        kept = self.replies.begin(token.id, key, digest_of(api.path, body), record.request_id)
        if kept is not None:
            record.repeated = True
            exchange.extra["idempotent-replayed"] = "true"
            return exchange.answer(kept.status, kept.body, kept.headers)
        try:
            return self._paid(asked)
        except BaseException:
            if not record.nano:
                self._forget(token, key, record.request_id)
            raise

    def _paid(self, asked: _Asked) -> Iterable[bytes]:
        """Reserve what it may cost, and ask the provider."""
        exchange, api, model = asked.exchange, asked.api, asked.model
        id = exchange.record.request_id
        exchange.extra.update(self.rates.ask(asked.payer.holders, asked.priced.input.likely))
        about = About(asked.token.id, asked.token.team, model.config.name, api.path, asked.token.name)
        payment = self.payments.begin(asked.payer, id, asked.priced, about, model.cost)
        self.metrics.begun()
        try:
            stream = self._started(asked, payment)
        except BaseException as error:
            self.metrics.ended()
            with suppress(StreamkitError):  # nothing was sent
                payment.end("error", Completion(), route="", accepted=False, seconds=0.0)
            raise client_error(error) from error
        try:
            return self._streamed(asked, stream) if asked.request.stream else self._whole(asked, stream)
        finally:
            if stream.status == "open":  # close() would wait for its reader, and the client for the end of the body
                stream.cancel()
            self._over(asked, stream)

    def _started(self, asked: _Asked, payment: Payment) -> PaidStream:
        content = asked.models.content
        # Events that pass as they came are not read, and nobody would know the text.
        passes = asked.request.stream and content is None
        client = asked.models.client(asked.api.events if passes else None)
        params = capped(asked.request, asked.priced, payment)
        timeout = asked.model.config.timeout
        inner = client.stream(asked.model.target, list(asked.request.messages), timeout=timeout, **params)

        def over(stream: PaidStream) -> None:
            note(asked.exchange.record, stream)
            if content is not None:
                content.write(asked.exchange.record, asked.request, stream.completion)

        return PaidStream(inner, payment, over)

    def _whole(self, asked: _Asked, stream: PaidStream) -> list[bytes]:
        """Answer with one piece of JSON."""
        exchange = asked.exchange
        has_left = threading.Event()

        def left() -> None:
            has_left.set()
            threading.Thread(target=stream.cancel, name="streamkit-client-left", daemon=True).start()

        leave = on_leaving(exchange.environ, left)
        try:
            while stream.take() is not None:
                pass
        finally:
            if leave is not None:
                leave()
        if stream.status == "cancelled":
            raise RequestError("the client has left", status=499, code="client_left") if has_left.is_set() else ended()
        body = asked.api.whole(asked.request, stream.completion, asked.reply_id, int(time.time()))
        headers = {"content-type": "application/json", "cache-control": "no-store"}
        self._keep(asked, 200, headers, body)
        return exchange.answer(200, body, headers)

    def _streamed(self, asked: _Asked, stream: PaidStream) -> list[bytes]:
        """Answer with events, from the first chunk on."""
        exchange, config = asked.exchange, asked.models.config
        relayed = relay(
            stream,
            asked.api.format(asked.request, exchange.told_id),
            heartbeat=config.heartbeat,
            wait=config.heartbeat,
            write_timeout=config.write_seconds,
            id=asked.reply_id,
            environ=exchange.environ,
            model=asked.request.model,
        )
        status, headers = relayed.status_code, relayed.headers  # waits for the first chunk
        write = exchange.begin(status, headers)
        if not asked.key:
            relayed.write_to(write)
            return []

        def keep(whole: bytes) -> None:
            if stream.payment.charged:
                self._keep(asked, status, headers, whole)

        relayed.write_to(write, before_end=keep, most=self.replies.most)
        if not stream.payment.charged:
            self._forget(asked.token, asked.key, exchange.record.request_id)
        return []

    def _keep(self, asked: _Asked, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Keep a reply before its last bytes are sent: whoever has seen the end can repeat the request."""
        if not asked.key:
            return
        try:
            id = asked.exchange.record.request_id
            self.replies.finish(asked.token.id, asked.key, id, status=status, headers=headers, body=body)
        except StoreError as error:  # a repeat is told that the reply was charged, and is lost
            _log.warning("a reply could not be kept for its Idempotency-Key: %s", error)

    def _forget(self, token: Token, key: str, id: str) -> None:
        """Let a key be used again. Where that fails, it is free a minute later."""
        try:
            self.replies.forget(token.id, key, id)
        except StoreError as error:
            _log.warning("the key of the request %s could not be freed: %s", id, error)

    def _over(self, asked: _Asked, stream: PaidStream) -> None:
        """Count a reply that is over, and correct the tokens a minute by what has come of it."""
        self.metrics.ended()
        usage = stream.payment.usage
        made = 0 if usage is None else (usage.input_tokens or 0) + (usage.output_tokens or 0)
        more = made - asked.priced.input.likely
        if more > 0:
            try:
                self.rates.used(asked.payer.holders, more)
            except StreamkitError as error:  # the reply is over, and paid
                _log.warning("tokens a minute could not be counted: %s", error)


@attrs.frozen(eq=False)
class _Asked:
    """A request for a reply that may be answered.

    Attributes:
        payer: what it is paid from.
        priced: what it may cost.
        key: its ``Idempotency-Key``, "" for none.
    """

    exchange: Exchange
    api: Api
    models: Models
    request: WebRequest
    model: Model
    token: Token
    payer: Payer
    priced: Quote
    key: str

    @property
    def reply_id(self) -> str:
        """The id of the reply, where the provider's own does not pass."""
        return f"{self.api.id}{self.exchange.record.request_id.removeprefix('req-')}"


def capped(request: WebRequest, priced: Quote, payment: Payment) -> dict[str, Any]:
    """Return the parameters, with the length of the reply that is paid for.

    The provider is told it where the client did not say one, too: a longer reply would not be paid for.
    """
    params = dict(request.params)
    most = priced.output_for(payment.amount)
    named = [name for name in _LIMITS if name in params] or ["max_tokens"]
    for name in named:
        params[name] = min(params.get(name, most), most)
    return params


def note(record: Record, stream: PaidStream) -> None:
    """Write what a reply has cost into a request's record."""
    payment, stats = stream.payment, stream.stats
    usage = payment.usage
    record.first = stats.time_to_first_chunk
    record.attempts = stats.attempts
    record.route = stats.routes[-1].model if stats.routes else ""
    record.nano, record.estimated = payment.charged or 0, payment.estimated
    if usage is not None:
        record.input_tokens, record.output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    if stream.status == "cancelled":
        record.status, record.code = 499, "client_left"
    elif stream.error is not None:
        told = client_error(stream.error)
        if isinstance(told, RequestError):
            record.code = told.code
