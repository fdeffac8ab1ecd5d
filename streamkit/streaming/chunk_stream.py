"""What every stream of chunks can do: ``ChunkStream``, the base of ``Stream`` and of ``Run``."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ChannelClosed, MisuseError, RecvTimeout, StreamCancelledError, StreamError
from streamkit.observing.observers import Stats
from streamkit.observing.status import Status
from streamkit.settings import seconds_of
from streamkit.streaming.delivery import keep
from streamkit.streaming.raising import raise_again
from streamkit.streaming.typed_output import TypedOutput, partial_values, whole_items
from streamkit.values import text
from streamkit.values.attribute_hints import Elsewhere, dir_of
from streamkit.values.chunks import Chunk
from streamkit.values.completion import Completion
from streamkit.wire.http import ResponseInfo

__all__ = ["ChunkStream", "drain"]

if TYPE_CHECKING:
    from streamkit.validators.validator import Violation

_Self = TypeVar("_Self", bound="ChunkStream")


class ChunkStream(ABC):
    """An iterator of ``Chunk`` and a context manager: a ``Stream``, or a ``Run`` with tools.

    The loop yields the chunks in order. It ends at the end of the reply or after ``cancel()``. After any other end it
    raises a ``StreamError``, after the chunks that came before. Leaving the loop early, by ``break`` or an exception,
    cancels the stream. To take a few chunks and continue later, use ``next(stream)`` or ``recv()``.

    A subclass says how a chunk is taken, how the stream is cancelled, and what its state is. ``poll``, ``take``,
    ``next_check`` and ``listen`` are for code that waits for several streams at once, such as ``merge``.

    ``__tracebackhide__`` hides a method's frame from the tracebacks of IPython and pytest.

    Threads: one thread consumes; any thread may call ``cancel()`` and read the properties.
    """

    if not TYPE_CHECKING:  # the names of anthropic's and openai's streams and replies
        text_stream = Elsewhere("stream.iter_text() has the pieces of the text")
        get_final_message = Elsewhere("stream.collect() reads the rest, and returns the completion")
        get_final_text = Elsewhere("stream.collect() reads the rest; its text is stream.completion.text")
        get_final_completion = Elsewhere("stream.collect() reads the rest, and returns the completion")
        get_final_response = Elsewhere("stream.collect() reads the rest, and returns the completion")
        until_done = Elsewhere("stream.collect() reads the rest, and returns the completion")
        choices = Elsewhere("a chunk has chunk.text, and the whole reply is stream.completion")
        content = Elsewhere("a chunk has chunk.text, and the whole reply is stream.completion")
        usage = Elsewhere("it is stream.completion.usage here")

        def __dir__(self) -> list[str]:
            return dir_of(self)

    _end_told = False  # whether a loop has ended, or recv() has raised ChannelClosed; the consumer's thread writes it
    _may_call = False  # whether a reply may call tools instead of answering

    # -- for subclasses ----------------------------------------------------------------------------------

    @abstractmethod
    def take(self, seconds: float | None = None) -> Chunk | None:
        """Return the next chunk, or ``None`` at the end, also of a stream that was closed meanwhile.

        Raises:
            queue.Empty: no chunk came within ``seconds``.
            StreamError: the stream failed, after all the chunks that came before.
        """

    def peek(self) -> Chunk | None:
        """Return the next chunk if it has arrived and nothing else has to happen first; do not take it.

        ``None`` says nothing about what ``take()`` will find.
        """
        return None

    def divert(self, sink: Callable[[Sequence[Chunk]], object]) -> bool:
        """Pass chunks to ``sink`` from now on, in the thread that reads them; ``take()`` returns the end alone.

        So a chunk that is only written on costs no change of threads. The chunks count as delivered. For the library's
        own use: ``sink`` runs in a thread of the library, and holds its reader up.

        Args:
            sink: called with each batch. If it raises ``ChannelClosed``, the stream is cancelled.

        Returns:
            Whether it is so from now on. Not while chunks have arrived that were not taken: take them, and ask again.
            Streams that are made of others cannot do it.
        """
        return False

    @abstractmethod
    def poll(self) -> bool:
        """Return whether ``take()`` would not have to wait for the provider, without waiting."""

    @abstractmethod
    def next_check(self) -> float:
        """Return the moment, on ``time.monotonic``, at which to call ``poll()`` even if the listener was not called."""

    @abstractmethod
    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` whenever there may be a chunk to take, and at the end, until ``unlisten``.

        Threads: the listener is called in any thread, with a lock held: it must be short and must not wait.
        """

    @abstractmethod
    def unlisten(self, listener: Callable[[], object]) -> None:
        """Stop calling ``listener``."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel the stream: end the loop over it, the reader and its connection.

        The delivered chunks stay in ``completion``. Cancelling a stream that has ended changes nothing.

        Raises:
            MisuseError: the stream belongs to the parent process.

        Threads: any, any number of times; never waits. Observers are called in the calling thread.
        """

    @abstractmethod
    def close(self) -> None:
        """Cancel the stream if it is open, and wait for its reader, at most 0.25 s.

        Raises:
            MisuseError: the stream belongs to the parent process.
        """

    @property
    @abstractmethod
    def completion(self) -> Completion:
        """The completion of the chunks delivered so far, at any time, also after a failure."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """``open``, ``complete``, ``suspended``, ``cancelled``, ``truncated``, ``timeout`` or ``error``.

        It is the consumer's view: ``open`` until the consumer has taken the end, which comes after the last chunk.
        """

    @property
    @abstractmethod
    def error(self) -> BaseException | None:
        """The error that ended the stream, or ``None``."""

    @property
    @abstractmethod
    def stats(self) -> Stats:
        """The figures of the stream so far."""

    @property
    def response(self) -> ResponseInfo | None:
        """Status, headers, request id and rate limits of the response; ``None`` before it, or without one."""
        return None

    @property
    @abstractmethod
    def inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's stream, which cannot be used."""

    @property
    @abstractmethod
    def _closed_early(self) -> bool:
        """Whether the stream was closed, or a loop over it was left, before its end."""

    @abstractmethod
    def _leave(self) -> None:
        """Cancel an open stream because its consumer closed it, or left a loop over it."""

    @property
    @abstractmethod
    def _subject(self) -> str:
        """The provider, the model and the address, as error messages name them."""

    @property
    def _output(self) -> TypedOutput | None:
        """The type that was asked for, or ``None``."""
        return None

    def _chunks(self) -> Iterator[Chunk]:
        __tracebackhide__ = True
        while (chunk := self.take()) is not None:
            yield chunk

    # -- taking chunks -----------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Chunk]:
        """Iterate the remaining chunks; leaving the loop early cancels the stream.

        Raises:
            StreamError: the stream failed, after all the chunks that came before; raised again by each loop.
            MisuseError: all chunks were taken and the end was reported before, the stream was closed before its end, or
                it belongs to the parent process.
        """
        __tracebackhide__ = True
        self._check_use()
        if self._end_told or self.status in ("complete", "suspended"):
            raise MisuseError(
                "this stream has ended, and its chunks were taken: a stream can be iterated once. stream.completion "
                "has the reply; to go through the chunks again, keep them in a list"
            )
        try:
            yield from self._chunks()
            self._end_told = True
        finally:
            if self.status == "open":
                self._leave()

    def __next__(self) -> Chunk:
        """Return the next chunk; unlike leaving a loop, this does not cancel the stream.

        Raises:
            StopIteration: the reply has ended, or was cancelled.
            StreamError, MisuseError: as ``recv`` does.
        """
        __tracebackhide__ = True
        try:
            return self.recv()
        except ChannelClosed:
            raise StopIteration from None

    def recv(self, timeout: float | None = None) -> Chunk:
        """Return the next chunk.

        Args:
            timeout: seconds to wait; ``None`` for no limit but the stream's own.

        Raises:
            ConfigError: the timeout is not a number.
            RecvTimeout: no chunk came within ``timeout``; the stream stays open. It is a ``queue.Empty`` and a
                ``TimeoutError``.
            ChannelClosed: the reply has ended, or was cancelled.
            StreamError: the stream failed, after all the chunks that came before; raised again on each call.
            MisuseError: the stream was closed before its end, or belongs to the parent process.

        Threads: the consumer's. Woken by a chunk, by the end and by ``cancel()``.
        """
        __tracebackhide__ = True
        self._check_use()
        seconds = seconds_of(timeout, "recv(timeout=...)")
        try:
            chunk = self.take(seconds)
        except queue.Empty:
            raise RecvTimeout(f"no chunk came within {seconds:g} s; the stream is still open") from None
        if chunk is None:
            self._end_told = True
            raise ChannelClosed(f"the stream has ended: {self.status}")
        return chunk

    def _check_use(self) -> None:
        self._check_owner()
        if self._closed_early:
            raise MisuseError(
                "this stream was closed before its end. Leaving a loop over a stream closes it too: "
                "to take single chunks, use next() or recv()"
            )

    def _check_owner(self) -> None:
        if self.inherited:
            raise MisuseError("this stream belongs to the parent process; start a stream of its own in a forked child")

    def _interrupted(self, error: BaseException) -> None:
        """Cancel the stream, and raise Ctrl-C again without the frames of the wait, so that a notebook shows few lines.

        Other exceptions keep their frames: those of the signal handler that raised them.
        """
        __tracebackhide__ = True
        self.cancel()
        if isinstance(error, KeyboardInterrupt):
            error.__traceback__ = None
            del error  # it will refer to this frame
            raise_again()

    # -- text --------------------------------------------------------------------------------------------

    def iter_text(self) -> Iterator[str]:
        """Iterate the answer's text, piece by piece as it arrives."""
        __tracebackhide__ = True
        for chunk in self:
            if chunk.text and not chunk.index:
                yield chunk.text

    def iter_words(self) -> Iterator[str]:
        """Iterate words with the white space around them, each as soon as it is whole."""
        return text.words(self.iter_text())

    def iter_lines(self) -> Iterator[str]:
        """Iterate lines without their ends, each as soon as it is whole."""
        return text.lines(self.iter_text())

    def iter_sentences(self) -> Iterator[str]:
        """Iterate sentences, each as soon as the next one begins."""
        return text.sentences(self.iter_text())

    def iter_partial(self) -> Iterator[Any]:
        """Iterate the value of the answer's JSON as it grows: plain dicts and lists, each time that it has changed.

        It is the list itself where ``response_format`` is a list type. Nothing is validated: ``completion.parsed`` is.
        """
        return partial_values(self, self._output)

    def iter_items(self) -> Iterator[Any]:
        """Iterate the elements of a list type, each once it is whole and valid, as an instance of its type.

        Raises:
            ConfigError: ``response_format`` was no list type.
            InvalidOutputError: an element is not valid, after all those before it; the stream is cancelled. Or the
                reply as a whole is not, after all elements.
        """
        return whole_items(self, self._output)

    def collect(self) -> Completion:
        """Take all remaining chunks and return the completion.

        An exception that interrupts it, such as ``KeyboardInterrupt`` or the time limit of a worker process, cancels
        the stream. The exception gets the completion so far as its attribute ``partial``, and from Python 3.11 a note
        with the end of the text.

        Raises:
            StreamCancelledError: the stream was cancelled, before or during this call; ``partial`` has the chunks that
                came. ``completion`` returns them without an error.
            StreamError: the stream failed; ``partial`` has the chunks that came before.
            MisuseError: the stream belongs to the parent process.
        """
        __tracebackhide__ = True
        try:
            if self.status == "open" or self.error is not None:
                for _ in self:
                    pass
            completion = self.completion
            if self.status == "cancelled":
                raise StreamCancelledError(
                    f"{self._subject}: the reply was stopped before it was whole, by cancel(), close() "
                    "or a stop event, or by closing the client; "
                    f"partial has the {len(completion.text)} characters that came",
                    partial=completion,
                )
        except StreamError:
            raise
        except BaseException as error:
            keep(error, self.completion)
            raise
        return completion

    def display(self) -> Completion:
        """Take all remaining chunks, show them in a notebook as they arrive, and return the completion.

        The output of the cell is replaced at most 20 times a second, and has the whole reply at the end: text as
        Markdown, reasoning and calls of tools folded, the time to the first token, tokens a second, the cost. HTML in a
        reply is shown as text. The kernel's interrupt cancels the stream; what came stays. In a terminal the text is
        printed.

        Raises:
            ConfigError: IPython is not installed; the extra ``notebook`` has it.
            StreamError: the stream failed; what came before stays shown.
        """
        __tracebackhide__ = True
        shown: Completion = late_import("streamkit.notebook.display").show(self)
        return shown

    # -- ending ------------------------------------------------------------------------------------------

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.inherited:
            self.close()

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The rules of ``validators=`` that the text has broken so far, in order; empty without any."""
        return ()

    @property
    def text(self) -> str:
        """The answer's text delivered so far: that of ``completion``."""
        return self.completion.text


def drain(stream: ChunkStream) -> Completion:
    """Return the completion of a stream, as ``collect`` does, and close the stream.

    Raises:
        StreamError: as ``collect`` does.
    """
    __tracebackhide__ = True
    try:
        with stream:
            return stream.collect()
    except StreamError:
        raise
    except BaseException as error:  # it may have come while the stream was being closed
        keep(error, stream.completion)
        raise
