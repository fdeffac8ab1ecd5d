"""``ToolContext``: what a tool's function may know of the call that it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from streamkit.concurrency.stop import StopEvent
from streamkit.values.messages import Message, ToolCall

__all__ = ["ToolContext"]


@attrs.frozen(eq=False)
class ToolContext:
    """What a tool's function may know of its call. A parameter with this annotation gets it; the model does not see it.

    Attributes:
        call: the call, with its id and its arguments as the model wrote them.
        stop: is set when the run is cancelled, or when the call has taken longer than ``call_seconds``. Wait on it
            instead of sleeping, and pass it as ``stop=`` to streams that the function starts.
        messages: the conversation so far, the message with the call included.
        round: the number of the request whose reply has the call, from 0.
        context: what was passed to the run as ``context=``.

    Threads: the function's; ``report`` may be called in any.
    """

    call: ToolCall
    stop: StopEvent = attrs.field(factory=StopEvent)
    messages: Sequence[Message] = ()
    round: int = 0
    context: Any = None
    _report: Callable[[Any], object] = attrs.field(default=lambda value: None, repr=False)

    def report(self, value: Any) -> None:
        """Deliver a preliminary result: a ``tool_result`` chunk with ``preliminary``, which the model is not told.

        While functions run in threads (``parallel`` above 1, or ``call_seconds``), it is delivered at once. In the
        thread of the loop it is delivered when the function has returned. After the call has ended, nothing happens.

        Args:
            value: text, or a value that can be written as JSON.
        """
        self._report(value)
