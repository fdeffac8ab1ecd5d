"""One question, in a conversation or not: ``Question``."""

from __future__ import annotations

import attrs

from streamkit.cli.dialogue import about_last, title_of
from streamkit.cli.failures import tell
from streamkit.cli.keeping import LateStore
from streamkit.cli.naming import is_made, matching, named
from streamkit.cli.output import Sink, one_line
from streamkit.cli.question import Part, question_of
from streamkit.cli.starting import Starter
from streamkit.conversation.conversation import Conversation
from streamkit.conversation.turns import ConversationState
from streamkit.errors import ConfigError, StoreConflictError
from streamkit.streaming.chunk_stream import ChunkStream

__all__ = ["Question", "found"]

_INTERRUPTED = 130


def found(store: LateStore, name: str | None) -> ConversationState | None:
    """Return a conversation that is kept; ``None`` for one that is to begin.

    Args:
        store: which has it.
        name: what is meant; ``None`` for the last one.

    Raises:
        ConfigError: there is none, several are meant, or a library is not installed.
        StoreError: it cannot be read.
    """
    entries = store.list()
    if name is None:
        if not entries:
            raise ConfigError("there is no conversation yet to go on with; streamkit chat begins one")
        return store.load(entries[0].id)
    if not matching(entries, name):
        return None
    return store.load(named(entries, name).id)


@attrs.frozen
class Question:
    """One question, to be asked and answered.

    Attributes:
        starter: shows the answer.
        to: where.
        text: of the question.
        parts: files that go with it.
        at_once: whether to show the answer only when it has ended.
    """

    starter: Starter
    to: Sink
    text: str
    parts: list[Part]
    at_once: bool

    def show(self, answer: ChunkStream) -> int:
        """Show an answer, and return the exit code."""
        with answer as stream:
            return 0 if self.starter.show(stream, self.to, at_once=self.at_once) else _INTERRUPTED

    def go_on(self, conversation: Conversation) -> int:
        """Ask in a conversation that is kept, and return the exit code.

        Raises:
            ConfigError: another program is asking in it, or calls of its last turn wait.
        """
        if not conversation.turns and not is_made(conversation.id):
            tell(f"a new conversation begins: {one_line(conversation.id)}")
        if told := about_last(conversation):
            if conversation.turns[-1].state == "open":
                raise ConfigError(f"{told}; ask again in a while")
            if conversation.status == "suspended":
                raise ConfigError(f"{told}, in the dialogue of streamkit chat --conversation {conversation.id}")
            tell(told)
        self._check(conversation)
        if not conversation.messages:
            conversation.title = title_of(self.text)
        try:
            return self.show(conversation.stream(question_of(self.text, self.parts)))
        except StoreConflictError:
            raise ConfigError("another program has changed this conversation just now; ask again") from None

    def ask_once(self, conversation: Conversation, store: LateStore | None) -> int:
        """Ask in a conversation of its own, and keep it afterwards, so that nothing comes before the first token.

        Args:
            conversation: which has no turn and no store.
            store: where it is kept; ``None`` for nowhere.
        """
        self._check(conversation)
        conversation.title = title_of(self.text)
        try:
            with conversation.stream(question_of(self.text, self.parts)) as stream:
                on_first = None if store is None else store.begin
                whole = self.starter.show(stream, self.to, at_once=self.at_once, on_first=on_first)
        finally:
            if store is not None and conversation.messages:
                store.save(conversation.state, expected=0)
        return 0 if whole else _INTERRUPTED

    def _check(self, conversation: Conversation) -> None:
        """Raise the error of an argument of ``run()`` alone, which is no option of a request."""
        if self.starter.approval is not None:
            asked = question_of(self.text, self.parts)
            self.starter.check(conversation.model, [*conversation.messages, asked], conversation.state.params)
