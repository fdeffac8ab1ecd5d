"""What comes out of a batch: ``BatchResult`` for each prompt, and ``BatchTotals``."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import attrs

from streamkit.values.completion import Completion

__all__ = ["BatchResult", "BatchTotals"]

P = TypeVar("P")


@attrs.frozen
class BatchResult(Generic[P]):
    """What came of one prompt: a whole reply, or an error.

    Attributes:
        index: the place of the prompt among all, from 0.
        prompt: as it was given.
        completion: the reply; ``None`` if there is an error.
        error: why there is none; ``None`` for a whole reply. ``error.partial`` of a ``StreamError`` has what came.
        key: of the prompt, where ``key=`` names one.
        saved: whether the reply was in the file of ``save=`` already, and was not asked for again.
    """

    index: int
    prompt: P = attrs.field(repr=False)
    completion: Completion | None = None
    error: Exception | None = None
    key: str = ""
    saved: bool = False

    @property
    def text(self) -> str:
        """The text of the reply; "" if there is an error."""
        return "" if self.completion is None else self.completion.text

    @property
    def parsed(self) -> Any:
        """The instance of the type that ``response_format`` asked for; ``None`` without one, and after an error."""
        return None if self.completion is None else self.completion.parsed


@attrs.frozen
class BatchTotals:
    """The figures of a batch so far.

    Attributes:
        answered: whole replies, those that were saved before included.
        failed: prompts that ended with an error.
        saved: those of the answered that were in the file of ``save=`` already.
        input_tokens, output_tokens: of the replies that were asked for, as far as their providers count them.
        cost: in USD, of all replies whose cost is known, those in the file included; ``None`` if none is.
        seconds: since the first prompt was read.
    """

    answered: int = 0
    failed: int = 0
    saved: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Output tokens a second, of all streams together."""
        return self.output_tokens / self.seconds if self.seconds else 0.0
