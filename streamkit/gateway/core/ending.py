"""The rules by which a request ends: ``End``, by its own process, and ``Recover``, by another one."""

from __future__ import annotations

from typing import Any

import attrs

from streamkit.errors import MisuseError
from streamkit.gateway.core.operations import Operation
from streamkit.gateway.core.records import Charge, Settlement
from streamkit.gateway.core.sheet import SHORTFALL, WORLD, Open, Sheet, reserved_of, spent_of

__all__ = ["End", "Recover"]

#: The movement that gives a charge its state.
_KINDS = {"settled": "settle", "released": "release", "recovered": "recover"}


@attrs.frozen
class End(Operation):
    """See ``Ledger.settle`` and ``Ledger.release``."""

    request_id: str
    amount: int
    outcome: Settlement
    state: str
    must_exist: bool = True

    def requests(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return (self.request_id,)

    def apply(self, sheet: Sheet) -> Charge | None:
        """See ``Operation``."""
        reservation, charge = sheet.reservations.get(self.request_id), sheet.charges.get(self.request_id)
        if reservation is not None:
            return _end(sheet, reservation, self.amount, self.outcome, self.state)
        if charge is None:
            if self.must_exist:
                raise MisuseError("nothing was reserved for this request")
            return None
        if charge.state != "recovered":
            return charge
        return self._correct(sheet, charge)

    def _correct(self, sheet: Sheet, charge: Charge) -> Charge:
        """Replace an end that another process has made, as this one was only slow, by the true one."""
        account = sheet.account(charge.account)
        more = self.amount - charge.amount
        shortfall = charge.shortfall
        if charge.overdraft:
            source, moved = WORLD, more
        else:
            source = account.name
            # The gateway's own account pays last, and gets back first.
            moved = min(more, account.available) if more > 0 else min(more + shortfall, 0)
            account.available -= moved
        shortfall += more - moved
        account.spent += more
        sides = {spent_of(account.name): more, source: -moved, SHORTFALL: moved - more}
        sheet.move("correct", self.request_id, sides)
        corrected = attrs.evolve(
            charge, amount=self.amount, shortfall=shortfall, state=self.state, **_outcome_fields(self.outcome)
        )
        sheet.set_charge(corrected)
        return corrected


def _end(sheet: Sheet, reservation: Open, amount: int, outcome: Settlement, state: str) -> Charge:
    """End an open reservation by a charge."""
    account = sheet.account(reservation.account)
    back = reservation.amount - amount  # negative: it has cost more than was reserved
    shortfall = 0
    if reservation.overdraft:
        source = WORLD
    else:
        source = account.name
        if back < -account.available:
            shortfall = -account.available - back
            back = -account.available
        account.available += back
    account.reserved -= reservation.amount
    account.spent += amount
    sides = {
        reserved_of(account.name): -reservation.amount,
        spent_of(account.name): amount,
        source: back,
        SHORTFALL: -shortfall,
    }
    sheet.move(_KINDS[state], reservation.request_id, sides)
    sheet.end_reservation(reservation)
    charge = Charge(
        request_id=reservation.request_id,
        account=reservation.account,
        token=reservation.token,
        team=reservation.team,
        overdraft=reservation.overdraft,
        reserved=reservation.amount,
        amount=amount,
        shortfall=shortfall,
        state=state,
        started_at=reservation.at,
        at=sheet.now.at,
        model=reservation.model,
        endpoint=reservation.endpoint,
        label=reservation.label,
        **_outcome_fields(outcome),
    )
    sheet.set_charge(charge)
    return charge


def _outcome_fields(outcome: Settlement) -> dict[str, Any]:
    fields = attrs.asdict(outcome, recurse=False)
    fields["provider_model"] = fields.pop("model")
    return fields


@attrs.frozen
class Recover(Operation):
    """See ``Ledger.recover``.

    Args:
        ids: of reservations whose lease has run out, as far as is known.
    """

    ids: tuple[str, ...]

    def requests(self) -> tuple[str, ...]:
        """See ``Operation``."""
        return self.ids

    def apply(self, sheet: Sheet) -> list[Charge]:
        """See ``Operation``."""
        charges = []
        for id in self.ids:
            found = sheet.reservations.get(id)
            if found is None or not sheet.now.is_over(found.clock, found.lease_until, found.lease_wall):
                continue  # another process was faster, or its own has only been slow
            outcome = Settlement(status=0, estimated=found.known is not None, seconds=max(sheet.now.at - found.at, 0.0))
            charges.append(_end(sheet, found, found.known or 0, outcome, "recovered"))
        return charges
