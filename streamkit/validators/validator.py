"""What judges the text of a reply while it arrives: ``Validator``, and the values that it deals in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import attrs

from streamkit.errors import ConfigError

__all__ = [
    "REPLACEMENT",
    "Checker",
    "Direction",
    "OnViolation",
    "Stepwise",
    "Validator",
    "Verdict",
    "Violation",
    "check_options",
    "seen",
]

OnViolation = Literal["raise", "replace", "report"]
Direction = Literal["output", "input", "both"]

_ON_VIOLATION = ("raise", "replace", "report")
_DIRECTIONS = ("output", "input", "both")

#: What a reader sees in place of the rest, where ``on_violation="replace"`` names no text.
REPLACEMENT = "Sorry, this reply was withheld, because it would break a rule that holds here."


@attrs.define(eq=False)
class _VerdictFields:
    """The fields of a ``Verdict``, writable; ``seen`` says why this class is separate."""

    shown: int
    violation: str | None = None
    span: tuple[int, int] | None = None


@attrs.frozen
class Verdict(_VerdictFields):
    """What is known of a text so far.

    Attributes:
        shown: how many characters from its start may be seen, whatever follows. Those that were shown stay shown, so a
            smaller number than before changes nothing.
        violation: why the text is not allowed, certain whatever follows; ``None`` if it may still be.
        span: the first and the last offending character, as a slice; ``None`` where it is the text as a whole.
    """


def seen(shown: int) -> Verdict:
    """Return a verdict without a violation fast, for the hot path: see ``text_chunk``."""
    verdict = _VerdictFields(shown)
    verdict.__class__ = Verdict
    return verdict  # type: ignore[return-value]


@attrs.frozen
class Violation:
    """A rule that a text broke.

    Attributes:
        validator: its name.
        reason: as the validator says it, in English. It may quote the text.
        on_violation: what the validator asks for: ``raise``, ``replace`` or ``report``.
        replacement: the text to show in place of the rest, for ``replace``; else "".
        span: the offending characters in the text of the round; ``None`` where it is the text as a whole.
        round: the round of a run with tools, from 0.
    """

    validator: str
    reason: str
    on_violation: OnViolation = "raise"
    replacement: str = ""
    span: tuple[int, int] | None = None
    round: int = 0


class Checker(ABC):
    """Judges one text, piece by piece. It is used by one thread, and no more after a violation or the end."""

    @abstractmethod
    def add(self, piece: str, final: bool) -> Verdict:
        """Return what is known with the next piece.

        Args:
            piece: the next characters; may be "".
            final: whether the text ends with it.
        """


class Validator(ABC):
    """Judges the text of a reply. To make your own, override ``check``, and set what else differs in the class.

    ::

        class NoShouting(Validator):
            on_violation = "replace"

            def check(self, text, final):
                for match in re.finditer(r"[A-Z]{10}", text):
                    return Verdict(match.start(), "it shouts", match.span())
                return Verdict(len(text) if final else max(0, len(text) - 9))

    ``check`` gets the whole text so far each time. If replies are long, override ``begin`` instead, and return a
    ``Checker`` that gets the new piece alone.

    Both must be pure: no I/O, and the same answer for the same text. What they raise ends the stream as its error.

    Attributes:
        name: for errors and reports; by default that of the class.
        on_violation: ``raise`` a ``ValidationError``; ``replace`` the rest by ``replacement`` and end the reply; or
            ``report``: hold nothing back, go on, and note it in ``stream.violations``.
        replacement: the text for ``replace``.
        direction: which text is judged: ``output``, the model's; ``input``, the user's, which is the business of
            ``check_input``; or ``both``.
        whole: whether it is about the answer as a whole, such as that it is JSON. Then text of a reply that calls tools
            is no answer, and is not judged at its end.

    Threads: any; a ``Checker`` has one.
    """

    name: str = ""
    on_violation: OnViolation = "raise"
    replacement: str = REPLACEMENT
    direction: Direction = "output"
    whole: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__

    @abstractmethod
    def check(self, text: str, final: bool) -> Verdict:
        """Return what is known of a text.

        Args:
            text: all of it so far.
            final: whether it ends there.
        """

    def begin(self) -> Checker:
        """Return what judges the next text."""
        return _Collecting(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.on_violation}>"


class _Collecting(Checker):
    """Calls ``check`` with all of the text each time."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator
        self._text = ""

    def add(self, piece: str, final: bool) -> Verdict:
        self._text += piece
        return self._validator.check(self._text, final)


class Stepwise(Validator):
    """Base of the library's own: they judge piece by piece, and ``check`` is made from that.

    Args:
        name: see ``Validator``; ``None`` for ``kind``.
        on_violation: see ``Validator``.
        replacement: see ``Validator``.
        direction: see ``Validator``.

    Raises:
        ConfigError: an option has a value that it cannot have.
    """

    kind: ClassVar[str] = ""  # its name in a prompt pack

    def __init__(
        self,
        *,
        name: str | None = None,
        on_violation: OnViolation = "raise",
        replacement: str = REPLACEMENT,
        direction: Direction = "output",
    ) -> None:
        self.name = self.kind if name is None else name
        self.on_violation = on_violation
        self.replacement = replacement
        self.direction = direction
        check_options(self)

    def check(self, text: str, final: bool) -> Verdict:
        """Return what is known of a text."""
        return self.begin().add(text, final)

    @abstractmethod
    def begin(self) -> Checker:
        """Return what judges the next text."""


def check_options(validator: Validator) -> None:
    """Raise ``ConfigError`` if an option of a validator has a value that it cannot have."""
    if validator.on_violation not in _ON_VIOLATION:
        raise ConfigError(
            f"{validator.name}: on_violation is 'raise', 'replace' or 'report', not {validator.on_violation!r}"
        )
    if validator.direction not in _DIRECTIONS:
        raise ConfigError(f"{validator.name}: direction is 'output', 'input' or 'both', not {validator.direction!r}")
    for option in ("name", "replacement"):
        if not isinstance(getattr(validator, option), str):
            kind = type(getattr(validator, option)).__name__
            raise ConfigError(f"{type(validator).__name__}: {option} is a text, not {kind}")
