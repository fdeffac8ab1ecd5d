"""``Client``: resolve model names to providers, and start streams with shared settings."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, overload

from streamkit.concurrency.late_import import late_import
from streamkit.concurrency.stop import StopEvent
from streamkit.errors import ConfigError
from streamkit.observing.observers import Observer
from streamkit.providers.call import ChatRequest, messages_of
from streamkit.providers.contract import Provider, class_of
from streamkit.providers.known import KnownProviders, listed
from streamkit.providers.request.openai_shape import check_parameters
from streamkit.providers.request.post import hidden_headers
from streamkit.settings import Retry, Timeout, shown
from streamkit.streaming.chunk_stream import ChunkStream, drain
from streamkit.streaming.gates import Gate
from streamkit.streaming.job import Job
from streamkit.streaming.stream import Stream
from streamkit.streaming.typed_output import TypedOutput
from streamkit.transport.transport import Transport
from streamkit.values.attribute_hints import no_attribute
from streamkit.values.completion import Completion
from streamkit.values.messages import Message
from streamkit.values.typed_dicts import MessageDict, RequestParameters, TurnParameters
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Unshown, WrongType

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from typing_extensions import Unpack

    from streamkit.batch.batch import Batch
    from streamkit.conversation.conversation import Conversation
    from streamkit.conversation.stores.store import Store
    from streamkit.conversation.window import Window
    from streamkit.models.catalog import Catalog
    from streamkit.policies.middleware import Middleware
    from streamkit.policies.route import Model
    from streamkit.policies.routing import Routing
    from streamkit.tools.claims import Claims
    from streamkit.tools.decisions import Decision
    from streamkit.tools.limits import RunLimits
    from streamkit.tools.plan import Approve
    from streamkit.tools.run import Run
    from streamkit.tools.suspension import Suspension
    from streamkit.validators.validator import Validator
elif sys.version_info >= (3, 11):
    from typing import Unpack
else:

    class Unpack:  # ``typing.get_type_hints`` evaluates the annotations
        def __class_getitem__(cls, item: Any) -> Any:
            return item


if not TYPE_CHECKING:  # for ``typing.get_type_hints``, without importing what most programs do not use
    Model = Validator = Any

__all__ = ["Client", "complete", "default_client", "extract", "stream"]

T = TypeVar("T")
Prompt = TypeVar("Prompt")
Messages = str | Iterable[Message | MessageDict]
Stop = StopEvent | threading.Event


class _OfTheClient:
    """The default of an argument that the client has a setting for, where ``None`` means something else."""

    def __repr__(self) -> str:
        return "<the client's>"


_OF_THE_CLIENT: Any = _OfTheClient()

_ASK = "client.stream(model, messages) and client.complete(model, messages) ask a model"
_HINTS = {
    "chat": _ASK,
    "completions": _ASK,
    "messages": _ASK,
    "responses": _ASK,
    "completion": "it is client.complete here",
    "generate_content": _ASK,
    "with_options": "timeout= and retry= are options of each call",
}


class _StreamOptions(TypedDict, total=False):
    """The keyword arguments of ``Client.complete`` that are no parameters of the request."""

    stop: Stop | None
    timeout: Timeout | float | None
    retry: Retry | int | None
    buffer: int | None
    buffer_bytes: int | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    validators: Iterable[Validator] | None


class _CallOptions(RequestParameters, _StreamOptions, total=False):
    """The keyword arguments of ``Client.complete``."""


class _TurnOptions(TurnParameters, _StreamOptions, total=False):
    """The keyword arguments of ``Client.run``, but ``store``."""

    approve: Approve | Decision | bool | None
    parallel: int
    limits: RunLimits | None
    on_error: Literal["tell", "raise"]
    context: Any


class Client:
    """Starts streams. Share one between threads; it keeps connections for the next stream.

    Args:
        providers: the services that it can use; ``None`` for all registered ones: the library's own and those of
            other packages (see ``streamkit.providers.registry``). Each reads its key from the environment when it is
            called.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for ``Retry()``.
        buffer: how many chunks wait for a slow consumer before the reader stops reading, from 1.
        buffer_bytes: the same in bytes of the events' text, from 1; the reader stops where either is reached. One
            chunk always fits, however large.
        observers: are called for each stream. With any, the price data of the extra ``prices`` are loaded at once.
        policies: decide how requests are sent: ``RateLimit``, ``Breaker``, caches, and ``Middleware`` of your own. The
            first one is the outermost. Those of the first two kinds are asked after all others. Put a ``Breaker``
            before a ``RateLimit``, so that no request waits in line for a provider that is down.
        arrivals: whether streams keep when their chunks arrive, in ``stats.arrivals``, for ``stats.plot()``.

    Raises:
        ConfigError: two providers have the same name, or a setting is impossible.
    """

    def __init__(
        self,
        providers: Iterable[Provider] | None = None,
        *,
        timeout: Timeout | float | None = Timeout(),
        retry: Retry | int | None = Retry(),
        buffer: int = 256,
        buffer_bytes: int = 4 * 1024 * 1024,
        observers: Sequence[Observer] = (),
        policies: Sequence[Gate | Middleware] = (),
        arrivals: bool = False,
    ) -> None:
        given = None if providers is None else listed(providers)
        del providers  # or a key that is passed by mistake would stand in the clear among the locals of a traceback
        self._providers = KnownProviders(given, demo_url=_demo_url)
        self._timeout = Timeout.of(timeout)
        self._retry = Retry() if retry is None else Retry.of(retry)
        self._buffer = _checked_buffer("buffer", "chunks", buffer)
        self._buffer_bytes = _checked_buffer("buffer_bytes", "bytes", buffer_bytes)
        self._arrivals = arrivals
        self._observers = tuple(_listed(observers, "observers"))
        self._gates, self._middleware = _sorted_policies(policies) if policies else ((), ())
        if self._observers:  # one may ask for a cost when a stream ends, which is no time to import the price data
            late_import("streamkit.models.prices").load()
        self._transport = Transport()
        self._catalog: Catalog | None = None
        self._routing: Routing | None = None  # made when the first route is asked for
        self._closed = False
        # The streams and runs that may be open. No lock, as a forked child could inherit it locked. Each single
        # operation on a dict is atomic, with and without the GIL.
        self._streams: dict[int, weakref.ref[ChunkStream]] = {}

    def stream(
        self,
        model: Model,
        messages: Messages,
        *,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        validators: Iterable[Validator] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Stream:
        """Start a request, and return its stream at once.

        Args:
            model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
                name such as ``gpt-4o-mini`` is resolved by its prefix.
            messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
            stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
                at every 50 ms. Texts that end the reply go in ``stop_sequences``.
            timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
            retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
            buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
            buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
            extra_body: fields that are added to the body of the request unchanged, and replace others.
            extra_headers: headers that are added to the request, and replace others.
            validators: judge the text before it shows, and cut it where it breaks a rule; see ``streamkit.validators``.
            params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
                ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
                ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
                leaves one out.

        Raises:
            ConfigError: the call is invalid; nothing was sent.

        Threads: any.
        """
        # Before anything can fail: what was passed would stand in the clear among the locals of the traceback.
        options = Unshown(timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
        options.update(extra_body=_unshown(extra_body), extra_headers=hidden_headers(extra_headers))
        given = Unshown(params)
        del params, extra_body, extra_headers
        rules = _checked_validators(validators)
        started = self._start(model, messages, given, options, stop=stop)
        if rules is not None:
            started = late_import("streamkit.validators.stream").validated(started, rules)
        return started

    def _start(
        self,
        model: Model,
        messages: Any,
        given: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        stop: Stop | None,
        part_of: tuple[int, int] | None = None,
    ) -> Stream:
        """Start a stream.

        Args:
            given: parameters of the request.
            options: ``timeout``, ``retry``, ``buffer``, ``buffer_bytes``, and ``extra_body`` and ``extra_headers``,
                which are hidden.
            part_of: the numbers of the run and of its round, where the stream is a part of one.
        """
        self._check_open()
        _check_types(model, stop)
        for name in ("extra_body", "extra_headers"):
            if isinstance(options[name], WrongType):
                raise ConfigError(f"{name} is a dict, not {options[name]}")
        output = _typed_output(given.get("response_format"))
        if output is not None:
            given = Unshown(given, response_format=output.response_format)
        given = Unshown({key: value for key, value in given.items() if value is not None})
        if isinstance(given.get("tools"), Iterable) and not isinstance(given["tools"], (str, bytes, Mapping)):
            given["tools"] = list(given["tools"])
            if any(map(callable, given["tools"])):
                given["tools"] = late_import("streamkit.tools.starting").declared(given["tools"])
        listed = messages_of(messages)
        buffer, buffer_bytes = options["buffer"], options["buffer_bytes"]
        start = partial(
            Stream,
            buffer=self._buffer if buffer is None else _checked_buffer("buffer", "chunks", buffer),
            buffer_bytes=(
                self._buffer_bytes if buffer_bytes is None else _checked_buffer("buffer_bytes", "bytes", buffer_bytes)
            ),
            stop=stop,
            observers=self._observers,
            part_of=part_of,
            output=output,
            arrivals=self._arrivals,
        )
        if not self._middleware:
            return self._send(model, self._jobs(model, listed, given, options), start)
        middleware = late_import("streamkit.policies.middleware")
        asked = middleware.Request(
            model,
            listed,
            given,
            lambda request: self._jobs(request.model, request.messages, request.params, options),
            middleware.CallOptions(stop, output, part_of[1] if part_of else 0),
        )
        started: Stream = middleware.wrapped(
            self._middleware, lambda request: self._send(request.model, request.jobs(), start)
        )(asked)
        self._remember(started)
        return started

    def _send(self, model: Model, jobs: Sequence[Job], start: Callable[[Sequence[Job]], Stream]) -> Stream:
        """Start a stream, after all middleware."""
        if isinstance(model, str):
            started = start(jobs)
        else:
            if self._routing is None:
                self._routing = late_import("streamkit.policies.routing").Routing()
            started = self._routing.start(model, jobs, start)
        self._remember(started)
        return started

    def _jobs(
        self,
        model: Model,
        messages: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> list[Job]:
        """Return a job for each model that the request may go to.

        Raises:
            ConfigError: the call is invalid for one of them.
        """
        asked = [self.resolve(name) for name in _models_of(model)]
        for provider, _ in asked:
            check_parameters(provider, params)
        timeout, retry = options["timeout"], options["retry"]
        given_timeout = self._timeout if timeout is _OF_THE_CLIENT else Timeout.of(timeout)
        given_retry = self._retry if retry is None else Retry.of(retry)
        body, headers = options["extra_body"], options["extra_headers"]
        return [
            self._job(provider, ChatRequest(name, messages, params, body, headers), given_timeout, given_retry)
            for provider, name in asked
        ]

    def _job(self, provider: Provider, chat: ChatRequest, timeout: Timeout, retry: Retry) -> Job:
        request = provider.request(chat)
        if not isinstance(request, HttpRequest):
            raise ConfigError(f"{class_of(provider)}.request() returned {type(request).__name__}, not an HttpRequest")
        return Job(chat, request, provider, self._transport, timeout, retry, self._gates)

    def complete(
        self,
        model: Model,
        messages: Messages,
        *,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        validators: Iterable[Validator] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Completion:
        """Send a request, wait, and return the whole reply: ``stream()`` drained.

        Args:
            model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
                name such as ``gpt-4o-mini`` is resolved by its prefix.
            messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
            stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
                at every 50 ms. Texts that end the reply go in ``stop_sequences``.
            timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
            retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
            buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
            buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
            extra_body: fields that are added to the body of the request unchanged, and replace others.
            extra_headers: headers that are added to the request, and replace others.
            validators: judge the text before it shows, and cut it where it breaks a rule; see ``streamkit.validators``.
            params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
                ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
                ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
                leaves one out.

        Raises:
            ConfigError: the call is invalid; nothing was sent.
            StreamCancelledError: the reply was stopped before it was whole; ``error.partial`` has what came.
            StreamError: the reply failed; ``error.partial`` has what came before.

        An exception that interrupts the reply, such as ``KeyboardInterrupt``, gets ``partial`` too: see
        ``Stream.collect``.

        Threads: any.
        """
        __tracebackhide__ = True
        options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
        options.update(extra_body=extra_body, extra_headers=extra_headers, validators=validators)
        del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
        started = self.stream(model, messages, **options)
        del self, messages, options  # an error's traceback keeps this frame
        return drain(started)

    @overload
    def extract(
        self, model: Model, messages: Messages, kind: type[T], *, attempts: int = 2, **options: Unpack[_CallOptions]
    ) -> T: ...

    @overload
    def extract(
        self, model: Model, messages: Messages, kind: object, *, attempts: int = 2, **options: Unpack[_CallOptions]
    ) -> Any: ...

    def extract(
        self, model: Model, messages: Messages, kind: object, *, attempts: int = 2, **options: Unpack[_CallOptions]
    ) -> Any:
        """Ask for a type, and return the instance that the model filled in.

        A model that answered with something else is told what is wrong with it, and answers again.

        Args:
            model, messages: see ``stream``.
            kind: a dataclass, attrs class, TypedDict, NamedTuple, pydantic model, ``list[...]`` of them, any other type
                that JSON can say, or a JSON schema.
            attempts: how often the model may answer, from 1. Each is a request of its own, with tries of its own.
            options: the arguments of ``complete``.

        Raises:
            ConfigError: the call is invalid, or JSON cannot say the type; nothing was sent.
            InvalidOutputError: the last answer does not fit either; or an answer is a refusal, or was cut off, which is
                not tried again. ``error.partial`` is the reply, ``error.problems`` says what is wrong.
            StreamError: as ``complete`` does.

        Threads: any.
        """
        __tracebackhide__ = True
        given = Unshown(options)
        del options
        fill_in = late_import("streamkit.tools.extraction").extract
        return fill_in(self.complete, model, messages, kind, attempts, given)

    def run(
        self,
        model: Model,
        messages: Messages,
        *,
        approve: Approve | Decision | bool | None = None,
        parallel: int = 1,
        limits: RunLimits | None = None,
        on_error: Literal["tell", "raise"] = "tell",
        context: Any = None,
        claims: Claims | None = None,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        validators: Iterable[Validator] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Run:
        """Start a run with tools: ask the model, make the calls that it asks for, and ask again, in one stream.

        Args:
            model: as in ``stream``.
            messages: as in ``stream``.
            approve: decides on calls that need approval: a function that gets the ``ToolCall`` and returns ``True``,
                ``False``, ``Approved(...)``, ``Rejected(...)``, ``Answered(...)``, or ``None`` to leave it open; or one
                of these for all calls.
            parallel: how many functions of one reply run at once, in threads. With 1 they run in the loop's thread.
            limits: a ``RunLimits``; by default 10 requests, 64 calls, and 3 calls with equal arguments.
            on_error: what becomes of a function's exception and of wrong arguments: ``tell`` the model, or ``raise`` a
                ``ToolError``.
            context: anything; functions find it as ``context.context``.
            claims: where the states of calls are kept, such as a ``FileClaims``, so that no call runs twice however
                often a suspension is resumed.
            stop: as in ``stream``; it also sets the functions' stop event.
            timeout: as in ``stream``, for each request.
            retry: as in ``stream``, for each request.
            buffer: as in ``stream``.
            buffer_bytes: as in ``stream``.
            extra_body: as in ``stream``, for each request.
            extra_headers: as in ``stream``, for each request.
            validators: as in ``stream``; they judge the text of each round anew.
            params: the request's parameters, as in ``stream``. ``tools`` are functions, ``Tool``, and dicts in OpenAI's
                shape: of tools that somebody else carries out, or of the provider's own. A ``tool_choice`` that demands
                a call holds for the first round.

        Raises:
            ConfigError: the call is invalid; nothing was sent.

        Threads: any.
        """
        options = Unshown(timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
        options.update(extra_body=_unshown(extra_body), extra_headers=hidden_headers(extra_headers))
        given = Unshown(params)
        del params, extra_body, extra_headers
        _check_types(model, stop)
        rules = _checked_validators(validators)
        starting = late_import("streamkit.tools.starting")
        asked = starting.Asked(
            approve=approve, parallel=parallel, limits=limits, on_error=on_error, context=context, claims=claims
        )
        first = _models_of(model)[0]  # the suspension has this name
        provider, name = self.resolve(first)
        started: Run = starting.start_run(
            self._rounds_of(model, options), provider, name, first, messages, given, asked, stop, self._observers
        )
        self._remember(started)
        if rules is not None:
            started = late_import("streamkit.tools.validated_run").validated_run(started, rules)
        return started

    def resume(
        self,
        suspension: Suspension,
        decisions: Mapping[str, Decision | bool | None],
        *,
        approve: Approve | Decision | bool | None = None,
        parallel: int = 1,
        limits: RunLimits | None = None,
        on_error: Literal["tell", "raise"] = "tell",
        context: Any = None,
        claims: Claims | None = None,
        stop: Stop | None = None,
        timeout: Timeout | float | None = _OF_THE_CLIENT,
        retry: Retry | int | None = None,
        buffer: int | None = None,
        buffer_bytes: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        validators: Iterable[Validator] | None = None,
        **params: Unpack[RequestParameters],
    ) -> Run:
        """Go on with a suspended run, in any process and at any time.

        The calls that are decided run now. A call without a decision goes on waiting: the run suspends again. With the
        same ``claims`` in all processes that may resume it, no call runs twice; without, none runs twice in this one.

        Args:
            suspension: ``run.suspension``, or ``Suspension.from_json(text)``.
            decisions: ``Approved(...)`` or ``True``, ``Rejected(...)`` or ``False``, or ``Answered(...)``, by the id of
                the call.
            approve: as in ``run``, also for the calls that wait.
            parallel: as in ``run``.
            limits: as in ``run``; what was used up before counts.
            on_error: as in ``run``.
            context: as in ``run``.
            claims: as in ``run``; by default in the memory of this process.
            stop: as in ``run``.
            timeout: as in ``run``.
            retry: as in ``run``.
            buffer: as in ``run``.
            buffer_bytes: as in ``run``.
            extra_body: as in ``run``.
            extra_headers: as in ``run``.
            validators: as in ``run``; those of the run that was suspended have to be given again.
            params: as in ``run``. ``tools`` are given again; parameters such as ``max_tokens`` are kept.

        Raises:
            ConfigError: the call is invalid, or a decision does not fit its call; nothing was done.
            MisuseError: a decision is on a call that does not wait.
            StoreConflictError: somebody else resumes this suspension, or has done so; nothing was done.

        Threads: any.
        """
        options = Unshown(timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
        options.update(extra_body=_unshown(extra_body), extra_headers=hidden_headers(extra_headers))
        given = Unshown(params)
        del params, extra_body, extra_headers
        starting = late_import("streamkit.tools.starting")
        asked = starting.Asked(
            approve=approve, parallel=parallel, limits=limits, on_error=on_error, context=context, claims=claims
        )
        model = getattr(suspension, "model", "")
        _check_types(model, stop)
        rules = _checked_validators(validators)
        provider, name = self.resolve(model) if model else (None, "")
        started: Run = starting.resume_run(
            self._rounds_of(model, options), provider, name, suspension, decisions, given, asked, stop, self._observers
        )
        self._remember(started)
        if rules is not None:
            started = late_import("streamkit.tools.validated_run").validated_run(started, rules)
        return started

    def conversation(
        self,
        model: Model,
        *,
        system: str = "",
        variables: Mapping[str, Any] | None = None,
        window: Window | None = None,
        store: Store | None = None,
        id: str | None = None,
        on_failure: Literal["keep", "rollback"] = "keep",
        owner: str = "",
        **options: Unpack[_TurnOptions],
    ) -> Conversation:
        """Return a conversation: turns with a model, kept whatever happens.

        Args:
            model: as in ``stream``.
            system: the system prompt; ``{{name}}`` in it stands for a variable.
            variables: of the system prompt. Change ``conversation.variables`` at any time between two turns.
            window: how much of a long history is sent; ``None`` for all of it.
            store: where it is kept, turn by turn: a ``SQLStore(url)`` or a ``MemoryStore()``. With an ``id`` that it
                knows, the conversation goes on; ``model``, and ``system`` and ``variables`` if given, replace the kept
                ones.
            id: of the conversation, for the store; by default one of its own.
            on_failure: what becomes of a turn that failed, was cancelled or was left: ``keep`` what was delivered, or
                ``rollback``.
            owner: whose it is, for programs that have users; a store lists by it, and a conversation of another owner
                is not opened.
            options: arguments of ``stream``, and of ``run`` where there are ``tools``, for all turns.

        Raises:
            ConfigError: a value is of a wrong kind.

        Threads: any; the conversation has one turn at a time.
        """
        given = Unshown(options)
        del options
        self._check_open()
        _check_types(model, given.get("stop"))
        made: Conversation = late_import("streamkit.conversation.conversation").conversation(
            self,
            model,
            system=system,
            variables=variables,
            window=window,
            store=store,
            id=id,
            on_failure=on_failure,
            owner=owner,
            options=given,
        )
        return made

    def map(
        self,
        model: Model,
        prompts: Iterable[Prompt],
        *,
        concurrency: int = 16,
        ordered: bool = False,
        save: str | PathLike[str] | None = None,
        key: str | Callable[[Prompt], object] | None = None,
        executor: Executor | None = None,
        factory: Callable[[], Client] | None = None,
        progress: bool | None = None,
        max_cost: float | None = None,
        max_failures: int | None = None,
        **options: Unpack[_CallOptions],
    ) -> Batch[Prompt]:
        """Ask many prompts, some at once, and return an iterator of their results, as they end.

        ::

            for result in client.map("openai/gpt-4o-mini", prompts, save="out.jsonl"):
                print(result.index, result.error or result.text)

        Each result is a whole reply or an error; a failure does not end the others. The prompts may be endless: few
        are read ahead. See ``streamkit.batch.Batch``.

        Args:
            model: as in ``stream``.
            prompts: each is text, a message, a list of messages, or a dict with ``messages`` and parameters of its own.
                The thread that iterates reads them, between two results.
            concurrency: how many are asked at once, from 1: so many threads with one stream each. With an executor, how
                many it is given at once.
            ordered: whether results come in the order of their prompts. At most eight times ``concurrency`` wait for an
                earlier one.
            save: a file of JSON lines, to which each result is written as it ends. A second run with the same file asks
                only what it has no reply to, failures included; what is in it is yielded as well, as ``result.saved``.
            key: names each prompt, so that the file is good for a list of prompts that changes: a function that takes a
                prompt, or the name of a field of prompts that are dicts, which is not sent then. Without it, it is the
                place of a prompt that counts.
            executor: where the prompts are asked: any ``concurrent.futures.Executor``, such as one of processes, or
                Dask's. Processes get the settings of this client and read the keys from their own environment.
            factory: makes the client of each of the executor's processes, where this one has providers, observers or
                policies of its own: a function at the top of a module.
            progress: whether to show a bar (extra ``batch``); by default where it can be seen.
            max_cost: in USD, from which on nothing more is asked; what is running ends. Replies in the file count.
            max_failures: how many prompts may fail, from 0; after one more nothing more is asked.
            options: the arguments of ``complete``. ``timeout`` and ``retry`` are those of each prompt.

        Raises:
            ConfigError: the call is invalid, the file is of something else, or another process writes it; nothing was
                sent.

        Threads: any. Observers and validators are called in the threads of the batch; all else of the program's runs in
        the thread that iterates.
        """
        settings = {
            "concurrency": concurrency,
            "ordered": ordered,
            "save": save,
            "key": key,
            "executor": executor,
            "factory": factory,
            "progress": progress,
            "max_cost": max_cost,
            "max_failures": max_failures,
        }
        given = Unshown(options)
        given.update(extra_body=_unshown(given.get("extra_body")))
        given.update(extra_headers=hidden_headers(given.get("extra_headers")))
        del options
        self._check_open()
        _check_types(model, given.get("stop"))
        started: Batch[Prompt] = late_import("streamkit.batch.batch").start(self, model, prompts, settings, given)
        return started

    def portable(self) -> Callable[[], Client]:
        """Return what makes an equal client in another process, which reads the keys from its environment.

        It can be pickled.

        Raises:
            ConfigError: this client has providers, which may have keys, observers or policies; these cannot go there.
        """
        own = {
            "providers": self._providers.given,
            "observers": self._observers,
            "policies": self._gates or self._middleware,
        }
        if what := " and ".join(name for name, there in own.items() if there):
            raise ConfigError(
                f"this client has {what} of its own, and neither keys nor these travel to other processes: have "
                "factory= make the clients there, by a function at the top of a module"
            )
        return partial(
            Client,
            timeout=self._timeout,
            retry=self._retry,
            buffer=self._buffer,
            buffer_bytes=self._buffer_bytes,
            arrivals=self._arrivals,
        )

    def _rounds_of(self, model: Model, options: Mapping[str, Any]) -> Callable[..., Stream]:
        def stream_of(
            messages: Sequence[Any], params: Mapping[str, Any], *, stop: StopEvent, part_of: tuple[int, int]
        ) -> Stream:
            return self._start(model, messages, params, options, stop=stop, part_of=part_of)

        return stream_of

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            raise no_attribute(self, name, _HINTS)

    def _remember(self, started: ChunkStream) -> None:
        key, streams = id(started), self._streams
        streams[key] = weakref.ref(started, partial(streams.pop, key))
        if self._closed:  # another thread closed the client before this stream was in the list
            started.cancel()

    @property
    def models(self) -> Catalog:
        """The models of this client's providers."""
        if self._catalog is None:
            catalog = late_import("streamkit.models.catalog")  # few programs need it
            self._catalog = catalog.Catalog(self._factories_of, self._transport)
        return self._catalog

    def resolve(self, model: str) -> tuple[Provider, str]:
        """Return the provider of a model's name, and the rest of the name.

        Raises:
            ConfigError: no provider is known for it.
        """
        return self._providers.resolve(model)

    def _factories_of(self, name: str | None) -> dict[str, Callable[[], Provider]]:
        self._check_open()
        return self._providers.factories(name)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError("this client was closed; make a new one")

    def close(self) -> None:
        """Cancel open streams and close the connections. Closing again does nothing.

        Threads: any; waits for no stream.
        """
        self._closed = True
        for reference in list(self._streams.values()):
            started = reference()
            if started is not None and started.status == "open" and not started.inherited:
                started.cancel()
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        fields = vars(self)  # not all of them where the constructor raised
        return f"<Client {'closed' if fields.get('_closed') else 'open'}, {fields.get('_providers', 'no providers')}>"


