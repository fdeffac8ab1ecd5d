"""Every error keeps its attributes when it is pickled or copied, and has its place in the tree."""

from __future__ import annotations

import copy
import inspect
import pickle
import queue
import re
from typing import Any

import pytest

from streamkit import (
    APIError,
    AuthenticationError,
    BadRequestError,
    BatchLimitError,
    Completion,
    ConflictError,
    ConnectError,
    InvalidOutputError,
    MisuseError,
    NotFoundError,
    OverloadedError,
    PackError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RecvTimeout,
    RunLimitError,
    ServerError,
    StreamError,
    StreamkitError,
    StreamTimeout,
    ToolCall,
    ToolError,
    Usage,
    ValidationError,
    errors,
)
from streamkit.values.problems import PackProblem, Problem

PARTIAL = Completion("Once upon", finish_reason="error", usage=Usage(input_tokens=3))
STREAM: dict[str, Any] = {"partial": PARTIAL, "retryable": True}
API: dict[str, Any] = {
    "status": 429,
    "code": "rate_limit_exceeded",
    "type": "requests",
    "request_id": "req_1",
    "retry_after": 1.5,
    "body": {"error": {"message": "slow down"}},
    "in_stream": True,
}
CLASSES: list[type[Exception]] = [getattr(errors, name) for name in errors.__all__]


def attributes_of(kind: type[Exception]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for base, own in (
        (StreamError, STREAM),
        (APIError, API),
        (StreamTimeout, {"phase": "idle", "limit": 2.5}),
        (InvalidOutputError, {"problems": (Problem("total", "is required and missing"),), "text": "{}"}),
        (PackError, {"problems": (PackProblem("$.id", "required", "is missing"),)}),
        (
            errors.RequestError,
            {
                "status": 402,
                "code": "insufficient_balance",
                "type": "billing_error",
                "param": "max_tokens",
                "headers": {"retry-after": "3"},
                "details": {"max": 10.0},
            },
        ),
        (errors.RenderError, {"code": "missing", "names": ("name",)}),
        (ProtocolError, {"excerpt": "<html>"}),
        (ToolError, {"call": ToolCall.of("c1", "weather", '{"city": "Oslo"}')}),
        (RunLimitError, {"limit": "rounds"}),
        (errors.CircuitOpenError, {"provider": "openai", "retry_after": 12.5}),
        (errors.LocalLimitError, {"limit": "requests", "retry_after": 12.5}),
        (BatchLimitError, {"limit": "max_cost"}),
        (ValidationError, {"validator": "max_length", "reason": "it is longer than 5 characters"}),
        (PaymentRequiredError, {"limit": "daily", "current": 9.5, "requested": 1.0, "max": 10.0}),
    ):
        attributes |= own if issubclass(kind, base) else {}
    return attributes


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_pickles_with_its_attributes(kind: type[Exception], again: Any) -> None:
    """An error comes out of another process with its class, its text and every attribute."""
    attributes = attributes_of(kind)
    twin = again(kind("it went wrong", **attributes))
    assert kind is type(twin)
    assert (("it went wrong",), "it went wrong") == (twin.args, str(twin))
    assert attributes == {name: getattr(twin, name) for name in attributes}
    assert set(attributes) == set(vars(twin))


@pytest.mark.parametrize("kind", CLASSES)
def test_the_message_alone_is_enough(kind: type[Exception]) -> None:
    """Each class can be made from its message, or from nothing, with attributes that say "unknown"."""
    assert "no" == str(kind("no"))
    assert "" == str(kind())
    if issubclass(kind, StreamError):
        assert (None, False) == (kind().partial, kind().retryable)
    if issubclass(kind, StreamkitError):
        assert ("no", "") == (kind("no").message, kind().message)


def test_the_attributes_are_all_tested() -> None:
    """Each parameter of each class is among the attributes that the tests above set."""
    for kind in CLASSES:
        if issubclass(kind, StreamkitError):
            assert set(inspect.signature(kind).parameters) - {"message"} == set(attributes_of(kind))


def test_a_timeout_is_a_timeout_error() -> None:
    """Code that knows nothing of streamkit catches its timeouts as Python's own, and as an `OSError`."""
    error = StreamTimeout("late", phase="first", limit=3)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, OSError)
    assert (None, None) == (error.errno, error.filename)
    with pytest.raises(TimeoutError, match="late"):
        raise error


def test_a_recv_timeout_is_both_of_pythons_own() -> None:
    """Code that expects a queue's error and code that expects a time limit's both catch it; nothing has failed."""
    assert issubclass(RecvTimeout, queue.Empty)
    assert issubclass(RecvTimeout, TimeoutError)
    assert not issubclass(RecvTimeout, StreamkitError)


def test_misuse_is_outside_the_tree() -> None:
    """A mistake in the program is not caught with what can go wrong."""
    assert issubclass(MisuseError, RuntimeError)
    assert not issubclass(MisuseError, StreamkitError)


def test_the_tree_is_as_drawn() -> None:
    """The drawing at the top of the module has every class, each below its base."""
    drawn: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:[| ']{2} |[|']- )*)(?:[|']- )?([A-Z]\w+(?:Error|Timeout|Closed))\b", line)
        if not found:
            continue
        depth, name = line.index(found[2]), found[2]
        while path and path[-1][0] >= depth:
            path.pop()
        drawn[name] = path[-1][1] if path else None
        path.append((depth, name))
    expected = {kind.__name__: kind.__bases__[0].__name__ for kind in CLASSES}
    assert expected == {name: base for name, base in drawn.items() if base} | {
        "StreamkitError": "Exception",
        "MisuseError": "RuntimeError",
        "RecvTimeout": "Empty",
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (None, APIError),
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, PaymentRequiredError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, APIError),
        (408, APIError),
        (409, ConflictError),
        (413, BadRequestError),
        (418, APIError),
        (422, BadRequestError),
        (429, RateLimitError),
        (499, APIError),
        (500, ServerError),
        (502, ServerError),
        (503, OverloadedError),
        (504, ServerError),
        (520, ServerError),
        (529, OverloadedError),
        (599, ServerError),
        (600, APIError),
        (200, APIError),
        (302, APIError),
    ],
)
def test_the_class_for_a_status(status: int | None, kind: type[APIError]) -> None:
    """Each status has its class, and those between the known ones the class of their hundred."""
    assert kind is APIError.class_for(status)


def test_which_statuses_are_worth_another_try() -> None:
    """408, 409, 429 and all of 5xx are, 529 among them; every other status is not, nor an unknown one."""
    expected = {408, 409, 429, *range(500, 600)}
    assert expected == {status for status in range(700) if APIError.is_retryable(status)}
    assert not APIError.is_retryable(None)


def test_overloaded_is_a_server_error() -> None:
    """Who handles 5xx handles 503 and 529 as well."""
    assert issubclass(OverloadedError, ServerError)


def test_a_connection_that_failed_is_no_answer() -> None:
    """A `ConnectError` is not an `APIError`: no server answered."""
    assert not issubclass(ConnectError, APIError)
