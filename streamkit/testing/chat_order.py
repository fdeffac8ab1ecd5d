"""Read a chat completion request in OpenAI's format: the order that a demo model answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from streamkit.testing.openai_events import split_tokens
from streamkit.testing.request import Request

MOST_CHOICES = 128


class BadRequest(Exception):
    """The body cannot be answered; `param` is the field that is to blame."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@attrs.frozen(kw_only=True)
class Order:
    """A chat completion request, checked.

    Attributes:
        body: all that was asked, for the fields that only some models honour.
        messages: the role and the text of each message of the body, in its order.
    """

    body: Mapping[str, Any]
    model: str
    messages: tuple[tuple[str, str], ...]
    choices: int
    max_tokens: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    seconds_a_token: float

    @property
    def prompt(self) -> str:
        """The last thing that the user said."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def prompt_tokens(self) -> int:
        """The tokens of all messages."""
        return sum(len(split_tokens(text)) for _, text in self.messages)


def read_order(request: Request, *, model: str, tokens_per_second: float) -> Order:
    """Check the body of a request.

    Args:
        request: what was posted.
        model: the model, where the body names none.
        tokens_per_second: the pace, where the body has none.

    Raises:
        BadRequest: a field has a value that it cannot have.
    """
    try:
        body = request.json()
    except (ValueError, RecursionError):
        raise BadRequest("We could not parse the JSON body of your request.") from None
    if not isinstance(body, dict):
        raise BadRequest("The body of your request is not a JSON object.")
    most = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    options = body.get("stream_options")
    return Order(
        body=body,
        model=body["model"] if isinstance(body.get("model"), str) else model,
        messages=_message_texts(body),
        choices=_read_int(body, "n", 1, MOST_CHOICES) or 1,
        max_tokens=_read_int(body, most, 1, None),
        stop=_read_stop(body),
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
        seconds_a_token=_read_pace(body, tokens_per_second),
    )


def _message_texts(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the role and the text of each message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("'messages' is a list of at least one message.", "messages")
    if not all(isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages):
        raise BadRequest("Each of 'messages' is an object with a role.", "messages")
    return tuple((message["role"], _text_of(message.get("content"))) for message in messages)


def _text_of(content: object) -> str:
    """Return the text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict))
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _read_int(body: Mapping[str, Any], name: str, least: int, most: int | None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= (most or value):
        return value
    upper = "" if most is None else f" and at most {most}"
    raise BadRequest(f"'{name}' is an integer of at least {least}{upper}, not {value!r}.", name)


def _read_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop") or ()
    words = (stop,) if isinstance(stop, str) else stop
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
        raise BadRequest("'stop' is a string or a list of strings.", "stop")
    return tuple(word for word in words if word)


def _read_pace(body: Mapping[str, Any], tokens_per_second: float) -> float:
    """Return the seconds a token takes."""
    pace = body.get("tokens_per_second", tokens_per_second)
    if isinstance(pace, bool) or not isinstance(pace, (int, float)) or not pace >= 0:
        raise BadRequest(f"'tokens_per_second' is a number of at least 0, not {pace!r}.", "tokens_per_second")
    return 1 / pace if pace else 0.0
