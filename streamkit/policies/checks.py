"""Checks of the arguments of policies, and policies that a forked child begins anew."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol

from streamkit.errors import ConfigError
from streamkit.settings import LONGEST_WAIT, shown

__all__ = ["checked_count", "checked_seconds", "renew_after_fork"]


def checked_count(name: str, value: Any) -> int:
    """Return a whole number from 1.

    Args:
        name: the argument, for the error's message.
        value: what was passed.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be an integer from 1, not {shown(value)}")
    return value


def checked_seconds(name: str, value: Any) -> float:
    """Return a number of seconds above 0, at most ``LONGEST_WAIT``.

    Args:
        name: the argument, for the error's message.
        value: what was passed.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ConfigError(f"{name} must be a number of seconds above 0, not {shown(value)}")
    return float(min(value, LONGEST_WAIT))


class _Renewable(Protocol):
    def _renew(self) -> None: ...


# No lock, as a forked child could inherit it locked. Each single operation on a dict is atomic, with and without the
# GIL, and only a forked child, which has one thread, iterates it.
_kept: dict[int, weakref.ref[_Renewable]] = {}


def renew_after_fork(policy: _Renewable) -> None:
    """Call ``policy._renew()`` in each forked child.

    A thread of the parent may have held its lock at the fork, in the middle of a change, and does not run in the child;
    and the requests that it knows of are the parent's.
    """
    key, kept = id(policy), _kept
    kept[key] = weakref.ref(policy, lambda _: kept.pop(key, None))


def _after_fork_in_child() -> None:
    for reference in list(_kept.values()):
        if (policy := reference()) is not None:
            policy._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
