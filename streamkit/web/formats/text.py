"""Plain text: what ``TextStreamChatTransport``, ``useObject`` and any program can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.values.messages import ToolCall
from streamkit.web.formats.base import TEXT_HEADERS, Format
from streamkit.web.formats.requests.request import Limits, WebRequest
from streamkit.web.formats.requests.ui_request import read_ui_request

__all__ = ["TextFormat"]


class TextFormat(Format):
    """The text of the answer, or of the refusal, and nothing else.

    It has no word for an error, nor for a heartbeat: see ``tells_errors``.
    """

    headers: ClassVar[Mapping[str, str]] = TEXT_HEADERS
    tells_errors: ClassVar[bool] = False

    def begin(
        self,
        id: str,
        *,
        model: str = "",
        created: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        calls: Iterable[ToolCall] = (),
    ) -> bytes:
        """Return nothing."""
        return b""

    def encode(self, chunk: Chunk) -> bytes:
        """Return the text; half a character becomes a question mark."""
        if chunk.index:
            return b""
        return (chunk.text or chunk.refusal).encode("utf-8", "replace")

    def heartbeat(self) -> bytes:
        """Return nothing, as anything would be text."""
        return b""

    def end(
        self,
        status: str,
        error: BaseException | None = None,
        completion: Completion | None = None,
        *,
        time_to_first_token: float | None = None,
        reason: str = "",
    ) -> bytes:
        """Return nothing."""
        return b""

    @classmethod
    def decode_request(
        cls, body: bytes | str | Mapping[str, Any], *, limits: Limits | None = None, allow_system: bool = False
    ) -> WebRequest:
        """Read what ``useChat`` sends, which is the same for every format; see ``Format``."""
        return read_ui_request(body, limits or Limits(), allow_system=allow_system)
