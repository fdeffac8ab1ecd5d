"""How type checkers see tools; never run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typing_extensions import assert_type

from streamkit import Tool, ToolContext, tool


@tool
def plain(city: str, context: ToolContext) -> str:
    return f"{city}: {context.call.name}"


@tool(needs_approval=lambda amount, **_: amount > 100, strict=True)
def refund(amount: float) -> None: ...


def check_tools() -> None:
    assert_type(plain, Tool)
    assert_type(refund, Tool)
    assert_type(tool(len, name="size"), Tool)
    assert_type(tool(name="size"), Callable[[Callable[..., Any]], Tool])
    assert_type(plain.needs_approval, bool | Callable[..., bool])
    plain("Oslo")
    tool("size")  # type: ignore[call-overload]  # pyright: ignore
