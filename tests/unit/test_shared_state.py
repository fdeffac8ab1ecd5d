"""Halting the shared state ends every wait of a worker, and its failures hold no key."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from streamkit import APIError, Chunk, Client, StreamError, Timeout, providers
from streamkit.streaming.shared_state import StreamState
from streamkit.testing import Reply, Server
from tests.unit.support import SOON, Task, bounded


def state_of(plain: threading.Event | None = None) -> StreamState:
    return StreamState(2, 1 << 20, Timeout(), ("p", "m"), plain)


class TestHalting:
    def test_halt_ends_everything(self) -> None:
        """Halting closes the channel and shuts the guard, any number of times."""
        state = state_of()
        assert not state.stop_requested()
        for _ in range(3):
            state.halt()
            assert (True, True, "<SocketGuard shut>") == (
                state.stop_requested(),
                state.channel.closed,
                repr(state.guard),
            )

    def test_a_childs_copy_touches_nothing(self) -> None:
        """In a forked child halting leaves the parent's socket alone."""
        state = state_of()
        state.inherited = True
        state.halt()
        assert (True, False, "<SocketGuard idle>") == (state.halted, state.channel.closed, repr(state.guard))

    def test_halt_ends_a_back_off(self) -> None:
        """A wait between two tries ends with the stream, not with its time."""
        state = state_of()
        sleeper = Task(lambda: state.sleep(600))
        state.halt()
        sleeper.result()

    @pytest.mark.parametrize("seconds", [0, -1, 0.01])
    def test_a_back_off_ends_by_itself(self, seconds: float) -> None:
        """It lasts the given seconds, and does not halt the stream."""
        state, began = state_of(), time.monotonic()
        with bounded():
            state.sleep(seconds)
        assert time.monotonic() - began >= seconds
        assert not state.halted

    def test_a_plain_event_is_looked_at(self) -> None:
        """A set `threading.Event` halts the stream when it is checked, which a back-off does first."""
        plain = threading.Event()
        state = state_of(plain)
        assert not state.stop_requested()
        plain.set()
        with bounded():
            state.sleep(600)
        assert (True, True) == (state.halted, state.channel.closed)

    def test_a_cancel_inside_a_cancel(self) -> None:
        """A signal handler may cancel, or the collector drop, a stream while its thread is inside `halt`."""
        state = state_of()
        with bounded(), state.channel.mutex:
            state.halt()

    def test_halt_ends_a_full_queue(self) -> None:
        """Halting ends a worker's wait for a slow consumer."""
        state = state_of()
        sender = Task(lambda: state.channel.put_many([Chunk("text", text="x")] * 9))
        state.halt()
        with pytest.raises(Exception, match="closed"):
            sender.result()


def failure_of(body: str, *, key: str = "sk-SECRET", status: int = 400, **options: Any) -> StreamError:
    """The error of a stream whose server answers with this."""
    reply = Reply([body], status=status, **{"content_type": "application/json", "framing": "length", **options})
    with (
        Server(reply) as server,
        Client([providers.OpenAI(api_key=key, base_url=server.url)], timeout=SOON, retry=1) as client,
        pytest.raises(StreamError) as caught,
    ):
        client.complete("openai/m", "hi")
    return caught.value


class TestFailures:
    @pytest.mark.parametrize(
        "body",
        [
            '{"error": {"message": "wrong key sk-SECRET", "code": "sk-SECRET", "type": "sk-SECRET"}}',
            '{"error": "sk-SECRET"}',
            '["sk-SECRET"]',
            "wrong key sk-SECRET",
        ],
    )
    @pytest.mark.parametrize("status", [400, 500])
    def test_no_key_in_an_error(self, body: str, status: int) -> None:
        """A server that repeats the key does not bring it into the error, wherever it puts it."""
        error = failure_of(body, status=status)
        assert isinstance(error, APIError)
        shown = f"{error!s} {error!r} {error.args} {vars(error)}"
        assert "sk-SECRET" not in shown
        assert "***" in shown

    def test_no_key_in_an_error_inside_a_stream(self) -> None:
        """An error inside a 200 does not contain the key."""
        error = failure_of('data: {"error": {"message": "wrong key sk-SECRET"}}\n\n', status=200, content_type=None)
        assert isinstance(error, APIError)
        assert "wrong key ***" in str(error)
        assert {"error": {"message": "wrong key ***"}} == error.body

    @pytest.mark.parametrize(
        ("body", "options"),
        [
            ('{"error": {"message": "no", "param": ' + "[" * 300 + "]" * 300 + "}}", {}),
            ('{"error": {"message": "no", "code": 401}}', {"key": "1"}),
            ('{"error": {"message": "no", "param": null}}', {"key": "null"}),
            ('data: {"error": {"message": "no", "param": "\\ud800"}}\n\n', {"status": 200, "content_type": None}),
        ],
        ids=["deep", "digit", "null", "half a character"],
    )
    def test_masking_does_not_fail(self, body: str, options: dict[str, Any]) -> None:
        """Whatever the error's body and the key are, the error is the provider's."""
        error = failure_of(body, **options)
        assert isinstance(error, APIError), repr(error)
