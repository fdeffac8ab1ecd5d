"""What a run was asked for: ``Plan``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from streamkit.concurrency.stop import StopEvent
from streamkit.observing.observers import Observer
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.tools.claims import Claims
from streamkit.tools.limits import RunLimits
from streamkit.tools.results import Media
from streamkit.tools.tool import Tool
from streamkit.values.messages import ToolCall

__all__ = ["Approve", "Plan", "Start"]

#: Decides on a call; see ``decision_of`` for what it may return.
Approve = Callable[[ToolCall], Any]


class Start(Protocol):
    """Starts the stream of one round."""

    def __call__(self, messages: Sequence[Any], stop: StopEvent, part_of: tuple[int, int]) -> Stream:
        """Start it.

        Args:
            messages: the conversation so far.
            stop: cancels the stream.
            part_of: the numbers of the run and of the round.

        Raises:
            ConfigError: the call is invalid; nothing was sent.
        """


@attrs.frozen(kw_only=True)
class Plan:
    """What a run was asked for; see ``Client.run``.

    Attributes:
        start: starts the stream of a round.
        model: as the user passed it.
        name: the same as the provider knows it.
        provider: the provider's name.
        messages: the conversation so far, as the user passed it.
        tools: by name.
        media: what the provider takes in a result beside text.
        params: the parameters of the request that a suspension keeps.
        output: the type of the last reply, or ``None``.
    """

    start: Start
    model: str
    name: str
    provider: str
    messages: Sequence[Any]
    tools: Mapping[str, Tool]
    media: Media = attrs.field(factory=Media)
    approve: Any = None
    parallel: int = 1
    limits: RunLimits = attrs.field(factory=RunLimits)
    raises: bool = False
    context: Any = None
    claims: Claims | None = None
    observers: Sequence[Observer] = ()
    params: Mapping[str, Any] = attrs.field(factory=dict)
    output: TypedOutput | None = None
