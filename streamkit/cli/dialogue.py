"""A dialogue on a terminal: a conversation, and its commands."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable

from streamkit.cli import typed_input
from streamkit.cli.calls import call_text
from streamkit.cli.failures import advised, tell
from streamkit.cli.history import as_json, as_markdown, text_of
from streamkit.cli.keeping import LateStore
from streamkit.cli.naming import counted, is_made
from streamkit.cli.output import Sink, one_line
from streamkit.cli.question import Part, question_of
from streamkit.cli.starting import Starter, system_of, system_prompt
from streamkit.conversation.conversation import Conversation
from streamkit.conversation.turn_stream import TurnStream
from streamkit.conversation.turns import Turn
from streamkit.errors import MisuseError, StoreConflictError, StreamkitError
from streamkit.values.messages import Message

__all__ = ["Dialogue", "about_last", "title_of"]

_HELP = {
    "/help": "show this list",
    "/retry": "ask the last question again, in place of its answer",
    "/undo": "take back the last question and its answer",
    "/clear": "forget all that was said",
    "/resume": "decide on the calls that the last answer waits for",
    "/model [NAME]": "show the model, or go on with another one, as provider/model",
    "/system [TEXT]": 'show the system prompt, or set it; "" removes it',
    "/save FILE": "write a file: JSON if its name ends in .json, or else Markdown",
    "/exit": "end the dialogue, as Ctrl-D does",
}
_MULTILINE = """\
A line that ends in \\ goes on in the next one;
\"\"\" begins and ends a text of several lines."""
_KEPT = "The dialogue is kept: streamkit chat -c goes on with the last one."
_NOT_KEPT = "The dialogue is not kept; /save FILE writes it into a file."
# What other programs call them.
_ELSEWHERE = {
    "/quit": "/exit",
    "/bye": "/exit",
    "/q": "/exit",
    "/?": "/help",
    "/h": "/help",
    "/write": "/save",
    "/regenerate": "/retry",
    "/reset": "/clear",
    "/new": "/clear",
}
_COMMAND = re.compile(r"/[\w?-]*(?=\s|$)")  # a path, such as /etc/hosts, begins a question
_LONGEST = 60  # characters of a question that is told again
_MOST_OF_ERROR = 200  # characters
_MOST_LINES = 12  # of the last answer, where a dialogue goes on


