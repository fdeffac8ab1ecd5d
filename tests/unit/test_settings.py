"""Settings reject wrong values with clear messages, and waits between tries grow up to their bounds."""

from __future__ import annotations

import math
import socket
import threading
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    APIError,
    Client,
    ConfigError,
    ConnectError,
    Retry,
    StopEvent,
    StreamError,
    StreamTimeout,
    Timeout,
    providers,
)
from streamkit.settings import LONGEST_WAIT, seconds_of
from streamkit.testing import Server, text_reply


class TestTimeout:
    def test_defaults(self) -> None:
        """The defaults are those of the documentation."""
        timeout = Timeout()
        assert (10.0, 60.0, 60.0, None) == (timeout.connect, timeout.first, timeout.idle, timeout.total)

    @pytest.mark.parametrize("seconds", [30, 0.5])
    def test_a_number_is_the_limit_over_everything(self, seconds: float) -> None:
        """`timeout=30` is `Timeout(total=30)`, the other limits as they are by default."""
        assert Timeout(total=seconds) == Timeout.of(seconds)

    def test_none_is_no_limit_at_all(self) -> None:
        """`timeout=None` takes every limit away."""
        assert Timeout(connect=None, first=None, idle=None, total=None) == Timeout.of(None)

    def test_a_timeout_is_itself(self) -> None:
        """A `Timeout` is returned unchanged."""
        timeout = Timeout(idle=5)
        assert timeout is Timeout.of(timeout)

    @pytest.mark.parametrize("value", [0, -1, -0.5, math.nan, "30", True, False, [30], (1, 2), object])
    def test_anything_else_is_refused(self, value: Any) -> None:
        """Anything but a number above 0 is a `ConfigError` that names the setting and the value."""
        with pytest.raises(ConfigError, match=r"Timeout\(total=\.\.\.\) must be a number of seconds above 0, or None"):
            Timeout.of(value)
        for name in ("connect", "first", "idle", "total"):
            with pytest.raises(ConfigError, match=rf"Timeout\({name}=\.\.\.\) must be .*, not ") as caught:
                Timeout(**{name: value})
            assert repr(value) in str(caught.value)

    def test_frozen(self) -> None:
        """Settings are frozen."""
        with pytest.raises(AttributeError):
            Timeout().total = 1.0  # type: ignore[misc]


HUGE = 10**400  # no float holds it
LONG = 10**5000  # and Python does not even write it


def _nameless(value: object) -> str:
    """Return the name of a case, as pytest cannot write a number of 5,000 digits either."""
    return type(value).__name__


class TestNumbers:
    @pytest.mark.parametrize("value", [HUGE, LONG, math.inf, 1e300, 1e10], ids=_nameless)
    def test_the_longest_wait(self, value: Any) -> None:
        """A limit that no system can wait counts as the longest wait."""
        for name in ("connect", "first", "idle", "total"):
            assert LONGEST_WAIT == getattr(Timeout(**{name: value}), name)
        for name in ("backoff", "max_backoff", "max_retry_after"):
            assert LONGEST_WAIT == getattr(Retry(**{name: value}), name)
        assert LONGEST_WAIT == seconds_of(value, "timeout")
        assert 0 <= (Retry(3, backoff=value, max_backoff=value).delay(api_error(), 2) or 0) <= LONGEST_WAIT
        if isinstance(value, int):
            assert Retry(value).delay(api_error(), 5000) is not None

    @pytest.mark.parametrize("value", [-LONG, -HUGE, -math.inf, math.nan], ids=_nameless)
    def test_impossible(self, value: Any) -> None:
        """A number below 0, or no number, is a `ConfigError`, with any number of digits."""
        for made in (Timeout.of, lambda each: Retry(backoff=each), Retry.of):
            with pytest.raises(ConfigError, match=r"not|cannot"):
                made(value)

    @pytest.mark.parametrize("value", [math.nan, True, False, "1", b"1", [1], 1j])
    def test_no_seconds(self, value: Any) -> None:
        """Anything but a number is a `ConfigError` that names the argument."""
        with pytest.raises(ConfigError, match=r"^recv\(timeout=\.\.\.\) must be a number of seconds, or None"):
            seconds_of(value, "recv(timeout=...)")

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(None, None), (0, 0.0), (1, 1.0), (-1, 0.0), (-HUGE, 0.0), (Fraction(1, 2), 0.5)],
        ids=_nameless,
    )
    def test_seconds(self, value: Any, seconds: float | None) -> None:
        """`None` is no limit; with 0 or a negative number there is no wait."""
        assert seconds == seconds_of(value, "timeout")

    def test_connections_can_wait_as_long(self) -> None:
        """Sockets and locks take the longest wait."""
        with socket.socket() as sock:
            sock.settimeout(LONGEST_WAIT)
        assert threading.TIMEOUT_MAX > LONGEST_WAIT

    @pytest.mark.parametrize("value", [HUGE, math.inf, 1e300], ids=_nameless)
    def test_a_stream_with_them(self, value: Any) -> None:
        """Huge limits work: in a stream, in `recv`, and in a wait for a stop event."""
        stop = StopEvent()
        with (
            Server(text_reply("Hello")) as server,
            Client(
                [providers.OpenAI("k", server.url)],
                timeout=Timeout(connect=value, first=value, idle=value, total=value),
            ) as client,
            client.stream("openai/m", "Hi", stop=stop) as stream,
        ):
            assert stream.recv(timeout=value) is not None
            for wrong in (math.nan, "1", True):
                with pytest.raises(ConfigError, match="recv"):
                    stream.recv(timeout=wrong)
            assert "Hello" in str(stream.collect())
        stop.set()
        assert stop.wait(value)

    @pytest.mark.parametrize("value", [-LONG, 0, math.nan, "1", True], ids=_nameless)
    def test_buffers(self, value: Any) -> None:
        """A buffer that is not a number of chunks is rejected."""
        with pytest.raises(ConfigError, match="buffer is a number of chunks from 1"):
            Client([], buffer=value)


