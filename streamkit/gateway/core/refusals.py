"""The errors of a request that may not spend: ``RequestError`` with 402 and 429."""

from __future__ import annotations

from streamkit.errors import RequestError
from streamkit.gateway.core.money import NANO, usd_of

__all__ = ["insufficient_balance", "spending_limit_exceeded", "too_many_streams"]

_SPANS = {"request": "a request", "day": "24 hours", "month": "30 days"}
_TYPE = "insufficient_quota"  # which OpenAI's clients know, and do not try again


def _whose(holder: str) -> str:
    return "team" if holder.startswith("team:") else "token"


def insufficient_balance(available: int, requested: int, *, whose: str) -> RequestError:
    """Return the error for a balance that is too low.

    Args:
        available: in nano.
        requested: in nano.
        whose: the name of the account.
    """
    return RequestError(
        f"the balance of this {_whose(whose)} is too low: {usd_of(available)} USD are available, and the request may "
        f"cost {usd_of(requested)} USD",
        status=402,
        code="insufficient_balance",
        type=_TYPE,
        details={"current": available / NANO, "requested": requested / NANO},
    )


def spending_limit_exceeded(limit: str, current: int, requested: int, most: int, *, whose: str) -> RequestError:
    """Return the error for a limit of spending.

    Args:
        limit: ``request``, ``day`` or ``month``.
        current: what was spent in that time and what is reserved, in nano.
        requested: in nano.
        most: the limit, in nano.
        whose: the name of the holder.
    """
    return RequestError(
        f"the limit of this {_whose(whose)} for {_SPANS[limit]} is {usd_of(most)} USD: {usd_of(current)} USD are spent "
        f"or reserved, and the request may cost {usd_of(requested)} USD",
        status=402,
        code="spending_limit_exceeded",
        type=_TYPE,
        details={
            "limit": limit,
            "current": current / NANO,
            "requested": requested / NANO,
            "max": most / NANO,
        },
    )


def too_many_streams(current: int, most: int, *, whose: str) -> RequestError:
    """Return the error for too many requests at once.

    Args:
        current: how many are under way.
        most: the limit.
        whose: the name of the holder.
    """
    return RequestError(
        f"this {_whose(whose)} may have {most} requests at once, and {current} are under way",
        status=429,
        code="too_many_streams",
        type="rate_limit_error",
        headers={"retry-after": "1"},
        details={"limit": "streams", "current": current, "max": most},
    )
