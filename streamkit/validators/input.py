"""Validators of what the user says: ``check_input``."""

from __future__ import annotations

from collections.abc import Iterable

from streamkit.errors import ValidationError
from streamkit.validators.judge import checked, validators_in
from streamkit.validators.validator import Validator, Violation
from streamkit.values.completion import Completion

__all__ = ["check_input"]


def check_input(validators: Iterable[Validator], text: str) -> list[Violation]:
    """Judge the user's text before it is sent, by those of the validators that are for input.

    Args:
        validators: those whose ``direction`` is ``input`` or ``both`` are asked, the others are passed over.
        text: the whole of it.

    Returns:
        The rules that it breaks and that do not raise, in order. Where one says ``replace``, do not ask the model: its
        ``replacement`` is the reply.

    Raises:
        ValidationError: it breaks a rule with ``on_violation="raise"``.
        ConfigError: an item is no ``Validator``.
    """
    found = []
    for validator in validators_in(validators):
        if validator.direction == "output":
            continue
        verdict = checked(validator, validator.begin().add(text, True))
        if verdict.violation is None:
            continue
        if validator.on_violation == "raise":
            raise ValidationError(
                f"the validator {validator.name!r} refused the input: {verdict.violation}; nothing was sent",
                validator=validator.name,
                reason=verdict.violation,
                partial=Completion(),
            )
        replacement = validator.replacement if validator.on_violation == "replace" else ""
        found.append(Violation(validator.name, verdict.violation, validator.on_violation, replacement, verdict.span))
    return found
