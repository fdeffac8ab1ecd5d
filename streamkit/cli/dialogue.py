"""A dialogue on a terminal, with its history and its commands."""

from __future__ import annotations

import difflib
import json
import os
import re

from streamkit.cli import typed_input
from streamkit.cli.calls import call_text
from streamkit.cli.failures import advised, tell
from streamkit.cli.output import Sink, one_line
from streamkit.cli.question import Part, question_of
from streamkit.cli.starting import Starter
from streamkit.errors import StreamkitError
from streamkit.values.messages import Message, TextPart

__all__ = ["Dialogue"]

_HELP = {
    "/help": "show this list",
    "/model [NAME]": "show the model, or go on with another one, as provider/model",
    "/system [TEXT]": 'show the system prompt, or set it; "" removes it',
    "/save FILE": "write the dialogue into a file: as JSON if its name ends in .json, else as Markdown",
    "/exit": "end the dialogue, as Ctrl-D does",
}
_MULTILINE = 'A line that ends in \\ goes on in the next one; """ begins and ends a text of several lines.'
# What other programs call them.
_ELSEWHERE = {"/quit": "/exit", "/bye": "/exit", "/q": "/exit", "/?": "/help", "/h": "/help", "/write": "/save"}
_COMMAND = re.compile(r"/[\w?-]*(?=\s|$)")  # a path, such as /etc/hosts, begins a question


class Dialogue:
    """A dialogue with a model, until the user ends it.

    Args:
        starter: starts the answers.
        to: the terminal.
        model: the name of the model to begin with.
        system: the system prompt, or "".
        parts: files that go with the first question.
        at_once: whether to show an answer only when it has ended.

    Raises:
        ConfigError: the model could not be asked anything.
    """

    def __init__(
        self,
        starter: Starter,
        to: Sink,
        *,
        model: str,
        system: str,
        parts: list[Part],
        at_once: bool,
    ) -> None:
        self._starter = starter
        self._to = to
        self._model = model
        self._system = system
        self._parts = parts
        self._at_once = at_once
        self._said: list[Message] = []
        self._saved: set[str] = set()  # the files that this dialogue wrote, which it may write again
        self._check(model)  # before anything is typed that could not be sent
        self._commands = {
            "/help": self._help,
            "/model": self._change_model,
            "/system": self._change_system,
            "/save": self._save,
        }

    def hold(self) -> int:
        """Hold the dialogue, and return the exit code."""
        typed_input.prepare()
        self._to.note(f"{one_line(self._model)} listens. /help lists commands, Ctrl-C stops an answer, /exit ends.")
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

    def _ask(self, text: str) -> None:
        """Ask, and keep the question and the answer received so far.

        A question without any answer, or one that could not be sent, is not kept, so that it may be asked again.
        """
        question = question_of(text, self._parts)
        try:
            with self._starter.start(self._model, self._messages(question)) as stream:
                try:
                    self._starter.show(stream, self._to, at_once=self._at_once)
                finally:
                    if said := self._starter.messages_of(stream):
                        self._said += [question, *said]
                        self._parts = []
        except StreamkitError as error:
            tell(advised(error))

    def _messages(self, *more: Message) -> list[Message]:
        return [*([Message("system", self._system)] if self._system else []), *self._said, *more]

    def _check(self, model: str) -> None:
        self._starter.check(model, self._messages(question_of("Hi", self._parts)))

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
        self._to.note("\n".join([*(f"{usage:<{width}}  {what}" for usage, what in _HELP.items()), _MULTILINE]))

    def _change_model(self, name: str) -> None:
        if name:
            try:
                self._check(name)
            except StreamkitError as error:
                tell(f"{advised(error).rstrip('.')}; going on with {self._model}")
                return
            self._model = name
        self._to.note(f"the model is {one_line(self._model)}")

    def _change_system(self, text: str) -> None:
        if text:
            self._system = "" if text in ('""', "''") else text
        self._to.note(f"the system prompt is: {self._system}" if self._system else "there is no system prompt")

    def _save(self, name: str) -> None:
        if not name:
            tell("name the file: /save FILE")
            return
        path = os.path.expanduser(name)
        real = os.path.realpath(path)
        text = _as_json(self._messages()) if path.endswith(".json") else _as_markdown(self._messages())
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


def _as_json(messages: list[Message]) -> str:
    return f"{json.dumps([message.to_dict() for message in messages], ensure_ascii=False, indent=2)}\n"


def _as_markdown(messages: list[Message]) -> str:
    return "\n".join(f"## {message.role.capitalize()}\n\n{_text_of(message).strip()}\n" for message in messages)


def _text_of(message: Message) -> str:
    content = message.content or ()
    parts = [TextPart(content)] if isinstance(content, str) else content
    texts = [part.text if isinstance(part, TextPart) else _name_of(part) for part in parts]
    calls = [f"```\n{call_text(call.name, call.raw_arguments)}\n```" for call in message.tool_calls]
    return "\n\n".join([*texts, *calls])


def _name_of(part: object) -> str:
    return f"[{getattr(part, 'filename', None) or 'image'}]"
