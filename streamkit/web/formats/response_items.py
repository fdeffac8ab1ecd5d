"""The items of one response as they grow: a message, reasoning, a call of a function.

Each returns the JSON that the events about it have, and knows nothing of the events' order.
"""

from __future__ import annotations

from typing import Any, Literal

from streamkit.web.formats.growing_calls import GrowingCall

__all__ = ["CallItem", "Item", "MessageItem", "ReasoningItem", "TextPart"]

Status = Literal["in_progress", "completed", "incomplete"]


class TextPart:
    """A part of a message: text, or a refusal.

    Attributes:
        kind: the part's type.
        field: the field of the part that has the text.
        head: the bytes of its next ``delta`` event up to the number of the event.
        pieces: of the text so far.
    """

    __slots__ = ("field", "head", "kind", "pieces")

    def __init__(self, kind: Literal["output_text", "refusal"]) -> None:
        self.kind = kind
        self.field = "text" if kind == "output_text" else "refusal"
        self.head = b""
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        """All of the text."""
        return "".join(self.pieces)

    def shape(self, text: str) -> dict[str, Any]:
        """Return the part with a text."""
        own: dict[str, Any] = {"annotations": [], "logprobs": []} if self.kind == "output_text" else {}
        return {"type": self.kind, **own, self.field: text}


class Item:
    """One item of the output.

    Attributes:
        id: of the item.
        index: its place in the output.
        status: ``in_progress`` until the client is told that it is done.
    """

    __slots__ = ("id", "index", "status")

    def __init__(self, id: str, index: int) -> None:
        self.id = id
        self.index = index
        self.status: Status = "in_progress"

    @property
    def place(self) -> dict[str, Any]:
        """What each event about a part of the item has."""
        return {"item_id": self.id, "output_index": self.index}

    def shape(self) -> dict[str, Any]:
        """Return the item as it is now."""
        raise NotImplementedError


class MessageItem(Item):
    """A message of the assistant."""

    __slots__ = ("parts",)

    def __init__(self, id: str, index: int) -> None:
        super().__init__(id, index)
        self.parts: list[TextPart] = []

    def shape(self) -> dict[str, Any]:
        """Return the message with all its parts."""
        content = [part.shape(part.text) for part in self.parts]
        return {"id": self.id, "type": "message", "status": self.status, "content": content, "role": "assistant"}


class ReasoningItem(Item):
    """Reasoning: as a summary, which is what clients show.

    Attributes:
        pieces: of the summary so far.
        head: the bytes of its next ``delta`` event up to the number of the event.
        encrypted: the same for the provider alone; "" for none.
    """

    __slots__ = ("encrypted", "head", "pieces")

    def __init__(self, id: str, index: int) -> None:
        super().__init__(id, index)
        self.pieces: list[str] = []
        self.head = b""
        self.encrypted = ""

    @property
    def text(self) -> str:
        """All of the summary."""
        return "".join(self.pieces)

    def shape(self) -> dict[str, Any]:
        """Return the reasoning with its summary, which has one part at most."""
        summary = [{"type": "summary_text", "text": self.text}] if self.pieces else []
        kept = {"encrypted_content": self.encrypted} if self.encrypted else {}
        return {"id": self.id, "type": "reasoning", **kept, "summary": summary}


class CallItem(Item):
    """A call of a function.

    Attributes:
        call: it, growing.
        head: the bytes of its next ``delta`` event up to the number of the event.
    """

    __slots__ = ("call", "head")

    def __init__(self, id: str, index: int, call: GrowingCall) -> None:
        super().__init__(id, index)
        self.call = call
        self.head = b""

    def shape(self) -> dict[str, Any]:
        """Return the call with all its arguments."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "arguments": self.arguments,
            "call_id": self.call.id,
            "name": self.call.name,
        }

    @property
    def arguments(self) -> str:
        """The arguments as JSON text; a call without any has an empty object, as clients parse it."""
        return self.call.text + self.missing

    @property
    def missing(self) -> str:
        """What the model did not write of the arguments of a call without any."""
        return "" if self.call.text.strip() else "{}"
