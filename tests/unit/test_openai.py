"""Requests to servers of chat completions, and their error responses."""

from __future__ import annotations

import json
import traceback
from typing import Any

import attrs
import pytest

from streamkit import AuthenticationError, ConfigError, OverloadedError, RateLimitError, errors, providers
from streamkit.providers import ChatRequest, OpenAI, OpenAICompletions, OpenAIResponses, Provider
from streamkit.providers.openai_chat.demo import Demo
from streamkit.wire.http import HttpRequest, ResponseInfo

HELLO = [{"role": "user", "content": "Hi"}]
KEY = "sk-secret-123"


def chat(model: str = "m", /, *, extra_body: Any = None, extra_headers: Any = None, **params: Any) -> ChatRequest:
    return ChatRequest(model, HELLO, params, extra_body or {}, extra_headers or {})


def body_of(request: HttpRequest) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(request.body)
    return decoded


def sent(provider: OpenAI | None = None, **options: Any) -> dict[str, Any]:
    return body_of((provider or OpenAI(KEY)).request(chat(**options)))


class TestRequest:
    def test_the_whole_of_it(self) -> None:
        """Address, method, headers and body of a plain call are those of the format."""
        request = OpenAI(KEY).request(chat("gpt-4o-mini"))
        assert ("POST", "https://api.openai.com/v1/chat/completions", False) == (
            request.method,
            request.url,
            request.direct,
        )
        assert {
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
        } == request.headers
        assert {
            "model": "gpt-4o-mini",
            "messages": HELLO,
            "stream": True,
            "stream_options": {"include_usage": True},
        } == body_of(request)

    def test_it_is_a_provider(self) -> None:
        """It has what the protocol asks for."""
        assert isinstance(OpenAI(KEY), Provider)

    def test_parameters_go_as_they_are(self) -> None:
        """OpenAI's own names go on the wire as they stand."""
        params = {"temperature": 0, "seed": 7, "n": 2, "response_format": {"type": "json_object"}, "tools": []}
        assert params == {name: value for name, value in sent(**params).items() if name in params}

    @pytest.mark.parametrize(
        ("provider", "field"),
        [
            (OpenAI(KEY), "max_completion_tokens"),
            (OpenAI(KEY, "https://api.openai.com/v1/"), "max_completion_tokens"),
            (OpenAI(KEY, "http://localhost:8000/v1"), "max_tokens"),
            (OpenAI(KEY, max_tokens_field="max_tokens"), "max_tokens"),
            (OpenAI(KEY, "http://localhost:8000/v1", max_tokens_field="num_predict"), "num_predict"),
        ],
    )
    def test_max_tokens(self, provider: OpenAI, field: str) -> None:
        """`max_tokens` goes by the name that the server knows, and by that one alone."""
        body = sent(provider, max_tokens=5)
        assert {field: 5} == {name: value for name, value in body.items() if value == 5}

    def test_max_tokens_twice(self) -> None:
        """Giving both names of one parameter does not silently drop one."""
        with pytest.raises(ConfigError, match="max_tokens"):
            sent(max_tokens=5, max_completion_tokens=9)

    def test_stop_sequences(self) -> None:
        """`stop_sequences` is `stop` on the wire."""
        body = sent(stop_sequences=["\n", "END"])
        assert (["\n", "END"], False) == (body["stop"], "stop_sequences" in body)

    def test_include_usage_off(self) -> None:
        """Turned off, nothing is asked about usage; a user's own options are sent in either case."""
        quiet = OpenAI(KEY, include_usage=False)
        assert "stream_options" not in sent(quiet)
        own = {"include_usage": False, "other": 1}
        assert [own, own] == [
            sent(quiet, stream_options=own)["stream_options"],
            sent(stream_options=own)["stream_options"],
        ]

    def test_extra_body_goes_over_everything(self) -> None:
        """Unknown fields go into the body unchanged, and replace the library's own."""
        body = sent(temperature=1, extra_body={"temperature": 0.5, "provider": {"order": ["x"]}, "model": "other"})
        assert (0.5, {"order": ["x"]}, "other") == (body["temperature"], body["provider"], body["model"])

    def test_unknown_parameters_are_refused(self) -> None:
        """A parameter that the provider has no word for is a `ConfigError` that names it and the way out."""
        words = r"no parameter temprature: did you mean temperature\? openai has no parameter nonsense; .*extra_body="
        with pytest.raises(ConfigError, match=words):
            sent(temprature=1, nonsense=2, seed=1)

    @pytest.mark.parametrize(
        "value",
        [object(), {1: "x"}, {"a", "b"}, b"bytes", "\ud800"],
        ids=["object", "number as a key", "set", "bytes", "half a character"],
    )
    def test_what_is_no_json_is_refused(self, value: Any) -> None:
        """A value that JSON cannot say is a `ConfigError`, before anything is sent."""
        with pytest.raises(ConfigError, match="cannot be written as JSON"):
            sent(metadata={"value": value})

    def test_headers_of_the_account(self) -> None:
        """Organization and project are sent where they are given."""
        headers = OpenAI(KEY, organization="org", project="proj").request(chat()).headers
        assert ("org", "proj") == (headers["OpenAI-Organization"], headers["OpenAI-Project"])

    def test_extra_headers(self) -> None:
        """A call's own headers are added, over ours, and do not show: they may be secret."""
        request = OpenAI(KEY).request(chat(extra_headers={"X-Title": "hush-hush", "Accept": "*/*"}))
        assert ("hush-hush", "*/*") == (request.headers["X-Title"], request.headers["Accept"])
        assert "hush-hush" not in f"{request!r}{dict(request.headers)}"

    def test_the_users_values_are_not_changed(self) -> None:
        """A request that is made twice is the same twice."""
        call = chat(max_tokens=5, stop_sequences=["x"], extra_body={"a": 1})
        copy = attrs.evolve(call, params=dict(call.params), extra_body=dict(call.extra_body))
        provider = OpenAI(KEY)
        assert provider.request(call) == provider.request(call)
        assert copy == call

    def test_the_demo_goes_past_proxies(self) -> None:
        """The embedded server is asked without a key, and never through a proxy."""
        request = Demo("http://127.0.0.1:9/v1").request(chat("storyteller"))
        assert (True, False, "storyteller") == (
            request.direct,
            "Authorization" in request.headers,
            body_of(request)["model"],
        )


