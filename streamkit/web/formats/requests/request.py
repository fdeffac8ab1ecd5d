"""What a request asks for, ``WebRequest``; and how its body is read within ``Limits``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from streamkit.errors import RequestError
from streamkit.tools.decisions import Decision
from streamkit.values.json_text import MAX_TEXT, PassedBoundError, TooDeepError, decoded
from streamkit.values.messages import Message

__all__ = ["Limits", "WebRequest", "body_of", "list_of", "mapping_of", "text_in"]


@attrs.frozen
class Limits:
    """What is too much in a request; each is answered with a clear 4xx.

    Attributes:
        bytes: of the body; more than 16 MiB are never read as JSON.
        messages: in the body.
        text: characters of one text.
        parts: of one message.
        files: in the whole body.
        file_bytes: of one file's address; a ``data:`` URL has the file in it, as base64, a third larger.
        depth: of JSON in JSON.
        id: characters of an id or a name.
    """

    bytes: int = MAX_TEXT
    messages: int = 2000
    text: int = 1_000_000
    parts: int = 1000
    files: int = 32
    file_bytes: int = 12 * 1024 * 1024
    depth: int = 64
    id: int = 512


@attrs.frozen
class WebRequest:
    """A request, read.

    All of it is the client's word. Look a conversation up by its id and its owner, and take decisions for the calls
    only that wait: ``resume`` refuses others.

    Attributes:
        id: of the conversation; "" where the client sends none.
        messages: the whole conversation as the client has it, or the new message alone; as many as the client sends.
            The last one may have calls without a result, on which ``decisions`` decide; the others have all results.
        message: the user's new message; ``None`` where the request regenerates a reply, or goes on after a decision.
        message_id: the id of the user's new message; "" for none.
        reply_id: the id that the reply's message must have, as it goes on in a message that the client has; "" where
            the server makes an id of its own.
        trigger: ``submit`` or ``regenerate``.
        replaces: the id of the message from which on the conversation is replaced: the user's, which was edited, or
            the assistant's, of which a new version is wanted; "" for none.
        decisions: by the id of the call: whether it may run, or its result. They are those of the assistant's last
            step, results that the server itself brought among them.
        model: that the client asks for; "" for none.
        stream: whether it wants a stream; ``None`` where it does not say.
        include_usage: whether it wants the usage in the stream.
        params: parameters of the request to the model, as ``client.stream`` takes them. None of its own options, such
            as headers, can be among them.
        extra: what else was in the body. It can be anything.
        echo: what the reply repeats of the request, in the format's own shape, for formats whose replies do.
    """

    id: str = ""
    messages: tuple[Message, ...] = ()
    message: Message | None = None
    message_id: str = ""
    reply_id: str = ""
    trigger: Literal["submit", "regenerate"] = "submit"
    replaces: str = ""
    decisions: Mapping[str, Decision] = attrs.field(factory=dict, hash=False)
    model: str = ""
    stream: bool | None = None
    include_usage: bool = False
    params: Mapping[str, Any] = attrs.field(factory=dict, hash=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)
    echo: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=False)


def body_of(body: bytes | str | Mapping[str, Any], limits: Limits) -> Mapping[str, Any]:
    """Return the JSON object of a body.

    Raises:
        RequestError: it is too large or too deep, no JSON, or no object.
    """
    if isinstance(body, Mapping):
        shape: Any = body  # decoded by a framework, whose own limit of the size it has passed
    else:
        if len(body) > limits.bytes:
            raise RequestError(f"the body has more than {limits.bytes} bytes", status=413)
        shape = _decoded(body)
    if not isinstance(shape, Mapping):
        raise RequestError("the body is no JSON object")
    _check_depth(shape, limits.depth)
    return shape


def _decoded(body: bytes | str) -> Any:
    try:
        text = body if isinstance(body, str) else bytes(body).decode("utf-8-sig")
        return decoded(text)
    except PassedBoundError as error:
        raise RequestError(f"the body is too large: {error}", status=413) from None
    except TooDeepError:
        raise RequestError("the body is nested too deep") from None
    except UnicodeError:
        raise RequestError("the body is not UTF-8") from None
    except ValueError:
        pass
    # Browsers write half a character, as an emoji cut in two, as an escape that the strict decoder refuses. The check
    # of the bounds has passed, or was not needed.
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode("utf-8", "strict")
    except UnicodeEncodeError:
        return _without_halves(value)
    except (ValueError, RecursionError):
        pass
    raise RequestError("the body is no JSON")


def _refuse_constant(word: str) -> Any:
    raise ValueError(word)


def _without_halves(value: Any) -> Any:
    """Return the value with each half of a surrogate pair replaced, as providers refuse them."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_halves(key): _without_halves(each) for key, each in value.items()}
    return [_without_halves(each) for each in value] if isinstance(value, list) else value


def _check_depth(value: Any, most: int) -> None:
    level: list[Any] = [value]
    for _ in range(most):
        level = [
            each
            for item in level
            for each in (item.values() if isinstance(item, Mapping) else item)
            if isinstance(each, (Mapping, list, tuple))
        ]
        if not level:
            return
    raise RequestError(f"the body is nested more than {most} levels deep")


def mapping_of(value: Any, where: str) -> Mapping[str, Any]:
    """Return an object.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} is no object")
    return value


def list_of(value: Any, where: str, most: int) -> Sequence[Any]:
    """Return a list.

    Raises:
        RequestError: it is none, or too long.
    """
    if not isinstance(value, (list, tuple)):
        raise RequestError(f"{where} is no list")
    if len(value) > most:
        raise RequestError(f"{where} has more than {most} elements", status=413)
    return value


def text_in(shape: Mapping[str, Any], name: str, where: str, most: int, default: str | None = None) -> str:
    """Return a text of an object.

    Args:
        shape: the object.
        name: of its field.
        where: its own place, for the error.
        most: characters.
        default: where it is missing or null; ``None`` if it must be there.

    Raises:
        RequestError: it is missing, no text, or too long.
    """
    value = shape.get(name)
    place = f"{where}.{name}" if where else name
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise RequestError(f"{place} is missing" if value is None else f"{place} is no text")
    if len(value) > most:
        raise RequestError(f"{place} has more than {most} characters", status=413)
    return value
