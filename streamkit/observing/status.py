"""The state of a stream: ``Status``."""

from __future__ import annotations

from typing import Literal

__all__ = ["Status"]

Status = Literal["open", "complete", "suspended", "cancelled", "truncated", "timeout", "error"]
