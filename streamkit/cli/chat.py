"""``streamkit chat``: one answer, or a dialogue."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.completing import complete_model, complete_tool
from streamkit.cli.dialogue import Dialogue
from streamkit.cli.options import Number, json_option
from streamkit.cli.question import options_of, parts_of, question_of
from streamkit.cli.schemas import output_in
from streamkit.cli.sinks import sink
from streamkit.cli.starting import Starter
from streamkit.client import Client
from streamkit.settings import Timeout
from streamkit.values.messages import Message
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.tools.output import Output
    from streamkit.tools.tool import Tool

__all__ = ["chat"]

_DEFAULT_MODEL = "demo/storyteller"


@click.command(
    short_help="Ask a model, once or in a dialogue.",
    epilog="""\b
Examples:
  streamkit chat "Tell me a story about a pier"
  streamkit chat -m openai/gpt-4o-mini -s "Be brief." "What is a monad?"
  streamkit chat -m openai/gpt-4o-mini "Summarize this:" < notes.txt
  streamkit chat -m openai/gpt-4o-mini -a chart.png "What does this show?"
  streamkit chat -m openai/gpt-4o-mini -o top_p=0.9 -o seed=7 "Hello"
  echo "What is 2 + 2?" | streamkit chat -
  streamkit chat --json "Hello" | jq -j '.text // empty'
  streamkit chat -m demo/assistant --tool weather:forecast "Oslo?"
  streamkit chat -m demo/assistant --schema invoice.json "2 ties, 50 EUR"
  streamkit chat
""",
)
@click.argument("words", metavar="[PROMPT | -]", nargs=-1)
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    envvar="STREAMKIT_MODEL",
    show_envvar=True,
    default=_DEFAULT_MODEL,
    show_default=True,
    shell_complete=complete_model,
    help="The model, as provider/model.",
)
@click.option("-s", "--system", metavar="SYSTEM", help="The system prompt.")
@click.option(
    "-a",
    "--attach",
    "files",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    help="An image or a document that goes with the PROMPT; may be given more than once.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Number(min=0, min_open=True),
    help="How long the whole answer may take, retries included. By default there is no such limit, but 60 "
    "seconds without anything from the model are too long. With --tool it holds for each reply of the model.",
)
@click.option("--max-tokens", metavar="N", type=click.IntRange(min=1), help="The longest answer, in tokens.")
@click.option("--temperature", metavar="T", type=Number(min=0), help="0 for the likeliest words, more for others.")
@click.option(
    "-o",
    "--option",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other option of the request, under the library's name; VALUE is JSON, or else text. May be given "
    "more than once.",
)
@click.option(
    "--tool",
    "names",
    metavar="MODULE:FUNCTION",
    multiple=True,
    shell_complete=complete_tool,
    help="A Python function that the model may call, from the current directory or an installed package; may be "
    "given more than once. Before each call you are asked.",
)
@click.option("-y", "--yes", is_flag=True, help="Call the functions of --tool without asking.")
@click.option(
    "--schema",
    "schema",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON schema that the answer has to fit; the answer is JSON.",
)
@click.option("--no-stream", "at_once", is_flag=True, help="Show the answer at once when it has ended.")
@click.option(
    "--plain",
    is_flag=True,
    envvar="STREAMKIT_PLAIN",
    show_envvar=True,
    help="On a terminal, leave Markdown as the model wrote it.",
)
@json_option
def chat(
    words: tuple[str, ...],
    model: str,
    system: str | None,
    files: tuple[str, ...],
    timeout: float | None,
    max_tokens: int | None,
    temperature: float | None,
    pairs: tuple[str, ...],
    names: tuple[str, ...],
    yes: bool,
    schema: str | None,
    at_once: bool,
    plain: bool,
    as_json: bool,
) -> int:
    """Ask a model, and stream its answer.

    A PROMPT of - is read from standard input. What is piped in besides a PROMPT is put after it. Without a
    PROMPT, on a terminal, this is a dialogue that remembers what was said: /exit or Ctrl-D ends it, /help
    lists its commands.

    With --tool, the model may call functions. Each call is shown with its arguments before it is made, and waits
    for y or n, for e to edit the arguments, or for a to call this function without asking from then on. Where
    standard input is no terminal, calls are rejected, unless --yes allows all. What functions print goes to
    standard error where the answer goes into a pipe.

    Ctrl-C stops an answer, and what has come of it stays. On a terminal the answer's Markdown is shown as
    headings, lists, tables and code, the model's reasoning, where it shows any, comes dimmed before the
    answer, and control characters are taken out. Into a pipe goes the answer alone, as it is.
    """
    options = options_of(pairs, {"max_tokens": max_tokens, "temperature": temperature, "timeout": timeout})
    if timeout is not None:
        # Given a limit for the whole, it stands for all waits, or a patient one would be cut short at 60 s.
        options["timeout"] = Timeout(first=None, idle=None, total=timeout)
    to = sink(as_json=as_json, plain=plain or schema is not None)  # JSON is no Markdown
    with ExitStack() as ending:
        if names and not to.shows_calls and sys.stderr is not None:
            ending.enter_context(redirect_stdout(sys.stderr))  # functions print what they like
        starter = Starter(
            client=ending.enter_context(Client()),
            options=options,
            tools=_tools(names, yes, options),
            yes=yes,
            output=_output(schema, options),
        )
        parts = parts_of(files)
        prompt = _prompt(words, as_json)
        asked = as_word(system)
        if prompt is None:
            dialogue = Dialogue(starter, to, model=model, system=asked, parts=parts, at_once=at_once)
            return dialogue.hold()
        messages = [*([Message("system", asked)] if asked else []), question_of(prompt, parts)]
        with starter.start(model, messages) as answer:
            return 0 if starter.show(answer, to, at_once=at_once) else 130


def _tools(names: tuple[str, ...], yes: bool, options: Mapping[str, Any]) -> list[Tool]:
    """Return the tools of ``--tool``.

    Raises:
        click.UsageError: one cannot be a tool, or the options do not go together.
    """
    if not names:
        if yes:
            raise click.UsageError("--yes is for the calls of --tool, and there is no --tool")
        return []
    if "tools" in options:
        raise click.UsageError("tools are given by --tool or by -o tools=..., not by both")
    from streamkit.cli.tools import tools_named

    return tools_named(names)


def _output(schema: str | None, options: Mapping[str, Any]) -> Output | None:
    if schema is None:
        return None
    if "response_format" in options:
        raise click.UsageError("the form of the answer is given by --schema or by -o response_format=..., not by both")
    return output_in(schema)


def _prompt(words: tuple[str, ...], as_json: bool) -> str | None:
    """Return what to ask, or ``None`` for a dialogue.

    Raises:
        click.UsageError: it is nothing, or in several arguments.
    """
    if len(words) > 1:
        raise click.UsageError("put the prompt into quotes, as one argument")
    given = as_word(words[0]) if words else ""  # bytes that are no text come as half characters
    piped = sys.stdin is not None and not sys.stdin.isatty()
    if not words and not piped and not as_json and sys.stdout is not None and sys.stdout.isatty():
        return None
    parts = [given] if given != "-" else []
    if piped or given == "-" or not words:
        parts.append(_standard_input())
    prompt = "\n\n".join(part for part in parts if part.strip())
    if not prompt:
        raise click.UsageError("there is no prompt: pass one as an argument, or on standard input")
    return prompt


def _standard_input() -> str:
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        click.echo("The prompt, please; Ctrl-D on a line of its own ends it.", err=True)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin.read().strip("\r\n")
