"""What a scripted server does: steps, and the Reply that puts them in order.

Everything here is a value: a reply may be used for any number of requests, and by many threads at once.
A step of one's own is a subclass of `Step` whose `play` uses the `Output` it is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal

import attrs

if TYPE_CHECKING:
    from streamkit.testing.output import Output

Framing = Literal["chunked", "close", "length"]
Encoding = Literal["gzip"]


def to_bytes(data: bytes | str) -> bytes:
    """Encode text as UTF-8, once, when a step is made; what UTF-8 cannot say becomes a question mark."""
    return data.encode("utf-8", "replace") if isinstance(data, str) else bytes(data)


class HangUp(Exception):
    """End this connection now: with a FIN, or with a RST where `reset` is true."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("reset" if reset else "cut")
        self.reset = reset


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


def _all_steps(steps: Iterable[Step | bytes | str]) -> tuple[Step, ...]:
    return tuple(step if isinstance(step, Step) else Send(step) for step in steps)


def _all_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


@attrs.frozen
class Reply:
    r"""One answer: a head, then steps that send the body or spoil it.

    When the steps are done the framing is finished, with the zero chunk of "chunked" or the FIN of "close",
    unless a Cut or a Reset ended the connection first. Strings and bytes among the steps are Sends:

        Reply(["data: one\n\n", Cut()])

    Args:
        steps: what happens after the head, in order.
        status: the status code.
        content_type: the Content-Type; None sends none.
        headers: more headers, a mapping or pairs, sent as they are.
        framing: how the client learns where the body ends. "length" computes a Content-Length from what the
            steps send, with the encoding applied.
        encoding: "gzip" compresses the body, and flushes after each piece so that the client can read it.
        keep_alive: False says Connection: close, and closes after the reply.
        content_length: with framing "length", the number of bytes to claim instead. The connection ends
            after a lie.
        before_head: steps before the status line: those that wait, end the connection, or write Raw bytes.
        head: False sends no status line and no headers; Raw steps may send some.
    """

    steps: tuple[Step, ...] = attrs.field(default=(), converter=_all_steps)
    status: int = attrs.field(default=200, kw_only=True)
    content_type: str | None = attrs.field(default="text/event-stream", kw_only=True)
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_all_headers, kw_only=True)
    framing: Framing = attrs.field(default="chunked", kw_only=True)
    encoding: Encoding | None = attrs.field(default=None, kw_only=True)
    keep_alive: bool = attrs.field(default=True, kw_only=True)
    content_length: int | None = attrs.field(default=None, kw_only=True)
    before_head: tuple[Step, ...] = attrs.field(default=(), converter=_all_steps, kw_only=True)
    head: bool = attrs.field(default=True, kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Refuse a script that cannot be played, where it is written and not where it would fail."""
        if self.framing not in ("chunked", "close", "length"):
            raise ValueError(f"framing is 'chunked', 'close' or 'length', not {self.framing!r}")
        if self.encoding not in (None, "gzip"):
            raise ValueError(f"encoding is None or 'gzip', not {self.encoding!r}")
        if self.content_length is not None and self.framing != "length":
            raise ValueError("content_length goes with framing='length'")
        if any(isinstance(step, (Send, Trickle, Repeat, Paced)) for step in self.before_head):
            raise ValueError("before_head sends no body; write bytes there with Raw")
        if self.framing == "length" and self.content_length is None and self.endless:
            raise ValueError("an endless Repeat has no length: give content_length, or another framing")

    @property
    def endless(self) -> bool:
        """Whether the body has no end of its own."""
        return any(isinstance(step, Repeat) and step.count is None for step in self.steps)

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow on the connection, as far as this reply is concerned."""
        return self.keep_alive and self.framing != "close" and self.content_length is None

    def but(self, **changes: Any) -> Reply:
        """Return this reply with some of its arguments changed: `text_reply("Hi").but(framing="close")`."""
        return attrs.evolve(self, **changes)

    def first(self, count: int) -> Reply:
        """Return this reply with only its first `count` steps."""
        return self.but(steps=self.steps[:count])

    def then(self, *steps: Step | bytes | str) -> Reply:
        """Return this reply with more steps at its end: `text_reply("Hi").first(1).then(Cut())`."""
        return self.but(steps=(*self.steps, *steps))
