"""In what the servers of chat completions differ from one another, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import attrs

__all__ = ["NO_TOP_K", "Quirks"]

#: What OpenAI's own models refuse, and other servers of the format take.
NO_TOP_K: Mapping[str, str] = {"top_k": "there are temperature= and top_p="}


@attrs.frozen
class Quirks:
    """What one server wants otherwise than OpenAI's reference has it.

    Attributes:
        include_usage: whether it is asked for the usage by ``stream_options``; not where it refuses that, or
            sends the usage without.
        max_tokens_field: how ``max_tokens`` is called on the wire.
        max_tokens_only: whether that is the one name it knows, by which ``max_completion_tokens`` goes as well;
            a server that may stand before OpenAI's own models knows both.
        effort_field: how ``reasoning_effort`` goes on the wire: under its own name, or as ``effort`` in an object
            ``reasoning``.
        reasoning_back: the field of an assistant's message in which the server wants its reasoning back with the
            history, where it refuses to go on, or goes on worse, without it.
        file_url: the field of a document that takes its address, an extension of OpenAI's format; ``None`` where
            only the content is taken.
        call_ids: what the ids of tool calls have to be; others are replaced. ``None`` where any will do.
        own: parameters beyond OpenAI's that it has, under its own names.
        refused: parameters of OpenAI's that it has not, each with what there is instead.
    """

    include_usage: bool = True
    max_tokens_field: str = "max_tokens"
    max_tokens_only: bool = False
    effort_field: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"
    reasoning_back: Literal["reasoning_content", "reasoning_details"] | None = None
    file_url: Literal["file_url", "file_data"] | None = "file_url"
    call_ids: re.Pattern[str] | None = None
    own: frozenset[str] = frozenset()
    refused: Mapping[str, str] = attrs.field(factory=dict)
