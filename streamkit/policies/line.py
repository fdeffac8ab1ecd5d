"""The lines at a rate limit: the values that they share, and those in the memory of one process: ``MemoryLines``."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

from streamkit.errors import LocalLimitError
from streamkit.policies.allowance import Allowance
from streamkit.streaming.gates import Wait

__all__ = ["Ask", "Limits", "Lines", "MemoryLines", "News", "Ticket", "refusal"]

_Name = Literal["requests", "tokens", "streams", "provider"]


@attrs.frozen
class Limits:
    """What may pass in any window of ``per`` seconds, and how many streams may be open; ``None`` is no limit."""

    requests: int | None
    tokens: int | None
    streams: int | None
    per: float


@attrs.frozen
class Ask:
    """A request that comes to a line.

    Attributes:
        line: the name of the line.
        route: what the headers of its response are about; of all requests of one key and model it is the same.
        tokens: the estimate of its tokens.
    """

    line: str
    route: tuple[str, ...]
    tokens: int


@attrs.frozen
class News:
    """What came of a request that passed.

    Attributes:
        sent: whether it went out.
        tokens: how many it took; ``None`` if that is unknown.
        allowances: what the provider still allows, by kind.
        age: seconds since the provider said so.
        stop: seconds for which the provider asks to send nothing.
    """

    sent: bool
    tokens: int | None = None
    allowances: Mapping[str, Allowance] = attrs.field(factory=dict)
    age: float = 0.0
    stop: float = 0.0


class Ticket:
    """A request that passed, as its line knows it."""

    __slots__ = ()


class Lines(ABC):
    """The lines at one rate limit, by name."""

    @abstractmethod
    def enter(self, ask: Ask, wait: Wait, patient: bool) -> Ticket:
        """Let a request pass when its turn has come.

        Args:
            ask: the request.
            wait: waits.
            patient: whether it waits; otherwise it is refused if it cannot pass at once.

        Raises:
            LocalLimitError: it is refused.
        """

    @abstractmethod
    def sending(self, ticket: Ticket) -> None:
        """Count a request from now on: it goes out."""

    @abstractmethod
    def left(self, ticket: Ticket, news: News) -> None:
        """Take in what came of a request; never raises."""


def refusal(limits: Limits, name: str, seconds: float) -> LocalLimitError:
    """Return the error for a request that would have to wait.

    Args:
        limits: those of the line.
        name: the limit that is reached.
        seconds: until there is room; infinite if that is unknown.
    """
    if name == "provider":
        why = "the provider has asked to wait"
    elif name == "streams":
        why = f"{limits.streams} streams are open, the limit of RateLimit(streams={limits.streams})"
    else:
        most = getattr(limits, name)
        why = f"the limit of RateLimit({name}={most}, per={limits.per:g}) is reached"
    known = seconds < math.inf
    when = f"try again in {seconds:.1f} s" if known else "try again when one has ended"
    return LocalLimitError(f"not sent, as {why}; {when}", limit=name, retry_after=seconds if known else None)


@attrs.define(eq=False)
class _Entry(Ticket):
    """A request in a line, or past it.

    Attributes:
        line: its line.
        route: see ``Ask``.
        tokens: the estimate; the count of the provider, once it is known.
        wake: ends its wait.
        at: when it went out; ``None`` until then, and it counts all that time.
        counts: whether it is in the totals.
        taken: the requests and tokens of its route up to this one.
    """

    line: _Line
    route: tuple[str, ...]
    tokens: int
    wake: Callable[[], object]
    at: float | None = None
    counts: bool = False
    taken: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class _Known:
    """An allowance, when it was told, and the total of its kind that was taken up to then."""

    allowance: Allowance
    at: float
    taken: int


class _Line:
    """One line, and the window behind it.

    A request counts from the moment it is let through, and for ``per`` seconds from the moment it goes out, which
    another gate may delay. So no window has more requests that went out than it may.
    """

    def __init__(self, limits: Limits) -> None:
        self.waiting: deque[_Entry] = deque()
        self._limits = limits
        self._window: deque[_Entry] = deque()  # those that went out and count, the oldest first
        self._requests = self._tokens = self._open = 0
        self._until = -math.inf
        self._taken: dict[tuple[str, ...], dict[str, int]] = {}  # all that was ever let through, by route and kind
        self._known: dict[tuple[str, ...], dict[str, _Known]] = {}

    def wait_for(self, entry: _Entry, now: float) -> tuple[float, _Name]:
        """Return the seconds until an entry may pass, and the limit that it waits for.

        The seconds are infinite if it depends on what other requests do, which wakes it.
        """
        self._expire(now)
        limits = self._limits
        longest: tuple[float, _Name] = (max(0.0, self._until - now), "provider")
        if limits.streams is not None and self._open >= limits.streams:
            return math.inf, "streams"
        for kind, known in self._known.get(entry.route, {}).items():
            taken = max(0, self._taken[entry.route][kind] - known.taken)
            need = entry.tokens if kind == "tokens" else 1
            seconds = known.allowance.wait(now - known.at, taken, need)
            if seconds > longest[0]:
                longest = seconds, "provider"
        requests = 0 if limits.requests is None else self._requests + 1 - limits.requests
        tokens = 0 if limits.tokens is None else self._tokens + entry.tokens - limits.tokens
        if requests <= 0 and tokens <= 0:
            return longest
        seconds, name = math.inf, "requests" if requests > 0 else "tokens"
        for earlier in self._window:
            requests -= 1
            tokens -= earlier.tokens
            if requests <= 0 and tokens <= 0:
                assert earlier.at is not None
                seconds = earlier.at + limits.per - now
                break
        return max(longest, (seconds, "requests" if name == "requests" else "tokens"))

    def _expire(self, now: float) -> None:
        window, per = self._window, self._limits.per
        while window and window[0].at is not None and window[0].at + per <= now:
            self._uncount(window.popleft())

    def _uncount(self, entry: _Entry) -> None:
        entry.counts = False
        self._requests -= 1
        self._tokens -= entry.tokens

    def admit(self, entry: _Entry) -> None:
        entry.counts = True
        self._requests += 1
        self._tokens += entry.tokens
        self._open += 1
        taken = self._taken.setdefault(entry.route, {"requests": 0, "tokens": 0})
        taken["requests"] += 1
        taken["tokens"] += entry.tokens
        entry.taken = dict(taken)

    def sending(self, entry: _Entry, now: float) -> None:
        entry.at = now
        self._window.append(entry)

    def left(self, entry: _Entry, news: News, now: float) -> None:
        self._open -= 1
        if not news.sent:
            self._uncount(entry)
            taken = self._taken[entry.route]
            taken["requests"] -= 1
            taken["tokens"] -= entry.tokens
        elif news.tokens is not None and entry.counts:
            self._tokens += news.tokens - entry.tokens
            entry.tokens = news.tokens
        if news.stop:
            self._until = max(self._until, now + news.stop)
        for kind, allowance in news.allowances.items():
            known = self._known.setdefault(entry.route, {})
            if kind not in known or known[kind].taken <= entry.taken[kind]:  # not of an earlier request
                known[kind] = _Known(allowance, now - news.age, entry.taken[kind])

    def wake_first(self) -> None:
        if self.waiting:
            self.waiting[0].wake()


class MemoryLines(Lines):
    """Lines in the memory of this process. The first of a line waits for its time, the others to be woken.

    Owner of the fields: ``_lock`` guards ``_lines``, and all lines with their entries. The others never change.

    Args:
        limits: of each line.
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}

    def enter(self, ask: Ask, wait: Wait, patient: bool) -> Ticket:
        """See ``Lines``."""
        with self._lock:
            line = self._lines.get(ask.line)
            if line is None:
                line = self._lines[ask.line] = _Line(self._limits)
            entry = _Entry(line, ask.route, ask.tokens, wait.wake)
            line.waiting.append(entry)
            seconds, name = self._pass_locked(entry)
            if seconds > 0 and not patient:
                line.waiting.remove(entry)
        if seconds > 0 and not patient:
            raise refusal(self._limits, name, seconds)
        try:
            while seconds > 0:
                wait(seconds)
                with self._lock:
                    seconds, _ = self._pass_locked(entry)
        except BaseException:
            with self._lock:
                line.waiting.remove(entry)
                line.wake_first()
            raise
        return entry

    def _pass_locked(self, entry: _Entry) -> tuple[float, str]:
        """Let an entry pass if it is its turn; otherwise return the seconds to wait, and the limit's name."""
        line = entry.line
        if line.waiting[0] is not entry:
            return math.inf, ""
        seconds, name = line.wait_for(entry, self._clock())
        if seconds <= 0:
            line.waiting.popleft()
            line.admit(entry)
            line.wake_first()
        return seconds, name

    def sending(self, ticket: Ticket) -> None:
        """See ``Lines``."""
        assert isinstance(ticket, _Entry)
        with self._lock:
            ticket.line.sending(ticket, self._clock())
            ticket.line.wake_first()

    def left(self, ticket: Ticket, news: News) -> None:
        """See ``Lines``."""
        assert isinstance(ticket, _Entry)
        with self._lock:
            ticket.line.left(ticket, news, self._clock())
            ticket.line.wake_first()
