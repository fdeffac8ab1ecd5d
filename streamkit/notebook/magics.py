"""The magics of ``%load_ext streamkit.notebook``: ``%%ask MODEL`` for a cell, ``%ask`` for a line."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
from IPython.core import magic
from IPython.core.error import UsageError

from streamkit.client import Client
from streamkit.conversation.conversation import Conversation
from streamkit.errors import StreamkitError
from streamkit.notebook.display import show

__all__ = ["Ask", "register"]

_WITH_VALUE = {"-m": "model", "-s": "system", "-o": "out"}


@attrs.define
class _Asked:
    """What a magic's line says."""

    words: list[str] = attrs.field(factory=list)
    model: str = ""
    system: str = ""
    out: str = ""
    go_on: bool = False


class Ask:
    """The magic ``ask``, of a cell or of a line.

    Owner of the fields: the thread of the kernel that runs cells.

    Args:
        shell: IPython's.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._client: Client | None = None
        self._model = ""
        self._conversation: Conversation | None = None

    def ask(self, line: str, cell: str | None = None) -> None:
        """Ask a model, and show the reply as it arrives; the kernel's interrupt ends it, and what came stays.

        ::

            %%ask openai/gpt-4o-mini
            Write a haiku about rivers.

            %ask And one about the sea?

        Options, before the model or the question: ``-c`` goes on with the last conversation, ``-o name`` keeps the
        completion in a variable, ``-s word`` is a system prompt of one word or of several in quotation marks, ``-m
        MODEL`` names the model of a line; else it is that of the last question. A variable ``client`` of the notebook
        is the client, if it is one.
        """
        asked = _read(line)
        if cell is not None and asked.words:
            asked.model = asked.model or asked.words[0]
        prompt = " ".join(asked.words) if cell is None else cell.strip()
        model = asked.model or self._model
        if not model:
            raise UsageError("which model? %%ask MODEL, or %ask -m MODEL question")
        if not prompt:
            raise UsageError("the question is empty")
        try:
            self._ask(model, prompt, asked)
        except StreamkitError as error:
            raise UsageError(str(error)) from None

    def _ask(self, model: str, prompt: str, asked: _Asked) -> None:
        variables: dict[str, Any] = self._shell.user_ns
        given = variables.get("client")
        client = given if isinstance(given, Client) else self._client
        if client is None:
            client = self._client = Client()
        conversation = self._conversation
        if conversation is None or not asked.go_on or model != self._model:
            conversation = client.conversation(model, system=asked.system)
        self._conversation, self._model = conversation, model
        with conversation.stream(prompt) as stream:
            with suppress(KeyboardInterrupt):
                show(stream)
            if asked.out:
                variables[asked.out] = stream.completion


def register(shell: Any) -> None:
    """Add the magics to IPython."""
    ask = Ask(shell)

    def run(line: str, cell: str | None = None) -> None:
        ask.ask(line, cell)

    run.__doc__ = Ask.ask.__doc__
    setattr(run, magic.MAGIC_NO_VAR_EXPAND_ATTR, True)  # braces of a question are the question's
    shell.register_magic_function(run, "line_cell", "ask")


def _read(line: str) -> _Asked:
    asked, rest = _Asked(), line.strip()
    while rest.startswith("-"):
        option, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if option in ("-c", "--continue"):
            asked.go_on = True
        elif option in _WITH_VALUE:
            value, rest = _value(rest)
            setattr(asked, _WITH_VALUE[option], value)
        else:
            raise UsageError(f"unknown option {option}; there are -c, -m MODEL, -s SYSTEM, -o NAME")
    asked.words = rest.split()
    return asked


def _value(rest: str) -> tuple[str, str]:
    """Return the first word, or what is in quotation marks, and the rest."""
    if rest[:1] in ('"', "'") and rest.find(rest[0], 1) > 0:
        end = rest.index(rest[0], 1)
        return rest[1:end], rest[end + 1 :].lstrip()
    word, _, rest = rest.partition(" ")
    return word, rest.lstrip()
