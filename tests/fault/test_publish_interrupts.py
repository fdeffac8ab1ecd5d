"""An exception interrupts `publish` at each of its lines, as a signal handler may: readers always get an end."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from streamkit import MemoryLog, RateLimitError, StreamError, follow, publish
from streamkit.logs import publishing
from tests.unit.scripted import DONE, Scripted, texts


class Interrupt(BaseException):
    """Raised by a signal handler."""


def interrupt_at(line: int) -> Any:
    """Return a trace function that raises at the n-th line of `publishing` that runs in its thread."""
    left = [line]

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != publishing.__file__:
            return None
        if event == "line":
            left[0] -= 1
            if not left[0]:
                raise Interrupt
        return trace

    return trace


def interrupted(line: int, log: MemoryLog, stream: Scripted) -> bool:
    """Publish with an interrupt at a line; return whether it came."""
    before = sys.gettrace()
    sys.settrace(interrupt_at(line))
    try:
        publish(stream, log, "a")
    except Interrupt:
        return True
    except RateLimitError:
        return False
    finally:
        sys.settrace(before)
        for thread in threading.enumerate():
            if thread.name.startswith("streamkit-publish"):
                thread.join(60)
                assert not thread.is_alive(), line
    return False


@pytest.mark.slow
@pytest.mark.parametrize("error", [None, RateLimitError("slow down")], ids=["complete", "failed"])
def test_interrupted_at_each_line(error: StreamError | None) -> None:
    """The exception goes through, the stream is ended, the threads too, and the readers are told how it ended."""
    statuses: list[str] = []
    while True:
        log = MemoryLog(lease=60.0)
        stream = Scripted([*texts("a"), DONE][: 1 if error else 2], error, "error" if error else "complete")
        if not interrupted(len(statuses) + 1, log, stream):
            break
        statuses.append(log.status("a"))
        if statuses[-1] == "ended":
            with suppress(StreamError):
                assert "a" in follow(log, "a").collect().text
            assert "open" != stream.status
    # Before it began; as the lease came, so that only its end tells the readers; and from then on.
    begun = statuses.count("absent")
    assert begun < 40 < len(statuses)
    assert ["ended"] * (len(statuses) - begun - 1) == statuses[begun + 1 :]