class TestRetry:
    def test_of(self) -> None:
        """A number is the number of tries; a `Retry` is returned unchanged."""
        retry = Retry(2, backoff=1)
        assert retry is Retry.of(retry)
        assert (Retry(attempts=1), 3) == (Retry.of(1), Retry().attempts)

    @pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
    def test_impossible_attempts(self, value: Any) -> None:
        """Anything but an integer from 1 is a `ConfigError` that says that the number counts tries."""
        with pytest.raises(ConfigError, match="counts all tries and must be an integer from 1") as caught:
            Retry.of(value)
        assert repr(value) in str(caught.value)

    @pytest.mark.parametrize("name", ["backoff", "max_backoff", "max_retry_after"])
    @pytest.mark.parametrize("value", [-1, "1", None, True, math.nan])
    def test_impossible_seconds(self, name: str, value: Any) -> None:
        """Anything but a number from 0 is a `ConfigError` that names the setting."""
        with pytest.raises(ConfigError, match=rf"Retry\({name}=\.\.\.\) must be a number of seconds from 0"):
            Retry(**{name: value})


def api_error(retry_after: float | None = None, *, retryable: bool = True) -> APIError:
    return APIError("no", status=429, retry_after=retry_after, retryable=retryable)


class TestDelay:
    def test_attempts_count_all_tries(self) -> None:
        """With three attempts the first and second failure are followed by another try, the third is not."""
        retry, error = Retry(3), ConnectError("no", retryable=True)
        assert [True, True, False, False] == [retry.delay(error, attempt) is not None for attempt in (1, 2, 3, 4)]
        assert Retry(1).delay(error, 1) is None

    @pytest.mark.parametrize(
        "error", [StreamError("no"), StreamTimeout("late", phase="first"), api_error(1.0, retryable=False)], ids=repr
    )
    def test_what_is_not_retryable_is_final(self, error: StreamError) -> None:
        """An error that another try would meet again is not tried again, whatever the server says of waiting."""
        assert Retry(9).delay(error, 1) is None

    @pytest.mark.parametrize(
        ("asked", "expected"), [(0.0, 0.0), (0.25, 0.25), (59.9, 59.9), (60.0, 60.0), (60.1, None), (1e9, None)]
    )
    def test_what_the_server_asks_for(self, asked: float, expected: float | None) -> None:
        """The server's wait is taken exactly, also above the back-off's cap; beyond a minute there is no other try."""
        assert expected == Retry(3).delay(api_error(asked), 2)

    def test_the_cap_is_a_setting(self) -> None:
        """How long a server may ask for is up to the user."""
        retry = Retry(3, max_retry_after=2)
        assert (2.0, None) == (retry.delay(api_error(2.0), 1), retry.delay(api_error(2.5), 1))

    @given(
        backoff=st.floats(0, 10),
        max_backoff=st.floats(0, 20),
        attempt=st.integers(1, 12) | st.integers(1, 100_000),
    )
    def test_back_off_doubles_up_to_its_cap(self, backoff: float, max_backoff: float, attempt: int) -> None:
        """The wait doubles with each try up to the cap, with up to a quarter taken off, at any number of tries."""
        delay = Retry(10**6, backoff=backoff, max_backoff=max_backoff).delay(api_error(), attempt)
        longest = min(backoff * 2.0 ** min(attempt - 1, 1000), max_backoff)
        assert delay is not None
        assert longest * 0.75 <= delay <= longest

    def test_waits_differ(self) -> None:
        """Clients that failed together do not come back together: up to a quarter is taken off, and no more."""
        delays = [Retry(3, backoff=1).delay(api_error(), 1) or 0.0 for _ in range(400)]
        assert 0.75 <= min(delays) < 0.8
        assert 0.95 < max(delays) <= 1.0
