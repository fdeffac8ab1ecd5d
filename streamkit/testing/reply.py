"""``Reply``: the steps of one answer of a scripted server.

Everything here is a value: a reply may be used for any number of requests, and by many threads at once.
A step of one's own is a subclass of `Step` whose `play` uses the `Output` it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from streamkit.testing.encoding import Encoding, Framing
from streamkit.testing.steps import Paced, Repeat, Send, Step, Trickle


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
