"""The JSON of a log's records: chunks and outcomes, written and read."""

from __future__ import annotations

import json
from typing import Any

import attrs

from streamkit import errors
from streamkit.errors import LogError, StreamError
from streamkit.observing.status import Status
from streamkit.values.chunks import Chunk, Usage
from streamkit.values.completion import Completion
from streamkit.values.plain import from_plain, to_plain

__all__ = ["Outcome", "read_chunk", "read_outcome", "write_chunk", "write_outcome"]

_LONGEST_BODY = 4096  # characters of an error's body; a provider's usual ones have some hundreds
_LONGEST_TEXT = 16384  # characters of each other text of an error
# ``partial`` is what the reader has itself.
_NOT_WRITTEN = frozenset({"partial", "body"})
_PLAIN = (str, int, float, bool, type(None))


@attrs.frozen
class Outcome:
    """How a reply ended.

    Attributes:
        status: of the stream that was published; never ``open``.
        error: the class, the message and the plain attributes of the error, ``None`` if none ended it.
        usage: as far as it is known.
        provider: the name of the provider.
        model: as the writer's completion names it; the chunks name it only if the provider does.
        time_to_first_chunk: of the writer's stream, in seconds; ``None`` if there was none.
    """

    status: Status
    error: dict[str, Any] | None = None
    usage: Usage | None = None
    provider: str = ""
    model: str = ""
    time_to_first_chunk: float | None = None

    @classmethod
    def of(
        cls,
        status: Status,
        completion: Completion | None,
        error: BaseException | None = None,
        *,
        time_to_first_chunk: float | None = None,
    ) -> Outcome:
        """Return the outcome of a stream; without a completion for one that was not started."""
        shape = None if error is None else _error_shape(error)
        if completion is None:
            return cls(status, shape)
        first = None if time_to_first_chunk is None else round(time_to_first_chunk, 3)
        usage = None if completion.usage == Usage() else completion.usage
        return cls(status, shape, usage, completion.provider, completion.model, first)

    def to_error(self) -> StreamError | None:
        """Return the error of the writer's stream, of the same class where that is one of the library's."""
        shape = self.error
        if shape is None:
            return None
        name, message = str(shape.get("class", "")), str(shape.get("message", ""))
        kind = getattr(errors, name, None)
        if not (isinstance(kind, type) and issubclass(kind, StreamError)):
            return StreamError(f"the writer of the reply failed: {name}: {message}" if message else name)
        error = kind(message)
        for attribute in vars(error).keys() - _NOT_WRITTEN & shape.keys():
            setattr(error, attribute, shape[attribute])
        if "body" in shape and hasattr(error, "body"):
            error.body = shape["body"]
        return error


def _error_shape(error: BaseException) -> dict[str, Any]:
    message = error.message if isinstance(error, errors.StreamkitError) else str(error)
    shape: dict[str, Any] = {"class": type(error).__name__, "message": message[:_LONGEST_TEXT]}
    if not isinstance(error, StreamError):
        return shape
    for name, value in vars(error).items():
        if name not in _NOT_WRITTEN and isinstance(value, _PLAIN) and value is not None:
            shape[name] = value[:_LONGEST_TEXT] if isinstance(value, str) else value
    body = to_plain(getattr(error, "body", None))
    if body is not None and len(_dump(body)) <= _LONGEST_BODY:
        shape["body"] = body
    return shape


_CHUNK = [(field.name, field.default) for field in attrs.fields(Chunk) if field.name != "raw"]


def write_chunk(chunk: Chunk) -> str:
    """Return the chunk as compact JSON, without ``raw`` and without the fields that have their default."""
    return _dump({name: _compact(value) for name, usual in _CHUNK if (value := getattr(chunk, name)) != usual})


def _compact(value: Any) -> Any:
    if not attrs.has(type(value)):
        return to_plain(value)
    shape = to_plain(value)
    return {
        field.name: shape[field.name]
        for field in attrs.fields(type(value))
        if field.name in shape and getattr(value, field.name) != field.default
    }


def write_outcome(outcome: Outcome) -> str:
    """Return the outcome as compact JSON."""
    return _dump(_compact(outcome))


def _dump(shape: Any) -> str:
    text = json.dumps(shape, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which models write at times, has no bytes
        text = json.dumps(shape, separators=(",", ":"))
    return text


def read_chunk(text: str, where: str) -> Chunk:
    """Return the chunk that was written.

    Raises:
        LogError: it is no chunk.
    """
    return _read(Chunk, text, where)  # type: ignore[no-any-return]


def read_outcome(text: str, where: str) -> Outcome:
    """Return the outcome that was written.

    Raises:
        LogError: it is no outcome.
    """
    return _read(Outcome, text, where)  # type: ignore[no-any-return]


def _read(kind: type[Any], text: str, where: str) -> Any:
    try:
        return from_plain(kind, json.loads(text), kind.__name__)
    except (ValueError, errors.ConfigError) as error:
        raise LogError(
            f"{where} is damaged, or was written by a newer version of streamkit: {str(error)[:200]}"
        ) from None
