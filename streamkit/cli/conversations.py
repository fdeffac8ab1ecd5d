"""``streamkit conversations``: list, show and delete what was said."""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from streamkit.cli.completing import complete_conversation
from streamkit.cli.failures import tell
from streamkit.cli.history import as_markdown
from streamkit.cli.keeping import entries, open_store
from streamkit.cli.naming import about, counted, named, short_ids, when
from streamkit.cli.output import one_line, put, to_json, without_controls
from streamkit.cli.starting import kept_system
from streamkit.conversation.stores.store import Entry
from streamkit.conversation.turns import ConversationState, Turn
from streamkit.errors import ConfigError
from streamkit.values.messages import Message

__all__ = ["conversations", "delete", "list_", "show"]

_WIDEST = 24  # columns of an id or a model for which the columns make room
_SHORTEST = 20  # columns of a title
_NONE = "nothing is kept yet; streamkit chat begins a conversation"


@click.group(
    short_help="List, show and delete what was said.",
    invoke_without_command=True,
    epilog="""\b
Examples:
  streamkit conversations
  streamkit conversations show "Tell me a story"
  streamkit conversations delete 0f3a91c2
  streamkit chat --conversation 0f3a91c2
""",
)
@click.pass_context
def conversations(context: click.Context) -> int | None:
    """List, show and delete the conversations that streamkit chat keeps; without a command, list them.

    They are in one file, for your user alone: conversations.db in the folder of your user's data, or in
    STREAMKIT_DATA.
    """
    return context.invoke(list_) if context.invoked_subcommand is None else None


@conversations.command(
    name="list",
    short_help="List what is kept.",
    epilog="""\b
Example:
  streamkit conversations list --json | jq -r 'select(.turns > 10) | .id'
""",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a conversation, a line each.")
def list_(as_json: bool = False) -> int:
    """List the conversations, the last one first.

    Each line has the id, as far as --conversation needs it, the time of the last turn, the number of turns, the
    model, and the title, which is the first question.
    """
    kept = entries()
    for line in _json_lines(kept) if as_json else _lines(kept):
        put(line, encoding="utf-8" if as_json else None)
    if not kept:
        tell(_NONE)
    return 0


def _json_lines(kept: Sequence[Entry]) -> Iterator[str]:
    for entry in kept:
        changed = datetime.datetime.fromtimestamp(entry.changed_at, datetime.timezone.utc)
        yield to_json(
            {
                "id": entry.id,
                "title": entry.title,
                "turns": entry.turns,
                "model": entry.model,
                "changed_at": changed.isoformat(timespec="seconds"),
            }
        )


def _lines(kept: Sequence[Entry]) -> Iterator[str]:
    shorts = short_ids(kept)
    rows = [(one_line(shorts[entry.id]), one_line(entry.model), entry) for entry in kept]
    ids, models, turns = (
        min(max((len(text) for text in column), default=0), _WIDEST)
        for column in (
            [id for id, _, _ in rows],
            [model for _, model, _ in rows],
            [counted(entry.turns, "turn") for entry in kept],
        )
    )
    for id, model, entry in rows:
        line = f"{id:<{ids}}  {when(entry.changed_at)}  {counted(entry.turns, 'turn'):>{turns}}  {model:<{models}}  "
        yield f"{line}{_cut(one_line(entry.title), len(line))}".rstrip()


def _cut(title: str, before: int) -> str:
    """Cut a title to what is left of a line on a terminal; a pipe gets all of it."""
    if sys.stdout is None or not sys.stdout.isatty():
        return title
    room = max(shutil.get_terminal_size().columns - before, _SHORTEST)
    return title if len(title) <= room else f"{title[: room - 1]}…"


@conversations.command(short_help="Show what was said.")
@click.argument("name", metavar="NAME", shell_complete=complete_conversation)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a turn, a line each.")
def show(name: str, as_json: bool) -> int:
    """Show a conversation as Markdown.

    NAME is its id, its title, or the beginning of one. After each turn that did not come to its end a line says why.
    """
    entry = named(entries(), name)
    state = open_store().load(entry.id)
    if state is None:
        raise ConfigError(f"the conversation {entry.id} was deleted just now")
    for line in map(to_json, map(_turn, state.turns)) if as_json else _text(entry, state):
        put(line, encoding="utf-8" if as_json else None)
    return 0


def _turn(turn: Turn) -> dict[str, Any]:
    shape = turn.to_dict()
    kept = ("asked", "answer", "state", "model", "finish_reason", "usage", "cost", "error")
    return {name: shape[name] for name in kept if shape[name] not in (None, "")}


def _text(entry: Entry, state: ConversationState) -> Iterator[str]:
    yield f"{one_line(entry.title) or entry.id}"
    usage, cost = state.usage, state.spent_cost + sum(turn.cost or 0.0 for turn in state.turns)
    facts = [f"id {one_line(entry.id)}", one_line(entry.model), counted(entry.turns, "turn"), when(entry.changed_at)]
    if usage.input_tokens or usage.output_tokens:
        facts.append(f"{usage.input_tokens} tokens in, {usage.output_tokens} out")
    if cost:
        facts.append(f"${cost:.4f}")
    yield ", ".join(facts)
    if state.origin:
        yield f"by {one_line(state.origin)}"
        for name, value in state.variables.items():
            yield f"  {one_line(name)} = {to_json(value)}"
    if system := kept_system(state):
        yield ""
        yield _shown([Message("system", system)])
    for turn in state.turns:
        yield ""
        yield _shown([turn.asked, *turn.answer])
        if note := _note(turn):
            yield f"\n[{note}]"


def _shown(messages: Sequence[Message]) -> str:
    return without_controls(as_markdown(messages)).rstrip("\n")


def _note(turn: Turn) -> str:
    if turn.state == "complete":
        return ""
    what = {"open": "not answered yet", "partial": "not answered to its end", "suspended": "calls wait for a decision"}
    return one_line(": ".join(filter(None, (what.get(turn.state, "not answered"), turn.error))))


@conversations.command(short_help="Delete conversations.")
@click.argument("names", metavar="NAME...", nargs=-1, shell_complete=complete_conversation)
@click.option("--all", "everything", is_flag=True, help="Delete all of them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(names: tuple[str, ...], everything: bool, yes: bool) -> int:
    """Delete conversations for ever.

    NAME is an id, a title, or the beginning of one. On a terminal you are asked first; elsewhere --yes is needed.
    """
    if everything == bool(names):
        raise click.UsageError("name the conversations, or give --all")
    kept = entries()
    meant = {entry.id: entry for entry in (kept if everything else [named(kept, name) for name in names])}
    if not meant:
        tell(_NONE)
        return 0
    shorts = short_ids(kept)
    listed = [f"{one_line(shorts[id])} ({about(entry)})" for id, entry in meant.items()]
    if not yes and not _agreed(listed):
        return 1
    store = open_store()
    for id, text in zip(meant, listed, strict=True):
        if store.delete(id):
            put(f"deleted: {text}")
    return 0


def _agreed(listed: Sequence[str]) -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; --yes deletes without asking")
    for text in listed:
        click.echo(text)
    return click.confirm(f"Delete {'it' if len(listed) == 1 else f'all {len(listed)}'}?")
