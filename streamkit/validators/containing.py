"""Texts that a reply must contain: ``Contains``, ``ContainsAny`` and ``RequiredFields``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streamkit.validators.automaton import Automaton
from streamkit.validators.options import texts_of
from streamkit.validators.validator import Checker, Stepwise, Verdict, seen

__all__ = ["Contains", "ContainsAny", "RequiredFields"]


class Contains(Stepwise):
    """A reply must contain each of some texts, in any case of their letters. It is held back until it does.

    Args:
        texts: taken literally; found inside of words as well.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: there is no text, one is empty, or an option is wrong.
    """

    kind = "contains"
    whole = True
    _given = "texts"

    def __init__(self, texts: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self.texts = texts_of(texts, self.name, self._given)
        self._automaton = Automaton(self.texts)

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _ContainsChecker(self.texts, self._automaton, all_of=True)


class ContainsAny(Contains):
    """A reply must contain one of some texts, in any case of their letters. It is held back until it does.

    Args:
        texts: taken literally; found inside of words as well.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: there is no text, one is empty, or an option is wrong.
    """

    kind = "contains_any"

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _ContainsChecker(self.texts, self._automaton, all_of=False)


class RequiredFields(Contains):
    """The names of some fields must occur in the text of a reply, in any case, as PromptKit has it.

    A name inside of a value counts as well. To ask for the keys of a JSON object, use ``JsonSchema`` with ``required``.

    Args:
        fields: the names.
        options: ``name``, ``on_violation``, ``replacement``, ``direction``; see ``Validator``.

    Raises:
        ConfigError: there is no name, one is empty, or an option is wrong.
    """

    kind = "required_fields"
    _given = "fields"

    def __init__(self, fields: Iterable[str], **options: Any) -> None:
        super().__init__(fields, **options)


class _ContainsChecker(Checker):
    def __init__(self, texts: tuple[str, ...], automaton: Automaton, *, all_of: bool) -> None:
        self._texts = texts
        self._state = automaton.start
        self._missing = set(range(len(texts)))
        self._all_of = all_of
        self._passed = False
        self._length = 0

    def add(self, piece: str, final: bool) -> Verdict:
        self._length += len(piece)
        if not self._passed:
            self._look(piece)
        if self._passed:
            return seen(self._length)
        if not final:
            return seen(0)
        missing = " and " if self._all_of else " or "
        return Verdict(0, f"it lacks {missing.join(repr(self._texts[number]) for number in sorted(self._missing))}")

    def _look(self, piece: str) -> None:
        state = self._state
        for character in piece:
            state = state[character]
            if state.found:
                self._missing.difference_update(state.found)
                if not self._all_of or not self._missing:
                    self._passed = True
                    return
        self._state = state
