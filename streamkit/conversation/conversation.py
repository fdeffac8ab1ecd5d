"""``Conversation``: turns with a model, kept whatever happens."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from streamkit.conversation.owners import is_alive, over, this_process
from streamkit.conversation.stores.store import Store
from streamkit.conversation.turn_stream import TurnEnd, TurnStream
from streamkit.conversation.turns import ConversationState, Summary, Turn, with_delivered
from streamkit.conversation.window import Window, context_of, first_sent, summary_request, tokens_of
from streamkit.errors import ConfigError, MisuseError, OwnerError, StoreConflictError, StoreError
from streamkit.policies.route import name_of
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream, drain
from streamkit.tools.decisions import Approved
from streamkit.tools.run import Run
from streamkit.tools.suspension import Suspension, kept_parameters
from streamkit.tools.tool import Tool, tools_of
from streamkit.validators.input import check_input
from streamkit.values.attribute_hints import no_attribute
from streamkit.values.chunks import Chunk, Usage, summed
from streamkit.values.completion import Completion
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart, plain_parts
from streamkit.values.showing import html_of
from streamkit.values.template import fill_in
from streamkit.values.text import estimate_tokens

__all__ = ["Content", "Conversation", "StartsTurns", "check_places", "conversation", "write_file"]

Content = str | Message | Sequence[str | TextPart | ImagePart | FilePart | Mapping[str, Any]]
OnFailure = Literal["keep", "rollback"]

_log = logging.getLogger("streamkit")

_RUN_OPTIONS = ("approve", "parallel", "limits", "on_error", "context")
_LONGEST_TITLE = 60  # characters


class StartsTurns(Protocol):
    """What a conversation needs of a ``Client``."""

    @property
    def stream(self) -> Callable[..., ChunkStream]:
        """See ``Client.stream``."""

    @property
    def run(self) -> Callable[..., ChunkStream]:
        """See ``Client.run``."""

    @property
    def resume(self) -> Callable[..., ChunkStream]:
        """See ``Client.resume``."""

    @property
    def complete(self) -> Callable[..., Completion]:
        """See ``Client.complete``."""


class Conversation:
    """Turns with a model; made by ``client.conversation(...)`` or ``Conversation.load(...)``.

    ::

        chat = client.conversation("openai/gpt-4o-mini", system="You are {{who}}.", variables={"who": "a sailor"})
        for chunk in chat.stream("Hello"):
            print(chunk.text, end="", flush=True)
        print(chat.send("And where are you now?").text)

    The history changes once a turn, when the turn has ended. A turn that failed, was cancelled or was left leaves a
    history that every provider accepts: with ``on_failure="keep"`` what was delivered stays, if anything was; otherwise
    the turn is as if it had not been, and ``retry()`` asks it again. Its usage counts in any case.

    Threads: one turn at a time. A second one meanwhile, by another thread or in the body of a loop over the first, is a
    ``MisuseError``. The properties may be read by any thread.

    Owner of the fields: ``_lock``, reentrant as a signal handler may cancel a turn, guards ``_busy``, ``_turns``,
    ``_summary``, ``_spent``, ``_spent_cost``, ``_version``, ``_crashed`` and ``_unsaved``. The others change by single
    assignments of the program.
    """

    _has_prompt = False  # whether its system prompt is that of a pack

    def __init__(
        self,
        client: StartsTurns,
        state: ConversationState,
        *,
        options: Mapping[str, Any],
        window: Window | None = None,
        store: Store | None = None,
        on_failure: OnFailure = "keep",
    ) -> None:
        if window is not None and not isinstance(window, Window):
            raise ConfigError(f"window is a Window(...), not {shown(window)}")
        if store is not None and not isinstance(store, Store):
            raise ConfigError(f"store is a MemoryStore(), a SQLStore(...) or another Store, not {shown(store)}")
        if on_failure not in ("keep", "rollback"):
            raise ConfigError(f'on_failure is "keep" or "rollback", not {shown(on_failure)}')
        self._client = client
        _check_options(options)
        self._options = dict(options)
        self._window = window
        self._store = store
        self._on_failure: OnFailure = on_failure
        self._lock = threading.RLock()
        self._crashed = False  # whether the last turn was found open after a crash
        self._busy: TurnEnd | bool = False  # what ends the turn that is open; True while one begins
        self._id = state.id
        self._owner = state.owner
        self._turns: list[Turn] = list(state.turns)
        self._summary = state.summary
        self._spent = state.spent
        self._spent_cost = state.spent_cost
        self._version = state.version
        self._unsaved = len(self._turns)  # the first turn that the store may have otherwise, as a save has failed
        self.model: Any = state.model  # or a route, which a store keeps the first model of
        self.system = state.system
        self.variables = dict(state.variables)
        self.title = state.title
        self.origin = state.origin
        if state.origin and not self._has_prompt:
            raise ConfigError(
                f"the conversation {state.id!r} is by {state.origin}: go on with it by open_pack(pack, prompt, ...), "
                "with the same store= and id=, or with load=path"
            )
        self._recover()

    # -- state -------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The id of the conversation, by which a store knows it."""
        return self._id

    @property
    def owner(self) -> str:
        """Whose it is; "" for nobody's."""
        return self._owner

    @property
    def saved(self) -> bool:
        """Whether its store has it."""
        return self._version > 0

    @property
    def external_tools(self) -> frozenset[str]:
        """The names of the tools without a function: a call of one waits until somebody else brings its result."""
        tools = tools_of(self._options.get("tools") or ())
        return frozenset(tool.name for tool in tools if isinstance(tool, Tool) and tool.function is None)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All turns, oldest first, also those that were rolled back."""
        with self._lock:
            return tuple(self._turns)

    @property
    def messages(self) -> list[Message]:
        """The history, without the system prompt; during a turn what it was before."""
        with self._lock:
            return [message for turn in self._turns for message in turn.messages]

    @property
    def status(self) -> Literal["idle", "open", "suspended"]:
        """``open`` during a turn, ``suspended`` while calls of the last turn wait for decisions, otherwise ``idle``."""
        with self._lock:
            if self._turn_stream_is_open():
                return "open"
            return "suspended" if self._turns and self._turns[-1].state == "suspended" else "idle"

    @property
    def suspension(self) -> Suspension | None:
        """What waits, where the last turn is suspended: ``suspension.waiting`` are the calls."""
        with self._lock:
            return self._turns[-1].suspension if self._turns else None

    @property
    def usage(self) -> Usage:
        """The usage of all turns: also of those that failed, were undone or asked again, and of summaries."""
        with self._lock:
            return summed([self._spent, *(turn.usage for turn in self._turns)])

    @property
    def cost(self) -> float:
        """USD of all turns, as far as it is known."""
        with self._lock:
            return self._spent_cost + sum(turn.cost or 0.0 for turn in self._turns)

    @property
    def state(self) -> ConversationState:
        """All that is kept of it."""
        with self._lock:
            return self._state()

    def _state(self, turns: Sequence[Turn] | None = None) -> ConversationState:
        return ConversationState(
            self._id,
            self.turns if turns is None else turns,
            name_of(self.model),
            self.system,
            dict(self.variables),
            kept_parameters(self._options),
            self._summary,
            self._spent,
            self._spent_cost,
            self._owner,
            self.title,
            time.time(),
            self._version,
            self.origin,
        )

    # -- turns -------------------------------------------------------------------------------------------

    def stream(
        self, content: Content, *, turn_id: str | None = None, replaces: str | None = None, **options: Any
    ) -> TurnStream:
        """Ask, and return the stream of the reply: a run where the conversation has tools.

        Args:
            content: text, parts such as ``TextPart`` and ``ImagePart``, or a ``Message`` of the user's.
            turn_id: of the new turn; by default one of its own.
            replaces: the id of an earlier turn, which is taken back with all turns after it.
            options: arguments of ``client.stream``, and with tools of ``client.run``, for this turn; others are as the
                conversation has them.

        Raises:
            ConfigError: the call is invalid; nothing was sent, and the conversation is as it was.
            MisuseError: a turn is open, or waits for decisions; there is a turn of the id ``turn_id`` already, or none
                of the id ``replaces``.
            StoreConflictError: somebody else has changed the conversation in its store; nothing was sent.
            StoreError: the question cannot be saved; nothing was sent. Where the reply cannot be saved, it is raised
                after all chunks: the conversation has the turn, and the next save writes it.
            StreamError: a summary was due and failed, or a validator of the input refused it; nothing was asked.
        """
        asked = _asked(content)
        if turn_id is not None and (not isinstance(turn_id, str) or not turn_id):
            raise ConfigError(f"turn_id is a text, not {shown(turn_id)}")
        if replaces is not None:
            return self._ask_instead(replaces, asked, turn_id, options)
        self._end_turn()
        begun = False
        try:
            with self._lock:
                self._check_free()
                begun = self._busy = True
            return self._ask(asked, turn_id, options)
        except BaseException:
            if begun:
                self._busy = False
            raise

    def send(self, content: Content, **options: Any) -> Completion:
        """Ask, wait, and return the whole reply; see ``stream``.

        A turn whose calls wait for decisions returns too: then ``status`` is ``suspended``.

        Raises:
            StreamError: the reply failed; ``error.partial`` has what came before.
        """
        __tracebackhide__ = True
        return drain(self.stream(content, **options))

    def resume(self, decisions: Mapping[str, Any], **options: Any) -> TurnStream:
        """Go on with a suspended turn; see ``client.resume``.

        Args:
            decisions: ``Approved(...)``, ``Rejected(...)`` or ``Answered(...)`` by the id of the call.
            options: as in ``stream``.

        Raises:
            MisuseError: no turn waits, or a decision is on a call that does not.
            ConfigError: the call is invalid; nothing was done.
            StoreConflictError: somebody else goes on with it, or has done so; nothing was done.
            StoreError: the decisions cannot be saved; nothing was done.
        """
        self._end_turn()
        begun = False
        try:
            with self._lock:
                if self._turn_stream_is_open():
                    raise MisuseError(_OPEN)
                if not self._turns or self._turns[-1].suspension is None:
                    raise MisuseError("no turn of this conversation waits for decisions")
                suspension = self._turns[-1].suspension
                begun = self._busy = True
            given = self._given(options)
            if self._store is not None:
                given.setdefault("claims", self._store.claims_of(self._id))
            inner = self._client.resume(suspension, decisions, **given)
            try:
                approved = [id for id, decision in decisions.items() if isinstance(decision, Approved)]
                self._name_stream(approved)
            except BaseException:
                inner.cancel()
                raise
            return self._stream_of(inner)
        except BaseException:
            if begun:
                self._busy = False
            raise

    def retry(self, turn_id: str | None = None, **options: Any) -> TurnStream:
        """Ask the last turn again, in place of what came of it; see ``stream``.

        Args:
            turn_id: the id of an earlier turn, to ask that one again; the turns after it are taken back.
            options: as in ``stream``.

        Raises:
            MisuseError: there is no turn, or none of this id.
        """
        return self._ask_instead(turn_id, None, None, options)

    def _ask_instead(
        self, replaced: str | None, asked: Message | None, turn_id: str | None, options: Mapping[str, Any]
    ) -> TurnStream:
        """Ask in place of a turn and those after it.

        Args:
            replaced: the id of the turn; ``None`` for the last one.
            asked: the question; ``None`` for that of the turn.
            turn_id: of the new turn; ``None`` for that of the turn where its question is asked again, otherwise for one
                of its own.
            options: of the turn.
        """
        self._end_turn()
        kept: tuple[list[Turn], Summary | None, Usage, float] | None = None
        try:
            with self._lock:
                self._check_free(suspended=True)
                number, version = self._number_of(replaced), self._version
                before = self._turns[number]
                kept = self._kept()
                self._busy = True
                self._forget(number)
            if asked is None:
                asked, turn_id = before.asked, before.id or None
            return self._ask(asked, turn_id, options)  # without the lock, as a model may be asked for a summary
        except BaseException:
            if kept is not None:
                with self._lock:
                    self._restore(kept)
                    if self._version != version:
                        self._save_again(number)
                    self._busy = False
            raise

    def _number_of(self, turn_id: str | None) -> int:
        """Return the place of a turn; of the last one for ``None``."""
        if not self._turns:
            raise MisuseError("this conversation has no turn yet")
        if turn_id is None:
            return len(self._turns) - 1
        for number, turn in enumerate(self._turns):
            if turn.id == turn_id:
                return number
        raise MisuseError(f"this conversation has no turn of the id {turn_id!r:.80}")

    def undo(self) -> Turn:
        """Take back the last turn, also one that waits for decisions, and return it. Its usage still counts.

        Raises:
            MisuseError: there is no turn, or one is open.
            StoreConflictError: somebody else has changed the conversation in its store; nothing was undone.
            StoreError: that cannot be saved; nothing was undone.
        """
        self._end_turn()
        with self._lock:
            self._check_free(suspended=True)
            number = len(self._turns) - 1
            while number >= 0 and self._turns[number].state == "rolled back":
                number -= 1
            if number < 0:
                raise MisuseError("this conversation has no turn to undo")
            undone = self._turns[number]
            self._take_back_from(number)
            return undone

    def clear(self) -> None:
        """Take back all turns. Their usage still counts.

        Raises:
            MisuseError: a turn is open.
            StoreConflictError: somebody else has changed the conversation in its store; nothing was cleared.
            StoreError: that cannot be saved; nothing was cleared.
        """
        self._end_turn()
        with self._lock:
            self._check_free(suspended=True)
            self._take_back_from(0)

    def fork(self, id: str | None = None) -> Conversation:
        """Return another conversation with the same turns, settings and store. What comes after is each one's own.

        Both count the usage of the turns that they share.

        Args:
            id: of the new one; by default one of its own.

        Raises:
            MisuseError: a turn is open.
            StoreConflictError: the store has a conversation of this id.
            StoreError: it cannot be saved.
        """
        self._end_turn()
        with self._lock:
            self._check_free(suspended=True)
            turns = [turn for turn in self._turns if turn.suspension is None]  # it is resumed once, by one of the two
            state = attrs.evolve(self._state(turns), id=id or uuid.uuid4().hex, version=0)
            forked = self._like_this(state)
            forked._save(0)
            return forked

    def _like_this(self, state: ConversationState) -> Conversation:
        """Return a conversation with another state, and the rest as it is here."""
        made = Conversation(
            self._client,
            state,
            options=self._options,
            window=self._window,
            store=self._store,
            on_failure=self._on_failure,
        )
        made.model = self.model
        return made

    def on_tool(self, name: str, function: Callable[..., Any]) -> None:
        """Bind a function to a tool that was declared without one, such as that of a pack.

        Args:
            name: of the tool.
            function: gets the arguments by name; it takes the place of an earlier one.

        Raises:
            ConfigError: there is no such tool, or the function cannot be one.
            MisuseError: a turn is open.
        """
        self._end_turn()
        with self._lock:
            if self._turn_stream_is_open():
                raise MisuseError(_OPEN)
            tools = tools_of(self._options.get("tools") or ())
            places = [place for place, tool in enumerate(tools) if isinstance(tool, Tool) and tool.name == name]
            if not places:
                known = ", ".join(tool.name for tool in tools if isinstance(tool, Tool)) or "there are none"
                raise ConfigError(f"this conversation has no tool {name!r}; its tools are: {known}")
            tools[places[0]] = tools[places[0]].bound_to(function)  # type: ignore[union-attr]
            self._options["tools"] = tools

    # -- keeping -----------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation to a file, for ``Conversation.load``.

        The file is replaced as a whole, and flushed to the disk: a crash leaves the old file or the new one. It is
        readable for its user alone.

        Raises:
            OSError: it cannot be written; an old file is as it was.
            ConfigError: something in it is no JSON.
        """
        write_file(Path(path), self.state.to_json())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        client: Any,
        window: Window | None = None,
        on_failure: OnFailure = "keep",
        **options: Any,
    ) -> Conversation:
        """Read what ``save`` wrote.

        Args:
            path: of the file.
            client: asks the model.
            window: as in ``client.conversation``, which a file does not keep.
            on_failure: as in ``client.conversation``.
            options: as in ``client.conversation``: ``tools`` are given again, and parameters that may hold a key;
                ``model``, ``system`` and ``variables`` replace those of the file.

        Raises:
            OSError: it cannot be read.
            ConfigError: it is no conversation, or was written by a newer version of streamkit.
        """
        state = ConversationState.from_json(Path(path).read_bytes(), where=str(path))
        replaced = {name: options.pop(name) for name in ("model", "system", "variables") if name in options}
        state = attrs.evolve(state, **replaced)
        return cls(client, state, options={**state.params, **options}, window=window, on_failure=on_failure)

    def refresh(self) -> None:
        """Read the conversation from its store again, after a ``StoreConflictError``.

        Raises:
            MisuseError: it has no store, or a turn is open.
            StoreError: the store cannot be read; the conversation is as it was.
        """
        self._end_turn()
        with self._lock:
            if self._store is None:
                raise MisuseError("this conversation has no store")
            if isinstance(self._busy, TurnEnd) and self._busy.inner.inherited:
                self._busy = False  # the turn is the parent's, and so is what comes of it
            if self._turn_stream_is_open():
                raise MisuseError(_OPEN)
            state = self._store.load(self._id)
            if state is None:
                state = ConversationState(self._id, [], name_of(self.model), title=self.title)
            self.title = state.title
            self._turns, self._version = list(state.turns), state.version
            self._unsaved = len(self._turns)
            self._summary, self._spent, self._spent_cost = state.summary, state.spent, state.spent_cost
            self._recover()

    @property
    def crashed(self) -> bool:
        """Whether the last turn was found open after a crash; the next save, or ``recover``, settles it."""
        with self._lock:
            return self._crashed and self._busy is False

    def recover(self, delivered: Sequence[Chunk] = (), *, whole: bool = False) -> None:
        """Settle a turn that another program left open, where the caller knows that nothing will come of it any more.

        By itself a conversation only does so for a program that it knows to be dead. Should that one save after all,
        one of the two gets a ``StoreConflictError``.

        Args:
            delivered: the chunks that are known of the reply, such as those of its log. With ``on_failure="keep"`` they
                stay: the text, and calls that have a result. Without any the turn counts as rolled back.
            whole: whether they are the whole reply.
        """
        with self._lock:
            if self._busy is not False or not self._turns:
                return
            if self._turns[-1].state == "open":
                self._give_up()
            if not self._crashed:
                return
            if delivered and self._on_failure == "keep":
                self._turns[-1] = with_delivered(self._turns[-1], delivered, whole=whole)
            try:
                self._save(len(self._turns) - 1)
            except (StoreConflictError, StoreError) as error:
                _log.warning("a turn that a crash left open could not be saved: %s", error)
            self._crashed = False

    def _save(self, first_changed: int) -> None:
        self._crashed = False
        if self._store is not None:
            self._unsaved = min(self._unsaved, first_changed)
            state = self._state(self._turns)
            self._version = self._store.save(state, expected=self._version, first_changed=self._unsaved)
            self._unsaved = len(self._turns)

    def _recover(self) -> None:
        """Settle a turn that a crash left open."""
        if not self._turns or self._turns[-1].state != "open":
            return
        turn = self._turns[-1]
        if self._store is not None and turn.owner is not None and is_alive(turn.owner):
            return  # somebody is in the middle of it; what comes of it is not written to a file
        self._give_up()

    def _give_up(self) -> None:
        note = "the program ended in the middle of this turn"
        self._turns[-1] = attrs.evolve(self._turns[-1], state="rolled back", owner=None, error=note)
        self._crashed = True
        self._unsaved = min(self._unsaved, len(self._turns) - 1)

    # -- one turn ----------------------------------------------------------------------------------------

    def _turn_stream_is_open(self) -> bool:
        return self._busy is not False  # a turn whose stream has ended is open until it is settled

    def _end_turn(self) -> None:
        """Settle a turn whose stream has ended without its consumer: by a stop event, or with its client.

        Not with ``_lock``: who settles takes the lock of the ``TurnEnd`` first.
        """
        end = self._busy
        if not isinstance(end, bool):
            end.settle()

    def _check_free(self, *, suspended: bool = False) -> None:
        if self._turn_stream_is_open():
            raise MisuseError(_OPEN)
        last = self._turns[-1] if self._turns else None
        if last is not None and last.state == "open":
            raise StoreConflictError(
                f"another program is in the middle of a turn of the conversation {self._id!r}; refresh() reads it again"
            )
        if last is not None and last.state == "suspended" and not suspended:
            raise MisuseError(
                "calls of the last turn wait for decisions: conversation.resume({...}) goes on, undo() takes it back"
            )

    def _name_stream(self, approved: Sequence[str]) -> None:
        """Give the last turn's next stream an id, and keep it, so that others find it."""
        number = len(self._turns) - 1
        before = self._turns[number]
        calls = {**before.calls, **dict.fromkeys(approved, "approved")}
        self._turns[number] = attrs.evolve(before, stream_id=uuid.uuid4().hex, calls=calls, goes_on=True)
        try:
            self._save(number)
        except BaseException:
            self._turns[number] = before
            raise

    def _ask(self, asked: Message, turn_id: str | None, options: Mapping[str, Any]) -> TurnStream:
        if turn_id is not None and any(turn.id == turn_id for turn in self._turns):
            raise MisuseError(f"this conversation has a turn of the id {turn_id!r:.80}: retry(turn_id) asks it again")
        given = self._given(options)
        if given.get("validators") is not None:
            given["validators"] = tuple(given["validators"])
            check_input(given["validators"], _text_of(asked))
        system, first = self._before(asked)
        history = [message for turn in self._turns[first:] for message in turn.messages]
        messages = ([Message("system", system)] if system else []) + history + [asked]
        owner, number, version, title = this_process(), len(self._turns), self._version, self.title
        inner: ChunkStream | None = None
        if not self.title and isinstance(asked.content, str):
            self.title = asked.content.strip().partition("\n")[0][:_LONGEST_TITLE]
        try:
            turn = Turn(asked, model=name_of(self.model), first_sent=first, owner=owner, asked_at=time.time())
            self._turns.append(attrs.evolve(turn, id=turn_id or uuid.uuid4().hex, stream_id=uuid.uuid4().hex))
            self._save(number)
            if given.get("tools"):
                if self._store is not None:
                    given.setdefault("claims", self._store.claims_of(self._id))
                inner = self._client.run(self.model, messages, **given)
            else:
                inner = self._client.stream(self.model, messages, **given)
            return self._stream_of(inner)
        except BaseException:
            self._busy = True  # so that a stream that was made has nothing to settle
            if inner is not None:  # Ctrl-C
                inner.cancel()
            del self._turns[number:]
            self.title = title
            over(owner)
            if self._version != version:  # the question was saved
                self._save_again(number)
            raise

    def _save_again(self, first_changed: int) -> None:
        """Save what is as it was before something failed. Where that fails too, the next save has it."""
        try:
            self._save(first_changed)
        except (StoreConflictError, StoreError) as error:
            _log.warning("the conversation could not be put back in its store: %s", error)

    def _given(self, options: Mapping[str, Any]) -> dict[str, Any]:
        _check_options(options)
        given = {**self._options, **options}
        if not given.get("tools"):
            given.pop("tools", None)  # providers refuse an empty list
            for name in (*_RUN_OPTIONS, "parallel_tool_calls", "tool_choice"):
                if name not in options or name in _RUN_OPTIONS:
                    given.pop(name, None)
        return given

    def _before(self, asked: Message) -> tuple[str, int]:
        """Return the system prompt, and the number of the first turn that is sent."""
        system = self._system_prompt()
        window, covered = self._window, self._summary.turns if self._summary else 0
        if window is None:
            return system, 0
        fixed = estimate_tokens(system) + tokens_of([asked]) + (self._summary_tokens() if self._summary else 0)
        first = first_sent(self._turns, window, fixed, covered)
        if window.summarise is not None and first > covered:
            first = first_sent(self._turns, window.halved(), fixed, covered)
            self._summarise(window.summarise, covered, first)
        if self._summary is not None:
            system = f"{system}\n\nSummary of the conversation before:\n{self._summary.text}".lstrip()
        return system, first

    def _system_prompt(self) -> str:
        return fill_in(self.system, self.variables) if self.system else ""

    def _summary_tokens(self) -> int:
        return estimate_tokens(self._summary.text) if self._summary else 0

    def _summarise(self, model: str, covered: int, first: int) -> None:
        earlier = self._summary.text if self._summary else ""
        made = self._client.complete(model, summary_request(earlier, self._turns[covered:first]))
        self._spent = summed([self._spent, made.usage])
        self._spent_cost += made.cost or 0.0
        if made.text.strip():  # a model that wrote nothing leaves the earlier one, and these turns for the next time
            self._summary = Summary(made.text.strip(), first)

    def _stream_of(self, inner: ChunkStream) -> TurnStream:
        end = TurnEnd(inner, self._settle)
        stream = TurnStream(self, end, self._turns[-1])
        self._busy = end
        return stream

    def _settle(self, end: TurnEnd) -> None:
        """Keep what came of the last turn. Ctrl-C may interrupt it anywhere; then it is called again.

        Raises:
            StoreConflictError: somebody else has changed the conversation in its store. What came is in the memory of
                this process only.
            StoreError: it cannot be saved now. The next save of this conversation has it.
        """
        with self._lock:
            owner = None
            try:
                if self._busy is end:
                    number = len(self._turns) - 1
                    owner = self._turns[number].owner
                    turn = self._settled(self._turns[number], end)
                    self._unsaved = min(self._unsaved, number)
                    self._turns[number], self._busy = turn, False  # nothing comes between two assignments
                if self._busy is False and self._unsaved < len(self._turns):
                    self._save(self._unsaved)
            finally:  # not before: until it is saved, others would take the turn for one that a crash left open
                if self._busy is not end:
                    over(owner)

    def _settled(self, before: Turn, end: TurnEnd) -> Turn:
        inner = end.inner
        completion, status = inner.completion, inner.status
        run = inner if isinstance(inner, Run) else None
        usage = summed([before.usage, completion.usage])
        cost = completion.cost
        turn = attrs.evolve(
            before,
            usage=usage,
            cost=before.cost if cost is None else (before.cost or 0.0) + cost,
            finish_reason=completion.finish_reason,
            error="" if inner.error is None else str(inner.error),
            owner=None,
            calls={**before.calls, **end.calls.copy()},
        )
        if before.state == "open":
            first = inner.stats.time_to_first_chunk
            turn = attrs.evolve(turn, time_to_first_chunk=None if first is None else round(first, 3))
        # Stopped by somebody while the model went on after the calls, it is a turn that was stopped as any other.
        stopped = status == "cancelled" and self._on_failure == "keep" and run is not None and len(run.rounds) > 1
        if before.state == "suspended" and status not in ("complete", "suspended") and not stopped:
            return turn  # it goes on waiting: what ran is known, and a further resume() goes on from there
        turn = attrs.evolve(turn, reasoning=_reasoning(before, completion if run is None else run.rounds))
        if status == "suspended" and run is not None:
            answer = tuple(run.messages)
            return attrs.evolve(turn, state="suspended", suspension=run.suspension, answer=answer, goes_on=False)
        answer = tuple(run.messages) if run is not None else _answer(completion, status == "complete")
        turn = attrs.evolve(turn, suspension=None)
        if status == "complete":
            return attrs.evolve(turn, state="complete", answer=answer, **self._counted(turn, run, completion))
        if answer and self._on_failure == "keep":
            return attrs.evolve(turn, state="partial", answer=answer)
        return attrs.evolve(turn, state="rolled back", answer=())

    def _counted(self, turn: Turn, run: Run | None, completion: Completion) -> dict[str, Any]:
        """Return the tokens of a turn as the provider counted them; see ``Window``."""
        last = run.rounds[-1].usage if run is not None and run.rounds else completion.usage
        apart = (last.cached_tokens or 0) + (last.cache_write_tokens or 0) if last.cached_apart else 0
        output = last.output_tokens
        if output is not None and last.reasoning_tokens:  # which no later request has
            output = max(0, output - last.reasoning_tokens)
        context = context_of(last.input_tokens, output, apart)
        before = self._turns[-2] if len(self._turns) > 1 else None
        known = context and before is not None and before.context and before.first_sent == turn.first_sent
        tokens = context - before.context if known and before is not None else None
        return {"context": context, "tokens": tokens if tokens is None or tokens > 0 else None}

    def _take_back_from(self, number: int) -> None:
        kept = self._kept()
        try:
            self._forget(number)
            self._save(number)
        except BaseException:
            self._restore(kept)
            raise

    def _kept(self) -> tuple[list[Turn], Summary | None, Usage, float]:
        return list(self._turns), self._summary, self._spent, self._spent_cost

    def _restore(self, kept: tuple[list[Turn], Summary | None, Usage, float]) -> None:
        self._turns, self._summary, self._spent, self._spent_cost = kept

    def _forget(self, number: int) -> None:
        """Take turns out, from one on; their usage goes on counting."""
        gone = self._turns[number:]
        self._spent = summed([self._spent, *(turn.usage for turn in gone)])
        self._spent_cost += sum(turn.cost or 0.0 for turn in gone)
        del self._turns[number:]
        if self._summary is not None and self._summary.turns > number:
            self._summary = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _HINTS)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: its messages."""
        return html_of(self)

    def __repr__(self) -> str:
        return f"<Conversation {self._id!r}, {len(self._turns)} turns, {self.status}>"


_NO_TOOLS = "There are no tools here: nothing was called."
_OPEN = (
    "a turn of this conversation is open: read it to its end or close() it before the next one; "
    "another thread needs a conversation of its own, see fork()"
)


_ASK = "conversation.stream(text) asks, and conversation.send(text) waits for the whole reply"
_HINTS = {
    "ask": _ASK,
    "chat": _ASK,
    "complete": _ASK,
    "prompt": _ASK,
    "run": "conversation.stream(text) calls the tools",
    "history": "it is conversation.messages here",
    "reset": "it is conversation.clear() here",
}
_AT_CREATION = "it is an argument of client.conversation(...)"
_NOT_OF_A_TURN = {
    "messages": "a conversation keeps the messages itself; client.stream(model, messages) takes a list",
    "model": "set conversation.model between two turns",
    "system": "set conversation.system between two turns",
    "variables": "set conversation.variables between two turns",
    "window": _AT_CREATION,
    "store": _AT_CREATION,
    "id": _AT_CREATION,
    "on_failure": _AT_CREATION,
    "owner": _AT_CREATION,
    "turn_id": "it is an argument of conversation.stream(...)",
    "replaces": "it is an argument of conversation.stream(...)",
}


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for arguments that are not of a turn."""
    for name in options:
        if name in _NOT_OF_A_TURN:
            raise ConfigError(f"{name}= is not an argument of a turn: {_NOT_OF_A_TURN[name]}")


