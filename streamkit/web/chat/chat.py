"""What a browser can ask of a conversation: ``Chat``."""

from __future__ import annotations

import queue
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import attrs

from streamkit.conversation.conversation import Conversation
from streamkit.conversation.owners import is_of_this_machine
from streamkit.conversation.stores.store import Store
from streamkit.conversation.turn_stream import TurnStream
from streamkit.conversation.turns import Turn
from streamkit.errors import LogError, MisuseError, OwnerError, RequestError, StoreConflictError, StreamError
from streamkit.logs.following import FollowedStream, follow
from streamkit.logs.log import Log
from streamkit.tools.decisions import Answered, Decision
from streamkit.values.chunks import Chunk, Usage
from streamkit.values.messages import ToolCall
from streamkit.web.chat.replies import Replies
from streamkit.web.formats.requests.request import WebRequest
from streamkit.web.formats.ui_history import assistant_ui_message, chunks_of, reply_metadata, user_ui_message

__all__ = ["Answer", "Chat"]

_STOP_SECONDS = 5.0
_LONGEST_ID = 200  # characters
_ANY = "any"  # the id of a reply that there is not
_REPLY = "reply-"  # stands before the id of a question: the id of the message with its reply
_BUSY = "a reply of this chat is on its way: wait for its end, or stop it"
_WAITS = "calls of the last reply wait for a decision: decide on them, or ask the last question again"
_MODEL_GONE = "the model of this reply may not be asked any more: ask the last question again"
_NO_CHAT = "there is no such chat"
_NOTHING_WAITS = "nothing in this chat waits for this decision: it was decided already, or the chat went on"


@attrs.frozen
class Answer:
    """A reply for a browser.

    Attributes:
        stream: of its log; closing it does not stop the reply.
        message_id: of the message that the browser makes of it.
        stream_id: of its log.
        model: that was asked.
        created: when the question was asked, in seconds since 1970.
        earlier: chunks of the message before this stream, which the browser may not have.
        calls: calls of the message before this stream, whose results will come.
        browser_tools: names of the tools that the browser carries out.
        spent: the usage of the message before this stream; ``None`` where it begins with it.
        metadata: of the message before this stream, which the browser may not have.
    """

    stream: FollowedStream
    message_id: str
    stream_id: str
    model: str
    created: int
    earlier: tuple[Chunk, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    browser_tools: frozenset[str] = frozenset()
    spent: Usage | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict, hash=False)