class TestKey:
    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an argument the key is the environment's, read when the provider is made."""
        monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
        assert f"Bearer {KEY}" == OpenAI().request(chat()).headers["Authorization"]
        assert "Bearer other" == OpenAI("other").request(chat()).headers["Authorization"]

    def test_of_another_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """OpenAI's key is not sent to a service that goes by another name; that one has a variable of its own."""
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("MY_HOST_API_KEY", "its-own")
        other = OpenAI(base_url="https://host/v1", name="other").request(chat())
        mine = OpenAI(base_url="https://host/v1", name="my-host").request(chat())
        assert (None, "Bearer its-own") == (other.headers.get("Authorization"), mine.headers["Authorization"])

    @pytest.mark.parametrize("key", [None, "", "  "])
    def test_missing(self, key: str | None) -> None:
        """Without a key there is a `ConfigError` that names the variable to set, and the argument."""
        with pytest.raises(
            ConfigError, match=r"variable OPENAI_API_KEY, or pass providers\.OpenAI\(api_key=\.\.\.\) to a C"
        ):
            OpenAI(key).request(chat())

    def test_a_server_of_ones_own_needs_none(self) -> None:
        """Another address is asked without a key if there is none."""
        request = OpenAI(base_url="http://localhost:8000/v1").request(chat())
        assert ("http://localhost:8000/v1/chat/completions", False) == (request.url, "Authorization" in request.headers)

    @pytest.mark.parametrize("key", ["sk-a\nb", "sk-ä", "sk-\x00"])
    def test_impossible(self, key: str) -> None:
        """A key that no header can carry is refused, by name and not by value."""
        with pytest.raises(ConfigError, match="OPENAI_API_KEY holds a line break") as caught:
            OpenAI(key)
        assert key not in f"{caught.value!s}{caught.value!r}"

    @pytest.mark.parametrize(("key", "kind"), [(b"sk-secret-bytes", "bytes"), (5, "int"), (["sk-secret"], "list")])
    def test_no_text(self, key: Any, kind: str) -> None:
        """A key that is no text is refused, and shows neither in the error nor among the locals."""
        with pytest.raises(ConfigError, match=f"the API key for OPENAI_API_KEY is text, not {kind}") as caught:
            OpenAI(key)
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [dict(f.f_locals) for f in frames if f.f_globals["__name__"].startswith("streamkit.")]
        assert ours
        assert "sk-secret" not in f"{caught.value!r} {ours}"

    def test_impossible_does_not_show_in_locals(self) -> None:
        """Nor does a tool that prints the locals of a traceback show it, in any frame of ours."""
        with pytest.raises(ConfigError) as caught:
            OpenAI("sk-secret\n123")
        assert "sk-secret" not in locals_of_ours(caught.value)

    def test_nowhere_to_be_seen(self) -> None:
        """Neither the provider nor its request shows the key, in whichever way they are printed."""
        provider = OpenAI(KEY)
        request = provider.request(chat())
        shown = f"{provider!r} {provider} {vars(provider)} {request!r} {request.headers} {request.secrets}"
        assert KEY not in shown
        assert KEY in request.secrets

    def test_not_in_locals(self) -> None:
        """When a request cannot be made, no frame of ours holds the key in the clear."""
        with pytest.raises(ConfigError) as caught:
            OpenAI(KEY).request(chat(metadata={"value": object()}))
        assert KEY not in locals_of_ours(caught.value)


