"""Options of several commands, and their types."""

from __future__ import annotations

import math
from typing import Any

import click

__all__ = ["Number", "json_option"]

json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Write one JSON object a chunk, a line each: type, index, round, text, reasoning, refusal, "
    "tool_call, tool_result, finish_reason and usage, those that are set. The last one has the type done.",
)


class Number(click.FloatRange):
    """A finite number in a range; a range alone accepts infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number
