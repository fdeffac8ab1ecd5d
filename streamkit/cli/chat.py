"""``streamkit chat``: one answer, or a dialogue."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.completing import complete_conversation, complete_model, complete_tool
from streamkit.cli.dialogue import Dialogue
from streamkit.cli.keeping import LateStore
from streamkit.cli.once import Question, found
from streamkit.cli.options import Number, json_option
from streamkit.cli.prompts import PackPrompt, prompt_named, values_of
from streamkit.cli.question import options_of, parts_of, question_of
from streamkit.cli.schemas import output_in
from streamkit.cli.sinks import sink
from streamkit.cli.starting import Starter
from streamkit.client import Client
from streamkit.settings import Timeout
from streamkit.values.messages import Message
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.conversation.turns import ConversationState
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
  streamkit chat --pack shop.json#orders --var company=Acme "Where is A1?"
  streamkit chat
  streamkit chat -c
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
@click.option("-c", "--continue", "last", is_flag=True, help="Go on with the last conversation.")
@click.option(
    "--conversation",
    "name",
    metavar="NAME",
    shell_complete=complete_conversation,
    help="Go on with this conversation, by its id, its title, or the beginning of one; if there is none, begin one "
    "with this id.",
)
@click.option(
    "--no-store",
    is_flag=True,
    envvar="STREAMKIT_NO_STORE",
    show_envvar=True,
    help="Keep nothing of what is said.",
)
@click.option(
    "--pack",
    "pack",
    metavar="FILE#PROMPT",
    help="A prompt of a PromptPack file: its system prompt, parameters, tools and rules. --tool gives its tools their "
    "functions, by name.",
)
@click.option(
    "--var",
    "values",
    metavar="NAME=VALUE",
    multiple=True,
    help="The value of a variable of --pack, of its type; may be given more than once. On a terminal those that are "
    "missing are asked for.",
)
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
@click.pass_context
def chat(
    context: click.Context,
    words: tuple[str, ...],
    model: str,
    system: str | None,
    last: bool,
    name: str | None,
    no_store: bool,
    pack: str | None,
    values: tuple[str, ...],
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

    Dialogues are kept, and one question whose answer goes to a terminal when that has ended; of one whose answer
    goes into a pipe or a file nothing is kept, unless -c or --conversation is given. With --no-store nothing is. They
    are in a file for your user alone, in the folder of your user's data, or in STREAMKIT_DATA: -c goes on with the
    last one, and streamkit conversations lists them.

    Ctrl-C stops an answer, and what has come of it stays. On a terminal the answer's Markdown is shown as
    headings, lists, tables and code, the model's reasoning, where it shows any, comes dimmed before the
    answer, and control characters are taken out. Into a pipe goes the answer alone, as it is.
    """
    options = options_of(pairs, {"max_tokens": max_tokens, "temperature": temperature, "timeout": timeout})
    if timeout is not None:
        # Given a limit for the whole, it stands for all waits, or a patient one would be cut short at 60 s.
        options["timeout"] = Timeout(first=None, idle=None, total=timeout)
    to = sink(as_json=as_json, plain=plain or schema is not None)  # JSON is no Markdown
    goes_on = last or name is not None
    _check_together(last, name, no_store and _is_given(context, "no_store"), goes_on)
    with ExitStack() as ending:
        if names and not to.shows_calls and sys.stderr is not None:
            ending.enter_context(redirect_stdout(sys.stderr))  # functions print what they like
        client = ending.enter_context(Client())
        tools, output, parts = _tools(names, yes, options), _output(schema, options), parts_of(files)
        prompt = _prompt(words, as_json)
        store = LateStore() if goes_on or not no_store else None
        state = found(store, name) if goes_on and store is not None else None
        chosen = _pack(pack, state, system, values)
        asked = _model(context, model, state, chosen)
        starter = Starter(client=client, options=options, tools=tools, yes=yes, output=output, prompt=chosen)
        start = partial(
            starter.conversation,
            asked,
            system=as_word(system),
            variables=None if chosen is None else _values(chosen, values, state, asked),
            state=state,
            id=name,
        )
        if prompt is None:
            dialogue = Dialogue(starter, to, start(store=store), store=store, parts=parts, at_once=at_once)
            return dialogue.hold()
        question = Question(starter, to, prompt, parts, at_once)
        if goes_on:
            return question.go_on(start(store=store))
        if chosen is None and "tools" in options:  # these are declared alone: the calls are for whoever reads them
            messages = [*([Message("system", as_word(system))] if system else []), question_of(prompt, parts)]
            return question.show(starter.start(asked, messages))
        keeps = store is not None and sys.stdout is not None and sys.stdout.isatty()
        return question.ask_once(start(), store if keeps else None)


def _model(context: click.Context, model: str, state: ConversationState | None, chosen: PackPrompt | None) -> str:
    """Return the model to ask: that of -m; else that of the conversation; else by the environment."""
    if _is_given(context, "model"):
        return model
    if state is not None:
        return state.model
    if chosen is not None:
        return chosen.model(model if _is_given(context, "model", "environment") else None)
    return model


def _is_given(context: click.Context, option: str, *sources: str) -> bool:
    """Return whether an option is on the command line, or from another one of these sources."""
    source = context.get_parameter_source(option)
    return source is not None and source.name.lower() in ("commandline", *sources)


def _check_together(last: bool, name: str | None, no_store: bool, goes_on: bool) -> None:
    if last and name is not None:
        raise click.UsageError("-c is for the last conversation, --conversation for another one: give one of them")
    if name is not None and not name.strip():
        raise click.UsageError("--conversation needs a name")
    if goes_on and no_store:
        raise click.UsageError("--no-store keeps nothing, and what goes on is kept: give one of them")


def _pack(
    pack: str | None, state: ConversationState | None, system: str | None, values: tuple[str, ...]
) -> PackPrompt | None:
    """Return the prompt of ``--pack``, or the one by which a conversation began."""
    if pack is None and state is not None and state.origin and not system:
        if not Path(state.origin.rpartition("#")[0]).is_file():
            raise click.UsageError(
                f"this conversation is by {state.origin}, and there is no such file any more: name another one with "
                "--pack, or a system prompt with -s"
            )
        pack = state.origin
    if pack is None:
        if values:
            raise click.UsageError("--var is for the variables of --pack, and there is no --pack")
        return None
    if system:
        raise click.UsageError("the system prompt is that of --pack, or -s; give one of them")
    return prompt_named(pack)


def _values(
    chosen: PackPrompt, pairs: tuple[str, ...], state: ConversationState | None, model: str
) -> Mapping[str, Any]:
    kept = state.variables if state is not None and state.origin == chosen.origin else {}
    return values_of(chosen.prompt, pairs, kept, model)


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
