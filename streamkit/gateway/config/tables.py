"""Read the tables of a TOML file, value by value, and collect what is wrong with each: ``Document``, ``Table``."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from streamkit.errors import ConfigError
from streamkit.gateway.config import places
from streamkit.gateway.config.problems import ConfigProblem
from streamkit.wire.secrets import Masked

__all__ = ["Document", "Table", "listed", "near", "written"]

_Value = TypeVar("_Value")

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LIKE_A_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_MOST_SECONDS = 86400.0
_MISSING = object()


def written(path: places.Path) -> str:
    """Return a path as TOML writes it, such as ``models."gpt-4.1".routes[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if _BARE.fullmatch(part) else f'"{part:.60}"'
            text += f".{shown}" if text else shown
    return text


def listed(names: Collection[str]) -> str:
    """Return names for a sentence."""
    return ", ".join(names)


def near(name: str, known: Collection[str]) -> str:
    """Return ``; did you mean ...?`` for a name that is close to a known one, otherwise what is known."""
    found = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else f"; known are {listed(sorted(known))}"


def _kind(value: Any) -> str:
    for kind, name in (
        (bool, "true or false"),
        (str, "text"),
        ((int, Decimal), "a number"),
        (list, "a list"),
        (dict, "a table"),
    ):
        if isinstance(value, kind):
            return f"{name!s}"
    return "a date or time"


class Document:
    """A file that was read, and what is wrong with it so far.

    Args:
        file: its name, as the user wrote it.
        text: what is in it.
        tree: its values.
        environ: where ``$NAME`` is looked up.
        folder: that relative paths start from.
    """

    def __init__(
        self, file: str, text: str, tree: dict[str, Any], environ: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.file = file
        self.tree = tree
        self.environ = environ
        self.folder = folder or Path.cwd()
        self.problems: list[ConfigProblem] = []
        self._lines = places.lines_of(text)

    def paths(self, first: str) -> Iterator[places.Path]:
        """Yield where there is anything below a table of the file."""
        return (path for path in self._lines if path[0] == first)

    def line(self, path: places.Path) -> int | None:
        """Return the line of a value; of one that is missing that of its table."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)

    def add(self, path: places.Path, text: str) -> None:
        """Note a mistake."""
        problem = ConfigProblem(self.file, self.line(path), written(path), text)
        if problem not in self.problems:  # a value may be read twice
            self.problems.append(problem)

    def path_of(self, text: str) -> Path:
        """Return a path that is named in the file; a relative one starts from the file's folder."""
        return self.folder / Path(text).expanduser()

    def resolved(self, path: places.Path, value: Any) -> Any:
        """Return a value, and for ``$NAME`` that of the environment; ``None`` after a mistake was noted.

        What comes from the environment is ``Masked``: it may be a secret, and no message shows it.
        """
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        if value.startswith("$$"):
            return value[1:]
        found = _VARIABLE.fullmatch(value)
        if found is None:
            self.add(path, "a value that begins with $ is the name of an environment variable; write $$ for a dollar")
            return None
        name = found[1] or found[2]
        given = self.environ.get(name, "")
        if not given.strip():
            self.add(path, f"the environment variable {name} is {'empty' if name in self.environ else 'not set'}")
            return None
        return Masked(given)

    def root(self) -> Table:
        """Return the table of the whole file."""
        return Table(self, (), self.tree)


class Table:
    """One table: each method reads one key, notes a mistake, and returns the default then.

    Args:
        document: that it is in.
        path: where.
        values: what it has.
    """

    def __init__(self, document: Document, path: places.Path, values: Mapping[str, Any]) -> None:
        self.document = document
        self.path = path
        self._values = values
        self._known: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def keys(self) -> Collection[str]:
        """Return all keys."""
        return self._values.keys()

    def raw(self, name: str) -> Any:
        """Return a value of any kind, which the caller checks; ``None`` where there is none."""
        value = self._take(name)
        return None if value is _MISSING else value

    def add(self, name: str, text: str) -> None:
        """Note a mistake in a key; "" for the table itself."""
        self.document.add((*self.path, name) if name else self.path, text)

    def _take(self, name: str) -> Any:
        self._known.append(name)
        if name not in self._values:
            return _MISSING
        value = self.document.resolved((*self.path, name), self._values[name])
        return _MISSING if value is None else value

    def _wrong(self, name: str, wanted: str, value: Any, default: _Value) -> _Value:
        self.add(name, f"has to be {wanted}, not {_kind(value)}")
        return default

    def done(self) -> None:
        """Note all keys that nothing has asked for."""
        for name in self._values:
            if name not in self._known:
                self.add(name, f"unknown key{near(name, {*self._known})}")

    def table(self, name: str) -> Table:
        """Return a table in this one; an empty one where there is none."""
        value = self._take(name)
        if value is not _MISSING and not isinstance(value, dict):
            value = self._wrong(name, f"a table, such as [{written((*self.path, name))}]", value, {})
        return Table(self.document, (*self.path, name), {} if value is _MISSING else value)

    def tables(self) -> Iterator[tuple[str, Any]]:
        """Yield all keys with their values, which the caller reads."""
        for name, value in self._values.items():
            self._known.append(name)
            yield name, value

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a text that is not empty."""
        value = self._take(name)
        if value is _MISSING:
            return default
        if not isinstance(value, str):
            return self._wrong(name, "text in quotation marks", value, default)
        if not value.strip():
            self.add(name, "is empty")
            return default
        return value

    def choice(self, name: str, known: Sequence[str], default: str) -> str:
        """Return one of some words."""
        value = self.text(name, default)
        if value is not None and value not in known:
            self.add(name, f"has to be one of {listed(known)}{_meant(value, known)}")
            return default
        return value or default

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._take(name)
        if isinstance(value, Masked) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        if value is _MISSING:
            return default
        return value if isinstance(value, bool) else self._wrong(name, "true or false", value, default)

    def whole(self, name: str, default: _Value, *, least: int = 1, most: int | None = None) -> int | _Value:
        """Return a whole number."""
        value = self._take(name)
        if isinstance(value, Masked) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
            value = int(value)
        if value is _MISSING:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong(name, "a whole number", value, default)
        if value < least or (most is not None and value > most):
            self.add(name, f"has to be {_range(least, most)}, not {value}")
            return default
        return value

    def seconds(self, name: str, default: _Value, *, least: float | None = None) -> float | _Value:
        """Return a number of seconds, above zero unless ``least`` is given."""
        value = self._number(name)
        if value is None:
            return default
        if not value.is_finite() or value > _MOST_SECONDS or (value <= 0 if least is None else value < least):
            bound = "above 0" if least is None else f"of at least {least:g}"
            self.add(name, f"has to be a number of seconds {bound} and of at most {_MOST_SECONDS:.0f}, not {value}")
            return default
        return float(value)

    def price(self, name: str) -> int | None:
        """Return an amount of money in billionths of a dollar."""
        value = self._number(name)
        if value is None:
            return None
        if not value.is_finite() or value < 0:
            self.add(name, f"a price is not negative: US dollars for a million tokens, not {value}")
            return None
        nano = value.scaleb(9)
        if nano != nano.to_integral_value():
            self.add(name, f"has more than nine digits behind the point: {value}")
            return None
        return int(nano)

    def _number(self, name: str) -> Decimal | None:
        value = self._take(name)
        if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}(?:\.\d{1,18})?\s*", value):
            value = Decimal(value.strip())
        if value is _MISSING:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            return self._wrong(name, "a number", value, None)
        return Decimal(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        value = self._take(name)
        if value is _MISSING:
            return ()
        if not isinstance(value, list):
            return self._wrong(name, "a list of texts", value, ())
        found = []
        for number, item in enumerate(value):
            path = (*self.path, name, number)
            text = self.document.resolved(path, item)
            if isinstance(text, str):
                found.append(text)
            elif text is not None:
                self.document.add(path, f"has to be text in quotation marks, not {_kind(text)}")
        return tuple(found)

    def mapping(self, name: str) -> dict[str, str]:
        """Return a table of texts, each masked, as any of them may be a secret."""
        table = self.table(name)
        return {key: Masked(text) for key, _ in table.tables() if (text := table.text(key)) is not None}

    def secret(self, name: str) -> Masked | None:
        """Return a secret: of ``name`` itself, or of the file that ``name_file`` names."""
        file = f"{name}_file"
        if name in self and file in self:
            self.add(file, f"{name} and {file} say the same: keep one of them")
        text = self.text(name)
        read = self._from_file(file)
        if text is None:
            return read
        if not isinstance(text, Masked) and _LIKE_A_VARIABLE.fullmatch(text):
            self.add(name, f'looks like the name of an environment variable: write "${text}" for its value')
            return None
        return Masked(text.strip())

    def _from_file(self, name: str) -> Masked | None:
        file = self.text(name)
        if file is None:
            return None
        try:
            text = self.document.path_of(file).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            self.add(name, f"the file cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}")
            return None
        if not text:
            self.add(name, "the file is empty")
            return None
        return Masked(text)

    def checked(self, name: str, make: Callable[[], _Value]) -> _Value | None:
        """Return what a function makes; its ConfigError becomes a mistake of a key."""
        try:
            return make()
        except ConfigError as error:
            self.add(name, error.message)
            return None


def _range(least: int, most: int | None) -> str:
    return f"at least {least}" if most is None else f"from {least} to {most}"


def _meant(value: str, known: Sequence[str]) -> str:
    found = get_close_matches(value.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""
