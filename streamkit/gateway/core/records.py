"""The ledger's values: ``About``, ``Reservation``, ``Settlement``, ``Charge``, ``Balance``, ``Usage``, ``Problem``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

__all__ = ["About", "Balance", "Charge", "Problem", "Reservation", "Settlement", "Usage", "charge_of"]


@attrs.frozen
class About:
    """What a request is, for reports.

    Attributes:
        token: its id; "" for none.
        team: its name; "" for none.
        model: as the client asked for it.
        endpoint: such as ``/v1/chat/completions``.
        label: for reports of one's own; "" for none.
    """

    token: str
    team: str
    model: str
    endpoint: str
    label: str = ""


@attrs.frozen
class Settlement:
    """How a request ended.

    Attributes:
        status: of HTTP; 499 where the client left.
        estimated: whether the amount is an estimate, as the provider has not reported its usage.
        provider: that answered; "" for none.
        model: its name at the provider.
        input_tokens: of the prompt, those from a cache included.
        output_tokens: of the reply, those of its reasoning included.
        cached_tokens: of the prompt, read from the provider's cache.
        reasoning_tokens: of the reply.
        seconds: from the request to its end.
    """

    status: int = 200
    estimated: bool = False
    provider: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0


@attrs.frozen
class Reservation:
    """An amount that was put aside for a request.

    Attributes:
        request_id: the caller's.
        account: from which it is.
        amount: in nano; it may be less than was wanted.
        state: ``open``; ``settled``, ``released`` or ``recovered`` where the request has its charge.
        at: seconds since 1970.
    """

    request_id: str
    account: str
    amount: int
    state: str
    at: float


@attrs.frozen
class Charge:
    """The end of a request: what it has cost, also where that is nothing. Amounts are in nano.

    Attributes:
        request_id: the caller's.
        account: that pays.
        token: the id of the token that asked; "" for none.
        team: the name of its team; "" for none.
        overdraft: the account's balance is not limited: nothing was taken from it.
        reserved: what was put aside.
        amount: what it has cost.
        shortfall: the part of the amount for which the account had no money.
        state: ``settled``, ``released``, or ``recovered``: by another process, as the request's own had died.
        estimated: whether the amount is an estimate.
        started_at: seconds since 1970, of the reservation.
        at: seconds since 1970, of the charge.
        status: of HTTP; 0 where it is not known.
        model: as the client asked for it.
        endpoint: that was asked.
        label: see ``About``.
        provider: that answered; "" for none.
        provider_model: its name there.
        input_tokens: see ``Settlement``.
        output_tokens: see ``Settlement``.
        cached_tokens: see ``Settlement``.
        reasoning_tokens: see ``Settlement``.
        seconds: see ``Settlement``.
    """

    request_id: str
    account: str
    token: str
    team: str
    overdraft: bool
    reserved: int
    amount: int
    shortfall: int
    state: str
    estimated: bool
    started_at: float
    at: float
    status: int
    model: str
    endpoint: str
    label: str
    provider: str
    provider_model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    seconds: float


def charge_of(row: Sequence[Any]) -> Charge:
    """Return the charge of a row of ``charges``. SQLite's own driver gives booleans as 0 and 1."""
    values = dict(zip(_CHARGE, row, strict=True))
    return Charge(**{**values, "overdraft": bool(values["overdraft"]), "estimated": bool(values["estimated"])})


_CHARGE = tuple(each.name for each in attrs.fields(Charge))


@attrs.frozen
class Balance:
    """The sums of an account, in nano.

    Attributes:
        available: what can be reserved; never below zero.
        reserved: for requests that are under way.
        spent: by requests that have ended.
    """

    available: int = 0
    reserved: int = 0
    spent: int = 0


@attrs.frozen
class Usage:
    """The charges of a day, a model or a token, added up.

    Attributes:
        key: the day as ``2026-11-27`` (UTC), the model, or the token's id.
        requests: how many ended.
        failed: how many of them without success.
        estimated: how many have an estimated amount.
        amount: in nano.
        input_tokens: see ``Settlement``.
        output_tokens: see ``Settlement``.
        cached_tokens: see ``Settlement``.
        reasoning_tokens: see ``Settlement``.
    """

    key: str
    requests: int
    failed: int
    estimated: int
    amount: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


@attrs.frozen
class Problem:
    """Something in the ledger that cannot be.

    Attributes:
        rule: which rule is broken, such as ``sum`` or ``balance``.
        subject: the account, request or movement.
        text: what is wrong, for people.
    """

    rule: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}: {self.text}"
