"""Every kind of error body becomes the right error class."""

from __future__ import annotations

import json
import time
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit import APIError, PaymentRequiredError, errors
from streamkit.providers import registry
from streamkit.providers.reply.errors import api_error
from streamkit.wire.http import ResponseInfo
from streamkit.wire.messages import what_happened


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
    for page in ("<html>" + "x" * 100_000, "x" * 100_000):
        error = api_error("p", page, 500)
        assert len(error.message) < 17_000
        assert page == error.body


PAGES = {
    "<!DOCTYPE html>\n<html><head>\n<title>502 Bad\n  Gateway</title></head><body><h1>x</h1>": "502 Bad Gateway",
    "<html>\r\n<head><TITLE lang='en'>host | Bad &amp; broken &#8212; sorry</TITLE>": "host | Bad & broken — sorry",
    "\ufeff <!-- hello --><html><title>Titled</title>": "Titled",
    "<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC 'x'><html><title>Old</title></html>": "Old",
    "<html><head><title> </title></head><body><h1>Service <b>Un</b>available</h1>": "Service Un available",
    "<html><style>a{}</style><script>if (a < b) {}</script><body><p>Nobody &lt;here&gt;</p>": "Nobody <here>",
    "<html><title>never closed": "never closed",
    "<html></html>": "a page of HTML that says nothing",
    f"<html><title>{'long ' * 1000}</title>": ("long " * 60),
    "<b>bold</b> is no page": "<b>bold</b> is no page",
    "<?xml version='1.0'?><Error><Code>SlowDown</Code>": "<?xml version='1.0'?><Error><Code>SlowDown</Code>",
    "the <title> is missing": "the <title> is missing",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_html(page: str) -> None:
    """A page in place of a reason, or in its message, is told by its title in one line; the body is what was sent."""
    said = f"p answered 502: {PAGES[page]}"
    assert said == api_error("p", page, 502).message
    assert page == api_error("p", page, 502).body
    assert said == api_error("p", {"error": {"message": page}}, 502).message
    assert said == api_error("p", {"detail": page}, 502).message
    assert said == api_error("p", {"error": {"code": 502, "message": page}}, None, in_stream=True).message


@pytest.mark.parametrize(
    "page",
    ["<html>" + "<" * 10**6, "<html>" + "<title" * 10**5, "<html>" + "<script" * 10**5, "<html>" + "<!--" * 10**5],
)
def test_a_page_of_html_that_is_slow_to_read(page: str) -> None:
    """Reading a page takes time in proportion to its size."""
    began = time.monotonic()
    api_error("p", page, 502)
    assert time.monotonic() - began < 5


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
                "error code message type status status_code object detail error_description choices x_groq details "
                "retryDelay metadata raw retry_after limit max loc msg request_id id __type innererror agnic".split()
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
@example({"detail": [{"loc": DEEP, "msg": "x"}]}, 422)
@example({"error": {"code": 10**4000}}, None)
@example({"error": {"details": [{"retryDelay": "9" * 5000 + "s"}], "retry_after": 10**400}}, 429)
def test_no_error_body_breaks_it(body: Any, status: int | None) -> None:
    """Any JSON at all as the body of a refusal is an `APIError`."""
    error = api_error("p", body, status)
    assert isinstance(error, APIError)
    assert error.code is None or isinstance(error.code, str)


@attrs.frozen
class Case:
    """A refusal as a provider sends it, and what it means."""

    provider: str
    status: int
    body: Any
    kind: str
    message: str
    code: str | None = None
    type: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    headers: dict[str, str] = attrs.field(factory=dict)


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"}
QUOTA = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "x"}]}
SENT = [
    Case(
        "openai",
        429,
        {
            "error": {
                "message": "Rate limit reached. Please try again in 6m0.5s.",
                "type": "tokens",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
        "RateLimitError",
        "Rate limit reached. Please try again in 6m0.5s.",
        "rate_limit_exceeded",
        "tokens",
        "req_1",
        360.5,
        {"x-request-id": "req_1"},
    ),
    Case(
        "openai",
        429,
        {"error": {"message": "Please try again in 20s.", "type": "requests", "code": None}},
        "RateLimitError",
        "Please try again in 20s.",
        None,
        "requests",
        None,
        0.35,
        {"retry-after-ms": "350"},
    ),
    Case(
        "openai-responses",
        400,
        {
            "error": {
                "message": "Unknown parameter: 'x'.",
                "type": "invalid_request_error",
                "param": "x",
                "code": "unknown_parameter",
            }
        },
        "BadRequestError",
        "Unknown parameter: 'x'.",
        "unknown_parameter",
        "invalid_request_error",
    ),
    Case(
        "azure",
        400,
        {
            "error": {
                "message": "The response was filtered.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
            }
        },
        "BadRequestError",
        "The response was filtered.",
        "content_filter",
        "ResponsibleAIPolicyViolation",
        "apim_1",
        None,
        {"apim-request-id": "apim_1"},
    ),
    Case(
        "azure",
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
        "NotFoundError",
        "The API deployment does not exist.",
        "DeploymentNotFound",
    ),
    Case(
        "azure",
        401,
        {"statusCode": 401, "message": "Access denied due to invalid subscription key."},
        "AuthenticationError",
        "Access denied due to invalid subscription key.",
    ),
    Case(
        "azure",
        429,
        {"error": {"code": "429", "message": "Please retry after 26 seconds."}},
        "RateLimitError",
        "Please retry after 26 seconds.",
        "429",
        None,
        None,
        26.0,
    ),
    Case(
        "anthropic",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_011"},
        "OverloadedError",
        "Overloaded",
        None,
        "overloaded_error",
        "req_011",
    ),
    Case(
        "anthropic",
        429,
        {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}},
        "RateLimitError",
        "slow",
        None,
        "rate_limit_error",
        "req_2",
        12.0,
        {"request-id": "req_2", "retry-after": "12"},
    ),
    Case(
        "gemini",
        429,
        {
            "error": {
                "code": 429,
                "message": "Quota exceeded.",
                "status": "RESOURCE_EXHAUSTED",
                "details": [QUOTA, RETRY_INFO],
            }
        },
        "RateLimitError",
        "Quota exceeded.",
        "429",
        "RESOURCE_EXHAUSTED",
        None,
        37.5,
    ),
    Case(
        "gemini",
        400,
        [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}],
        "BadRequestError",
        "API key not valid.",
        "400",
        "INVALID_ARGUMENT",
    ),
    Case(
        "gemini-interactions",
        503,
        {"error": {"code": 503, "message": "Overloaded.", "status": "UNAVAILABLE"}},
        "OverloadedError",
        "Overloaded.",
        "503",
        "UNAVAILABLE",
    ),
    Case(
        "cohere",
        401,
        {"id": "c-1", "message": "invalid api token"},
        "AuthenticationError",
        "invalid api token",
        None,
        None,
        "c-1",
    ),
    Case(
        "mistral",
        429,
        {
            "object": "error",
            "message": "Rate limit exceeded",
            "type": "rate_limited",
            "param": None,
            "code": "1300",
            "raw_status_code": 429,
        },
        "RateLimitError",
        "Rate limit exceeded",
        "1300",
        "rate_limited",
        "corr_1",
        None,
        {"mistral-correlation-id": "corr_1"},
    ),
    Case(
        "mistral",
        422,
        {
            "detail": [
                {"type": "missing", "loc": ["body", "messages", 0, "role"], "msg": "Field required", "input": {}},
                {"loc": ["body"], "msg": "Bad"},
            ]
        },
        "BadRequestError",
        "body.messages.0.role: Field required; body: Bad",
    ),
    Case(
        "mistral",
        422,
        {
            "object": "error",
            "message": {"detail": [{"loc": ["body", "n"], "msg": "too many"}]},
            "type": "invalid_request_error",
            "code": None,
        },
        "BadRequestError",
        "body.n: too many",
        None,
        "invalid_request_error",
    ),
    Case("mistral", 401, {"detail": "Unauthorized"}, "AuthenticationError", "Unauthorized"),
    Case(
        "ollama",
        404,
        {"error": "model 'x' not found, try pulling it first"},
        "NotFoundError",
        "model 'x' not found, try pulling it first",
    ),
    Case(
        "bedrock",
        400,
        {"message": "The model is not supported."},
        "BadRequestError",
        "The model is not supported.",
        None,
        "ValidationException",
        "amzn_1",
        None,
        {"x-amzn-errortype": "ValidationException:http://internal.amazon.com/", "x-amzn-requestid": "amzn_1"},
    ),
    Case(
        "bedrock",
        403,
        {"__type": "com.amazon.coral.service#UnrecognizedClientException", "Message": "The token is invalid."},
        "PermissionDeniedError",
        "The token is invalid.",
        None,
        "UnrecognizedClientException",
    ),
    Case(
        "groq",
        429,
        {
            "error": {
                "message": "Rate limit reached for model x. Please try again in 7.66s.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
        "RateLimitError",
        "Rate limit reached for model x. Please try again in 7.66s.",
        "rate_limit_exceeded",
        "tokens",
        None,
        7.66,
    ),
    Case(
        "groq",
        400,
        {
            "error": {
                "message": "Failed to call a function.",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "<f>",
            }
        },
        "BadRequestError",
        "Failed to call a function.",
        "tool_use_failed",
        "invalid_request_error",
    ),
    Case(
        "openrouter",
        429,
        {
            "error": {
                "message": "Provider returned error",
                "code": 429,
                "metadata": {"raw": "x is rate-limited upstream", "provider_name": "X"},
            },
            "user_id": "u",
        },
        "RateLimitError",
        "Provider returned error: x is rate-limited upstream",
        "429",
    ),
    Case(
        "openrouter",
        402,
        {"error": {"message": "Insufficient credits", "code": 402}},
        "PaymentRequiredError",
        "Insufficient credits",
        "402",
        None,
        "gen-1",
        None,
        {"x-generation-id": "gen-1"},
    ),
    Case(
        "agnic",
        402,
        {
            "error": "spending_limit_exceeded",
            "error_description": "Daily limit exceeded",
            "limit": "daily",
            "current": 9.5,
            "requested": 1.0,
            "max": 10.0,
        },
        "PaymentRequiredError",
        "Daily limit exceeded",
        "spending_limit_exceeded",
    ),
    Case(
        "agnic",
        401,
        {
            "error": "invalid_token",
            "error_description": "Token expired",
            "message": "Unauthorized",
            "agnic": {"request_id": "ag_1"},
        },
        "AuthenticationError",
        "Token expired",
        "invalid_token",
        None,
        "ag_1",
    ),
    Case(
        "xai",
        400,
        {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***id."},
        "BadRequestError",
        "Incorrect API key provided: xa***id.",
        "Client specified an invalid argument",
    ),
    Case(
        "perplexity",
        400,
        {"error": {"message": "Invalid model 'x'.", "type": "invalid_model", "code": 400}},
        "BadRequestError",
        "Invalid model 'x'.",
        "400",
        "invalid_model",
    ),
    Case(
        "perplexity",
        401,
        "<html><head><title>401 Authorization Required</title></head></html>",
        "AuthenticationError",
        "401 Authorization Required",
    ),
    Case(
        "huggingface",
        503,
        {"error": "Model x is currently loading", "estimated_time": 20.5},
        "OverloadedError",
        "Model x is currently loading",
        None,
        None,
        None,
        20.5,
    ),
    Case(
        "huggingface",
        422,
        {"error": "Input validation error: too long", "error_type": "validation"},
        "BadRequestError",
        "Input validation error: too long",
        None,
        "validation",
    ),
    Case(
        "huggingface",
        400,
        {"error": ["Error in `parameters`: x", "and y"]},
        "BadRequestError",
        "Error in `parameters`: x; and y",
    ),
    Case(
        "together",
        401,
        {
            "id": "t-1",
            "error": {
                "message": "Invalid API key provided.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            },
        },
        "AuthenticationError",
        "Invalid API key provided.",
        "invalid_api_key",
        "invalid_request_error",
        "t-1",
        None,
        {"cf-ray": "ray"},
    ),
    Case(
        "cerebras",
        429,
        {
            "message": "Requests per minute limit exceeded - too many requests sent.",
            "type": "too_many_requests_error",
            "param": "quota",
            "code": "request_quota_exceeded",
        },
        "RateLimitError",
        "Requests per minute limit exceeded - too many requests sent.",
        "request_quota_exceeded",
        "too_many_requests_error",
    ),
    Case(
        "deepseek",
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "param": None,
                "code": "invalid_request_error",
            }
        },
        "PaymentRequiredError",
        "Insufficient Balance",
        "invalid_request_error",
        "unknown_error",
    ),
    Case(
        "fireworks",
        404,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "code": "NOT_FOUND",
                "message": "Model not found",
            }
        },
        "NotFoundError",
        "Model not found",
        "NOT_FOUND",
        "invalid_request_error",
    ),
    Case(
        "github",
        429,
        {
            "error": {
                "code": "RateLimitReached",
                "message": "Rate limit of 10 per 60s exceeded. Please wait 42 seconds before retrying.",
                "details": "...",
            }
        },
        "RateLimitError",
        "Rate limit of 10 per 60s exceeded. Please wait 42 seconds before retrying.",
        "RateLimitReached",
        None,
        "gh_1",
        42.0,
        {"x-github-request-id": "gh_1"},
    ),
    Case("lmstudio", 400, {"error": "Model has been unloaded"}, "BadRequestError", "Model has been unloaded"),
    Case(
        "lmstudio",
        404,
        {
            "error": {
                "message": "Model not found",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        },
        "NotFoundError",
        "Model not found",
        "model_not_found",
        "invalid_request_error",
    ),
    Case(
        "llamacpp",
        401,
        {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}},
        "AuthenticationError",
        "Invalid API Key",
        "401",
        "authentication_error",
    ),
    Case(
        "llamacpp",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        "OverloadedError",
        "Loading model",
        "503",
        "unavailable_error",
    ),
    Case(
        "vllm",
        400,
        {
            "object": "error",
            "message": "max_tokens is too large",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "BadRequestError",
        "max_tokens is too large",
        "400",
        "BadRequestError",
    ),
    Case(
        "moonshot",
        429,
        {"error": {"type": "engine_overloaded_error", "message": "The engine is currently overloaded"}},
        "RateLimitError",
        "The engine is currently overloaded",
        None,
        "engine_overloaded_error",
    ),
    Case(
        "zai",
        429,
        {"error": {"code": "1302", "message": "High concurrency usage"}},
        "RateLimitError",
        "High concurrency usage",
        "1302",
    ),
    Case(
        "alibaba",
        400,
        {
            "error": {
                "message": "Range of max_tokens",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_parameter_error",
            },
            "request_id": "q-1",
            "id": "chatcmpl-1",
        },
        "BadRequestError",
        "Range of max_tokens",
        "invalid_parameter_error",
        "invalid_request_error",
        "q-1",
    ),
]


@pytest.mark.parametrize("case", SENT, ids=lambda case: f"{case.provider}-{case.status}")
def test_what_each_provider_sends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal of each provider, as it sends it, has its class, code, type, reason, request id and wait."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    make = registry.factory(case.provider)
    assert make is not None
    provider = make()
    body = case.body if isinstance(case.body, str) else json.dumps(case.body)
    error = provider.error(ResponseInfo(case.status, case.headers), body.encode())
    expected = (case.kind, case.code, case.type, case.request_id, case.retry_after, case.status, case.body)
    found = (
        type(error).__name__,
        error.code,
        error.type,
        error.request_id,
        error.retry_after,
        error.status,
        error.body,
    )
    assert expected == found
    said = what_happened(error)
    assert f"{case.provider} answered {case.status}: {case.message}" == said


@pytest.mark.parametrize(
    ("body", "status", "kind", "retry_after"),
    [
        ({"error": {"message": "no", "type": "server_error", "code": None}}, 500, "ServerError", None),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, 529, "OverloadedError", None),
        ({"type": "error", "error": {"type": "timeout_error", "message": "no"}}, 504, "ServerError", None),
        ({"type": "error", "error": {"type": "billing_error", "message": "no"}}, 402, "PaymentRequiredError", None),
        ({"error": {"message": "no", "status": "UNAVAILABLE"}}, 503, "OverloadedError", None),
        (
            {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [RETRY_INFO]}},
            429,
            "RateLimitError",
            37.5,
        ),
        (
            {"type": "error", "error": {"type": "service_unavailable_error", "code": "server_is_overloaded"}},
            503,
            "OverloadedError",
            None,
        ),
        ({"message": "no", "type": "too_many_requests_error", "code": "quota"}, 429, "RateLimitError", None),
        ({"error": {"code": 502, "message": "no"}, "choices": []}, 502, "ServerError", None),
        ({"error": {"type": "ThrottlingException", "message": "no"}}, 429, "RateLimitError", None),
        ({"error": {"type": "throttlingException", "message": "no"}}, 429, "RateLimitError", None),
        ({"error": {"code": "rate_limit_exceeded", "message": "try again in 1h2m3s"}}, 429, "RateLimitError", 3723.0),
        ({"error": {"code": "rate_limit_exceeded", "message": "try again in 352ms"}}, 429, "RateLimitError", 0.352),
        ({"error": {"code": 429, "metadata": {"retry_after": 4}}}, 429, "RateLimitError", 4.0),
        ({"error": {"code": 429, "retry_after": "-4"}}, 429, "RateLimitError", None),
        ({"error": {"code": 429, "message": "wait 9999999999 seconds"}}, 429, "RateLimitError", None),
        ({"error": {"code": 400, "message": "then try again in 20s"}}, 400, "BadRequestError", None),
    ],
    ids=str,
)
def test_inside_a_stream(body: Any, status: int, kind: str, retry_after: float | None) -> None:
    """Inside a 200 the words of each provider tell the class, and the body how long to wait."""
    error = api_error("p", body, None, in_stream=True)
    assert (status, kind, retry_after) == (error.status, type(error).__name__, error.retry_after)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"limit": "daily", "current": 9.5, "requested": 1, "max": "10.00"}, ("daily", 9.5, 1.0, 10.0)),
        ({"limit": 5, "current": None, "requested": True, "max": "much"}, (None, None, None, None)),
        (
            {"limit": "x" * 9999, "current": -1, "requested": 10**400, "max": float("nan")},
            ("x" * 200, None, None, None),
        ),
        ({}, (None, None, None, None)),
    ],
)
def test_which_limit_was_reached(told: Any, expected: Any) -> None:
    """A 402 has the limit and the amounts as numbers, at the top of the body or in the error, or `None`."""
    for body in ({"error": "spending_limit_exceeded", **told}, {"error": {"code": "x", **told}}):
        error = api_error("p", body, 402)
        assert isinstance(error, PaymentRequiredError)
        assert expected == (error.limit, error.current, error.requested, error.max)


def test_an_id_is_cut() -> None:
    """A server cannot make an id of a whole page, nor is the id of a reply that of a request."""
    assert "x" * 200 == api_error("p", {"request_id": "x" * 9999}, 500).request_id
    assert api_error("p", {"id": "chatcmpl-1", "choices": [], "error": {"code": 500}}, None).request_id is None