class Chat:
    """Conversations for browsers: each belongs to an owner, and each reply is written into a log.

    A reply goes on when its browser leaves. Any number of browsers follow it, from any process that has the same log
    and the same store.

    Threads: any, at the same time.

    Args:
        open: returns the conversation of an id and an owner; see ``Client.conversation``. It gets further arguments as
            the methods here are given them as ``options``, such as ``model`` and ``tools``.
        store: where conversations are kept.
        log: where replies are written while they come.
        most: replies that may be open at once in this process.
        around: calls the function that runs a reply, in its thread.
        told: returns what a browser is told of why an earlier turn failed.
    """

    def __init__(
        self,
        open: Callable[..., Conversation],
        store: Store,
        log: Log,
        *,
        most: int = 1000,
        around: Callable[[Callable[[], object]], object] = lambda function: function(),
        told: Callable[[str], str] = lambda error: "",
    ) -> None:
        self._open = open
        self._store = store
        self._log = log
        self._replies = Replies(log, most, around)
        self._told = told

    # -- replies -----------------------------------------------------------------------------------------

    def ask(self, request: WebRequest, owner: str, models: Collection[str] | None = None, /, **options: Any) -> Answer:
        """Do what a request asks for: a new turn, a reply once more, or what a person decided.

        A question that was asked already, by the same message id, is not asked again: its reply is followed.

        Args:
            request: as a format read it.
            owner: of the conversation.
            models: that the owner may ask; ``None`` for any. A reply that waits for decisions goes on with the model
                that began it, which has to be among them still.
            options: of the conversation.

        Raises:
            RequestError: it cannot be done; ``status`` is 400, 403, 404, 409 or 503. Nothing was sent.
            ConfigError, StreamError, StoreError, LogError: as ``Conversation.stream`` raises them.
        """
        conversation, active = self._load(request.id, owner, options, new=True)
        known = self._known(conversation, request)
        if known is not None:
            return known
        if active is not None:
            if request.message is None and request.decisions and active.suspension is not None:
                return self._answer(conversation, active, calls=active.suspension.waiting)  # by another tab
            raise RequestError(_BUSY, status=409)
        self._replies.check_room()
        self._log.status(_ANY)  # a log that is away is an error before anybody is asked
        try:
            stream, calls = _start(conversation, request, models)
        except StoreConflictError:
            # Somebody else was quicker: the same request once more, or another tab.
            known = self._known(self._conversation(request.id, owner, options, new=True), request)
            if known is not None:
                return known
            raise RequestError(_BUSY, status=409) from None
        turn = conversation.turns[-1]
        self._replies.start(stream, stream.stream_id)
        return self._answer(conversation, turn, calls=calls)

    def _known(self, conversation: Conversation, request: WebRequest) -> Answer | None:
        """Return the reply to a question that was asked already, ``None`` where it has to be asked.

        Raises:
            RequestError: it was asked, and its reply is over.
        """
        if request.replaces or request.message is None or not request.message_id:
            return None
        turns = conversation.turns
        turn = next((turn for turn in turns if turn.id == request.message_id), None)
        if turn is None or turn.state == "rolled back":
            return None
        # An open turn's log may still be to come: its thread has only just begun.
        if turn is turns[-1] and (turn.state == "open" or self._log.status(turn.stream_id) != "absent"):
            return self._answer(conversation, turn)
        raise RequestError("this question was asked already; load the chat again to see the answer", status=409)

    def resume(self, id: str, owner: str, **options: Any) -> Answer | None:
        """Return the reply that is on its way, from its beginning; ``None`` where there is none.

        Nor is there one in a chat that has not begun, of which ``useChat`` asks as well: it shows a 404 as an error.

        Raises:
            RequestError: the conversation is another owner's; ``status`` is 404.
        """
        conversation, turn = self._load(id, owner, options, new=True)
        return None if turn is None else self._answer(conversation, turn, whole=True)

    def go_on(self, id: str, owner: str, stream_id: str, after: int, **options: Any) -> Answer | None:
        """Return the rest of a reply, also of one that is over; ``None`` where its log is gone.

        Args:
            id: of the conversation.
            owner: of the conversation.
            stream_id: of the reply.
            after: the number of the last chunk that the browser has.
            options: of the conversation.

        Raises:
            RequestError: there is no such reply in a conversation of this owner; ``status`` is 404.
        """
        conversation = self._conversation(id, owner, options)
        turn = next((turn for turn in conversation.turns if stream_id and turn.stream_id == stream_id), None)
        if turn is None:
            raise RequestError("there is no such reply in this chat", status=404)
        if self._log.status(stream_id) == "absent":
            return None
        return self._answer(conversation, turn, after=after)

    def asking(self, id: str, owner: str, text: str, **options: Any) -> Answer | None:
        """Return the reply that is on its way to this very question, ``None`` where there is none.

        Raises:
            RequestError: the conversation is another owner's; ``status`` is 404.
        """
        conversation, turn = self._load(id, owner, options, new=True)
        return self._answer(conversation, turn) if turn is not None and turn.asked.content == text else None

    def stop(self, id: str, owner: str, **options: Any) -> bool:
        """Stop the reply that is on its way, wherever it runs, and wait for its end, at most 5 s.

        Returns:
            Whether there was one.

        Raises:
            RequestError: there is no such conversation of this owner; ``status`` is 404.
        """
        _, turn = self._load(id, owner, options)
        if turn is None:
            return False
        self._log.stop(turn.stream_id)
        with suppress(StreamError):  # its own failure; or it has not ended in time
            follow(self._log, turn.stream_id, timeout=_STOP_SECONDS).collect()
        return True

    def _load(
        self, id: str, owner: str, options: Mapping[str, Any], *, new: bool = False
    ) -> tuple[Conversation, Turn | None]:
        """Return a conversation of an owner, see ``_conversation``; and its last turn, if its reply is on its way."""
        ended = ""  # the stream of a reply that is over
        while True:
            conversation = self._conversation(id, owner, options, new=new)
            turn = conversation.turns[-1] if conversation.turns else None
            if turn is not None and conversation.crashed:
                self._recover(conversation, turn)
            if turn is None or not (turn.state == "open" or (turn.state == "suspended" and turn.goes_on)):
                return conversation, None
            status = self._log.status(turn.stream_id)
            if status == "open" or (status == "absent" and turn.state == "open"):  # it has not begun to write yet
                return conversation, turn
            if turn.stream_id == ended:
                break
            ended = turn.stream_id  # it may have ended, and been saved, since the conversation was loaded: look again
        # The end of the reply is written, but the store could not take it. Or its writer is lost: where that is a
        # process of this machine and lives, it may come back; of another machine's the log knows better than the store.
        if status == "ended" or turn.owner is None or not is_of_this_machine(turn.owner):
            self._recover(conversation, turn)
        return conversation, None

    def _recover(self, conversation: Conversation, turn: Turn) -> None:
        """Settle a turn whose program is gone: what its log has of the reply stays.

        Raises:
            LogError: the log cannot be read now; nothing was settled, so that the next request does it.
        """
        chunks: list[Chunk] = []
        whole = False
        if turn.stream_id and self._log.status(turn.stream_id) != "absent":
            with follow(self._log, turn.stream_id) as stream:
                try:
                    while (chunk := stream.take(0.0)) is not None:
                        chunks.append(chunk)
                    whole = stream.status == "complete"
                except queue.Empty:
                    pass  # the log does not know yet that its writer is gone
                except StreamError as error:  # the reply's own, or that its writer is gone
                    if isinstance(error, LogError) and error.retryable:
                        raise
        conversation.recover(chunks, whole=whole)

    def _answer(
        self,
        conversation: Conversation,
        turn: Turn,
        *,
        after: int = 0,
        whole: bool = False,
        calls: Sequence[ToolCall] = (),
    ) -> Answer:
        """Return the reply of a turn.

        Args:
            conversation: of the turn.
            turn: the turn.
            after: the number of the last chunk that the browser has.
            whole: whether the browser gets the message from its beginning.
            calls: see ``Answer``.
        """
        return Answer(
            follow(self._log, turn.stream_id, after),
            _REPLY + turn.id,
            turn.stream_id,
            turn.model,
            int(turn.asked_at),
            tuple(_earlier(turn)) if whole else (),
            tuple(calls),
            conversation.external_tools,
            turn.usage if turn.goes_on and turn.state == "suspended" else None,
            reply_metadata(time_to_first_token=turn.time_to_first_chunk) if whole else {},
        )

    # -- what is kept ------------------------------------------------------------------------------------

    def history(self, id: str, owner: str, **options: Any) -> dict[str, Any]:
        """Return a conversation as JSON types: ``id``, ``title``, ``status`` and ``messages``.

        ``status`` is ``streaming`` while a reply is on its way, ``suspended`` while calls wait, otherwise ``ready``.
        The message of a reply that is on its way is not among ``messages``, unless it goes on after a decision.

        Raises:
            RequestError: there is no such conversation of this owner; ``status`` is 404.
        """
        conversation, active = self._load(id, owner, options)
        status = "suspended" if conversation.status == "suspended" else "ready"
        messages: list[dict[str, Any]] = []
        for turn in conversation.turns:
            messages.append(user_ui_message(turn.id, turn.asked))
            if turn is not active or turn.state != "open":
                messages.append(self._reply(turn, conversation.external_tools))
        return {
            "id": id,
            "title": conversation.title,
            "status": status if active is None else "streaming",
            "messages": messages,
        }

    def _reply(self, turn: Turn, browser_tools: frozenset[str]) -> dict[str, Any]:
        failed = turn.state in ("rolled back", "open")
        metadata = reply_metadata(
            model=turn.model,
            created=turn.asked_at,
            usage=turn.usage,
            time_to_first_token=turn.time_to_first_chunk,
            state="failed" if failed else "partial" if turn.state == "partial" else "",
            error=self._told(turn.error) if turn.error else "",
        )
        return assistant_ui_message(
            _REPLY + turn.id,
            turn.answer,
            reasoning=turn.reasoning,
            calls=turn.calls,
            waiting=_waiting(turn),
            browser_tools=browser_tools,
            metadata=metadata,
        )

    def list(self, owner: str) -> list[dict[str, Any]]:
        """Return the owner's conversations, the last changed first, as JSON types."""
        return [
            {"id": entry.id, "title": entry.title, "turns": entry.turns, "changedAt": int(entry.changed_at)}
            for entry in self._store.list(owner=owner)
        ]

    def delete(self, id: str, owner: str, **options: Any) -> None:
        """Stop the reply that is on its way, and delete the conversation.

        Raises:
            RequestError: there is no such conversation of this owner; ``status`` is 404.
        """
        conversation = self._conversation(id, owner, options)
        self._store.delete(id)  # first, so that what comes of the reply is not kept
        for turn in conversation.turns[-1:]:
            if turn.stream_id and not self._log.delete(turn.stream_id):
                self._log.stop(turn.stream_id)  # it may be about to begin

    def _conversation(self, id: str, owner: str, options: Mapping[str, Any], *, new: bool = False) -> Conversation:
        """Return a conversation of an owner.

        Raises:
            RequestError: there is none of this id, and it may not be a ``new`` one; or it is another owner's.
        """
        if not 0 < len(id) <= _LONGEST_ID or not id.isprintable():
            raise RequestError(f"the id of a chat is a text of 1 to {_LONGEST_ID} printable characters")
        try:
            conversation = self._open(id, owner, **options)
        except OwnerError:
            raise RequestError(_NO_CHAT, status=404) from None
        if conversation.owner != owner or not (new or conversation.saved):
            raise RequestError(_NO_CHAT, status=404)
        return conversation

    def close(self) -> None:
        """Cancel the replies of this process, and wait until their ends are written, at most 5 s."""
        self._replies.close()


