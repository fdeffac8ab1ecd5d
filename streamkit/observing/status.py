"""How a stream stands or ended, in one word: ``Status``."""

from __future__ import annotations

from typing import Literal

__all__ = ["Status"]

Status = Literal["open", "complete", "cancelled", "truncated", "timeout", "error"]
