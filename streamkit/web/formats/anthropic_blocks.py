"""The content blocks of a message in Anthropic's format: one is open at a time, in the order in which they began.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming, read 2026-11-27.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from streamkit.values.json_text import Structure
from streamkit.web.formats.json_bytes import json_bytes, text_bytes

__all__ = ["Block", "Blocks", "event_bytes"]

# The field of a delta by the type of its block.
_DELTAS = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}


class Block:
    """One content block, which may wait for those before it.

    Attributes:
        start: the block as it begins, without what its deltas bring.
        round: of the chunks that it is made of.
        signature: of a thought; "" until it is known.
        closed: whether the client was told that it is over.
    """

    __slots__ = ("_structure", "closed", "round", "signature", "start", "waiting")

    def __init__(self, start: Mapping[str, Any], round: int = 0) -> None:
        self.start = start
        self.round = round
        self.signature = ""
        self.closed = False
        self.waiting: list[str] = []  # pieces that were not sent yet
        self._structure = Structure() if start["type"] == "tool_use" else None

    @property
    def type(self) -> str:
        """The type of the block."""
        return str(self.start["type"])

    @property
    def whole(self) -> bool:
        """Whether nothing can follow: of a call whether its arguments are an object with all its brackets closed."""
        structure = self._structure
        return structure is None or (structure.marks > 0 and structure.depth == 0 and not structure.in_string)

    def count(self, piece: str) -> None:
        """Take in a piece of the arguments of a call."""
        if self._structure is not None:
            self._structure.add(piece)


class Blocks:
    """Writes blocks one after the other.

    Calls may arrive in turns, a piece of each. Clients of Anthropic's format, some of which take every delta for the
    last block that began, get them one by one: a block waits until the call before it is whole, at the latest until
    ``close``.

    Attributes:
        text: all before the text of the next delta while the last block is one of text; ``b""`` otherwise.
    """

    def __init__(self) -> None:
        self.text = b""
        self._open: deque[Block] = deque()  # the first is open, the others wait for it
        self._delta = b""  # all before the value of a delta of the first block
        self._count = 0

    @property
    def last(self) -> Block | None:
        """The block that began last and is not over."""
        return self._open[-1] if self._open else None

    def begin(self, block: Block) -> bytes:
        """Begin a block, and return the events that can be sent now."""
        self._open.append(block)
        if len(self._open) == 1:
            return self._started(block)
        return self._advance(1)

    def add(self, block: Block, piece: str) -> bytes:
        """Add a piece to a block, and return the events that can be sent now.

        A piece for a block that is closed is dropped: it comes behind the end of an object, where only white space
        can be.
        """
        if block.closed:
            return b""
        block.count(piece)
        if block is not self._open[0]:
            block.waiting.append(piece)
            return b""
        data = self._piece(piece)
        return data + self._advance(1) if len(self._open) > 1 else data

    def close(self) -> bytes:
        """End all blocks."""
        return self._advance(0)

    def _advance(self, left: int) -> bytes:
        """End blocks from the first on that are whole and that others wait for; all blocks if none is to be left."""
        data: list[bytes] = []
        while len(self._open) > left and (not left or self._open[0].whole):
            data.append(self._stopped(self._open.popleft()))
            if self._open:
                data.append(self._started(self._open[0]))
        return b"".join(data)

    def _started(self, block: Block) -> bytes:
        shape = {"type": "content_block_start", "index": self._count, "content_block": block.start}
        data = event_bytes("content_block_start", shape)
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":' % self._count
        self._delta = head + _DELTAS.get(block.type, b"")
        if block.type == "text":
            self.text = self._delta
        if block.waiting:
            data += self._piece("".join(block.waiting))
        block.waiting = []
        return data

    def _piece(self, piece: str) -> bytes:
        return b"%b%b}}\n\n" % (self._delta, text_bytes(piece)) if piece else b""

    def _stopped(self, block: Block) -> bytes:
        index, self._count = self._count, self._count + 1
        self.text = b""
        block.closed = True
        data = b""
        if block.signature:
            delta = {"type": "signature_delta", "signature": block.signature}
            data = event_bytes("content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta})
        return data + event_bytes("content_block_stop", {"type": "content_block_stop", "index": index})


def event_bytes(kind: str, shape: Mapping[str, Any]) -> bytes:
    """Return an event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json_bytes(shape))
