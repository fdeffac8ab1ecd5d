"""What can be asked beside replies: models, balance, usage, health, figures: ``Information``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

import attrs

from streamkit.errors import RequestError, StoreError
from streamkit.gateway.app.exchange import Exchange
from streamkit.gateway.app.metrics import Metrics
from streamkit.gateway.app.models import Models
from streamkit.gateway.app.openapi import description
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.money import usd_of
from streamkit.gateway.core.tokens import Token, Tokens

__all__ = ["Information"]

_DAY = 86400.0
_LONGEST = 366  # days of usage


@attrs.frozen
class Information:
    """Answers requests for figures and lists.

    Attributes:
        ledger, tokens, database: of the core.
        metrics: the gateway's figures.
    """

    ledger: Ledger
    tokens: Tokens
    database: GatewayDatabase
    metrics: Metrics

    def answer(self, exchange: Exchange, models: Models, authorised: Callable[[], Token]) -> Iterable[bytes]:
        """Return the response.

        Raises:
            RequestError: there is no such address, or it is not answered.
        """
        path, record = exchange.path, exchange.record
        name = path.removeprefix("/v1/models/") if path.startswith("/v1/models/") else None
        known = {"/v1/models", "/api/balance", "/api/usage", "/healthz", "/readyz", "/metrics", "/openapi.json"}
        if path not in known and name is None:
            hidden = path == "/" and models.config.page and not models.config.shows_page
            told = "several workers serve the chat page only with redis in [storage] of the configuration"
            raise RequestError(told if hidden else "there is nothing at this address", status=404, code="not_found")
        record.endpoint = "/v1/models/{model}" if name is not None else path
        if exchange.method not in ("GET", "HEAD"):
            raise RequestError(
                "only GET is answered here", status=405, code="wrong_method", headers={"allow": "GET, HEAD"}
            )
        if name is not None:
            return exchange.json(self._model(models, authorised(), name))
        if path == "/v1/models":
            return exchange.json(self._models(models, authorised()))
        if path == "/api/balance":
            return exchange.json(self._balance(authorised()))
        if path == "/api/usage":
            return exchange.json(self._usage(authorised(), exchange))
        if path == "/healthz":
            return exchange.text("ok\n")
        if path == "/readyz":
            return self._ready(exchange)
        if path == "/openapi.json":
            return exchange.json(description(models.names()))
        return self._figures(exchange)

    # -- models ------------------------------------------------------------------------------------------

    def _models(self, models: Models, token: Token) -> dict[str, Any]:
        return {"object": "list", "data": [_shape(name) for name in models.names() if self.tokens.allows(token, name)]}

    def _model(self, models: Models, token: Token, name: str) -> dict[str, Any]:
        found = models.find(name)
        self.tokens.check(token, found.name)
        return _shape(found.name)

    # -- money -------------------------------------------------------------------------------------------

    def _balance(self, token: Token) -> dict[str, Any]:
        payer = self.tokens.payer(token)
        balance = self.ledger.balance(payer.account)
        shape: dict[str, Any] = {
            "currency": "USD",
            "account": "team" if payer.account.startswith("team:") else "token",
            "unlimited": payer.overdraft,
            "available": None if payer.overdraft else usd_of(balance.available),
            "reserved": usd_of(balance.reserved),
            "spent": usd_of(balance.spent),
        }
        for holder in payer.holders:
            limits = holder.limits
            shown = {"request": limits.request, "day": limits.day, "month": limits.month}
            named = {name: usd_of(amount) for name, amount in shown.items() if amount is not None}
            if named:
                shape.setdefault("limits", {})[holder.name.partition(":")[0]] = named
        return shape

    def _usage(self, token: Token, exchange: Exchange) -> dict[str, Any]:
        query = parse_qs(exchange.environ.get("QUERY_STRING", ""))
        by = query.get("by", ["day"])[-1]
        if by not in ("day", "model"):
            raise RequestError("by is day or model", param="by")
        text = query.get("days", ["30"])[-1]
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= _LONGEST):
            raise RequestError(f"days is a whole number from 1 to {_LONGEST}", param="days")
        now = time.time()
        rows = self.ledger.usage(f"token:{token.id}", since=now - int(text) * _DAY, until=now, by=by)
        return {
            "currency": "USD",
            "by": by,
            "data": [
                {
                    by: row.key,
                    "requests": row.requests,
                    "input_tokens": row.input_tokens,
                    "output_tokens": row.output_tokens,
                    "cost": usd_of(row.amount),
                }
                for row in rows
            ],
        }

    # -- health ------------------------------------------------------------------------------------------

    def _ready(self, exchange: Exchange) -> Iterable[bytes]:
        try:
            self.ledger.balance("token:none")
        except StoreError:
            return exchange.text("the ledger cannot be read\n", 503)
        return exchange.text("ready\n")

    def _figures(self, exchange: Exchange) -> Iterable[bytes]:
        text, kind = self.metrics.text()
        return exchange.answer(200, text, {"content-type": kind})


def _shape(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "streamkit"}
