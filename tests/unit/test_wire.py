"""Secrets are masked, and response headers are read as their standards say."""

from __future__ import annotations

import json
import pickle
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.settings import LONGEST_WAIT
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.json import parse_json
from streamkit.wire.secrets import Masked, mask, mask_all, place_of, without_userinfo

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


def info(**headers: str) -> ResponseInfo:
    return ResponseInfo(200, {name.replace("_", "-"): value for name, value in headers.items()}, NOON)


class TestMasked:
    def test_repr_does_not_show_it(self) -> None:
        """Neither alone nor inside a container nor with `!r` is it to be seen."""
        key = Masked("sk-secret")
        shown = f"{key!r} {[key]} { ({'Authorization': key}) } {(key,)!r}"
        assert "sk-secret" not in shown
        assert "'***'" == repr(key)

    def test_it_is_the_text(self) -> None:
        """On the wire the masked string is the secret itself."""
        key = Masked("sk-secret")
        assert (b"sk-secret", "Bearer sk-secret", "sk-secret") == (key.encode(), f"Bearer {key}", key)

    def test_it_stays_masked_in_a_child(self) -> None:
        """Pickled and back, it still does not show."""
        again = pickle.loads(pickle.dumps(Masked("sk-secret")))
        assert ("'***'", "sk-secret") == (repr(again), str(again))


@pytest.mark.parametrize(
    ("text", "secrets", "expected"),
    [
        ("key sk-1 is wrong: sk-1", ("sk-1",), "key *** is wrong: ***"),
        ("sk-1 and sk-2", ("sk-1", "sk-2"), "*** and ***"),
        ("untouched", ("sk-1",), "untouched"),
        ("no secrets", (), "no secrets"),
        ("an empty one", ("",), "an empty one"),
    ],
)
def test_mask(text: str, secrets: tuple[str, ...], expected: str) -> None:
    """Every occurrence of every secret becomes asterisks; an empty secret is in no text."""
    assert expected == mask(text, secrets)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text(max_size=6) | st.just("a sk-1 b"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just("sk-1") | st.text(max_size=3), inner, max_size=3)
    ),
)


@given(JSON)
def test_mask_all(value: Any) -> None:
    """In decoded JSON every string and key is masked, and nothing else is touched."""
    masked = mask_all(value, (Masked("sk-1"),))
    assert "sk-1" not in repr(masked)
    assert json.loads(json.dumps(value).replace("sk-1", "***")) == masked


@pytest.mark.parametrize("secret", ["1", "null", "true", '"', "\\", "e"])
def test_mask_all_keeps_what_is_no_text(secret: str) -> None:
    """A secret that looks like a piece of JSON takes neither numbers nor words of JSON away."""
    value = {"code": 1, "none": None, "flag": True, "list": [1.5, secret, f"a{secret}b"]}
    masked = mask_all(value, (secret,))
    assert [1, None, True] == list(masked.values())[:3]
    assert [1.5, "***", "a***b"] == masked[mask("list", (secret,))]


class TestParseJson:
    @given(st.recursive(st.none() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.text(), st.lists))
    def test_whatever_json_writes(self, value: Any) -> None:
        """What Python's own encoder writes is read back, as text and as bytes."""
        for text in (json.dumps(value), json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")):
            try:
                assert json.dumps(value) == json.dumps(parse_json(text))
            except UnicodeDecodeError:
                assert "\\ud" in json.dumps(value)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [('"a\\ud83d"', "a\ud83d"), ("[Infinity]", [float("inf")]), ('"a\tb"', "a\tb"), (b'{"a": 1}', {"a": 1})],
    )
    def test_what_servers_send(self, text: str | bytes, expected: Any) -> None:
        """Lone surrogates, Infinity and control characters are accepted."""
        assert expected == parse_json(text)

    @pytest.mark.parametrize("text", ["", "{", "no", "[" * 100_000, "[" * 100_000 + "]" * 100_000, b"\xff", b'"\xff"'])
    def test_no_json(self, text: str | bytes) -> None:
        """Malformed or too deeply nested JSON is a `ValueError` and no other error."""
        with pytest.raises(ValueError):
            parse_json(text)


