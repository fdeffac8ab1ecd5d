"""The rule by which an amount is put aside for a request: ``Reserve``."""

from __future__ import annotations

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.core.holders import Holder, Payer
from streamkit.gateway.core.operations import Operation
from streamkit.gateway.core.records import About, Reservation
from streamkit.gateway.core.refusals import insufficient_balance, spending_limit_exceeded, too_many_streams
from streamkit.gateway.core.sheet import WORLD, Open, Sheet, reserved_of

__all__ = ["Reserve"]


@attrs.frozen
class Reserve(Operation):
    """See ``Ledger.reserve``."""

    payer: Payer
    request_id: str
    wanted: int
    least: int
    about: About

    def requests(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return (self.request_id,)

    def accounts(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return (self.payer.account, *(holder.name for holder in self.payer.holders))

    def windows(self) -> list[str]:
        """Return the names of the holders that have a limit of what they spend in a time."""
        return [
            each.name for each in self.payer.holders if each.limits.day is not None or each.limits.month is not None
        ]

    def apply(self, sheet: Sheet) -> Reservation:
        """See ``Operation``."""
        known = self._known(sheet)
        if known is not None:
            return known
        self._check_streams(sheet)
        amount = self._amount(sheet)
        source = WORLD if self.payer.overdraft else self.payer.account
        account = sheet.account(self.payer.account)
        if not self.payer.overdraft:
            account.available -= amount
        account.reserved += amount
        sheet.move("reserve", self.request_id, {source: -amount, reserved_of(account.name): amount})
        about = self.about
        reservation = Open(
            self.request_id,
            self.payer.account,
            about.token,
            about.team,
            self.payer.overdraft,
            amount,
            None,
            sheet.now.at,
            "",
            0.0,
            0.0,
            about.model,
            about.endpoint,
            about.label,
        )
        sheet.add_reservation(reservation)
        return Reservation(self.request_id, account.name, amount, "open", sheet.now.at)

    def _known(self, sheet: Sheet) -> Reservation | None:
        """Return the reservation that this request has already.

        Raises:
            ConfigError: it is of another account.
        """
        reservation, charge = sheet.reservations.get(self.request_id), sheet.charges.get(self.request_id)
        if reservation is not None:
            known = Reservation(self.request_id, reservation.account, reservation.amount, "open", reservation.at)
        elif charge is not None:
            known = Reservation(self.request_id, charge.account, charge.reserved, charge.state, charge.started_at)
        else:
            return None
        if known.account != self.payer.account:
            raise ConfigError("this id of a request was used for another account")
        return known

    def _check_streams(self, sheet: Sheet) -> None:
        for holder in self.payer.holders:
            most, current = holder.limits.streams, sheet.accounts[holder.name].streams
            if most is not None and current >= most:
                raise too_many_streams(current, most, whose=holder.name)

    def _amount(self, sheet: Sheet) -> int:
        """Return what may be reserved: what is wanted, or the most that balance and limits allow.

        Raises:
            RequestError: that is less than the least.
        """
        amount, refusal = self.wanted, None
        if not self.payer.overdraft:
            available = sheet.accounts[self.payer.account].available
            if available < amount:
                amount = available
                refusal = insufficient_balance(available, self.least, whose=self.payer.account)
        for holder in self.payer.holders:
            for name, current, most in _limits(holder, sheet):
                room = max(most - current, 0)  # below zero where more was spent than was reserved
                if room < amount:
                    amount = room
                    refusal = spending_limit_exceeded(name, current, self.least, most, whose=holder.name)
        if refusal is not None and amount < self.least:
            raise refusal
        return amount


def _limits(holder: Holder, sheet: Sheet) -> list[tuple[str, int, int]]:
    """Return the name, the present amount and the most of each limit of a holder."""
    found = []
    limits, under_way = holder.limits, sheet.accounts[holder.name].open_amount
    if limits.request is not None:
        found.append(("request", 0, limits.request))
    if limits.day is not None:
        found.append(("day", sheet.spent[holder.name].day + under_way, limits.day))
    if limits.month is not None:
        found.append(("month", sheet.spent[holder.name].month + under_way, limits.month))
    return found
