"""The thread of one connection: read requests and play replies, until either side closes it."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from streamkit.testing.openai_replies import error_reply
from streamkit.testing.playing import play
from streamkit.testing.reply import Reply
from streamkit.testing.request import Headers, Malformed, Request, read_request
from streamkit.testing.socket_line import ClientGone, HangUp, ServerClosed, SocketLine

# How long a connection that the server has ended waits for the client to end it too.
_LINGER_SECONDS = 10.0


class Host(Protocol):
    """The part of the server that a connection uses."""

    def take(self, request: Request) -> Reply:
        """Record a request and return the reply to it."""

    def note_failure(self, error: BaseException) -> None:
        """Keep a failure, to be raised in the test."""

    def leave(self, number: int) -> None:
        """Remove the connection."""


class Connection:
    """One connection, from accept() to close().

    Threads: everything runs in one thread, `run`.
    """

    def __init__(self, host: Host, line: SocketLine, number: int) -> None:
        self._host = host
        self._line = line
        self._number = number
        # All requests of this connection that anybody still holds: they share the client that leaves.
        self._requests: WeakSet[Request] = WeakSet()

    def run(self) -> None:
        """Serve the connection to its end, whoever ends it; nothing is raised."""
        try:
            self._talk()
        except ClientGone:
            self._mark_gone()
        except ServerClosed:
            pass
        except BaseException as error:
            self._host.note_failure(error)
        finally:
            self._line.close()
            self._host.leave(self._number)

    def _talk(self) -> None:
        try:
            self._line.handshake()
            while self._answer():
                pass
            self._line.farewell()
        except HangUp as end:
            if end.reset:
                self._line.reset()
                return
        self._line.end(linger=_LINGER_SECONDS)

    def _answer(self) -> bool:
        """Answer one request; return whether to go on."""
        try:
            request = read_request(self._line, self._number)
        except Malformed as problem:
            return self._refuse(problem)
        self._requests.add(request)
        try:
            return play(self._host.take(request), request, self._line)
        except ClientGone:
            self._mark_gone()  # before `answered`, so that who waits for that may look at `gone`
            raise
        finally:
            request.answered.set()

    def _mark_gone(self) -> None:
        for request in self._requests:
            request.mark_gone()

    def _refuse(self, problem: Malformed) -> bool:
        """Answer bytes that are not a valid request; `Server.requests` does not include them."""
        reply = error_reply(problem.status, str(problem)).but(keep_alive=False)
        return play(reply, Request("", "", Headers(), b"", self._number), self._line)
