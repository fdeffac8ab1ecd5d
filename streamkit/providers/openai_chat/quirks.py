"""How servers of chat completions deviate from OpenAI's reference, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from streamkit.providers.request.structured_output import OutputWay
from streamkit.providers.request.tool_limits import ToolLimits

__all__ = ["NO_TOP_K", "Quirks"]

#: A parameter that OpenAI's own models refuse and other servers accept.
NO_TOP_K: Mapping[str, str] = {"top_k": "there are temperature= and top_p="}


@attrs.frozen
class Quirks:
    """How one server deviates from OpenAI's reference.

    Attributes:
        include_usage: whether to send ``stream_options`` to ask for the usage; false if the server refuses that, or
            sends the usage unasked.
        max_tokens_field: the name of ``max_tokens`` on the wire.
        max_tokens_only: whether ``max_completion_tokens`` is sent under that name as well, because the server knows
            only one; a server that may forward to OpenAI's own models knows both.
        effort_field: where ``reasoning_effort`` goes on the wire: under its own name, or as ``effort`` in an object
            ``reasoning``.
        reasoning_back: the field of an assistant's message in which reasoning is sent back with the history, if the
            server refuses the request or answers worse without it.
        file_url: the field of a document for its URL, an extension of OpenAI's format; ``None`` if the server takes
            only the content.
        text_results: whether the server is known to refuse anything but text as the result of a tool.
        tool_limits: what the server is known to take of a tool; ``None`` for any server but OpenAI's own.
        call_ids: the form that ids of tool calls must have; others are replaced. ``None`` for any form.
        structured_output: how the server is told a JSON schema for the reply; see ``OutputWay``.
        output_by_model: where that differs, by a pattern that is found in the model's name.
        schema_beside_tools: whether it takes such a schema and tools in one call.
        prefill: how the server is told that the last message is the beginning of the reply: by a field of the message,
            or by one of the body. ``None`` if it cannot be.
        own: the server's own parameters, beyond OpenAI's.
        refused: OpenAI's parameters that the server does not support, each with the alternative.
    """

    include_usage: bool = True
    max_tokens_field: str = "max_tokens"
    max_tokens_only: bool = False
    effort_field: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"
    reasoning_back: Literal["reasoning_content", "reasoning_details"] | None = None
    file_url: Literal["file_url", "file_data"] | None = "file_url"
    text_results: bool = False
    tool_limits: ToolLimits | None = None
    call_ids: re.Pattern[str] | None = None
    structured_output: OutputWay = "schema"
    output_by_model: Sequence[tuple[re.Pattern[str], OutputWay]] = ()
    schema_beside_tools: bool = True
    prefill: Literal["prefix", "continue_final_message"] | None = None
    own: frozenset[str] = frozenset()
    refused: Mapping[str, str] = attrs.field(factory=dict)
