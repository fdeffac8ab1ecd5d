"""What an operation of the ledger is: ``Operation``; and the small ones, ``Keep`` and ``AddMoney``.

An operation names the rows that it needs, and changes them by ``apply``: it decides first, and one that raises has
changed nothing. So any number of operations share one sheet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.core.money import MOST, usd_of
from streamkit.gateway.core.refusals import insufficient_balance
from streamkit.gateway.core.sheet import WORLD, Sheet, TopUp

__all__ = ["AddMoney", "Keep", "Operation"]


class Operation(ABC):
    """What the ledger does with a sheet."""

    def requests(self) -> tuple[str, ...]:
        """Return the ids of the requests whose reservations and charges are needed."""
        return ()

    def accounts(self) -> tuple[str, ...]:
        """Return the names of the accounts that are needed, besides those of the requests."""
        return ()

    @abstractmethod
    def apply(self, sheet: Sheet) -> Any:
        """Change the sheet, and return the result for the caller."""


@attrs.frozen
class Keep(Operation):
    """See ``Ledger.keep``."""

    known: Mapping[str, int]

    def requests(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return tuple(self.known)

    def apply(self, sheet: Sheet) -> frozenset[str]:
        """See ``Operation``."""
        lost = set()
        for id, known in self.known.items():
            reservation = sheet.reservations.get(id)
            if reservation is None:
                lost.add(id)
            else:
                reservation.known = known
                sheet.keep(reservation)
        return frozenset(lost)


@attrs.frozen
class AddMoney(Operation):
    """See ``Ledger.top_up``."""

    account: str
    amount: int
    id: str
    by: str
    note: str

    def accounts(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return (self.account,)

    def apply(self, sheet: Sheet) -> int:
        """See ``Operation``."""
        known = sheet.topups.get(self.id)
        if known is not None:
            if (known.account, known.amount) != (self.account, self.amount):
                raise ConfigError("this id was used for another top-up")
            return known.available
        available = sheet.accounts[self.account].available + self.amount
        if available < 0:
            raise insufficient_balance(available - self.amount, -self.amount, whose=self.account)
        if available > MOST:
            raise ConfigError(f"a balance is at most {usd_of(MOST)} USD")
        sheet.account(self.account).available = available
        sheet.move("topup", self.id, {WORLD: -self.amount, self.account: self.amount})
        topup = TopUp(self.id, self.account, self.amount, available, sheet.now.at, self.by, self.note)
        sheet.add_topup(topup)
        return available
