"""Amounts of money: whole billionths of a dollar, ``nano``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from streamkit.errors import ConfigError
from streamkit.settings import shown

__all__ = ["MOST", "NANO", "nano_of", "usd_of"]

#: Of a dollar, in nano.
NANO = 10**9
#: The largest amount, in nano: a billion dollars. Sums of many fit into the 64 bits of a database's integer.
MOST = 10**18

_DIGITS = 9  # after the point


def nano_of(usd: str | int | Decimal) -> int:
    """Return an amount in nano. It is exact: a float is refused, and so is what is finer than a nano.

    Args:
        usd: dollars, as ``"12.50"``.

    Raises:
        ConfigError: it is no number, is finer than a billionth of a dollar, or is more than a billion dollars.
    """
    if isinstance(usd, bool) or not isinstance(usd, (str, int, Decimal)):
        raise ConfigError(f'an amount of dollars is a text such as "12.50", or a whole number, not {shown(usd)}')
    try:
        amount = Decimal(usd.strip() if isinstance(usd, str) else usd)
    except InvalidOperation:
        raise ConfigError(f'an amount of dollars is a number such as "12.50", not {shown(usd)}') from None
    if not amount.is_finite() or abs(amount) > MOST // NANO:
        raise ConfigError(f"an amount of dollars is at most a billion, not {shown(usd)}")
    sign, digits, exponent = amount.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits)))
    shift = exponent + _DIGITS
    if shift < 0:
        whole, rest = divmod(whole, 10**-shift) if -shift <= len(digits) else (0, whole)
        if rest:
            raise ConfigError(f"an amount of dollars has at most {_DIGITS} digits after the point, not {shown(usd)}")
        shift = 0
    for _ in range(shift if whole else 0):
        whole *= 10
    return -whole if sign else whole


def usd_of(nano: int) -> str:
    """Return an amount as exact decimal text in dollars, with at least two digits after the point."""
    whole, rest = divmod(abs(nano), NANO)
    digits = f"{rest:0{_DIGITS}d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}{whole}.{digits}"
