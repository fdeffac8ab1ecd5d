"""The parts of an error's message: whom it is about, what happened, what to do."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import NotFoundError, RateLimitError, StreamError
from streamkit.wire.messages import Subject, explain, remedy_of, what_happened, with_remedy

SUBJECT = Subject.of("openai", "gpt-x", "https://user:hush@api.example:8443/v1/chat?key=hush")
TEXTS = st.text(min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("openai answered 500: Oh", "openai/gpt-x at api.example:8443 answered 500: Oh"),
        ("openaiish", "openai/gpt-x at api.example:8443: openaiish"),
        ("no connection to api.example:8443: refused", "openai/gpt-x: no connection to api.example:8443: refused"),
        ("openai/gpt-x at api.example:8443: no chunk", "openai/gpt-x at api.example:8443: no chunk"),
    ],
)
def test_the_subject_is_named_once(text: str, whole: str) -> None:
    """Provider, model and host go before the text, without what the text has already."""
    error = StreamError(text)
    explain(error, SUBJECT)
    assert whole == error.message


def test_the_path_is_shown_where_it_may_be_wrong() -> None:
    error = NotFoundError("openai answered 404: Nope", status=404)
    explain(error, SUBJECT)
    assert "openai/gpt-x at https://api.example:8443/v1/chat answered 404: Nope" == error.message


def test_a_zone_is_written_as_people_write_it() -> None:
    subject = Subject.of("p", "m", "http://[fe80::1%25eth0]:1/v1")
    error = StreamError("no connection to [fe80::1%eth0]:1")
    explain(error, subject)
    assert "p/m: no connection to [fe80::1%eth0]:1" == error.message


@pytest.mark.parametrize(
    ("text", "joined"),
    [("Slow", "Slow; tried once; wait"), ("Slow.", "Slow. Tried once; wait"), ("Who?", "Who? Tried once; wait")],
)
def test_how_the_parts_are_joined(text: str, joined: str) -> None:
    """The server's text stays as it is; after its full stop a sentence begins."""
    error = RateLimitError(text, status=429)
    explain(error, Subject("p", "m", ""), note="tried once", remedy="wait")
    assert f"p/m: {joined}" == error.message


@given(what=TEXTS.filter(lambda text: text == text.rstrip("; ")), remedy=st.sampled_from(["ask again", "check `x`; y"]))
def test_the_parts_can_be_told_apart(what: str, remedy: str) -> None:
    """The command line replaces what to do by its own words, also after pickling."""
    error = pickle.loads(pickle.dumps(with_remedy(StreamError(what), remedy)))
    assert (what, remedy) == (what_happened(error), remedy_of(error))


def test_an_own_remedy_goes_before_a_general_one() -> None:
    """The code that found the failure knows best, and what to do is said once."""
    error = with_remedy(StreamError("no TLS"), "check the port")
    explain(error, SUBJECT, note="tried once", remedy="check the network")
    assert "openai/gpt-x at api.example:8443: no TLS; tried once; check the port" == error.message
    assert "check the port" == remedy_of(error)


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_the_length_is_bounded(text: int, model: int) -> None:
    """A long text or a long name is cut, and what to do is not."""
    error = StreamError("x" * text)
    explain(error, Subject.of("p", "m" * model, "http://h/"), remedy="ask again")
    assert error.message.endswith("; ask again")
    assert len(error.message) <= 2048