def _demo_url() -> str:
    url: str = late_import("streamkit.testing.demo").demo_server().url
    return url


def _check_types(model: object, stop: object) -> None:
    if not isinstance(model, str):
        late_import("streamkit.policies.route").route_of(model)
    if stop is not None and not isinstance(stop, threading.Event):
        raise ConfigError(
            f"stop is a StopEvent or a threading.Event, not {type(stop).__name__}; "
            "texts that end the reply go in stop_sequences="
        )


def _listed(values: Any, what: str) -> Iterable[Any]:
    if not isinstance(values, Iterable):
        raise ConfigError(f"{what} is a list, not {shown(values)}; put a single one into a list")
    return values


def _sorted_policies(policies: Sequence[Any]) -> tuple[tuple[Gate, ...], tuple[Middleware, ...]]:
    kind = late_import("streamkit.policies.middleware").Middleware
    policies = tuple(_listed(policies, "policies"))
    for each in policies:
        if isinstance(each, type):
            raise ConfigError(f"policies has instances, such as {each.__name__}(...), not the class itself")
        if not isinstance(each, (Gate, kind)):
            raise ConfigError(
                f"policies has RateLimit, Breaker, MemoryCache, Middleware and other policies, not {shown(each)}"
            )
    gates = tuple(each for each in policies if isinstance(each, Gate))
    return gates, tuple(each for each in policies if isinstance(each, kind))


