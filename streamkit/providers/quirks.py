"""In what the servers of chat completions differ from one another, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

__all__ = ["Quirks"]


@attrs.frozen
class Quirks:
    """What one server wants otherwise than OpenAI's reference has it.

    Attributes:
        include_usage: whether it is asked for the usage by ``stream_options``; not where it refuses that, or
            sends the usage without.
        max_tokens_field: how ``max_tokens`` is called on the wire.
        effort_field: how ``reasoning_effort`` goes on the wire: under its own name, or as ``effort`` in an object
            ``reasoning``.
        reasoning_back: the field of an assistant's message in which the server wants its reasoning back with the
            history, where it refuses to go on, or goes on worse, without it.
        own: parameters beyond OpenAI's that it has, under its own names.
        refused: parameters of OpenAI's that it has not, each with what there is instead.
    """

    include_usage: bool = True
    max_tokens_field: str = "max_tokens"
    effort_field: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"
    reasoning_back: Literal["reasoning_content", "reasoning_details"] | None = None
    own: frozenset[str] = frozenset()
    refused: Mapping[str, str] = attrs.field(factory=dict)