class Dialogue:
    """A dialogue with a model, until the user ends it.

    Args:
        starter: shows the answers, and knows what can be asked.
        to: the terminal.
        conversation: which this goes on with.
        store: where it is kept; ``None`` for nowhere.
        parts: files that go with the first question.
        at_once: whether to show an answer only when it has ended.

    Raises:
        ConfigError: the model could not be asked anything.
    """

    def __init__(
        self,
        starter: Starter,
        to: Sink,
        conversation: Conversation,
        *,
        store: LateStore | None,
        parts: list[Part],
        at_once: bool,
    ) -> None:
        self._starter = starter
        self._to = to
        self._conversation = conversation
        self._store = store
        self._parts = parts
        self._at_once = at_once
        self._saved: set[str] = set()  # the files that this dialogue wrote, which it may write again
        self._check(conversation.model)  # before anything is typed that could not be sent
        self._commands = {
            "/help": self._help,
            "/retry": self._retry,
            "/undo": self._undo,
            "/clear": self._clear,
            "/resume": self._resume,
            "/model": self._change_model,
            "/system": self._change_system,
            "/save": self._save,
        }

    def hold(self) -> int:
        """Hold the dialogue, and return the exit code."""
        typed_input.prepare()
        self._greet()
        if self._store is not None:
            self._store.begin()  # while somebody types
        warned = False
        while True:
            try:
                typed = typed_input.read()
                warned = False
                command = None if typed.quoted else _COMMAND.match(typed.text)
                if command is not None:
                    if command[0] == "/exit":
                        return 0
                    self._obey(command[0], typed.text[command.end() :].strip())
                elif typed.text.strip():
                    self._ask(typed.text)
            except EOFError:
                self._to.note("")
                return 0
            except KeyboardInterrupt:
                self._to.note("")
                if warned:
                    return 0
                warned = True
                self._to.note("Ctrl-C once more, or Ctrl-D, ends the dialogue.")

    def _greet(self) -> None:
        conversation = self._conversation
        turns = [turn for turn in conversation.turns if turn.counts]
        commands = "/help lists commands, Ctrl-C stops an answer, /exit ends."
        self._to.note(f"{one_line(conversation.model)} listens. {commands}")
        if turns:
            self._to.note(f'It goes on with "{one_line(conversation.title)}", {counted(len(turns), "turn")}:')
            self._to.note(_end_of(turns[-1]))
        elif not conversation.turns and not is_made(conversation.id):
            self._to.note(f"A new conversation begins: {one_line(conversation.id)}.")
        if told := about_last(conversation):
            self._to.note(f"{told}; /retry asks it again, /undo forgets it.")

    # -- turns -------------------------------------------------------------------------------------------

    def _ask(self, text: str) -> None:
        """Ask, and show the answer; the conversation keeps what came of it.

        A question without any answer, or one that could not be sent, is not a part of the history, so that it may be
        asked again, as by ``/retry``.
        """
        conversation = self._conversation
        if conversation.status == "suspended":
            tell(
                "calls of the last answer wait: /resume decides on them, /undo forgets the question, /retry asks again"
            )
            return
        question = question_of(text, self._parts)
        if not conversation.messages:
            conversation.title = title_of(text)
        before = len(conversation.turns)
        self._turn(lambda: conversation.stream(question))
        turns = conversation.turns[before:]
        if turns and turns[-1].counts:
            self._parts = []

    def _turn(self, start: Callable[[], TurnStream]) -> None:
        """Start a turn, and show its answer."""
        asked = False
        try:
            with start() as stream:
                asked = True
                self._starter.show(stream, self._to, at_once=self._at_once)
        except KeyboardInterrupt:  # just as it began or ended, where Ctrl-C does not cancel the stream
            self._to.end(interrupted=True)
        except StoreConflictError:
            self._refresh("the answer is not kept" if asked else "nothing was sent: ask again, or not")
        except StreamkitError as error:
            tell(advised(error))
        except MisuseError as error:
            tell(str(error))

    def _refresh(self, done: str) -> None:
        """Take in what another program has made of the conversation meanwhile.

        Args:
            done: what that means for what was just tried.
        """
        conversation, before = self._conversation, len(self._conversation.turns)
        try:
            conversation.refresh()
        except StreamkitError as failure:
            tell(f"another program has changed this conversation, and it cannot be read again: {advised(failure)}")
            return
        turns = conversation.turns
        if turns and turns[-1].state == "open":
            tell(f"another program is asking in this conversation just now: {_quoted(turns[-1])}; ask again in a while")
        elif not turns and before:
            tell("another program has deleted or cleared this conversation; what you ask next begins it anew")
        else:
            now = counted(len(turns), "turn")
            tell(f"another program has gone on with this conversation, which has {now} now; {done}")
            if turns and turns[-1].counts:
                self._to.note(_end_of(turns[-1]))

    def _check(self, model: str) -> None:
        conversation, before = self._conversation, self._conversation.model
        conversation.model = model
        try:
            messages = [*self._messages(), question_of("Hi", self._parts)]
        finally:
            conversation.model = before
        self._starter.check(model, messages, conversation.state.params)

    def _messages(self) -> list[Message]:
        system = system_prompt(self._conversation)
        return [*([Message("system", system)] if system else []), *self._conversation.messages]

    # -- commands ----------------------------------------------------------------------------------------

    def _obey(self, name: str, argument: str) -> None:
        command = self._commands.get(name)
        if command is not None:
            command(argument)
            return
        near = _ELSEWHERE.get(name) or next(iter(difflib.get_close_matches(name, [*self._commands, "/exit"], 1)), "")
        hint = f"did you mean {near}? " if near else ""
        tell(f"there is no command {name}; {hint}/help lists the commands")

    def _help(self, _: str) -> None:
        width = max(map(len, _HELP))
        kept = _KEPT if self._store is not None and self._store.keeps else _NOT_KEPT
        self._to.note("\n".join([*(f"{usage:<{width}}  {what}" for usage, what in _HELP.items()), _MULTILINE, kept]))

    def _retry(self, _: str) -> None:
        if not self._conversation.turns:
            tell("there is no question to ask again")
            return
        self._to.note(f"> {_quoted(self._conversation.turns[-1])}")
        self._turn(self._conversation.retry)

    def _undo(self, _: str) -> None:
        try:
            undone = self._conversation.undo()
        except StoreConflictError:
            self._refresh("nothing was taken back")
        except MisuseError:
            tell("there is no question to take back")
        else:
            self._to.note(f"taken back: {_quoted(undone)}")

    def _clear(self, _: str) -> None:
        try:
            self._conversation.clear()
        except StoreConflictError:
            self._refresh("nothing was forgotten")
        else:
            self._to.note("all that was said is forgotten")

    def _resume(self, _: str) -> None:
        if self._conversation.status != "suspended":
            tell("no call waits")
            return
        self._turn(lambda: self._conversation.resume({}))

    def _change_model(self, name: str) -> None:
        if name:
            try:
                self._check(name)
            except StreamkitError as error:
                tell(f"{advised(error).rstrip('.')}; going on with {self._conversation.model}")
                return
            self._conversation.model = name
        self._to.note(f"the model is {one_line(self._conversation.model)}")

    def _change_system(self, text: str) -> None:
        if text and self._starter.prompt is not None:
            tell("the system prompt is that of the pack; streamkit chat -s begins a dialogue with another one")
            return
        if text:
            given = "" if text in ('""', "''") else text
            self._conversation.variables = {"system": given}
            self._conversation.system = system_of(given)
        system = system_prompt(self._conversation)
        self._to.note(f"the system prompt is: {system}" if system else "there is no system prompt")

    def _save(self, name: str) -> None:
        if not name:
            tell("name the file: /save FILE")
            return
        path = os.path.expanduser(name)
        real = os.path.realpath(path)
        text = as_json(self._messages()) if path.endswith(".json") else as_markdown(self._messages())
        try:
            # A file that was there before is not replaced.
            with open(path, "w" if real in self._saved else "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            tell(f"{name} is there already; name another file")
        except (OSError, ValueError) as error:  # a ValueError for a zero byte in the name
            tell(f"cannot write {name}: {getattr(error, 'strerror', None) or error}; name another file")
        else:
            self._saved.add(real)
            self._to.note(f"saved in {one_line(name)}")


def title_of(text: str) -> str:
    """Return the title of a conversation that begins with a text."""
    return text.strip().partition("\n")[0][:_LONGEST]


def about_last(conversation: Conversation) -> str:
    """Return what became of the last turn, where that is not an answer; "" otherwise."""
    turns = conversation.turns
    if not turns or turns[-1].state == "complete":
        return ""
    last = turns[-1]
    if last.state == "open":
        return f"another program is asking in this conversation just now: {_quoted(last)}"
    if last.state == "suspended" and last.suspension is not None:
        calls = ", ".join(one_line(call_text(call.name, call.raw_arguments)) for call in last.suspension.waiting)
        return f"the answer to {_quoted(last)} waits for a decision on {calls}: /resume asks for it"
    why = f" ({one_line(last.error)[:_MOST_OF_ERROR]})" if last.error else ""
    got = "was not answered to its end" if last.state == "partial" else "was not answered"
    return f"the last question, {_quoted(last)}, {got}{why}"


def _quoted(turn: Turn) -> str:
    text = one_line(text_of(turn.asked))
    return f'"{text[:_LONGEST]}…"' if len(text) > _LONGEST else f'"{text}"'


def _end_of(turn: Turn) -> str:
    """Return a question and the end of its answer, for somebody who goes on."""
    lines = "\n\n".join(text_of(message) for message in turn.answer if message.role == "assistant").strip().split("\n")
    if len(lines) > _MOST_LINES:
        lines = ["…", *lines[-_MOST_LINES:]]
    return "\n".join([f"> {one_line(text_of(turn.asked))}", *lines])
