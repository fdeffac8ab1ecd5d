"""Start answers as the command line asked for: with its options, its tools, its JSON schema, its prompt of a pack."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from streamkit.cli.answer import show
from streamkit.cli.approval import Approval
from streamkit.cli.output import Sink
from streamkit.cli.prompts import PackPrompt
from streamkit.cli.question import check
from streamkit.client import Client
from streamkit.concurrency.late_import import late_import
from streamkit.conversation.conversation import Conversation
from streamkit.conversation.stores.store import Store
from streamkit.conversation.turns import ConversationState
from streamkit.errors import ConfigError
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.values.messages import Message
from streamkit.values.template import fill_in

if TYPE_CHECKING:
    from streamkit.tools.limits import RunLimits
    from streamkit.tools.output import Output
    from streamkit.tools.tool import Tool

__all__ = ["Starter", "kept_system", "system_of", "system_prompt"]

# A function with a limit runs in a thread of its own: so Ctrl-C ends the answer at once, whatever the function does.
_CALL_SECONDS = 1_000_000.0
# Arguments of ``open_pack`` of the same name as an option of a request.
_OF_OPENING = frozenset(
    "client id on_failure owner pack prompt strict tested tools validators variables window".split()
)
_STORE = "store"  # an option of OpenAI's requests, and an argument of a conversation
_SYSTEM = "system"


@attrs.frozen(kw_only=True)
class Starter:
    """Starts answers and conversations.

    Attributes:
        client: of the streams.
        options: of each request.
        tools: that the model may call.
        yes: whether they are called without asking.
        output: the JSON schema that an answer has to fit.
        prompt: of a pack, which brings the system prompt, parameters and rules.
        approval: decides on calls; ``None`` where no tool is declared.
    """

    client: Client
    options: Mapping[str, Any]
    tools: Sequence[Tool] = ()
    yes: bool = False
    output: Output | None = None
    prompt: PackPrompt | None = None
    approval: Approval | None = attrs.field(init=False)

    @approval.default
    def _make_approval(self) -> Approval | None:
        declared = self.tools or self.options.get("tools") or (self.prompt and self.prompt.prompt.tools)
        return Approval([tool.name for tool in self.tools], yes=self.yes) if declared else None

    def check(self, model: str, messages: Sequence[Message], kept: Mapping[str, Any] | None = None) -> None:
        """Raise the ConfigError that any question to the model would, such as for a missing key.

        Args:
            model: that is asked.
            messages: of a question.
            kept: parameters that a conversation had before.
        """
        options = {**(kept or {}), **self.options}
        if self.prompt is not None:
            options = {**self.prompt.prompt.parameters(model), **options}
        if self.tools:
            options["tools"] = [tool.declaration for tool in self.tools]
        if self.output is not None:
            options["response_format"] = self.output.response_format
        check(self.client, model, messages, options)

    def start(self, model: str, messages: Sequence[Message]) -> ChunkStream:
        """Start an answer that is in no conversation: a ``Run`` if there are tools.

        Raises:
            ConfigError: it cannot be asked for.
        """
        options = self._options()
        if not self.tools:
            return self.client.stream(model, messages, **options)
        self.check(model, messages)  # an argument of run() alone is no option of a request
        return self.client.run(model, messages, **options)

    def conversation(
        self,
        model: str,
        *,
        system: str = "",
        variables: Mapping[str, Any] | None = None,
        state: ConversationState | None = None,
        id: str | None = None,
        store: Store | None = None,
    ) -> Conversation:
        """Return a new conversation, or one that goes on.

        Args:
            model: to ask.
            system: the system prompt, as it is; "" for that of the state.
            variables: of the prompt of a pack.
            state: what was kept.
            id: of a new one.
            store: where it is kept from now on.

        Raises:
            ConfigError: the tools are not those of the pack, or an option cannot go with it.
        """
        if self.prompt is not None:
            return self._by_pack(self.prompt, model, variables or {}, state.id if state else id, store)
        if state is None:
            state = ConversationState(id or uuid.uuid4().hex, [], model)
        state = attrs.evolve(state, model=model, origin="")
        if system:
            state = attrs.evolve(state, system=system_of(system), variables={_SYSTEM: system})
        return Conversation(self.client, state, options=_for_turns({**state.params, **self._options()}), store=store)

    def _by_pack(
        self, chosen: PackPrompt, model: str, variables: Mapping[str, Any], id: str | None, store: Store | None
    ) -> Conversation:
        options = _for_turns(self._options())
        tools = {tool.name: tool for tool in self.tools}
        options.pop("tools", None)
        if taken := sorted(_OF_OPENING & options.keys()):
            raise click.UsageError(f"{taken[0]} cannot be given by -o together with --pack")
        if chosen.prompt.tools or tools:
            options["limits"] = _limits(chosen.prompt.tool_policy.limits())
        conversation: Conversation = late_import("streamkit.packs.opening").open_pack(
            chosen.pack,
            chosen.prompt.key,
            model=model,
            client=self.client,
            variables=variables,
            tools=tools,
            store=store,
            id=id,
            **options,
        )
        conversation.origin = chosen.origin
        return conversation

    def _options(self) -> dict[str, Any]:
        options = dict(self.options)
        if self.output is not None:
            options["response_format"] = self.output
        if self.tools:
            options |= {"tools": list(self.tools), "limits": _limits()}
        return options

    def show(
        self, answer: ChunkStream, to: Sink, *, at_once: bool, on_first: Callable[[], object] | None = None
    ) -> bool:
        """Show an answer as it arrives, ask about its calls, and hold it to the schema; see ``answer.show``.

        Raises:
            InvalidOutputError: it is whole, and does not fit.
        """
        wrapped = None if self.output is None else self.output.wrapped
        whole = show(answer, to, at_once=at_once, approval=self.approval, wrapped=wrapped, on_first=on_first)
        if whole and self.output is not None:
            answer.completion.parsed  # noqa: B018
        return whole


def _for_turns(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options for the turns of a conversation, in which one name has another meaning."""
    made = dict(options)
    if _STORE in made:
        made["extra_body"] = {**(made.get("extra_body") or {}), _STORE: made.pop(_STORE)}
    return made


def _limits(limits: RunLimits | None = None) -> RunLimits:
    from streamkit.tools.limits import RunLimits

    return attrs.evolve(limits or RunLimits(), call_seconds=_CALL_SECONDS)


def system_of(text: str) -> str:
    """Return the template of a system prompt that stays as it is: braces in it are no placeholders."""
    return f"{{{{{_SYSTEM}}}}}" if "{{" in text else text


def kept_system(state: ConversationState) -> str:
    """Return the system prompt of a kept conversation; its template, where a variable is missing."""
    try:
        return fill_in(state.system, state.variables)
    except ConfigError:
        return state.system


def system_prompt(conversation: Conversation) -> str:
    """Return the system prompt of the next turn.

    Raises:
        RenderError: the prompt of a pack cannot be rendered for the model.
    """
    prompt = getattr(conversation, "prompt", None)
    if prompt is not None:
        text: str = prompt.render(conversation.variables, model=conversation.model)
        return text
    return fill_in(conversation.system, conversation.variables) if conversation.system else ""
