"""The work of one stream: ``Job``; and what says how its reply goes on where that breaks off: ``Recoverer``."""

from __future__ import annotations

from abc import ABC, abstractmethod

import attrs

from streamkit.errors import NotFoundError, StreamError
from streamkit.providers.call import ChatRequest
from streamkit.providers.contract import Decoder, Provider
from streamkit.providers.registry import is_own
from streamkit.providers.reply.remedies import remedy_for
from streamkit.settings import Retry, Timeout
from streamkit.streaming.gates import Call, Gate
from streamkit.streaming.recovering import Part
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.messages import Subject, explain

__all__ = ["Job", "Recoverer"]


class Recoverer(ABC):
    """Says how replies go on that broke off. One object serves many streams, and holds nothing of them.

    Threads: the methods are called in the threads that read streams.

    Attributes:
        attempts: how many requests may be sent to go on with one reply.
    """

    attempts: int

    @abstractmethod
    def first(self, job: Job, decoder: Decoder) -> Part:
        """Return the decoder of a reply's first part."""

    @abstractmethod
    def following(self, job: Job, part: Part, error: StreamError) -> tuple[Job, Part] | None:
        """Return how a reply goes on, ``None`` where it cannot.

        Args:
            job: of the first part.
            part: the last one that has given a chunk, or the first.
            error: that ended it.
        """


@attrs.frozen
class Job:
    """The work of one stream: its request, and how to send it."""

    chat: ChatRequest
    request: HttpRequest
    provider: Provider
    transport: Transport
    timeout: Timeout
    retry: Retry
    gates: tuple[Gate, ...] = ()
    recoverer: Recoverer | None = None

    def call(self) -> Call:
        """Return what the gates are told of it."""
        return Call(self.provider.name, self.chat, self.request.secrets)

    @property
    def route(self) -> tuple[str, str]:
        """The names of the provider and the model."""
        return self.provider.name, self.chat.model

    def subject(self) -> Subject:
        """Return the request as an error's message names it."""
        request = self.request
        return Subject.of(self.provider.name, self.chat.model, request.url, request.secrets)

    def explain(self, error: StreamError, note: str) -> None:
        """Add the provider, the model, the address, a note and what to do to a masked error's message."""
        provider, subject = self.provider, self.subject()
        variable = getattr(provider, "key_variable", None)
        remedy = remedy_for(
            error,
            subject.provider,
            subject.model,
            subject.address,
            key_variable=variable if isinstance(variable, str) else None,
            listed=isinstance(error, NotFoundError) and is_own(provider.name),
        )
        explain(error, subject, note=note, remedy=remedy)