def locals_of_ours(error: BaseException) -> str:
    """What a tool that prints locals would show of the library's frames."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame, _ in frames if frame.f_globals["__name__"].startswith("streamkit.")]
    assert ours
    return " ".join(f"{name}={value!r}" for frame in ours for name, value in frame.f_locals.items())


class TestAddress:
    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("http://localhost:8000/v1", "http://localhost:8000/v1"),
            ("https://host/v1///", "https://host/v1"),
            ("https://host", "https://host"),
        ],
    )
    def test_base_url(self, given: str, expected: str) -> None:
        """The address is taken without its last slash."""
        assert f"{expected}/chat/completions" == OpenAI(KEY, given).request(chat()).url

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`OPENAI_BASE_URL` is where requests go that name no address."""
        monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
        assert ("http://gateway/v1", "http://mine/v1") == (
            OpenAI().base_url,
            OpenAI(base_url="http://mine/v1").base_url,
        )

    def test_of_another_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """OpenAI's address does not count for a service of another name; that one has a variable of its own."""
        monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
        assert "https://api.openai.com/v1" == OpenAI(KEY, name="work").base_url
        monkeypatch.setenv("WORK_BASE_URL", "http://work/v1")
        assert "http://work/v1" == OpenAI(KEY, name="work").base_url

    @pytest.mark.parametrize(
        "url", ["localhost:8000", "ftp://host/v1", "http://", "http:///v1", "/v1", "  ", 5, b"https://host/v1"]
    )
    def test_impossible(self, url: Any) -> None:
        """Anything but an absolute http or https URL is a `ConfigError` with an example."""
        with pytest.raises(ConfigError, match=r"base_url is an absolute http or https URL such as https://host/v1"):
            OpenAI(KEY, url)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("https://me:hush@host/v1", "user name .* api_key="),
            ("me:hush@host/v1", "absolute"),
            ("https://host/v1?key=hush", "query"),
            ("https://host/v1#hush", "fragment"),
            ("https://host/v 1", "blank"),
            ("https://ho st/v1", "blank"),
            ("https://host/v\n1", "blank"),
            ("https://host/v\x001", "blank"),
        ],
    )
    def test_more_than_an_address(self, url: str, words: str) -> None:
        """An address with user, query, fragment or blanks is rejected, without showing possible secrets."""
        with pytest.raises(ConfigError, match=words) as caught:
            OpenAI(KEY, url)
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("made", [OpenAI, OpenAIResponses, OpenAICompletions])
    @pytest.mark.parametrize("host", ["api.openai.com", "us.api.openai.com", "eu.api.openai.com"])
    def test_regions(self, made: Any, host: str) -> None:
        """OpenAI is OpenAI in every region: it wants a key."""
        with pytest.raises(ConfigError, match="needs an API key"):
            made(None, f"https://{host}/v1").request(ChatRequest("m", HELLO))
        for other in (f"{host}.evil.example", "host", "notapi.openai.com.host"):
            assert (
                made(None, f"https://{other}/v1").request(ChatRequest("m", HELLO)).url.startswith(f"https://{other}/")
            )

    def test_max_tokens_of_a_region(self) -> None:
        """And has the new name of `max_tokens`."""
        request = OpenAI(KEY, "https://eu.api.openai.com/v1").request(ChatRequest("m", HELLO, {"max_tokens": 5}))
        assert 5 == json.loads(request.body)["max_completion_tokens"]

    def test_of_the_environment_and_impossible(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An address that the environment has is put down to its variable, by every provider that has one."""
        for variable, made in [
            ("OPENAI_BASE_URL", OpenAI),
            ("WORK_BASE_URL", lambda: OpenAI(name="work")),
            ("OPENAI_BASE_URL", OpenAIResponses),
            ("OPENAI_BASE_URL", OpenAICompletions),
            ("GROQ_BASE_URL", lambda: providers.OpenAICompatible("groq")),
            ("ANTHROPIC_BASE_URL", providers.Anthropic),
            ("GEMINI_BASE_URL", providers.Gemini),
            ("GEMINI_BASE_URL", providers.GeminiInteractions),
            ("AGNIC_BASE_URL", providers.Agnic),
            ("AZURE_OPENAI_ENDPOINT", providers.AzureOpenAI),
            ("OLLAMA_HOST", providers.Ollama),
        ]:
            monkeypatch.setenv(variable, "http://me:hush@")
            with pytest.raises(ConfigError, match=f"^{variable} ") as caught:
                made()
            assert "hush" not in str(caught.value)
            monkeypatch.delenv(variable)

    @pytest.mark.parametrize(
        "url", ["http://me:hush@127.0.0.1", "http://me:hu@sh@127.0.0.1", "http://me:hu/sh@127.0.0.1"]
    )
    def test_what_is_shown(self, url: str) -> None:
        """Name and password stand in an error as asterisks before the @."""
        with pytest.raises(ConfigError, match=r"'http://\*\*\*@127\.0\.0\.1'"):
            OpenAI(KEY, url)

    def test_blanks_around(self) -> None:
        """Blanks around an address, as a file or a shell leaves them, are no part of it."""
        assert "https://host/v1" == OpenAI(KEY, " https://host/v1/\n").base_url

    def test_repr(self) -> None:
        """Name and address are in the repr."""
        assert "<OpenAI mine at http://host/v1>" == repr(OpenAI(KEY, "http://host/v1", name="mine"))


class TestError:
    def test_what_it_knows(self) -> None:
        """Status, reason, request id, the wait that is asked for and the body come from the response."""
        body = {"error": {"message": "slow down", "type": "tokens", "code": "rate_limit_exceeded"}}
        info = ResponseInfo(429, {"x-request-id": "req", "retry-after": "7"})
        error = OpenAI(KEY).error(info, json.dumps(body).encode())
        assert isinstance(error, RateLimitError)
        assert "openai answered 429: slow down" == error.message
        assert (429, "rate_limit_exceeded", "tokens", "req", 7.0, body, False, True) == (
            error.status,
            error.code,
            error.type,
            error.request_id,
            error.retry_after,
            error.body,
            error.in_stream,
            error.retryable,
        )

    def test_the_status_of_the_response_counts(self) -> None:
        """A status in the body does not replace the HTTP status."""
        error = OpenAI(KEY).error(ResponseInfo(503, {}), b'{"error": {"code": 400, "message": "no"}}')
        assert (OverloadedError, 503, "400") == (type(error), error.status, error.code)

    def test_a_wrong_key(self) -> None:
        """A 401 says where the key comes from."""
        error = OpenAI("x", "http://host/v1", name="my-host").error(ResponseInfo(401, {}), b"{}")
        assert isinstance(error, AuthenticationError)
        assert "check the key in MY_HOST_API_KEY" in str(error)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"null", b"[]", b"{}", b'"text"', b"[" * 5000])
    @pytest.mark.parametrize("status", [400, 500, 418, 204, 100])
    def test_any_body(self, body: bytes, status: int) -> None:
        """For any body, the HTTP status selects the error class."""
        error = OpenAI(KEY).error(ResponseInfo(status, {}), body)
        assert type(error) is errors.APIError.class_for(status)
        assert str(status) in str(error)


class TestDecoder:
    @pytest.mark.parametrize(
        ("call", "expected"),
        [
            (chat(), True),
            (chat(n=2), False),
            (chat(extra_body={"n": 2}), False),
            (chat(n="2"), True),
            (chat(n=1), True),
        ],
    )
    def test_it_knows_how_many_choices(self, call: ChatRequest, expected: bool) -> None:
        """A reply is whole when as many choices have ended as were asked for, wherever that was said."""

        @attrs.define
        class Event:
            data: str
            event: str = "message"

        decoder = OpenAI(KEY).decoder(call)
        decoder.decode(Event('{"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}'))
        assert expected == decoder.whole

    def test_each_stream_has_its_own(self) -> None:
        """Decoders share nothing."""
        provider = OpenAI(KEY)
        assert provider.decoder(chat()) is not provider.decoder(chat())
