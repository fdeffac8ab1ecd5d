"""What a reply costs while it comes, and its one end in the ledger: ``Payments`` and ``Payment``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from streamkit.concurrency.own_thread import OwnThread
from streamkit.errors import StoreError
from streamkit.gateway.app.pricing import Quote
from streamkit.gateway.core.holders import Payer
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.records import About, Settlement
from streamkit.providers.reply.passing import PassedEvent
from streamkit.values.chunks import Chunk, Usage
from streamkit.values.completion import Completion

__all__ = ["Cost", "Payment", "Payments"]

#: Returns the cost of a usage by a route, ``provider/model``; "" is the dearest one.
Cost = Callable[[str, Usage], int]

_log = logging.getLogger("streamkit.gateway")

# Of HTTP, by how a stream ended, for reports.
_STATUSES = {"complete": 200, "suspended": 200, "cancelled": 499, "timeout": 504}

_MOST_TOKENS = 10**9  # of one reply
_INTERVAL = 0.4  # seconds between two writings of what open replies have cost: a crash loses no more than this
_ENDING = 2.0  # seconds that open replies get for their ends where the process closes
_RECOVERY = 5.0  # seconds between two looks for replies whose process has crashed


class Payments:
    """The open replies of this process: writes what they have cost, every 0.4 s, and renews their leases.

    What the database did not take at the end of a reply is written here once it does.

    Owner of the fields: ``_changed`` guards ``_open``, ``_unsettled``, ``_thread`` and ``_closed``.

    Threads: any.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._changed = threading.Condition()
        self._open: dict[str, Payment] = {}
        self._unsettled: dict[str, Callable[[], object]] = {}
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wake = threading.Event()
        self._recovered_at = 0.0

    def begin(self, payer: Payer, request_id: str, quote: Quote, about: About, cost: Cost) -> Payment:
        """Reserve what a request may cost.

        Args:
            payer: who pays.
            request_id: of the request; one that was reserved before is the same reservation.
            quote: what it may cost.
            about: for the ledger.
            cost: returns the cost of a usage by a route, ``provider/model``; "" is the dearest one.

        Raises:
            RequestError: there is not enough, or too many streams are open.
            StoreError: the database failed; nothing is reserved, or it is released by its lease.
        """
        reservation = self.ledger.reserve(payer, request_id, quote.wanted, least=quote.least, about=about)
        payment = Payment(self, request_id, quote, reservation.amount, cost)
        with self._changed:
            self._open[request_id] = payment
            self._start_locked()
        return payment

    def _start_locked(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = OwnThread(self._run, (), "streamkit-payments")
            self._thread.start()

    def ended(self, request_id: str) -> None:
        """Forget a reply that has its end in the ledger."""
        with self._changed:
            self._open.pop(request_id, None)
            self._changed.notify_all()

    def later(self, request_id: str, write: Callable[[], object]) -> None:
        """Write the end of a reply once the database takes it."""
        with self._changed:
            self._unsettled[request_id] = write
            self._start_locked()
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many replies are open in this process."""
        return len(self._open)

    def _run(self) -> None:
        while not self._wake.wait(_INTERVAL):
            try:
                self._tend()
            except StoreError as error:
                _log.warning("the ledger cannot be written: %s", error)
            except Exception:
                _log.exception("the ledger could not be tended")

    def _tend(self) -> None:
        with self._changed:
            unsettled = dict(self._unsettled)
            known = {id: payment.known() for id, payment in self._open.items()}
        if known:
            self.ledger.keep(known)
        for id, write in unsettled.items():
            try:
                write()
            except StoreError:
                raise  # the others would fail as well; the next time they are tried again
            except Exception:
                _log.exception("the end of a reply could not be written; it is ended by its lease")
            with self._changed:
                self._unsettled.pop(id, None)
                self._open.pop(id, None)
        now = time.monotonic()
        if now - self._recovered_at >= _RECOVERY:
            self._recovered_at = now
            for charge in self.ledger.recover():
                _log.warning("the reply %s was left by its process; it is charged by what was known", charge.request_id)

    def recover(self) -> None:
        """End the replies whose process has crashed; called when the gateway starts.

        Raises:
            StoreError: the database failed.
        """
        self.ledger.recover()
        with self._changed:
            if not self._closed:
                self._start_locked()

    def close(self) -> None:
        """Wait until the threads of the open replies have ended them, for 2 s at most; write what is left to write.

        To be called when the streams are cancelled. What is open still is ended by its lease.
        """
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._open.keys() - self._unsettled.keys(), _ENDING)
            thread = self._thread
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(2.0)
        try:
            self._tend()
        except StoreError as error:
            _log.warning("the ledger cannot be written: %s", error)


_UNNAMED = ("", "message")  # types of events, where a format has but one


@attrs.define(eq=False)
class _Output:
    """What has come of a reply.

    Owner of the fields: the consumer of the stream writes them; the thread that tends the ledger reads them.

    Attributes:
        pieces: of text, or passed events that are one.
        bytes: of their text.
        shortest: bytes of the shortest passed event, about what is around the text of each; 0 before the first.
        usage: as the provider has reported it so far.
    """

    pieces: int = 0
    bytes: int = 0
    shortest: int = 0
    usage: Usage | None = None

    def note(self, chunk: Chunk) -> None:
        """Count one chunk."""
        event = chunk.raw
        if event.__class__ is PassedEvent:
            # What was decoded comes again as chunks of its own; and some events repeat what their deltas have told.
            if not event.decoded and (event.event in _UNNAMED or event.event.endswith("delta")):
                length = len(event.data)
                self.pieces += 1
                self.bytes += length
                if not self.shortest or length < self.shortest:
                    self.shortest = length
        elif chunk.text:
            self.pieces += 1
            self.bytes += len(chunk.text) if chunk.text.isascii() else len(chunk.text.encode("utf-8", "replace"))
        else:
            self._note_other(chunk)
        if chunk.usage is not None and _is_possible(chunk.usage):
            self.usage = chunk.usage

    def _note_other(self, chunk: Chunk) -> None:
        call = chunk.tool_call
        text = chunk.reasoning or chunk.refusal or (call.name + call.arguments if call is not None else "")
        if text:
            self.pieces += 1
            self.bytes += len(text.encode("utf-8", "replace"))

    @property
    def tokens(self) -> int:
        """About how many tokens have come: a piece is one at least, and four bytes are one."""
        return max(self.pieces, -(-(self.bytes - self.shortest * self.pieces) // 4))


def _is_possible(usage: Usage) -> bool:
    """Return whether a reply can have this usage; what a broken provider reports is none."""
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens)
    return all(count is None or 0 <= count <= _MOST_TOKENS for count in counts)


class Payment:
    """One reply: counts what comes, and ends once, in the ledger, before the client is told of the end.

    Owner of the fields: ``_lock`` guards ``_ending``; ``output`` says who writes it. The thread that ends the reply
    writes ``usage``, ``charged`` and ``estimated``. The others never change.

    Threads: ``note`` in the consumer's, the others in any.
    """

    def __init__(self, payments: Payments, request_id: str, quote: Quote, amount: int, cost: Cost) -> None:
        self._payments = payments
        self.request_id = request_id
        self.quote = quote
        self.amount = amount
        self.output = _Output()
        self.charged: int | None = None
        self.estimated = False
        self.usage: Usage | None = None
        self._cost = cost
        self._lock = threading.Lock()
        self._ending = False

    def note(self, chunk: Chunk) -> None:
        """Count one chunk, on its way to the client."""
        self.output.note(chunk)

    def known(self) -> int:
        """Return what the reply has cost so far, about; 0 while nothing has come."""
        return min(self.amount, self._cost("", self._estimate())) if self.output.pieces else 0

    def _estimate(self) -> Usage:
        """Return the usage as it is known, and what is unknown as it is likely."""
        output, reported = self.output, self.output.usage or Usage()
        given = self.quote.input.likely if reported.input_tokens is None else reported.input_tokens
        made = max(output.tokens, reported.output_tokens or 0)
        return attrs.evolve(reported, input_tokens=given, output_tokens=made, cost=None)

    def begin_end(self) -> bool:
        """Return whether the caller is the first to end it, and has to call ``end``."""
        with self._lock:
            first, self._ending = not self._ending, True
            return first

    def end(self, status: str, completion: Completion, *, route: str, accepted: bool, seconds: float) -> None:
        """Write the end of the reply to the ledger. To be called once.

        Args:
            status: of the stream.
            completion: of the stream.
            route: provider and model that have answered, or were asked last.
            accepted: whether the provider had begun to answer when the client left.
            seconds: that it took.

        Raises:
            StoreError: the database did not take it. It is written as soon as it does; the reply was not paid yet.
        """
        usage = completion.usage if _is_possible(completion.usage) else Usage()
        whole = status == "complete" and usage.input_tokens is not None and usage.output_tokens is not None
        spent = bool(self.output.pieces) or status == "complete" or (status == "cancelled" and accepted)
        if not whole:
            usage = self._estimate()
        self.usage, self.estimated = usage if spent else None, spent and not whole
        self.charged = self._cost(route, usage) if spent else 0
        provider, _, model = route.partition("/")
        counted = usage if spent else Usage()
        cached = counted.cached_tokens or 0
        apart = cached + (counted.cache_write_tokens or 0) if counted.cached_apart else 0
        outcome = Settlement(
            status=_STATUSES.get(status, 502),
            estimated=self.estimated,
            provider=provider,
            model=model,
            input_tokens=(counted.input_tokens or 0) + apart,
            output_tokens=counted.output_tokens or 0,
            cached_tokens=cached,
            reasoning_tokens=counted.reasoning_tokens or 0,
            seconds=seconds,
        )
        ledger, id, charged = self._payments.ledger, self.request_id, self.charged

        def write() -> Any:
            return ledger.settle(id, charged, outcome=outcome) if spent else ledger.release(id, outcome=outcome)

        try:
            write()
        except StoreError:
            self._payments.later(id, write)
            raise
        except Exception:
            self._payments.ended(id)  # it is ended by its lease
            raise
        self._payments.ended(id)
