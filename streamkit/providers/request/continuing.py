"""Ask for the rest of a reply that broke off: from a cursor, or by its beginning as the model's own last message.

What takes what:

======================================  ===============================================================
Responses with ``background=True``      ``GET /responses/{id}?stream=true&starting_after=N``, N being the
                                        ``sequence_number`` of the last event
Anthropic, models before Claude 4.6,    the last message is the assistant's, without white space at its
without thinking                        end; newer models answer 400
Mistral                                 the same with ``prefix: true``; the reply may begin with it
DeepSeek, at its address ``/beta``      the same with ``prefix: true``
vLLM                                    the same with ``continue_final_message: true`` and
                                        ``add_generation_prompt: false``
all others                              a user's message that asks for the rest
======================================  ===============================================================

Source, all read 2026-11-27: the parameters of ``responses.retrieve`` in openai-python, and its
``examples/responses/background_streaming.py``; https://docs.perplexity.ai/docs/agent-api/background-mode, which has the
same; https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6#prefill-removal;
``AssistantMessage.prefix`` in Mistral's OpenAPI description; https://api-docs.deepseek.com/guides/chat_prefix_completion;
``ChatCompletionRequest.continue_final_message`` in vLLM's ``protocol.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import attrs

from streamkit.providers.call import ChatRequest, choices_of
from streamkit.providers.contract import Decoder
from streamkit.values.text import estimate_tokens
from streamkit.wire.http import HttpRequest

__all__ = [
    "Continuation",
    "Continues",
    "Resumes",
    "continuable",
    "continuation_of",
    "last_words",
    "prefilled",
    "thinks",
]

# With one of these a reply is no plain text, or has more than one.
_NOT_PLAIN = ("tools", "functions", "response_format", "output_format", "output_config", "audio", "text", "format")
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_ANCHOR = 60  # characters of the text's end, at most, that the model is asked to repeat
_ASK = (
    "Your last message was cut off by a broken connection. Write the rest of it, so that both parts joined are one "
    "message. Begin by repeating its last words exactly as they are, which are:\n\n{words}\n\n"
    "Do not repeat anything else, do not mention the interruption, and add nothing after the end of the message."
)


@runtime_checkable
class Resumes(Protocol):
    """A provider whose replies can be gone on with from a cursor."""

    def resumption(self, chat: ChatRequest, decoder: Decoder) -> HttpRequest | None:
        """Return the request for the rest of a reply; ``None`` where there is no way to it.

        Args:
            chat: the call.
            decoder: of the reply, as far as it has come. It decodes the rest as well.
        """


@runtime_checkable
class Continues(Protocol):
    """A provider, some of whose models go on with a last message that is their own."""

    def continuation(self, chat: ChatRequest, text: str) -> Continuation | None:
        """Return the call for the rest of a reply, ``None`` where the model does not take that.

        Args:
            chat: the call.
            text: of the reply, as far as it has come.
        """


@attrs.frozen
class Continuation:
    """A call for the rest of a reply.

    Attributes:
        chat: the call.
        sent: the text that the model goes on with; the rest begins where it ends.
        repeated: what the reply may begin with once more: ``nothing``, ``all`` of the text, or the ``end`` of it.
    """

    chat: ChatRequest = attrs.field(repr=False)
    sent: str = attrs.field(repr=False)
    repeated: Literal["nothing", "all", "end"] = "nothing"


def continuable(chat: ChatRequest) -> bool:
    """Return whether a model may be asked to go on with a reply: one plain text, without tools, that is its own."""
    asked = {**chat.params, **chat.extra_body}
    if any(asked.get(name) for name in _NOT_PLAIN) or choices_of(chat) > 1:
        return False
    return bool(chat.messages) and chat.messages[-1].get("role") != "assistant"


def continuation_of(provider: object, chat: ChatRequest, text: str) -> Continuation | None:
    """Return the call for the rest of a reply; ``None`` where nothing is left of ``max_tokens``."""
    shorter = _shortened(chat, text)
    if shorter is None:
        return None
    if isinstance(provider, Continues):
        found = provider.continuation(shorter, text)
        if found is not None:
            return found
    asking = {"role": "user", "content": _ASK.format(words=last_words(text))}
    messages = [*chat.messages, {"role": "assistant", "content": text}, asking]
    return Continuation(attrs.evolve(shorter, messages=messages), text, "end")


def prefilled(chat: ChatRequest, text: str, **fields: Any) -> ChatRequest:
    """Return a call whose last message is the beginning of the model's reply.

    Args:
        chat: the call.
        text: the beginning of the reply.
        fields: further ones of the message.
    """
    return attrs.evolve(chat, messages=[*chat.messages, {"role": "assistant", "content": text, **fields}])


def last_words(text: str) -> str:
    """Return the end of a text, from the beginning of a word on."""
    end = text.rstrip()[-_ANCHOR:]
    cut = re.search(r"\s", end) if len(end) == _ANCHOR else None
    return end[cut.end() :].lstrip() if cut and end[cut.end() :].strip() else end


def _shortened(chat: ChatRequest, text: str) -> ChatRequest | None:
    """Take what has come, by an estimate, off the limit of the reply's length."""
    changed = {}
    for name in _LIMITS:
        limit = chat.params.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool):
            changed[name] = limit - estimate_tokens(text)
            if changed[name] < 1:
                return None
    return attrs.evolve(chat, params={**chat.params, **changed}) if changed else chat


def thinks(params: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether a call asks for reasoning, by one of the parameters of these names."""
    for name in names:
        value = params.get(name)
        if isinstance(value, Mapping):
            value = value.get("type") != "disabled"
        if value and value != "none":
            return True
    return False
