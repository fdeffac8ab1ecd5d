"""Go on with replies that break off: ``Recovery``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from streamkit.errors import ConfigError, StreamError
from streamkit.policies.middleware import Middleware, Next, Request
from streamkit.policies.overlap import Overlap
from streamkit.providers.contract import Decoder
from streamkit.providers.request.continuing import Continuation, Resumes, continuable, continuation_of
from streamkit.settings import shown
from streamkit.streaming.chunk_stream import ChunkStream
from streamkit.streaming.job import Job, Recoverer
from streamkit.streaming.recovering import Part, broke_off
from streamkit.values.chunks import Chunk, Usage, summed
from streamkit.wire.http import HttpRequest

__all__ = ["Recovery"]

How = Literal["resume", "continue"]

_WINDOW = 8192  # characters of a text's end in which a repetition may begin


class Recovery(Middleware):
    """Goes on with replies that break off, within the same stream and the same limits of time.

    ::

        client = Client(policies=[Recovery("continue")])
        stream = client.stream("openai/gpt-4o", "Write a long story")
        ...
        stream.stats.recovered  # 1 where the story broke off once

    A reply has broken off where its connection failed, it ended without its terminator, the limit ``idle`` ran out, or
    the provider reported an error of its own in the middle of it. A chunk of the type ``recovered``, without text,
    stands where it goes on. Where that is not possible, the error is raised as without this policy, and
    ``error.partial`` has what came.

    ``"resume"`` asks the provider for the rest of the same reply. OpenAI's Responses have that, with
    ``background=True`` among the parameters; other replies are not gone on with.

    ``"continue"`` asks the model to go on from the text that came. It is another reply, for which is paid again, and
    the two parts may not fit as well as one reply would; ``usage`` is the sum of both, as far as it is known. Models
    that go on with a message of their own are asked by it: Mistral's, those of vLLM, of DeepSeek at its address
    ``/beta``, and Anthropic's before Claude 4.6 without thinking. All others are asked in words, and what they repeat
    of the text is taken out. A reply is not continued without any text, with tools, a schema or format, several
    choices, sound, or a refusal.

    Args:
        how: ``resume`` or ``continue``.
        attempts: how many requests may be sent to go on with one reply, from 1.

    Raises:
        ConfigError: a value is of a wrong kind.
    """

    def __init__(self, how: How = "resume", attempts: int = 2) -> None:
        if how not in ("resume", "continue"):
            raise ConfigError(f"Recovery(how=...) is resume or continue, not {shown(how)}")
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise ConfigError(f"Recovery(attempts=...) is a number from 1, not {shown(attempts)}")
        self._recoverer = _Resuming(attempts) if how == "resume" else _Continuing(attempts)

    def request(self, request: Request, next: Next) -> ChunkStream:
        """Send the request on, with a reply that may be gone on with."""
        return next(request.with_jobs(lambda job: attrs.evolve(job, recoverer=self._recoverer)))

    def __repr__(self) -> str:
        how = "resume" if isinstance(self._recoverer, _Resuming) else "continue"
        return f"Recovery({how!r}, {self._recoverer.attempts})"


@attrs.frozen
class _Resuming(Recoverer):
    """The rest of the same reply, by a cursor, for the decoder that has decoded its beginning."""

    attempts: int

    def first(self, job: Job, decoder: Decoder) -> Part:
        return Part(decoder)

    def following(self, job: Job, part: Part, error: StreamError) -> tuple[Job, Part] | None:
        provider, request = job.provider, None
        if broke_off(error) and isinstance(provider, Resumes):
            request = _none_for_errors(provider, job, part.inner)
        return None if request is None else (attrs.evolve(job, request=request), Part(part.inner, later=True))


def _none_for_errors(provider: Resumes, job: Job, decoder: Decoder) -> HttpRequest | None:
    try:
        return provider.resumption(job.chat, decoder)
    except ConfigError:  # such as a key that is gone from the environment
        return None


class _Said:
    """What was said in all parts of a reply."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.plain = True  # whether it is nothing but the text of one choice, and reasoning


