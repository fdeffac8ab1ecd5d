"""Ask on the terminal whether a tool may be called: ``Approval``."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from streamkit.cli import typed_input
from streamkit.cli.calls import call_text
from streamkit.cli.failures import tell
from streamkit.cli.output import Sink, one_line
from streamkit.errors import ConfigError
from streamkit.values.chunks import ToolCallDelta
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.tools.run import Run

__all__ = ["Approval"]

_PROMPT = "[y]es, [n]o, [e]dit, [a]lways? "
_EDIT = "arguments: "
_HELP = """\
  y         call it
  n         do not call it; n REASON tells the model why
  e         change the arguments, as JSON
  a         call it, and this tool without asking from now on
  Ctrl-C    stop the answer"""
_UNASKED = "there is no terminal to ask on; --yes calls tools without asking"


class Approval:
    """Decides on the calls of runs; remembers which tools may be called without asking.

    Args:
        names: of the tools that can be called.
        yes: whether no call is asked about.
    """

    def __init__(self, names: Iterable[str], *, yes: bool) -> None:
        self._names = frozenset(names)
        self._unasked = set(self._names) if yes else set[str]()

    def decide(self, run: Run, call: ToolCallDelta, to: Sink) -> None:
        """Decide on a call that waits; Ctrl-C meanwhile cancels the run.

        Args:
            run: of the call.
            call: of a ``tool_approval`` chunk, which ``to`` was given.
            to: where the answer is shown.
        """
        if call.name not in self._names:
            run.reject(call.id, "nobody can carry it out here")
            tell(f"{call.name} was not called: no --tool has its function")
        elif call.name in self._unasked:
            run.approve(call.id)
        elif not _can_ask(to):
            run.reject(call.id, "there is nobody to ask")
            tell(f"{call.name} was not called: {_UNASKED}")
        else:
            try:
                with _interruptible():
                    self._ask(run, call, to)
            except KeyboardInterrupt:
                run.cancel()

    def _ask(self, run: Run, call: ToolCallDelta, to: Sink) -> None:
        on_screen = to.shows_calls
        if not on_screen:
            _tell(call_text(call.name, call.arguments))
        _forget_keys()
        while True:
            try:
                typed = _read(_PROMPT, on_screen).strip()
            except EOFError:
                _tell("", on_screen)
                typed = "n"
            answer, _, rest = typed.partition(" ")
            answer = answer.lower()
            if answer in ("y", "yes"):
                return run.approve(call.id)
            if answer in ("a", "always"):
                self._unasked.add(call.name)
                return run.approve(call.id)
            if answer in ("n", "no"):
                return run.reject(call.id, rest.strip() or "the user said no")
            if answer in ("e", "edit"):
                if self._edited(run, call, on_screen):
                    return None
            else:
                _tell(_HELP, on_screen)

    def _edited(self, run: Run, call: ToolCallDelta, on_screen: bool) -> bool:
        """Let the arguments be changed; return whether the call was approved with others."""
        text = call.arguments
        while True:
            try:
                text = _read(_EDIT, on_screen, text).strip()
            except EOFError:
                _tell("", on_screen)
                return False
            if not text:
                return False
            try:
                run.approve(call.id, _object(text))
                return True
            except (ConfigError, ValueError) as error:
                tell(f"{_problem(error)}; change them, or leave the line empty to go back")


def _object(text: str) -> dict[str, Any]:
    """Return the arguments that were typed.

    Raises:
        ValueError: they are no JSON object.
    """
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments are no JSON: {error.msg} at character {error.pos + 1}") from None
    if not isinstance(given, dict):
        raise ValueError('the arguments are a JSON object, such as {"city": "Oslo"}')
    return given


def _problem(error: Exception) -> str:
    text = error.message if isinstance(error, ConfigError) else str(error)
    _, found, problem = text.partition("': ")  # without the id of the call, which nobody knows here
    return one_line(problem if found and text.startswith("Approved(") else text).rstrip(".")


def _can_ask(to: Sink) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    return to.shows_calls or (sys.stderr is not None and sys.stderr.isatty())


def _forget_keys() -> None:
    """Forget what was typed before the question: it cannot be meant as an answer."""
    try:
        import termios
    except ImportError:  # Windows
        return
    with suppress(termios.error):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


def _tell(text: str, on_screen: bool = False) -> None:
    print(text, file=sys.stdout if on_screen else sys.stderr, flush=True)


def _read(prompt: str, on_screen: bool, given: str = "") -> str:
    """Read a line.

    Args:
        prompt: stands before it.
        on_screen: whether standard output is the terminal. If not, the prompt is on standard error.
        given: what stands in the line already, to be edited, where the terminal's keys allow that.

    Raises:
        EOFError, KeyboardInterrupt: Ctrl-D or Ctrl-C was typed.
    """
    if on_screen:
        return as_word(typed_input.ask(prompt, given))
    sys.stderr.write(prompt)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return as_word(line)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, or the wait for a line would go on; where it is ignored, it stays so."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
