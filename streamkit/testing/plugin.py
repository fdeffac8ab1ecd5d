"""The pytest plugin: servers that are closed at the end of a test, and a detector of threads left running.

Installed with the package; pytest finds it by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from streamkit.testing.server import Server

_PREFIX = "streamkit-"
_LEAK_SECONDS = 2.0


@pytest.fixture
def streamkit_server() -> Iterator[Server]:
    """Start a server that tells the story, all at once."""
    from streamkit.testing.server import Server

    with Server(tokens_per_second=0) as server:
        yield server


@pytest.fixture
def streamkit_serve() -> Iterator[Callable[..., Server]]:
    """Give a factory, `serve(*answers, **options) -> Server`; the test's end closes what it made."""
    from streamkit.testing.server import Server

    with ExitStack() as servers:

        def serve(*answers: Any, **options: Any) -> Server:
            return servers.enter_context(Server(*answers, **options))

        yield serve


@pytest.fixture
def no_streamkit_leaks() -> Iterator[None]:
    """Fail the test when a `streamkit-` thread that it started is still alive 2 s after it."""
    before = set(threading.enumerate())
    yield
    leaked = list(_still_alive(before, time.monotonic() + _LEAK_SECONDS))
    if leaked:
        pytest.fail(f"threads still alive {_LEAK_SECONDS:g} s after the test: {', '.join(leaked)}")


def _still_alive(before: set[threading.Thread], deadline: float) -> Iterator[str]:
    """Yield the names of the new threads of streamkit's that do not end before the deadline."""
    for thread in threading.enumerate():
        if thread.name.startswith(_PREFIX) and thread not in before:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                yield thread.name
