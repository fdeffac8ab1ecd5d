"""A run with tools whose text is judged before it shows: ``ValidatedRun``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.tools.run import Run
from streamkit.tools.suspension import Suspension
from streamkit.validators.stream import Validated
from streamkit.validators.validator import Validator
from streamkit.values.completion import Completion, changed
from streamkit.values.messages import Message

__all__ = ["ValidatedRun", "validated_run"]


class ValidatedRun(Validated, Run):
    """A ``Run`` whose text is judged before it shows; see ``Validated``. It takes its chunks from another run.

    Each round's text is judged anew. A validator that is about the answer as a whole decides at the end of a round, as
    a round that calls tools has no answer. Of ``Run`` it has what a user sees, and none of the fields.
    """

    def __init__(self, run: Run, validators: Iterable[Validator]) -> None:
        super().__init__(run, validators)
        self._run = run

    @property
    def completion(self) -> Completion:
        """The last round's reply as far as it was delivered, with the usage of all rounds; see ``Run.completion``."""
        own, inside = super().completion, self._run.completion
        if own.provider != inside.provider:  # a route has gone to another one in a later round
            own = changed(own, provider=inside.provider)
        if own.tool_calls and own.tool_calls == inside.tool_calls:
            own = changed(own, tool_results=inside.tool_results)
        return own

    @property
    def rounds(self) -> tuple[Completion, ...]:
        """The completion of each round so far, each with its own usage; the last one as far as it was delivered."""
        rounds = self._run.rounds
        if not rounds or self._delivered_text() is None:
            return rounds
        own = super().completion
        if self._reception.round != self._run._loop.last_round_number:
            own = Completion(provider=own.provider)
        return (*rounds[:-1], changed(own, usage=rounds[-1].usage))

    @property
    def messages(self) -> list[Message]:
        """What to append to the history that was passed, without text that was withheld; see ``Run.messages``.

        Of a reply that was cut off the text is kept that was delivered, with a replacement if there was one.
        """
        return self._run._loop.messages_with(self._delivered_text())

    def _delivered_text(self) -> str | None:
        """Return what was delivered of the last round's text; ``None`` where it is all of it."""
        loop = self._run._loop
        if loop.stream is None:  # it was delivered by the run that was suspended
            return None
        text = super().completion.text if self._reception.round == loop.last_round_number else ""
        return None if text == loop.rounds[-1].text else text

    @property
    def suspension(self) -> Suspension | None:
        """What to keep of a suspended run, to go on with ``client.resume``; ``None`` unless it is suspended."""
        return self._run.suspension if self.status == "suspended" else None

    def approve(self, call_id: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Let a call run; see ``Run.approve``."""
        self._run.approve(call_id, arguments)

    def reject(self, call_id: str, reason: str = "") -> None:
        """Keep a call from running; see ``Run.reject``."""
        self._run.reject(call_id, reason)

    def answer(self, call_id: str, result: Any) -> None:
        """Give the result of a call that was carried out elsewhere; see ``Run.answer``."""
        self._run.answer(call_id, result)


def validated_run(run: Run, validators: Iterable[Validator]) -> ValidatedRun:
    """Return a run whose text is judged before it shows.

    Args:
        run: a run that nothing was taken from.
        validators: those for output are used.
    """
    try:
        return ValidatedRun(run, validators)
    except BaseException:  # begin() of a validator of the user's own may raise anything
        run.cancel()
        raise
