"""Which conversation a name on the command line means."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from streamkit.cli.output import one_line
from streamkit.conversation.stores.store import Entry
from streamkit.errors import ConfigError
from streamkit.providers.request.hints import closest

__all__ = ["about", "counted", "is_made", "matching", "named", "short_ids", "when"]

_MADE_ID = re.compile(r"[0-9a-f]{32}\Z")
_SHORTEST = 8  # characters of an id
_MOST_LISTED = 5


def matching(entries: Iterable[Entry], name: str) -> list[Entry]:
    """Return the conversations that a name means, the first of these that there are any of: that of this id, those of
    this title, those whose id or title begins like this.
    """
    entries, wanted = list(entries), _folded(name)
    if not wanted:
        return []
    for found in (
        [entry for entry in entries if entry.id == name],
        [entry for entry in entries if _folded(entry.title) == wanted],
    ):
        if found:
            return found
    return [entry for entry in entries if entry.id.startswith(name) or _folded(entry.title).startswith(wanted)]


def named(entries: Sequence[Entry], name: str) -> Entry:
    """Return the one conversation that a name means.

    Raises:
        ConfigError: there is none, or there are several; the text lists them.
    """
    found = matching(entries, name)
    if len(found) == 1:
        return found[0]
    if not found:
        near = closest(name, [entry.id for entry in entries] + [entry.title for entry in entries])
        hint = f"did you mean {one_line(near)!r}" if near else "streamkit conversations lists those there are"
        raise ConfigError(f"there is no conversation {one_line(name)!r}; {hint}")
    shorts = short_ids(entries)
    listed = "; ".join(f"{shorts[entry.id]} ({about(entry)})" for entry in found[:_MOST_LISTED])
    more = f"; and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    raise ConfigError(f"{one_line(name)!r} may be one of {len(found)} conversations; name it by its id: {listed}{more}")


def is_made(id: str) -> bool:
    """Return whether an id was made for a conversation, and not chosen by somebody."""
    return _MADE_ID.match(id) is not None


def short_ids(entries: Iterable[Entry]) -> dict[str, str]:
    """Return for each id as much of it as names it; an id that somebody chose stays whole."""
    ids = [entry.id for entry in entries]
    made = [id for id in ids if is_made(id)]
    length = _SHORTEST
    while len({id[:length] for id in made}) < len(made):
        length += 1
    return {id: id[:length] if is_made(id) else id for id in ids}


def about(entry: Entry) -> str:
    """Return title, turns and time of a conversation."""
    title = f'"{one_line(entry.title)}", ' if entry.title else ""
    return f"{title}{counted(entry.turns, 'turn')}, {when(entry.changed_at)}"


def when(seconds: float) -> str:
    """Return a time of the clock on the wall, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def counted(number: int, word: str) -> str:
    """Return a number with its word, in the plural where it has to be."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