def test_a_request_does_not_show_secrets() -> None:
    """The repr has neither the key, nor the body, which is the user's."""
    key = Masked("sk-secret")
    headers = {"Authorization": Masked(f"Bearer {key}")}
    shown = repr(HttpRequest("https://host/v1", headers, b'{"messages": "private"}', (key,)))
    assert "sk-secret" not in shown
    assert "private" not in shown
    assert "https://host/v1" in shown


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({}, None),
            ({"retry_after_ms": "1500"}, 1.5),
            ({"retry_after_ms": "0"}, 0.0),
            ({"retry_after_ms": "250.5"}, 0.2505),
            ({"retry_after": "7"}, 7.0),
            ({"retry_after": " 7 "}, 7.0),
            ({"retry_after": "0.5"}, 0.5),
            ({"retry_after": "0"}, 0.0),
            ({"retry_after_ms": "1500", "retry_after": "7"}, 1.5),
            ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
            ({"retry_after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
            ({"retry_after": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
            ({"retry_after": "Sun, 01 Mar 2026 13:00:30 +0100"}, 30.0),
            ({"retry_after": "Sunday, 01-Mar-26 12:00:30 GMT"}, 30.0),
            ({"retry_after": "Sun Mar  1 12:00:30 2026"}, 30.0),
            ({"retry_after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
            ({"retry_after": ""}, None),
            ({"retry_after": "soon"}, None),
            ({"retry_after": "-1"}, None),
            ({"retry_after": "nan"}, None),
            ({"retry_after": "inf"}, LONGEST_WAIT),
            ({"retry_after": "9" * 5000}, LONGEST_WAIT),
            ({"retry_after": "-inf"}, None),
            ({"retry_after_ms": "1e400"}, LONGEST_WAIT),
            ({"retry_after_ms": "9" * 5000}, LONGEST_WAIT),
            ({"retry_after_ms": "-5"}, None),
            ({"retry_after": "Sun, 99 Mar 2026 12:00:30 GMT"}, None),
            ({"retry_after": "Sun, 01 Mar 2026 12:00:30 +" + "9" * 20}, None),
        ],
        ids=repr,
    )
    def test_forms(self, headers: dict[str, str], expected: float | None) -> None:
        """Milliseconds go before seconds, seconds and dates are understood, a past date is now, garbage is nothing."""
        assert expected == info(**headers).retry_after

    @given(st.integers(-(10**6), 10**8))
    def test_any_date(self, seconds: int) -> None:
        """A date says how long it is until then, and never a negative time."""
        date = format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)
        assert max(0.0, seconds) == info(retry_after=date).retry_after

    @given(st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,6} \d+:\d+:\d+ [+-]?\w{1,30}\Z"))
    @example("Mon, 01 Jan 0001 00:00:00 +2359")
    @example("Fri, 31 Dec 9999 23:59:59 -2359")
    @example("Mon, 01 Jan 2024 00:00:00 -" + "9" * 5000)
    @example("²")
    def test_garbage_is_nothing(self, text: str) -> None:
        """Whatever a server writes there, it is a time from now or nothing, and never a failure."""
        for headers in ({"retry_after": text}, {"retry_after_ms": text}):
            seconds = info(**headers).retry_after
            assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_request_id": "a", "cf_ray": "b"}, "a"),
        ({"request_id": "a", "x_generation_id": "b"}, "a"),
        ({"x_generation_id": "a"}, "a"),
        ({"apim_request_id": "a"}, "a"),
        ({"cf_ray": "b"}, "b"),
        ({"other": "b"}, None),
    ],
)
def test_request_id(headers: dict[str, str], expected: str | None) -> None:
    """The provider's own id is preferred to one of a proxy before it."""
    assert expected == info(**headers).request_id


def test_rate_limit() -> None:
    """The headers of rate limits are picked out, whatever they begin with."""
    response = info(x_ratelimit_remaining_tokens="9", anthropic_ratelimit_x="1", server="nginx")
    assert {"x-ratelimit-remaining-tokens": "9", "anthropic-ratelimit-x": "1"} == response.rate_limit


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream; charset=UTF-8", "text/event-stream"),
        (" application/json ;x", "application/json"),
        ("", ""),
    ],
)
def test_content_type(sent: str, expected: str) -> None:
    """The media type comes in lower case, without its parameters."""
    assert expected == info(content_type=sent).content_type
    assert "" == info().content_type


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://host:1", "http://host:1"),
        ("http://me:secret@host:1", "http://***@host:1"),
        ("me:secret@host:1", "***@host:1"),
        ("http://me:se@cret@host", "http://***@host"),
        ("http://me:se/cret@host", "http://***@host"),
        ("socks5h://me:se\ncret@host", "socks5h://***@host"),
        ("localhost,.example", "localhost,.example"),
    ],
)
def test_name_and_password(address: str, expected: str) -> None:
    """All before the last @ is hidden, with or without a scheme."""
    assert expected == without_userinfo(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host:1/a/b", "https://host:1/a/b"),
        ("https://me:secret@host/@scope//a@b?k=secret@x#secret", "https://host/@scope//a@b"),
        ("//me:se@cret@host?secret", "//host"),
        ("https://host?to=//me@x", "https://host"),
        ("/login//a@b?ticket=secret", "/login//a@b"),
        ("", ""),
    ],
)
def test_the_place_of_a_url(url: str, expected: str) -> None:
    """Of where a server points there is left what says where that is."""
    assert expected == place_of(url)
