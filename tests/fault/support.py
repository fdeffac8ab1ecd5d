"""Helpers of the fault tests: a client for a server, bounded waits, and counts of leftover resources."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from streamkit import Client, Retry, Timeout, providers
from streamkit.testing import Server

SOON = 60.0  # seconds; the longest that any test waits for what takes milliseconds, on a machine however busy
LATE = 0.3  # seconds; how far beyond its limit a timeout may fire
NOISE = 30.0  # seconds; granted on top of it, for machines are slow at times
NEVER = 300.0  # seconds; a limit that ends nothing in a test: what waits for it has failed long before


def client_of(server: Server, **options: object) -> Client:
    settings: dict[str, object] = {"timeout": Timeout(connect=NEVER, first=NEVER, idle=NEVER), "retry": Retry(1)}
    settings.update(options)
    return Client([providers.OpenAI(api_key="sk-SECRET", base_url=server.url)], **settings)  # type: ignore[arg-type]


def readers() -> list[threading.Thread]:
    """Return the reader threads of streams, without the thread that polls plain events."""
    names = ((thread, thread.name) for thread in threading.enumerate())
    return [thread for thread, name in names if name.startswith("streamkit-") and name != "streamkit-events"]


def join_readers() -> None:
    """Wait until no reader is left."""
    deadline = time.monotonic() + SOON
    for thread in readers():
        thread.join(max(0.0, deadline - time.monotonic()))
    assert readers() == []


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def settle_at(most: int) -> None:
    """Wait until no more descriptors than this are open; servers in this process close theirs a moment later."""
    gc.collect()
    deadline, never = time.monotonic() + SOON, threading.Event()
    while (count := descriptors()) > most:
        assert time.monotonic() < deadline, f"{count} descriptors are open, {most} were"
        never.wait(0.01)


@contextmanager
def nothing_left(slack: int = 0) -> Iterator[None]:
    """Check that the block leaves no reader and no descriptor behind, beyond ``slack`` descriptors."""
    gc.collect()
    before = descriptors()
    yield
    join_readers()
    settle_at(before + slack)
