"""Several validators on the text of one round: ``Judge``."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.errors import ConfigError, MisuseError
from streamkit.validators.validator import Validator, Verdict, Violation, check_options

__all__ = ["Judge", "checked", "validators_in"]


def validators_in(given: object) -> tuple[Validator, ...]:
    """Return the validators of a list.

    Raises:
        ConfigError: it is no list, or has something else in it.
    """
    if isinstance(given, (str, bytes, Validator)) or not isinstance(given, Iterable):
        raise ConfigError(f"validators is a list of Validator, not {type(given).__name__}; put it in brackets")
    found = tuple(given)
    for number, each in enumerate(found):
        if isinstance(each, type) and issubclass(each, Validator):
            raise ConfigError(f"validators[{number}] is the class {each.__name__}; pass an instance: {each.__name__}()")
        if not isinstance(each, Validator):
            raise ConfigError(
                f"validators[{number}] is a Validator, such as those of streamkit.validators, not "
                f"{type(each).__name__}; validator_of() makes one from the shape of a prompt pack"
            )
        check_options(each)
    return found


def checked(validator: Validator, verdict: object) -> Verdict:
    """Return a verdict.

    Raises:
        MisuseError: it is something else.
    """
    if not isinstance(verdict, Verdict):
        raise MisuseError(f"the validator {validator.name!r} returned {type(verdict).__name__}, not a Verdict")
    return verdict


class _Watch:
    """One validator on one text.

    Attributes:
        broken: a violation that is kept until the end of the text.
    """

    __slots__ = ("add", "broken", "reports", "validator", "whole")

    def __init__(self, validator: Validator) -> None:
        self.validator = validator
        self.add = validator.begin().add
        self.whole = validator.whole
        self.reports = validator.on_violation == "report"
        self.broken: Verdict | None = None


class Judge:
    """Asks validators for the text of one round, and says how much of it may be seen.

    Args:
        validators: those for output.
        round: the number of the round.
        may_call: whether the reply may turn out to call tools. Then those that are about an answer as a whole decide at
            the end of the text alone, as it is no answer if it calls tools.
        violations: where to put those that are only reported.

    Attributes:
        shown: how many characters from the start may be seen.
        calls: whether the reply calls tools; set by whoever sees it.
    """

    def __init__(
        self, validators: Iterable[Validator], round: int, may_call: bool, violations: list[Violation]
    ) -> None:
        self.shown = 0
        self.calls = False
        self._length = 0
        self._round = round
        self._may_call = may_call
        self._violations = violations
        self._watches = tuple(_Watch(validator) for validator in validators)

    def add(self, piece: str, final: bool) -> Violation | None:
        """Take in more of the text.

        Args:
            piece: the next characters.
            final: whether the text ends with them.

        Returns:
            The violation for which the text ends here, if there is one.
        """
        self._length += len(piece)
        shown, first = self._length, None
        for watch in self._watches:
            if final and self.calls and watch.whole:
                continue
            verdict = watch.broken or watch.add(piece, final)
            if verdict.__class__ is not Verdict:
                verdict = checked(watch.validator, verdict)
            if verdict.violation is not None:
                if watch.whole and self._may_call and not final:
                    watch.broken = verdict
                elif watch.reports:
                    self._watches = tuple(each for each in self._watches if each is not watch)
                    self._violations.append(self._violation(watch.validator, verdict))
                elif first is None or verdict.shown < first[1].shown:
                    first = watch.validator, verdict
            if verdict.shown < shown and not watch.reports:
                shown = verdict.shown
        if shown > self.shown:
            self.shown = shown
        return None if first is None else self._violation(*first)

    def _violation(self, validator: Validator, verdict: Verdict) -> Violation:
        assert verdict.violation is not None
        replacement = validator.replacement if validator.on_violation == "replace" else ""
        return Violation(
            validator.name, verdict.violation, validator.on_violation, replacement, verdict.span, self._round
        )
