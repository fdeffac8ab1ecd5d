"""An error keeps its message and attributes, and no request, response, connection or key."""

from __future__ import annotations

import gc
import http.client
import socket
import traceback
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import urllib3

from streamkit import (
    APIError,
    BrokenStreamError,
    Client,
    ConfigError,
    ConnectError,
    ProtocolError,
    Retry,
    StreamError,
    StreamkitError,
    StreamTimeout,
    Timeout,
    TruncatedStreamError,
    providers,
)
from streamkit.providers.call import ChatRequest
from streamkit.streaming.attempt import Attempt
from streamkit.streaming.job import Job
from streamkit.testing import (
    Cut,
    Raw,
    Reply,
    Reset,
    Server,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    json_reply,
)
from streamkit.transport.small_requests import Deadline, fetch
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Masked
from tests.fault.support import SOON, join_readers, nothing_left

KEY = "sk-SECRET-0123456789"
LARGE = 1 << 20  # bytes; the request has more, and no error has a reason to
HELLO = chunk_event("Hello", role="assistant")
FORBIDDEN = (
    *(requests.PreparedRequest, requests.Response, urllib3.HTTPResponse, http.client.HTTPResponse),
    *(HttpRequest, ChatRequest, Job, Attempt, socket.socket, urllib3.HTTPConnectionPool),
)
OUR_THREAD = (
    "/transport/transport.py",
    "/transport/connection.py",
    "/streamkit/providers/",
    "/streaming/worker.py",
    "/streaming/attempt.py",
)


