"""The steps that a scripted reply consists of: send, wait, cut, reset."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from streamkit.testing.output import Output


def to_bytes(data: bytes | str) -> bytes:
    """Encode text as UTF-8, once, when a step is made; what UTF-8 cannot say becomes a question mark."""
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)


class Step:
    """One thing a server does while it answers.

    Threads: `play` runs in the thread of the connection. It must wait only through its `Output`, which
    notices a client that leaves and a server that closes.
    """

    __slots__ = ()

    def play(self, out: Output) -> None:
        """Do it."""
        raise NotImplementedError

    def payload(self) -> Iterable[bytes]:
        """Return what this step adds to the body, piece by piece, for a Content-Length to be computed."""
        return ()


@attrs.frozen
class Send(Step):
    """Send a piece of the body: one write, in a frame of its own where the framing has frames."""

    data: bytes = attrs.field(converter=to_bytes)

    def play(self, out: Output) -> None:
        """Write the data."""
        out.send(self.data)

    def payload(self) -> Iterable[bytes]:
        """Return the data."""
        return (self.data,)


@attrs.frozen
class Trickle(Step):
    """Send a piece of the body a byte a write, with a pause in seconds before each byte but the first."""

    data: bytes = attrs.field(converter=to_bytes)
    pause: float = 0.0

    def play(self, out: Output) -> None:
        """Write the bytes."""
        out.trickle(self.data, self.pause)

    def payload(self) -> Iterable[bytes]:
        """Return the data."""
        return (self.data,)


@attrs.frozen
class Repeat(Step):
    """Send the same piece again and again: `count` times, or, with None, until the client has left.

    The body is never built in memory, so this makes events of any size, and bombs of any encoding.
    """

    data: bytes = attrs.field(converter=to_bytes)
    count: int | None = None

    def play(self, out: Output) -> None:
        """Write the data until the count is reached."""
        for piece in self.payload():
            out.send(piece)

    def payload(self) -> Iterable[bytes]:
        """Return the data, `count` times or without end."""
        return repeat(self.data) if self.count is None else repeat(self.data, self.count)


def _all_bytes(pieces: Iterable[bytes | str]) -> tuple[bytes, ...]:
    return tuple(to_bytes(piece) for piece in pieces)


@attrs.frozen
class Paced(Step):
    """Send pieces at a steady rate: one each `every` seconds, the first after `first` seconds.

    The clock is absolute, so that a late piece does not delay all that follow, as a Wait between Sends would.
    Times below a millisecond are met on average only: two pieces may go out together.
    """

    pieces: tuple[bytes, ...] = attrs.field(converter=_all_bytes)
    every: float = attrs.field(kw_only=True)
    first: float = attrs.field(default=0.0, kw_only=True)

    def play(self, out: Output) -> None:
        """Write each piece when it is due."""
        due = time.monotonic() + self.first
        for piece in self.pieces:
            out.wait(due - time.monotonic())
            out.send(piece)
            due += self.every

    def payload(self) -> Iterable[bytes]:
        """Return the pieces."""
        return self.pieces


@attrs.frozen
class Wait(Step):
    """Wait for some seconds, or, with None, until the client leaves or the server closes.

    A client that leaves ends the wait and the reply, and sets `request.gone`.
    """

    seconds: float | None

    def play(self, out: Output) -> None:
        """Wait."""
        out.wait(self.seconds)


@attrs.frozen(eq=False)
class WaitFor(Step):
    """Wait until the test sets an event: a handshake by events, never by time.

    An event that is not set within `timeout` seconds is a failure of the test, which `Server.close()` raises.
    A client that leaves ends the wait and the reply, and sets `request.gone`.
    """

    event: threading.Event
    timeout: float = 10.0

    def play(self, out: Output) -> None:
        """Wait for the event."""
        out.wait_for(self.event, self.timeout)


@attrs.frozen(eq=False)
class Mark(Step):
    """Set an event of the test's: all steps before this one are done."""

    event: threading.Event

    def play(self, out: Output) -> None:
        """Set the event."""
        self.event.set()


@attrs.frozen
class Raw(Step):
    """Write bytes on the socket as they are: no frame, no encoding, not counted."""

    data: bytes = attrs.field(converter=to_bytes)

    def play(self, out: Output) -> None:
        """Write the data."""
        out.raw(self.data)


@attrs.frozen
class Cut(Step):
    """End the connection in good manners and too early: a FIN, the framing left unfinished."""

    def play(self, out: Output) -> None:
        """End the reply."""
        out.hang_up(reset=False)


@attrs.frozen
class Reset(Step):
    """End the connection with a RST: the client gets a connection reset."""

    def play(self, out: Output) -> None:
        """End the reply."""
        out.hang_up(reset=True)
