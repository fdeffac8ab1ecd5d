"""The tool calls of a stream as they grow: when each begins, and when its arguments are whole."""

from __future__ import annotations

from typing import Any

from streamkit.values.chunks import Chunk, ToolResult
from streamkit.values.json_text import Structure, decoded

__all__ = ["GrowingCall", "GrowingCalls", "output_of"]


class GrowingCall:
    """One call.

    Attributes:
        id: unique in the stream.
        name: of the tool.
        begun: whether the client knows of it.
        told: whether the client was told the arguments as a whole, or that they are wrong. It takes no pieces then.
        outdated: whether more came after that, so that it has to be told again.
    """

    __slots__ = ("_pieces", "_structure", "begun", "id", "name", "outdated", "told")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.begun = self.told = self.outdated = False
        self._pieces: list[str] = []
        self._structure = Structure()

    def add(self, piece: str) -> None:
        """Take in a piece of the arguments."""
        self._pieces.append(piece)
        self._structure.add(piece)
        if self.told and piece.strip():
            self.outdated = True

    def tell(self) -> None:
        """Note that the client is told now."""
        self.begun, self.told, self.outdated = True, True, False

    @property
    def text(self) -> str:
        """The JSON text of the arguments so far."""
        return "".join(self._pieces)

    @property
    def whole(self) -> bool:
        """Whether the text is an object with all its brackets closed, so that nothing can follow."""
        structure = self._structure
        return structure.marks > 0 and structure.depth == 0 and not structure.in_string

    def arguments(self) -> Any:
        """Return the arguments; ``{}`` where there is no text.

        Raises:
            ValueError: it is no JSON.
        """
        text = self.text
        return decoded(text) if text.strip() else {}


class GrowingCalls:
    """The calls of a stream, by round and index, and by id."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], GrowingCall] = {}
        self._known: dict[str, GrowingCall] = {}

    def add(self, chunk: Chunk) -> GrowingCall:
        """Take in a ``tool_call`` or ``tool_approval`` chunk, and return its call."""
        delta = chunk.tool_call
        assert delta is not None
        if chunk.type == "tool_approval":
            call = self._known.get(delta.id)
            if call is None:  # a reader that came late, or a call whose id the server changed
                call = self.known(delta.id, delta.name, delta.arguments)
            return call
        place = (chunk.round, delta.index)
        call = self._open.get(place)
        if call is None:
            # Unique also where a server sends no ids, or one id twice.
            id = delta.id or f"call-{chunk.round}-{delta.index}"
            id = id if id not in self._known else f"{id}-{chunk.round}-{delta.index}"
            call = self._open[place] = self._known[id] = GrowingCall(id, delta.name)
        call.add(delta.arguments)
        return call

    def known(self, id: str, name: str, arguments: str) -> GrowingCall:
        """Return a new call that is whole already."""
        call = self._known[id] = GrowingCall(id, name)
        call.add(arguments)
        return call

    def of(self, result: ToolResult) -> GrowingCall | None:
        """Return the call of a result; ``None`` for one of an earlier stream."""
        return self._known.get(result.call_id)

    def untold(self) -> list[GrowingCall]:
        """Return the calls whose arguments the client was not told as a whole, and forget their places.

        It is for the end of a reply, after which no piece comes.
        """
        found = [call for call in self._open.values() if not call.told or call.outdated]
        self._open.clear()
        return found


def output_of(result: ToolResult) -> Any:
    """Return a result for a browser: JSON types.

    A list or an object is one again, whether the function's own value is at hand or only the text that the model got;
    so a stream and the log of it are written alike. An image or a file is as in OpenAI's shape.
    """
    if result.parts:
        return [dict(part) for part in result.parts]
    value, text = result.value, result.content
    if isinstance(value, str) or (value is None and not text.startswith(("{", "[")) and text != "null"):
        return text
    try:
        return decoded(text)
    except ValueError:
        return text