def _asked(content: Any) -> Message:
    if isinstance(content, Message):
        if content.role != "user":
            raise ConfigError(f"a turn begins with a message of the user, not of the role {content.role!r}")
        return content
    if isinstance(content, (str, Sequence)) and not isinstance(content, bytes):
        if not content or (isinstance(content, str) and not content.strip()):
            raise ConfigError("the question is empty")
        return Message("user", content if isinstance(content, str) else tuple(_part(part) for part in content))
    raise ConfigError(f"a turn is text, parts, or a Message, not {type(content).__name__}")


def _text_of(message: Message) -> str:
    content = plain_parts(message.content) or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))


def _part(part: Any) -> Any:
    if isinstance(part, str):
        return TextPart(part)
    if isinstance(part, (TextPart, ImagePart, FilePart, Mapping)):
        return part
    raise ConfigError(f"a part is text, TextPart, ImagePart, FilePart or a dict, not {type(part).__name__}")


def _answer(completion: Completion, complete: bool) -> tuple[Message, ...]:
    """Return what a reply without tools adds to the history; of one that was broken off its text.

    A model may call a tool all the same. Providers want a result for each call.
    """
    if complete:
        calls = completion.message.tool_calls
        return (completion.message, *(Message("tool", _NO_TOOLS, tool_call_id=call.id) for call in calls))
    return (Message("assistant", completion.text),) if completion.text.strip() else ()