def _models_of(model: Any) -> tuple[str, ...]:
    """Return the names of the models that a request may go to."""
    if isinstance(model, str):
        return (model,)
    names: tuple[str, ...] = late_import("streamkit.policies.route").route_of(model).models
    return names


def _typed_output(wanted: Any) -> TypedOutput | None:
    """Return the type that ``response_format=`` asks for, if it does."""
    if wanted is None or (isinstance(wanted, Mapping) and wanted.get("type") in ("text", "json_object")):
        return None
    output: TypedOutput | None = late_import("streamkit.tools.output").output_of(wanted)
    return output


def _checked_validators(validators: object) -> tuple[Validator, ...] | None:
    if validators is None:
        return None
    found: tuple[Validator, ...] = late_import("streamkit.validators.judge").validators_in(validators)
    return found


def _unshown(extra_body: object) -> Unshown | WrongType:
    if extra_body is None:
        return Unshown()
    return Unshown(extra_body) if isinstance(extra_body, Mapping) else WrongType.of(extra_body)


def _checked_buffer(name: str, unit: str, given: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ConfigError(f"{name} is a number of {unit} from 1, not {shown(given)}")
    return given


_default: Client | None = None


def default_client() -> Client:
    """Return the client that ``streamkit.stream()`` and ``streamkit.complete()`` use, made on first use."""
    global _default
    # No lock, which a forked child could inherit locked. Two threads that come first at once may each make
    # one; the one that is not kept goes when its stream does.
    client = _default
    if client is None:
        client = _default = Client()
    return client


def stream(
    model: Model,
    messages: Messages,
    *,
    stop: Stop | None = None,
    timeout: Timeout | float | None = _OF_THE_CLIENT,
    retry: Retry | int | None = None,
    buffer: int | None = None,
    buffer_bytes: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    extra_headers: Mapping[str, str] | None = None,
    validators: Iterable[Validator] | None = None,
    **params: Unpack[RequestParameters],
) -> Stream:
    """Start a request, and return its stream at once.

    The client is the module's own, with the default settings: ``Timeout()``, ``Retry()``.

    Args:
        model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
            name such as ``gpt-4o-mini`` is resolved by its prefix.
        messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
        stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
            at every 50 ms. Texts that end the reply go in ``stop_sequences``.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
        buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
        buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
        extra_body: fields that are added to the body of the request unchanged, and replace others.
        extra_headers: headers that are added to the request, and replace others.
        validators: judge the text before it shows, and cut it where it breaks a rule; see ``streamkit.validators``.
        params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
            ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
            ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
            leaves one out.

    Raises:
        ConfigError: the call is invalid; nothing was sent.

    Threads: any.
    """
    options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
    options.update(extra_body=extra_body, extra_headers=extra_headers, validators=validators)
    del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
    return default_client().stream(model, messages, **options)


def complete(
    model: Model,
    messages: Messages,
    *,
    stop: Stop | None = None,
    timeout: Timeout | float | None = _OF_THE_CLIENT,
    retry: Retry | int | None = None,
    buffer: int | None = None,
    buffer_bytes: int | None = None,
    extra_body: Mapping[str, Any] | None = None,
    extra_headers: Mapping[str, str] | None = None,
    validators: Iterable[Validator] | None = None,
    **params: Unpack[RequestParameters],
) -> Completion:
    """Send a request, wait, and return the whole reply: ``stream()`` drained.

    The client is the module's own, with the default settings: ``Timeout()``, ``Retry()``.

    Args:
        model: ``provider/model``; only the first segment is streamkit's, the rest goes on the wire as it is. A bare
            name such as ``gpt-4o-mini`` is resolved by its prefix.
        messages: a string (one user message), or a list of ``Message`` or dicts in OpenAI's shape.
        stop: a ``StopEvent``, which ends any number of streams at once, or a ``threading.Event``, which is looked
            at every 50 ms. Texts that end the reply go in ``stop_sequences``.
        timeout: a ``Timeout``, or seconds in total, or ``None`` for no limits; by default the client's.
        retry: a ``Retry``, or a number of tries, the first included; ``None`` for the client's.
        buffer: how many chunks wait for a slow consumer, from 1; ``None`` for the client's.
        buffer_bytes: the same in bytes of the events' text, from 1; ``None`` for the client's.
        extra_body: fields that are added to the body of the request unchanged, and replace others.
        extra_headers: headers that are added to the request, and replace others.
        validators: judge the text before it shows, and cut it where it breaks a rule; see ``streamkit.validators``.
        params: the request's parameters, in OpenAI's names: ``max_tokens``, ``temperature``, ``top_p``,
            ``stop_sequences``, ``tools``, ``tool_choice``, ``response_format``, ``reasoning_effort``, ``seed``,
            ``n`` and more, and those of the provider's own; ``RequestParameters`` has all of them. ``None``
            leaves one out.

    Raises:
        ConfigError: the call is invalid; nothing was sent.
        StreamCancelledError: the reply was stopped before it was whole; ``error.partial`` has what came.
        StreamError: the reply failed; ``error.partial`` has what came before.

    An exception that interrupts the reply, such as ``KeyboardInterrupt``, gets ``partial`` too: see
    ``Stream.collect``.

    Threads: any.
    """
    __tracebackhide__ = True
    options = Unshown(params, stop=stop, timeout=timeout, retry=retry, buffer=buffer, buffer_bytes=buffer_bytes)
    options.update(extra_body=extra_body, extra_headers=extra_headers, validators=validators)
    del params, extra_body, extra_headers  # or they would stand in the clear among the locals of a traceback
    started = default_client().stream(model, messages, **options)
    del messages, options  # an error's traceback keeps this frame
    return drain(started)


@overload
def extract(
    model: Model, messages: Messages, kind: type[T], *, attempts: int = 2, **options: Unpack[_CallOptions]
) -> T: ...


@overload
def extract(
    model: Model, messages: Messages, kind: object, *, attempts: int = 2, **options: Unpack[_CallOptions]
) -> Any: ...


def extract(
    model: Model, messages: Messages, kind: object, *, attempts: int = 2, **options: Unpack[_CallOptions]
) -> Any:
    """Ask for a type, and return the instance that the model filled in: ``Client.extract`` of the module's client.

    ::

        invoice = streamkit.extract("openai/gpt-4o-mini", text, Invoice)

    Args:
        model, messages: see ``stream``.
        kind: a dataclass, attrs class, TypedDict, NamedTuple, pydantic model, ``list[...]`` of them, any other type
            that JSON can say, or a JSON schema.
        attempts: how often the model may answer, from 1; it is told what is wrong with an answer that does not fit.
        options: the arguments of ``complete``.

    Raises:
        ConfigError: the call is invalid, or JSON cannot say the type; nothing was sent.
        InvalidOutputError: the last answer does not fit either, or an answer is a refusal or was cut off.
        StreamError: as ``complete`` does.

    Threads: any.
    """
    __tracebackhide__ = True
    given = Unshown(options)
    del options
    return default_client().extract(model, messages, kind, attempts=attempts, **given)