class _SaidPart(Part):
    """A part whose text is noted, and freed from what it repeats.

    Args:
        inner: decodes the response.
        said: in all parts.
        earlier: the usage of the parts before, ``None`` for the first one.
        overlap: with the text before.
    """

    def __init__(self, inner: Decoder, said: _Said, earlier: Usage | None, overlap: Overlap | None) -> None:
        super().__init__(inner, later=overlap is not None)
        self.said = said
        self._earlier = earlier
        self._usage: Usage | None = None
        self._overlap = overlap

    @property
    def usage(self) -> Usage | None:
        """The usage up to the end of this part, as far as it is known."""
        known = [usage for usage in (self._earlier, self._usage) if usage is not None]
        return summed(known) if known else None

    def rest(self) -> Sequence[Chunk]:
        return [*super().rest(), *self._released()]

    def leftover(self) -> Sequence[Chunk]:
        return [*super().leftover(), *self._released()]

    def closing(self) -> Sequence[Chunk]:
        return super().leftover()  # what is held back may be a repetition, and the next part goes on before it

    def _released(self) -> list[Chunk]:
        """Return a chunk of the text that is held back, as no more comes."""
        text = self._overlap.rest() if self._overlap is not None else ""
        if not text:
            return []
        self.said.pieces.append(text)
        return [Chunk("text", text)]

    def _changed(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        if self._overlap is None:
            for chunk in chunks:
                self._note(chunk)
            return chunks
        return [changed for chunk in chunks for changed in self._without_overlap(chunk, self._overlap)]

    def _note(self, chunk: Chunk) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.index or chunk.tool_call is not None or chunk.refusal:
            self.said.plain = False
        elif chunk.text:
            self.said.pieces.append(chunk.text)

    def _without_overlap(self, chunk: Chunk, overlap: Overlap) -> list[Chunk]:
        before: list[Chunk] = []
        if chunk.text and not chunk.index and not overlap.decided:
            text = overlap.add(chunk.text)
            if text != chunk.text:
                chunk = attrs.evolve(chunk, text=text)
            if not (text or chunk.usage or chunk.provider_data or chunk.finish_reason):
                return []
        elif chunk.tool_call is not None or chunk.refusal:
            before = self._released()
        self._note(chunk)
        if chunk.usage is not None:
            chunk = attrs.evolve(chunk, usage=self.usage)
        return [*before, chunk]


@attrs.frozen
class _Continuing(Recoverer):
    """Another reply of the same model, which goes on with the text that came."""

    attempts: int

    def first(self, job: Job, decoder: Decoder) -> Part:
        return _SaidPart(decoder, _Said(), None, None)

    def following(self, job: Job, part: Part, error: StreamError) -> tuple[Job, Part] | None:
        if not isinstance(part, _SaidPart) or not broke_off(error) or not continuable(job.chat):
            return None
        part._prepared()  # what came beside an error is a part of the text
        said = part.said
        text = "".join(said.pieces)
        said.pieces = [text]
        if not said.plain or not text.strip():
            return None
        found = _continuation(job, text)
        if found is None:
            return None
        continuation, request = found
        decoder = job.provider.decoder(continuation.chat)
        overlap = Overlap(text, _starts(text, continuation))
        return (
            attrs.evolve(job, chat=continuation.chat, request=request),
            _SaidPart(decoder, said, part.usage, overlap),
        )


def _continuation(job: Job, text: str) -> tuple[Continuation, HttpRequest] | None:
    try:
        found = continuation_of(job.provider, job.chat, text)
        return None if found is None else (found, job.provider.request(found.chat))
    except ConfigError:  # such as a provider that takes one message only
        return None


def _starts(text: str, continuation: Continuation) -> list[int]:
    """Return where in the text that came a repetition may begin."""
    if continuation.repeated == "end":
        starts = range(max(0, len(text) - _WINDOW), len(text))
    else:
        starts = range(len(continuation.sent), len(text))  # white space that was not sent
    return [*([0] if continuation.repeated != "nothing" and 0 not in starts else []), *starts]