def _reasoning(before: Turn, replies: Completion | Sequence[Completion]) -> tuple[str, ...]:
    """Return the reasoning of each reply of a turn; that of a resumed one begins with the reply that it waited in."""
    given = [replies] if isinstance(replies, Completion) else replies
    if before.state == "suspended":
        given = given[1:]
    texts = (*before.reasoning, *(reply.reasoning for reply in given))
    return texts if any(texts) else ()


def write_file(path: Path, text: str) -> None:
    """Replace a file as a whole, durably, readable for its user alone.

    Raises:
        OSError: it cannot be written; an old file is as it was.
    """
    path = Path(os.path.realpath(path))  # a link goes on to lead to it
    try:
        _replace_file(path, text)
    except OSError as error:  # its own text has the name of a file that is not there any more, or none
        raise OSError(error.errno, error.strerror, str(path)) from error


def _replace_file(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if os.name != "nt":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_places(store: object, variables: object) -> None:
    """Raise a ConfigError for what cannot be a store, or variables."""
    if store is not None and not isinstance(store, Store):
        raise ConfigError(f"store is a SQLStore('chats.db'), a MemoryStore() or another Store, not {shown(store)}")
    if variables is not None and not isinstance(variables, Mapping):
        raise ConfigError(f"variables is a dict of values by name, not {shown(variables)}")


def conversation(
    client: StartsTurns,
    model: Any,
    *,
    system: str,
    variables: Mapping[str, Any] | None,
    window: Window | None,
    store: Store | None,
    id: str | None,
    on_failure: OnFailure,
    owner: str,
    options: Mapping[str, Any],
) -> Conversation:
    """Return a new conversation, or the one of this id in the store; see ``Client.conversation``."""
    if id is not None and (not isinstance(id, str) or not id):
        raise ConfigError(f"id is a text, not {shown(id)}")
    if not isinstance(system, str):
        raise ConfigError(f"system is a text, not {shown(system)}")
    check_places(store, variables)
    name = name_of(model)
    state = store.load(id) if store is not None and id is not None else None
    if state is None:
        state = ConversationState(id or uuid.uuid4().hex, [], name, system, dict(variables or {}), owner=owner)
    elif owner and state.owner and owner != state.owner:
        raise OwnerError(f"the conversation {id!r} is another owner's")
    else:
        changes: dict[str, Any] = {"model": name}
        if system:
            changes["system"] = system
        if variables is not None:
            changes["variables"] = dict(variables)
        state = attrs.evolve(state, **changes)
    given = {**state.params, **options}
    made = Conversation(client, state, options=given, window=window, store=store, on_failure=on_failure)
    made.model = model
    return made
