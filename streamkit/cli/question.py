"""What goes into a request: the options, the files, and the messages."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import msgspec

from streamkit.client import Client
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.providers.request.openai_shape import check_parameters
from streamkit.values.messages import FilePart, ImagePart, Message, TextPart
from streamkit.wire.loose_json import as_word

__all__ = ["Part", "check", "options_of", "parts_of", "question_of"]

Part = ImagePart | FilePart

# Arguments of Client.stream that are no parameters of the request.
_OF_STREAM = ("buffer", "buffer_bytes", "extra_body", "extra_headers", "retry", "stop", "timeout")
_OF_COMMAND = {"model": "-m", "messages": "the PROMPT, and -s for a system prompt", "system": "-s"}


def options_of(pairs: Iterable[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a request.

    Args:
        pairs: ``name=value``; a value that is no JSON is text.
        named: those that have an option of their own on the command line; ``None`` where one was not given.

    Raises:
        click.UsageError: one is not written like that, is given twice, or is not an option of a request.
    """
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    for pair in pairs:
        name, equal, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equal or not name.isidentifier():
            raise click.UsageError("an option is written NAME=VALUE, such as -o temperature=0.2")  # it may be a key
        if name in _OF_COMMAND:
            raise click.UsageError(f"{name} is not for -o: use {_OF_COMMAND[name]}")
        if name in options:
            raise click.UsageError(f"{name} is given twice")
        options[name] = _value_of(as_word(text))
    return options


def _value_of(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except ValueError:
        return text


def parts_of(paths: Iterable[str]) -> list[Part]:
    """Read the files that go with a question, images and documents.

    Raises:
        click.UsageError: one cannot be read, or its name does not say what it is.
    """
    return [_part_of(path) for path in paths]


def _part_of(path: str) -> Part:
    kind = mimetypes.guess_type(path)[0]
    if kind is None:
        raise click.UsageError(
            f"cannot tell what {path} is: give it a name that ends in its type, such as .png or .pdf"
        )
    try:
        return ImagePart.read(path) if kind.startswith("image/") else FilePart.read(path)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror or error}") from error


def question_of(text: str, parts: Sequence[Part]) -> Message:
    """Return the user's message."""
    return Message("user", [TextPart(text), *parts] if parts else text)


def check(client: Client, model: str, messages: Sequence[Message], options: Mapping[str, Any]) -> None:
    """Raise the ConfigError that any question to the model would, such as for a missing key."""
    provider, name = client.resolve(model)
    params = {option: value for option, value in options.items() if value is not None and option not in _OF_STREAM}
    check_parameters(provider, params)
    provider.request(ChatRequest(name, messages_of(messages), params))