def _start(
    conversation: Conversation, request: WebRequest, models: Collection[str] | None
) -> tuple[TurnStream, tuple[ToolCall, ...]]:
    """Start the stream that a request asks for.

    Returns:
        The stream; the calls of a suspended turn with which it goes on.

    Raises:
        RequestError: it cannot be, as the conversation is; ``status`` is 409. Or, 403, by the models.
    """
    status = conversation.status
    try:
        if request.trigger == "regenerate":
            return conversation.retry(_turn_id(conversation, request.replaces)), ()
        if request.message is None:
            return _resumed(conversation, request.decisions, models)
        id = request.message_id or None
        if request.replaces:
            replaced = _turn_id(conversation, request.replaces)
            return conversation.stream(request.message, turn_id=id, replaces=replaced), ()
        turns = conversation.turns
        if id is not None and turns and turns[-1].id == id:  # it was rolled back
            return conversation.stream(request.message, turn_id=id, replaces=id), ()
        return conversation.stream(request.message, turn_id=id), ()
    except MisuseError:
        why = _WAITS if status == "suspended" else "there is no such message in this chat; load it again"
        raise RequestError(why, status=409) from None


def _turn_id(conversation: Conversation, message_id: str) -> str | None:
    """Return the id of the turn of a message, which is its question or its reply; ``None`` for the last turn."""
    turn_ids = {turn.id for turn in conversation.turns}
    if message_id not in turn_ids and message_id.startswith(_REPLY):
        message_id = message_id[len(_REPLY) :]
    return message_id or None


