"""The results of many prompts: ``Batch``."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import attrs

from streamkit.batch.asking import Asker, AsksPrompts, check
from streamkit.batch.json_lines import JsonLines
from streamkit.batch.pools import ExecutorPool, Pool, Threads
from streamkit.batch.progress import bar_for
from streamkit.batch.requests import BatchRequest, Key, digest_of, digest_of_call, key_of, request_of
from streamkit.batch.saving import ResultFile
from streamkit.batch.state import BatchState, BatchTask
from streamkit.batch.values import BatchResult, BatchTotals
from streamkit.concurrency.late_import import late_import
from streamkit.concurrency.own_thread import OwnThread
from streamkit.concurrency.plain_events import on_set
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError
from streamkit.settings import shown
from streamkit.values.completion import parse_by
from streamkit.wire.secrets import Unshown

if TYPE_CHECKING:
    from streamkit.policies.route import Model

__all__ = ["Batch", "BatchSettings", "start"]

P = TypeVar("P")

_WINDOW = 8  # times concurrency: how many results wait for an earlier one with ordered=True
_JOIN = 2.0  # seconds that close() waits for the threads, which need milliseconds
_TICK = 1.0  # seconds between two looks at the clock while a bar is shown


@attrs.frozen(kw_only=True)
class BatchSettings:
    """The arguments of ``Client.map`` that are none of ``Client.complete``."""

    concurrency: int = 16
    ordered: bool = False
    save: str | os.PathLike[str] | None = None
    key: Key | None = None
    executor: Executor | None = None
    factory: Callable[[], AsksPrompts] | None = None
    progress: bool | None = None
    max_cost: float | None = None
    max_failures: int | None = None

    def __attrs_post_init__(self) -> None:
        _check_number("concurrency", self.concurrency, 1)
        if self.max_failures is not None:
            _check_number("max_failures", self.max_failures, 0)
        cost = self.max_cost
        if cost is not None and (isinstance(cost, bool) or not isinstance(cost, (int, float)) or not cost > 0):
            raise ConfigError(f"max_cost is an amount in USD above 0, not {shown(cost)}")
        if self.key is not None and not isinstance(self.key, str) and not callable(self.key):
            raise ConfigError(f"key is a function, or the name of a field of the prompts, not {shown(self.key)}")
        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise ConfigError(f"executor is a concurrent.futures.Executor, not {type(self.executor).__name__}")
        if self.factory is not None and not callable(self.factory):
            raise ConfigError(f"factory is a function that returns a Client, not {type(self.factory).__name__}")
        if self.factory is not None and self.executor is None:
            raise ConfigError("factory makes the clients of the executor's processes, and there is no executor")


class Batch(Generic[P]):
    """The results of many prompts: an iterator of ``BatchResult``, and a context manager.

    ::

        for result in client.map("openai/gpt-4o-mini", prompts, save="out.jsonl"):
            print(result.index, result.error or result.text)

    The thread that iterates reads the prompts, between two results, and only as far as the threads of the batch need:
    at most twice ``concurrency`` are read and not delivered, eight times with ``ordered``. Those threads ask, save
    results as they end, and also go on while the loop's body runs.

    Leaving the loop, closing the batch, Ctrl-C, and dropping the last reference stop it: streams are cancelled, and
    what they have of a reply is dropped. What had ended before is kept: in the file of ``save``, and a further loop
    over the batch yields it.

    Owner of the fields: the thread that iterates uses them alone, but ``_state``, which says itself who owns its own.

    Attributes:
        last: the result that was delivered last, which an exception such as Ctrl-C may have kept from the loop's body.

    Threads: one thread iterates; any may call ``close()`` and read the properties.
    """

    def __init__(
        self,
        client: AsksPrompts,
        model: Model,
        prompts: Iterable[P],
        settings: BatchSettings,
        options: Mapping[str, Any],
        *,
        request: Callable[[Any, Key | None], BatchRequest] = request_of,
        file: Callable[[], ResultFile] | None = None,
    ) -> None:
        if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Iterable):
            raise ConfigError(f"map() takes many prompts, such as a list of texts, not {type(prompts).__name__}")
        options = Unshown(options)
        stop = options.pop("stop", None)
        options["validators"] = None if options.get("validators") is None else tuple(options["validators"])
        of_complete = ("timeout", "retry", "buffer", "buffer_bytes", "extra_body", "extra_headers", "validators")
        params = Unshown({name: value for name, value in options.items() if name not in of_complete})
        check(client, model, params, options.get("extra_body"), options.get("extra_headers"))
        late_import("streamkit.models.prices").load()  # no thread of the batch imports anything
        self.last: BatchResult[P] | None = None
        self._settings = settings
        self._request = request
        self._source: Iterator[P] | None = iter(prompts)
        self._parse = _parse_of(params.get("response_format"))
        self._digest = ""
        opened = file() if file is not None else None
        if settings.save is not None:
            opened = ResultFile(settings.save, JsonLines(), by_key=settings.key is not None)
        if opened is not None:
            self._digest = digest_of_call(model, params, options.get("extra_body"))
        state = self._state = BatchState(opened, max_cost=settings.max_cost, max_failures=settings.max_failures)
        ask = Asker(client, settings.factory, model, options, state.stop)
        count = settings.concurrency
        self._pool: Pool = (
            Threads(ask, state, count)
            if settings.executor is None
            else ExecutorPool(ask, state, settings.executor, count)
        )
        self._window = (_WINDOW if settings.ordered else 2) * count
        self._bar = bar_for(settings.progress, self._source)
        self._keys: set[str] = set()
        self._read = self._delivered = 0
        self._next = 0  # the index to deliver with ordered=True
        self._held: dict[int, BatchResult[P]] = {}  # results that wait for it
        self._failure: Exception | None = None  # of the program's own: of its prompts, or of its key
        self._over = False
        self._closed = False
        self._unsubscribe = _stopped_by(stop, state)
        self._finalizer = weakref.finalize(self, _drop, state, self._pool, self._unsubscribe)
        self._finalizer.atexit = False

    # -- results -----------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[BatchResult[P]]:
        """Iterate the results; leaving the loop early closes the batch.

        Raises:
            BatchLimitError: ``max_cost`` or ``max_failures`` was reached; after all results.
            ConfigError: the file of ``save`` has replies to other prompts, the cost of a reply is unknown and
                ``max_cost`` is given, or an executor's processes cannot be given a client.
            OSError: the file cannot be written; after all results.
            Exception: the prompts' own iterator raised it; after all results.
        """
        __tracebackhide__ = True
        try:
            while (result := self._advance()) is not None:
                yield result
        finally:
            self.close()
        self._raise()

    def __next__(self) -> BatchResult[P]:
        """Return the next result; unlike leaving a loop, this does not close the batch.

        Raises:
            StopIteration: there are no more.
            Exception: as a loop does.
        """
        __tracebackhide__ = True
        result = self._advance()
        if result is None:
            self.close()
            self._raise()
            raise StopIteration
        return result

    def _raise(self) -> None:
        """Raise why the batch has ended before its prompts, if it has."""
        __tracebackhide__ = True
        error = self._state.failure or self._failure or self._state.limit
        if error is not None:
            raise error.with_traceback(None) if error is not self._failure else error

    def _advance(self) -> BatchResult[P] | None:
        """Return the next result, ``None`` at the end; read prompts meanwhile."""
        __tracebackhide__ = True
        state, read = self._state, False
        try:
            while True:
                state.news.clear()  # before anything is looked at, so that no news is lost
                wanted = self._wants_more()
                if read or not wanted:
                    over = self._closed or not (state.undone or wanted)
                    result = self._take(over)
                    if result is not None:
                        self._show()
                        return result
                    if over and not state.ended:
                        return None
                if wanted:
                    read = True
                    self._read_one()
                elif state.undone and not state.ended:
                    self._wait()
        except BaseException:  # Ctrl-C, for example
            self.close()
            raise

    def _wait(self) -> None:
        """Wait for news; while a bar is shown, for a second at most."""
        __tracebackhide__ = True
        if not self._state.news.wait(None if self._bar is None else _TICK) and self._bar is not None:
            self._bar.tick(self._state.totals, self._read)

    def _take(self, over: bool) -> BatchResult[P] | None:
        """Return the next result that is there.

        Args:
            over: whether no more come, so that one that is missing is not waited for.
        """
        ended = self._state.ended
        if not self._settings.ordered:
            if not ended:
                return None
            self.last = ended[0]
            ended.popleft()
        else:
            while ended:
                self._held[ended[0].index] = ended[0]
                ended.popleft()
            if over and self._held:
                self._next = min(self._held)
            if self._next not in self._held:
                return None
            self.last = self._held[self._next]
            del self._held[self._next]
            self._next += 1
        self._delivered += 1
        return self.last

    # -- prompts -----------------------------------------------------------------------------------------

    def _wants_more(self) -> bool:
        """Return whether to read another prompt."""
        state = self._state
        return (
            self._source is not None
            and state.undone < self._pool.most
            and self._read - self._delivered < self._window
            and state.may_start
        )

    def _read_one(self) -> None:
        """Read a prompt and have it asked, or have its result if the file has it."""
        source = self._source
        assert source is not None
        self._state.begin()
        try:
            try:
                prompt = next(source)
            except StopIteration:
                self._source = None
                return
            key = key_of(prompt, self._settings.key)
            if key and self._state.file is not None:
                if key in self._keys:
                    raise ConfigError(f"two prompts have the key {key!r}")
                self._keys.add(key)
        except Exception as error:  # what is running ends first
            self._source, self._failure = None, error
            return
        index = self._read
        self._read += 1
        self._ask(index, prompt, key)

    def _ask(self, index: int, prompt: P, key: str) -> None:
        state = self._state
        try:
            request = self._request(prompt, self._settings.key)
        except ConfigError as error:
            failed = BatchTask(index, prompt, BatchRequest([]), key, self._digest)
            state.take(failed, None, error)
            return
        digest = ""
        if state.file is not None:
            try:
                digest = digest_of(request, self._digest)
                found = state.file.find(index, key, digest)
            except (ConfigError, OSError) as error:
                state.fail(error)
                return
            if found is not None:
                completion = parse_by(found[1], self._parse)
                state.saved(BatchResult(index, prompt, completion, None, key, saved=True))
                return
        self._pool.submit(BatchTask(index, prompt, request, key, digest))

    # -- ending ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the batch, and wait for its threads, at most 2 s. Closing again does nothing.

        An executor of processes cannot end what it has begun; the batch does not wait for that.

        Threads: any.
        """
        state = self._state
        if not self._closed:
            self._over = self._source is None and not state.undone and state.may_start
            self._closed = True
        state.stop.set()
        state.news.set()
        self._unsubscribe()
        self._pool.end()
        self._pool.join(_JOIN)
        state.finish()
        if state.file is not None:
            state.file.close()
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close(state.totals, self._read)
        self._finalizer.detach()  # at last, as an interrupt may keep this from its end

    def __enter__(self) -> Batch[P]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- state -------------------------------------------------------------------------------------------

    @property
    def totals(self) -> BatchTotals:
        """The figures so far."""
        return self._state.totals

    @property
    def status(self) -> Literal["open", "complete", "cancelled", "error"]:
        """``open``; ``complete`` if all prompts have ended, with replies or errors; ``cancelled``; or ``error``.

        It is ``error`` where a limit was reached as well.
        """
        if not self._closed:
            return "open"
        if self._state.failure or self._failure or self._state.limit:
            return "error"
        return "complete" if self._over else "cancelled"

    def _show(self) -> None:
        if self._bar is not None:
            self._bar.show(self._state.totals, self._read)

    def __repr__(self) -> str:
        totals = self.totals
        return f"<Batch {self.status}, {totals.answered} answered, {totals.failed} failed>"


