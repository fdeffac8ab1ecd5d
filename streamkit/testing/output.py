"""The output that a reply's steps write to: it encodes and frames the body."""

from __future__ import annotations

import threading
from typing import NoReturn

from streamkit.testing.encoding import Encoding, encoder_of
from streamkit.testing.request import Request
from streamkit.testing.socket_line import HangUp, SocketLine


class Output:
    """What a step is given to play on.

    Threads: belongs to the one thread of its connection. Every method may raise ClientGone or ServerClosed,
    which a step lets pass.
    """

    def __init__(self, request: Request, line: SocketLine, *, encoding: Encoding | None, chunked: bool) -> None:
        self.request = request
        self._line = line
        self._encoder = encoder_of(encoding)
        self._chunked = chunked

    def send(self, data: bytes) -> None:
        """Write a piece of the body, in one write and one frame."""
        self._write(self._encoder.encode(data))

    def trickle(self, data: bytes, pause: float) -> None:
        """Write a piece of the body a byte a write, a pause of some seconds before each but the first."""
        for at, byte in enumerate(self._encoder.encode(data)):
            if at and pause:
                self.wait(pause)
            self._write(b"%c" % byte)

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        self._line.send(data)

    def wait(self, seconds: float | None) -> None:
        """Wait some seconds, or, with None, for the end of the client or the server."""
        self._line.wait(seconds)

    def wait_for(self, event: threading.Event, seconds: float) -> None:
        """Wait for an event.

        Raises:
            AssertionError: it was not set in time.
        """
        if not self._line.wait_for(event, seconds):
            raise AssertionError(f"WaitFor: nobody set the event within {seconds:g} s, for {self.request!r}")

    def hang_up(self, *, reset: bool) -> NoReturn:
        """End the connection here, with a RST or a FIN, and the reply with it."""
        raise HangUp(reset=reset)

    def finish(self) -> None:
        """Write what ends the encoding and the framing."""
        self._write(self._encoder.finish())
        if self._chunked:
            self._line.send(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if data:  # an empty chunk would be the last one
            self._line.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            self.request.sent += len(data)
