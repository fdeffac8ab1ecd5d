"""The threads that the package starts: ``OwnThread`` for its own work, and their base."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["InterruptibleThread", "OwnThread"]


class InterruptibleThread(threading.Thread):
    """A thread whose start a signal handler may interrupt by an exception."""

    def start(self) -> None:
        """Start the thread; an exception of a signal handler meanwhile is raised in the caller.

        ``threading.Thread.start`` expects no exception once the thread runs. Its clean-up then raises a KeyError, which
        would replace the handler's exception.
        """
        try:
            super().start()
        except KeyError as error:
            raise error.__context__ or error from None


class OwnThread(InterruptibleThread):
    """A daemon thread of the package, in which no code of the program runs: see ``Delivery.drop``.

    Args:
        target: the function that the thread runs.
        args: its arguments.
        name: the thread's name.
    """

    def __init__(self, target: Callable[..., object], args: tuple[Any, ...], name: str) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)