def start(
    client: AsksPrompts, model: Model, prompts: Iterable[P], settings: Mapping[str, Any], options: Mapping[str, Any]
) -> Batch[P]:
    """Return the batch that ``Client.map`` was asked for."""
    return Batch(client, model, prompts, BatchSettings(**settings), options)


def _parse_of(wanted: Any) -> Callable[[Any], Any] | None:
    if wanted is None:
        return None
    output = late_import("streamkit.tools.output").output_of(wanted)
    return None if output is None else output.parsed


def _stopped_by(stop: object, state: BatchState) -> Callable[[], None]:
    """Have an event of the program's stop a batch; return what ends that."""
    if stop is None:
        return lambda: None
    if not isinstance(stop, threading.Event):
        raise ConfigError(f"stop is a StopEvent or a threading.Event, not {type(stop).__name__}")

    def halt() -> None:
        state.stop.halt()
        state.news.set()

    def tell() -> None:
        state.stop.set()

    return stop.subscribe(halt, tell) if isinstance(stop, StopEvent) else on_set(stop, halt)


def _drop(state: BatchState, pool: Pool, unsubscribe: Callable[[], None]) -> None:
    """Stop a batch whose last reference has gone.

    Threads: any, at any point of it. So another thread waits for those of the batch, and closes the file.
    """
    unsubscribe()

    def end() -> None:
        state.stop.set()
        pool.end()
        pool.join(_JOIN)
        if state.file is not None:
            state.file.close()

    with suppress(RuntimeError):  # out of threads, or the interpreter is shutting down
        OwnThread(end, (), "streamkit-batch-end").start()


def _check_number(name: str, given: object, least: int) -> None:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise ConfigError(f"{name} is a number from {least}, not {shown(given)}")
