"""What of a long history is sent: ``Window``, and how tokens are counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from streamkit.conversation.turns import Turn
from streamkit.errors import ConfigError
from streamkit.settings import shown
from streamkit.values.messages import Message, plain_parts
from streamkit.values.text import estimate_tokens

__all__ = ["Window", "context_of", "first_sent", "summary_request", "tokens_of"]

_PER_MESSAGE = 4  # tokens that a role and separators take
_PER_MEDIUM = 1000  # tokens of an image or a file, about as much as an image of 1,000 x 750 pixels
_LONGEST_IN_SUMMARY = 4000  # characters of one message

_ASK = (
    "Summarise the conversation below for the one who goes on with it, in at most 200 words. Keep names, numbers, "
    "dates, decisions, promises and open questions. Write only the summary."
)


def _check(_window: object, field: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ConfigError(f"Window({field.name}=...) is a number from 1, or None, not {shown(value)}")


def _check_model(_window: object, _field: object, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"Window(summarise=...) is the name of a model, not {type(value).__name__}")


@attrs.frozen(kw_only=True)
class Window:
    """How much of a history is sent; all of it is kept.

    Whole turns are left out, the oldest first: so a call of a tool is never without its result. The system prompt and
    the question are always sent.

    Attributes:
        turns: how many earlier turns are sent at most.
        tokens: of the system prompt, the turns and the question together, at most. A turn has as many as the provider
            counted, where that can be told from two requests that began alike, and otherwise as many as
            ``estimate_tokens`` says, and four a message and 1,000 an image or file.
        summarise: a model that writes a summary of the turns that are left out, which is sent with the system prompt.
            A summary is made once and kept. As each one is a request, so many turns are summarised at once that half
            of the window is free again.

    Raises:
        ConfigError: a value is of a wrong kind, or ``summarise`` is without a limit.
    """

    turns: int | None = attrs.field(default=None, validator=_check)
    tokens: int | None = attrs.field(default=None, validator=_check)
    summarise: str | None = attrs.field(default=None, validator=_check_model)

    def __attrs_post_init__(self) -> None:
        if self.summarise is not None and self.turns is None and self.tokens is None:
            raise ConfigError("Window(summarise=...) needs turns= or tokens=, the limit from which it is made")

    def halved(self) -> Window:
        """Return a window of half the size."""
        return Window(
            turns=None if self.turns is None else self.turns // 2 or 1,
            tokens=None if self.tokens is None else self.tokens // 2 or 1,
        )


def tokens_of(messages: Iterable[Message]) -> int:
    """Return an estimate of the tokens of messages; see ``Window``."""
    total = 0
    for message in messages:
        total += _PER_MESSAGE
        content = plain_parts(message.content)
        for part in [content] if isinstance(content, str) else content or ():
            text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
            total += estimate_tokens(text) if isinstance(text, str) else _PER_MEDIUM
        for call in message.tool_calls:
            total += estimate_tokens(call.name + call.raw_arguments)
    return total


def context_of(input_tokens: int | None, output_tokens: int | None, apart: int) -> int:
    """Return the tokens of a request and its reply, 0 if the provider did not count both.

    Args:
        input_tokens, output_tokens: as the provider counts them.
        apart: tokens of the prompt that it counts apart.
    """
    return 0 if input_tokens is None or output_tokens is None else input_tokens + apart + output_tokens


def first_sent(turns: Sequence[Turn], window: Window, fixed: int, start: int = 0) -> int:
    """Return the number of the first turn that is sent.

    It looks at no more turns than fit: so a long conversation costs no more than a short one.

    Args:
        turns: all of them.
        window: the limits.
        fixed: tokens of what is always sent.
        start: turns before this one are not sent anyway.
    """
    number, count, tokens = len(turns), 0, fixed
    while number > start:
        turn = turns[number - 1]
        if turn.counts:
            count += 1
            if window.tokens is not None:
                tokens += turn.tokens if turn.tokens is not None else tokens_of(turn.messages)
            if (window.turns is not None and count > window.turns) or (
                window.tokens is not None and tokens > window.tokens
            ):
                break
        number -= 1
    return number


def summary_request(earlier: str, turns: Iterable[Turn]) -> str:
    """Return what a model is asked for a summary.

    Args:
        earlier: the summary so far, which the new one replaces; "" for none.
        turns: those that it is to cover in addition.
    """
    lines = [_ASK, ""]
    if earlier:
        lines += [f"Summary of what came before:\n{earlier}", ""]
    for turn in turns:
        for message in turn.messages:
            text = message.content if isinstance(message.content, str) else _text_of(message)
            calls = "".join(f" [calls {call.name}({call.raw_arguments})]" for call in message.tool_calls)
            lines.append(f"{message.role}: {(text or '')[:_LONGEST_IN_SUMMARY]}{calls[:_LONGEST_IN_SUMMARY]}")
    return "\n".join(lines)


def _text_of(message: Message) -> str:
    parts = plain_parts(message.content) or ()
    texts = [part if isinstance(part, str) else part.get("text") or "[an attachment]" for part in parts]
    return " ".join(str(text) for text in texts)