def held_by(error: BaseException) -> Iterator[object]:
    """Iterate all that an error keeps alive, by its traceback too; not what modules and this test's frames hold."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, (types.ModuleType, type, types.BuiltinFunctionType)):
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, types.FrameType):
            if "/tests/" not in item.f_code.co_filename and "/_pytest/" not in item.f_code.co_filename:
                pending += item.f_locals.values()
        elif isinstance(item, types.TracebackType):
            pending += [item.tb_frame, item.tb_next]
        elif isinstance(item, types.FunctionType):
            pending += [item.__closure__, item.__defaults__]
        else:
            pending += gc.get_referents(item)


def check(error: BaseException) -> None:
    """Check that an error references no request, response, connection or frame."""
    for item in held_by(error):
        assert not isinstance(item, FORBIDDEN), type(item)
        assert not (isinstance(item, (str, bytes, bytearray)) and len(item) >= LARGE)
        if isinstance(item, types.FrameType):
            assert not any(part in item.f_code.co_filename for part in OUR_THREAD), item
    shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "SECRET" not in f"{shown} {error!r} {error.__dict__}"


class Unsound(providers.OpenAI):
    """A provider whose decoder cannot be made."""

    failure: BaseException = ConfigError("no")

    def decoder(self, chat: ChatRequest) -> Any:
        raise self.failure


class Buggy(Unsound):
    """The same, by a mistake."""

    @property
    def failure(self) -> BaseException:  # type: ignore[override]
        return ZeroDivisionError(f"with {KEY}")


CASES: list[tuple[str, Reply | None, type[StreamkitError], dict[str, Any]]] = [
    ("nobody there", None, ConnectError, {}),
    ("a limit before the head", Reply(before_head=[Wait(None)]), StreamTimeout, {"timeout": Timeout(first=0.3)}),
    ("a limit midway", Reply([HELLO, Wait(None)]), StreamTimeout, {"timeout": Timeout(idle=0.3)}),
    ("a reset before the head", Reply(before_head=[Reset()]), BrokenStreamError, {}),
    ("a reset midway", Reply([HELLO, Wait(0.2), Reset()]), BrokenStreamError, {}),
    ("an end midway", Reply([HELLO, Cut()]), TruncatedStreamError, {}),
    ("an end without a terminator", Reply([HELLO]), TruncatedStreamError, {}),
    ("HTML", html_reply(200), ProtocolError, {}),
    ("malformed JSON", Reply([b"data: {oops\n\n"]), ProtocolError, {}),
    ("a broken compression", Reply([b"not gzip at all"], headers={"Content-Encoding": "gzip"}), ProtocolError, {}),
    ("a refusal", error_reply(401), APIError, {}),
    ("a refusal that is tried again", error_reply(503), APIError, {"retry": Retry(2, backoff=0.01)}),
    ("an error inside", error_in_stream_reply("busy", type="server_error"), APIError, {}),
    ("the key in a status line", Reply(before_head=[Raw(f"HTTP/1.1 {KEY}\r\n\r\n"), Cut()]), ProtocolError, {}),
    ("the key for a protocol", Reply(before_head=[Raw(f"{KEY} 200 OK\r\n\r\n"), Cut()]), ProtocolError, {}),
    ("the key for a chunk's size", Reply([HELLO, Raw(f"{KEY}\r\n"), Cut()]), StreamError, {}),
    ("the key for a request id", error_reply(400, headers={"x-request-id": KEY}), APIError, {}),
    ("a ConfigError in the worker", Reply(), ConfigError, {"provider": Unsound}),
    ("a failure of our own", Reply(), StreamError, {"provider": Buggy}),
]


def complete(client: Client) -> object:
    return client.complete("openai/m", "x" * 2 * LARGE)


def iterate(client: Client) -> object:
    return list(client.stream("openai/m", "x" * 2 * LARGE))


@pytest.mark.parametrize("use", [complete, iterate])
@pytest.mark.parametrize(("reply", "kind", "options"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_an_error_holds_what_it_says(
    reply: Reply | None, kind: type[StreamkitError], options: dict[str, Any], use: Callable[[Client], object]
) -> None:
    """Whatever went wrong: neither attributes, nor causes, nor the traceback keep the request or show the key."""
    settings = {"timeout": Timeout(connect=SOON, first=SOON, idle=SOON), "retry": Retry(1), **options}
    make = settings.pop("provider", providers.OpenAI)
    with nothing_left(), Server(reply or Reply()) as server:
        url = server.url if reply else "http://127.0.0.1:1/v1"
        with Client([make(api_key=KEY, base_url=url)], **settings) as client:
            with pytest.raises(kind) as caught:
                use(client)
            assert type(caught.value) is kind or kind in (APIError, StreamError)
            join_readers()  # which let go of the request a moment after they put the outcome
            check(caught.value)


def test_our_own_failure_says_where() -> None:
    """The cause of a reported bug has code locations, and no frames."""
    with Server() as server, Client([Buggy(api_key=KEY, base_url=server.url)], retry=1) as client:
        with pytest.raises(StreamError, match=r"please report it: ZeroDivisionError\('with \*\*\*'\)") as caught:
            client.complete("openai/m", "Hi")
    cause = caught.value.__cause__
    assert "ZeroDivisionError: with ***" in str(cause)
    assert f"{__file__}:" in str(cause)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(before_head=[Wait(None)]), StreamTimeout),
        (Reply(before_head=[Reset()]), BrokenStreamError),
        (Reply(before_head=[Raw(f"HTTP/1.1 {KEY}\r\n\r\n"), Cut()]), ProtocolError),
        (Reply([f"{KEY}", Cut()], content_type="application/json"), TruncatedStreamError),
        (Reply([Raw(f"{KEY}\r\n"), Cut()], content_type="application/json"), StreamError),
        (json_reply({"a": "x" * 5000}), ProtocolError),
    ],
)
def test_an_error_of_a_plain_request(reply: Reply, kind: type[StreamkitError]) -> None:
    """The same where no stream is in play."""
    transport = Transport()
    with Server(reply) as server, pytest.raises(kind) as caught:
        headers = {"Authorization": Masked(KEY)}
        request = HttpRequest(server.url, headers, b"x" * 2 * LARGE, secrets=(Masked(KEY),))
        fetch(transport, request, Deadline(0.3), max_body=1000)
    transport.close()
    check(caught.value)