def _resumed(
    conversation: Conversation, decisions: Mapping[str, Decision], models: Collection[str] | None
) -> tuple[TurnStream, tuple[ToolCall, ...]]:
    suspension, external = conversation.suspension, conversation.external_tools
    waiting = {} if suspension is None else {call.id: call for call in suspension.waiting}
    # A decision is on a call that waits. And what a function of the program returns is not the browser's to say.
    taken = {
        id: decision
        for id, decision in decisions.items()
        if id in waiting and (waiting[id].name in external or not isinstance(decision, Answered))
    }
    if not taken:
        raise RequestError(_NOTHING_WAITS, status=409)
    if models is not None and suspension is not None and suspension.model not in models:
        raise RequestError(_MODEL_GONE, status=403, code="model_not_allowed")
    return conversation.resume(taken), tuple(waiting.values())


def _waiting(turn: Turn) -> frozenset[str]:
    return frozenset() if turn.suspension is None else frozenset(call.id for call in turn.suspension.waiting)


def _earlier(turn: Turn) -> Iterator[Chunk]:
    """Yield the chunks of a turn before its last stream; there are some where that goes on after a decision."""
    if turn.state != "suspended":
        return iter(())
    return chunks_of(turn.answer, reasoning=turn.reasoning, calls=turn.calls, waiting=_waiting(turn))
