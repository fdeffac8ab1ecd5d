"""Whatever a server sends as an error becomes the error that it means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit import APIError, errors
from streamkit.providers.api_errors import api_error


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"error": {"message": "bad key", "type": "x", "code": 400}}, 401, "AuthenticationError", "401: bad key"),
        ("<h1>Bad gateway</h1>", 502, "ServerError", "502: <h1>Bad gateway</h1>"),
        ("", 503, "OverloadedError", "503: it gave no reason"),
        ({"detail": [{"loc": ["body"], "msg": "missing"}]}, 422, "BadRequestError", "missing"),
        ([{"error": {"code": 400, "message": "listed"}}], 400, "BadRequestError", "400: listed"),
        (None, 404, "NotFoundError", "404: it gave no reason"),
    ],
    ids=str,
)
def test_bodies_of_refusals(body: Any, status: int, kind: str, words: str) -> None:
    """With an HTTP status that status counts, and the reason is found in whatever the body is."""
    error = api_error("p", body, status)
    assert getattr(errors, kind) is type(error)
    assert words in error.message
    assert (status, False, body) == (error.status, error.in_stream, error.body)


def test_a_long_reason_is_cut() -> None:
    """The text of an error stays readable, whatever the server sends; the body has it all."""
    page = "<html>" + "x" * 100_000
    error = api_error("p", page, 500)
    assert len(error.message) < 17_000
    assert page == error.body


@pytest.mark.parametrize("key", ["code", "type"])
@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("invalid_request_error", 400),
        ("context_length_exceeded", 400),
        ("invalid_api_key", 401),
        ("insufficient_credits", 402),
        ("permission_error", 403),
        ("model_not_found", 404),
        ("timeout", 408),
        ("rate_limit_exceeded", 429),
        ("insufficient_quota", 429),
        ("server_error", 500),
        ("service_unavailable", 503),
        ("overloaded_error", 529),
        ("something_new", None),
    ],
)
def test_a_word_stands_for_its_status(key: str, word: str, status: int | None) -> None:
    """Inside a stream, where no status is, code or type tell which one is meant."""
    error = api_error("p", {"error": {"message": "no", key: word}}, None, in_stream=True)
    assert (status, APIError.class_for(status), True) == (error.status, type(error), error.in_stream)
    assert word == getattr(error, key)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 429}}, 429),
        ({"error": {"code": "503"}}, 503),
        ({"error": {"status_code": 404, "code": 500}}, 404),
        ({"error": {"code": 1301, "status": 402}}, 402),
        ({"error": {"code": 200, "type": "server_error"}}, 500),
        ({"error": "x", "status_code": 401}, 401),
        ({"error": {"code": 600}}, None),
        ({"error": {"code": "0429"}}, None),
        ({"error": {"code": True}}, None),
        ({"error": {"code": 429.0}}, None),
    ],
    ids=str,
)
def test_a_number_is_a_status(body: Any, status: int | None) -> None:
    """A number of the range of errors is the status, wherever it stands; any other number is only a code."""
    assert status == api_error("p", body, None).status


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DEEP = nested(400)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "error code message type status status_code object detail error_description choices x_groq".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([None, 200, 400, 500]))
@example({"error": {"message": DEEP, "code": DEEP}}, 400)
@example({"error": {"code": "9" * 5000}}, None)
@example({"detail": DEEP}, 422)
def test_no_error_body_breaks_it(body: Any, status: int | None) -> None:
    """Any JSON at all as the body of a refusal is an `APIError`."""
    error = api_error("p", body, status)
    assert isinstance(error, APIError)
    assert error.code is None or isinstance(error.code, str)
