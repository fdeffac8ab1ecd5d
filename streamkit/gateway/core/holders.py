"""Who spends, and from what: ``Limits``, ``Holder``, ``Payer``."""

from __future__ import annotations

import attrs

__all__ = ["Holder", "Limits", "Payer"]


@attrs.frozen
class Limits:
    """Limits of a token or a team; ``None`` for no limit, amounts in nano.

    Attributes:
        request: of one request.
        day: of any 24 hours.
        month: of any 30 days.
        requests_per_minute: requests that begin in a minute.
        tokens_per_minute: tokens of language models in a minute.
        streams: requests at once.
    """

    request: int | None = None
    day: int | None = None
    month: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    streams: int | None = None


@attrs.frozen
class Holder:
    """A token or a team, as far as the ledger knows it.

    Attributes:
        name: ``token:<id>`` or ``team:<name>``.
        limits: its own.
    """

    name: str
    limits: Limits = Limits()


@attrs.frozen
class Payer:
    """What a request is paid from, and whose limits hold.

    Attributes:
        account: a holder's name: the token's own if it has a balance of its own, else its team's.
        holders: the token, then its team if it has one. The limits of each hold.
        overdraft: the balance is not limited: nothing is taken from it.
    """

    account: str
    holders: tuple[Holder, ...]
    overdraft: bool = False
