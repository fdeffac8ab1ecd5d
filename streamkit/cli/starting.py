"""Start answers as the command line asked for: with its options, its tools, and its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import attrs

from streamkit.cli.answer import show
from streamkit.cli.approval import Approval
from streamkit.cli.output import Sink
from streamkit.cli.question import check
from streamkit.client import Client
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.messages import Message

if TYPE_CHECKING:
    from streamkit.tools.output import Output
    from streamkit.tools.run import Run
    from streamkit.tools.tool import Tool

__all__ = ["Starter"]

# A function with a limit runs in a thread of its own: so Ctrl-C ends the answer at once, whatever the function does.
_CALL_SECONDS = 1_000_000.0


@attrs.frozen(kw_only=True)
class Starter:
    """Starts answers.

    Attributes:
        client: of the streams.
        options: of each request.
        tools: that the model may call.
        yes: whether they are called without asking.
        output: the JSON schema that an answer has to fit.
        approval: decides on calls; ``None`` without tools.
    """

    client: Client
    options: Mapping[str, Any]
    tools: Sequence[Tool] = ()
    yes: bool = False
    output: Output | None = None
    approval: Approval | None = attrs.field(init=False)

    @approval.default
    def _make_approval(self) -> Approval | None:
        return Approval([tool.name for tool in self.tools], yes=self.yes) if self.tools else None

    def check(self, model: str, messages: Sequence[Message]) -> None:
        """Raise the ConfigError that any question to the model would, such as for a missing key."""
        options = dict(self.options)
        if self.tools:
            options["tools"] = [tool.declaration for tool in self.tools]
        if self.output is not None:
            options["response_format"] = self.output.response_format
        check(self.client, model, messages, options)

    def start(self, model: str, messages: Sequence[Message]) -> ChunkStream:
        """Start an answer: a ``Run`` if there are tools.

        Raises:
            ConfigError: it cannot be asked for.
        """
        options = dict(self.options)
        if self.output is not None:
            options["response_format"] = self.output
        if not self.tools:
            return self.client.stream(model, messages, **options)
        from streamkit.tools.limits import RunLimits

        self.check(model, messages)  # an argument of run() alone is no option of a request
        limits = RunLimits(call_seconds=_CALL_SECONDS)
        return self.client.run(model, messages, tools=list(self.tools), limits=limits, **options)

    def show(self, answer: ChunkStream, to: Sink, *, at_once: bool) -> bool:
        """Show an answer as it arrives, ask about its calls, and hold it to the schema; see ``answer.show``.

        Raises:
            InvalidOutputError: it is whole, and does not fit.
        """
        wrapped = None if self.output is None else self.output.wrapped
        whole = show(answer, to, at_once=at_once, approval=self.approval, wrapped=wrapped)
        if whole and self.output is not None:
            answer.completion.parsed  # noqa: B018
        return whole

    def messages_of(self, answer: ChunkStream) -> list[Message]:
        """Return what an answer adds to the history, as far as it came: of a run, all calls with their results."""
        if self.tools:
            return cast("Run", answer).messages
        said = answer.completion.text or answer.completion.refusal
        return [Message("assistant", said)] if said else []
