"""One request of a run: its reply and the calls in it, and what becomes of them in the history."""

from __future__ import annotations

import attrs

from streamkit.streaming.stream import Stream
from streamkit.tools.calls import PendingCall
from streamkit.values.completion import Completion
from streamkit.values.messages import Message

__all__ = ["Round"]


@attrs.define(eq=False)
class Round:
    """One request.

    Owner of the fields: the consumer's thread writes ``reply`` and ``calls``, once each, the calls first. Any thread
    may read them, each by a single read.

    Attributes:
        number: from 0; a resumed run goes on counting.
        stream: of the reply; ``None`` for the round in which a resumed run was suspended.
        reply: the whole reply, ``None`` so far.
        calls: of the reply.
    """

    number: int
    stream: Stream | None = None
    reply: Completion | None = None
    calls: tuple[PendingCall, ...] = ()

    @property
    def completion(self) -> Completion:
        """The reply, as far as it has come."""
        if self.reply is not None:
            return self.reply
        return Completion() if self.stream is None else self.stream.completion

    @property
    def message(self) -> Message:
        """The whole reply for the history, with its calls and without their results."""
        return attrs.evolve(self.completion.message, tool_calls=tuple(pending.call for pending in self.calls))

    def messages(self, unanswered: str, text: str | None = None) -> list[Message]:
        """Return what the history gets: the reply, and a result for each of its calls.

        A reply that was broken off is kept as text. Its calls were not made, and may be incomplete; what the provider
        wants back with the history belongs to the whole reply. Of a reply without text nothing is kept.

        Args:
            unanswered: the result of calls that did not begin, if it is not that they were cancelled.
            text: what to keep of the reply's text, if not all: the rest was withheld. It may be in what the provider
                wants back as well.
        """
        if self.reply is None:
            text = self.completion.text if text is None else text
            return [Message("assistant", text)] if text.strip() else []
        message = self.message
        if text is not None:
            if not text.strip() and not self.calls:
                return []
            message = attrs.evolve(message, content=text or None, provider_data=())
        return [message, *(pending.message_so_far(unanswered) for pending in self.calls)]
