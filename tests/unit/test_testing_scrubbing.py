"""A cassette leaves out the values of secret names, wherever these values occur again."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.testing.scrubbing import HIDDEN, Scrubber, clean_form, clean_headers, clean_target, secrets_of

KEY = "sk-se/cret+of=the~tape"
LONGER = f"{KEY}-and-more"


def scrubber(*headers: tuple[str, str], target: str = "/", body: bytes = b"") -> Scrubber:
    return Scrubber(secrets_of(target, headers, body))


@pytest.mark.parametrize(
    "name",
    ["Helicone-Auth", "X-Auth", "X-Credentials", "X-Password", "X-Signature", "api-key", "X-Agnic-Token", "Cookie"],
)
def test_headers_with_secrets(name: str) -> None:
    """A header that is named after a secret is hidden, and its value is looked for."""
    scrub = scrubber((name, KEY))
    assert {name.lower(): HIDDEN, "x-echo": "got ***"} == clean_headers([(name, KEY), ("X-Echo", f"got {KEY}")], scrub)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ratelimit-remaining-tokens", "149984"),
        ("anthropic-ratelimit-tokens-reset", "2026-11-21T00:00:00Z"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("ratelimit-policy", "10;w=1"),
        ("x-token-count", "12"),
        ("access-control-allow-credentials", "true"),
        ("x-author", "somebody"),
    ],
)
def test_headers_without_secrets(name: str, value: str) -> None:
    """Rate limits and counts stay, whatever word is in their names."""
    assert {name: value} == clean_headers([(name, value)], scrubber(), numbers=True)


@pytest.mark.parametrize(
    "name",
    [
        *("subscription-key", "access_key", "client_secret", "secret", "password", "auth", "x-api-key", "access-token"),
        *("auth_token", "id_token", "private_token", "X-Goog-Signature", "X-Goog-Credential", "X-Amz-Date", "sig"),
    ],
)
def test_parameters_with_secrets(name: str) -> None:
    """A parameter that is named after a secret is hidden, in a form as well, and the others stay as they are."""
    text = f"max_tokens=5&{name}={quote(KEY, safe='')}&pageToken=abcdefghij&a=%7E"
    clean = f"max_tokens=5&{name}=***&pageToken=abcdefghij&a=%7E"
    assert f"/v1?{clean}" == clean_target(f"/v1?{text}", scrubber())
    assert clean.encode() == clean_form(text.encode())


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "Token ", "Key ", ""])
def test_a_key_without_its_scheme(scheme: str) -> None:
    """The server may repeat the key without the word that came before it."""
    assert b"you sent ***!" == scrubber(("Authorization", f"{scheme}{KEY}")).clean(f"you sent {KEY}!".encode())


def test_basic_authentication() -> None:
    """User and password in base64 are each searched for."""
    sent = base64.b64encode(f"somebody:{KEY}".encode()).decode()
    scrub = scrubber(("Authorization", f"Basic {sent}"))
    assert b"*** is *** is ***" == scrub.clean(f"somebody is {KEY} is {sent}".encode())


def test_what_is_signed_stays_readable() -> None:
    """The names of signed headers in AWS's Authorization are no secrets, or frames would lose theirs."""
    value = "AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=content-type;host, Signature=0123456789abcdef"
    assert b"content-type ***" == scrubber(("Authorization", value)).clean(b"content-type 0123456789abcdef")


@pytest.mark.parametrize(
    "written",
    [
        quote(KEY, safe=""),
        quote(KEY),
        quote(KEY, safe="").lower(),
        json.dumps(KEY)[1:-1].replace("/", "\\/"),
        base64.b64encode(KEY.encode()).decode(),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
    ],
)
def test_other_ways_to_write_a_key(written: str) -> None:
    """A key is found percent-encoded, escaped and in base64."""
    assert HIDDEN == scrubber(("X-Api-Key", KEY)).clean_text(written)


@given(before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_a_key_in_the_midst_of_base64(before: bytes, after: bytes) -> None:
    """Wherever in the encoded data the key is, too little of it is left to decode it."""
    encoded = base64.b64encode(before + KEY.encode() + after)
    left = scrubber(("X-Api-Key", KEY)).clean(encoded)
    assert HIDDEN.encode() in left
    assert len(encoded) - len(left) > len(KEY)


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ({"api_key": KEY}, {"api_key": HIDDEN}),
        ({"a": [{"clientSecret": "short"}]}, {"a": [{"clientSecret": HIDDEN}]}),
        ({"password": 'with " and \\'}, {"password": HIDDEN}),
        ({"token": " Hello", "max_tokens": 5, "key": "value"}, {"token": " Hello", "max_tokens": 5, "key": "value"}),
        ({"api_key": "", "secret": None, "password": {"type": "string"}},) * 2,
    ],
)
def test_json(sent: object, written: object) -> None:
    """Strings under the names of secrets are hidden, and words that only look like such names stay."""
    assert written == json.loads(scrubber().clean(json.dumps(sent).encode()))


def test_a_key_of_the_body_is_looked_for() -> None:
    """A key in the request's body or form is masked in the response too."""
    assert b"***" == scrubber(body=json.dumps({"api_key": KEY}).encode()).clean(KEY.encode())
    assert b"***" == scrubber(body=f"grant=x&client_secret={quote(KEY)}".encode()).clean(KEY.encode())


PIECES = st.sampled_from(
    [KEY, LONGER, quote(KEY, safe=""), "sk-se", "text ", '"', '"access_token": "', '"api', '_key":"', "\\", "é", ": "]
)


@given(pieces=st.lists(PIECES, max_size=8), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_every_split_gives_the_same(pieces: list[str], cuts: list[int]) -> None:
    """However the bytes are cut into reads, no key gets through, and what is written is the same."""
    data = "".join(pieces).encode()
    headers = [("X-Api-Key", KEY), ("Authorization", f"Bearer {LONGER}")]
    scrub = scrubber(*headers)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    written = b"".join(scrub.feed(data[a:b]) for a, b in pairwise(places)) + scrub.rest()
    assert KEY.encode() not in written
    assert scrubber(*headers).clean(data) == written


def test_a_key_that_begins_like_another() -> None:
    """If one key is a prefix of another, the longer one is masked whole, also when it is split."""
    scrub = scrubber(("X-Api-Key", KEY), ("Authorization", f"Bearer {LONGER}"))
    assert b"a *** b" == scrub.feed(f"a {KEY}".encode()) + scrub.feed(f"{LONGER[len(KEY) :]} b".encode()) + scrub.rest()


def test_a_long_value_is_not_held() -> None:
    """A value without an end does not gather in memory, and nothing of it is written."""
    scrub = scrubber()
    written = scrub.feed(b'{"access_token": "') + b"".join(scrub.feed(b"x" * 1000) for _ in range(100)) + scrub.rest()
    assert b'{"access_token": "***' == written
    assert len(scrub.rest()) == 0
