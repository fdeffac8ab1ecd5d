"""Keys do not appear in frames, causes, reprs or messages of errors."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import streamkit
from streamkit import APIError, Client, ConfigError, providers
from streamkit.providers.openai_chat.azure import AzureOpenAI
from streamkit.testing import Reply, Server
from streamkit.wire.http import ResponseInfo

KEY = "sk-hush-hush-123"
HELLO = [{"role": "user", "content": "Hi"}]
HOST = "https://host.example/v1"

MADE: dict[str, Callable[..., Any]] = {
    "Agnic": providers.Agnic,
    "Anthropic": providers.Anthropic,
    "Cohere": providers.Cohere,
    "Gemini": providers.Gemini,
    "GeminiInteractions": providers.GeminiInteractions,
    "Mistral": providers.Mistral,
    "Ollama": providers.Ollama,
    "OpenAI": providers.OpenAI,
    "OpenAICompletions": providers.OpenAICompletions,
    "OpenAIResponses": providers.OpenAIResponses,
    "OpenAICompatible": lambda **options: providers.OpenAICompatible("mine", **options),
    "AzureOpenAI": lambda base_url, **options: AzureOpenAI(endpoint=base_url, **options),
    "Bedrock": lambda **options: providers.Bedrock(region="eu-west-1", **options),
}


def errors_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and all that it came from."""
    seen: list[BaseException] = []
    pending = [error]
    while pending:
        current = pending.pop()
        if current is not None and current not in seen:
            seen.append(current)
            pending += [current.__cause__, current.__context__]
    return iter(seen)


def shown(error: BaseException) -> str:
    """Return the output of a tool that prints an error, its causes, and the locals of the library's frames."""
    texts = []
    for each in errors_of(error):
        texts += [str(each), repr(each), repr(vars(each))]
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("streamkit")]
        texts += [f"{frame.f_code.co_name}: {k}={v!r}" for frame in ours for k, v in frame.f_locals.items()]
    return "\n".join(texts)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{KEY}@host.example/v1",
        f"{HOST}?key={KEY}",
        f"{HOST}#{KEY}",
        f"me:{KEY}@host.example/v1",
        f"https://host.example:{KEY}/v1",
        f"ftp://{KEY}@host.example",
        f"{HOST}/a b?key={KEY}",
        f"https://me:{KEY}@",
        f"https://me:{KEY}@host.example:99999/v1?key={KEY}",
        KEY,
        f"https://me:{KEY}@host.example/v1".encode(),
        ("https", KEY),
    ],
)
@pytest.mark.parametrize("made", MADE)
def test_an_address_with_a_secret(made: str, url: Any) -> None:
    """A password or a key in a base URL, which none may have, shows neither in the error nor among the locals."""
    with pytest.raises(ConfigError) as caught:
        MADE[made](base_url=url, api_key="another-key-456")
    assert KEY not in shown(caught.value)
    assert "another-key-456" not in shown(caught.value)


@pytest.mark.parametrize(
    ("variable", "made"),
    [
        ("OPENAI_BASE_URL", "OpenAI"),
        ("ANTHROPIC_BASE_URL", "Anthropic"),
        ("GEMINI_BASE_URL", "Gemini"),
        ("MINE_BASE_URL", "OpenAICompatible"),
        ("AGNIC_BASE_URL", "Agnic"),
        ("OLLAMA_HOST", "Ollama"),
        ("AZURE_OPENAI_ENDPOINT", "AzureOpenAI"),
    ],
)
@pytest.mark.parametrize("url", [f"https://me:{KEY}@host/v1", f"https://host/v1?key={KEY}", f"http://me:{KEY}@[::1"])
def test_an_address_of_the_environment_with_a_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str, made: str, url: str
) -> None:
    """The same goes for an address that the environment has."""
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigError) as caught:
        MADE[made](base_url=None)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize("key", [f"{KEY}\n1", KEY.encode(), [KEY], f"{KEY}ä"])
@pytest.mark.parametrize("made", MADE)
def test_an_impossible_key(made: str, key: Any) -> None:
    """What can be no key is refused and shows nowhere."""
    with pytest.raises(ConfigError) as caught:
        MADE[made](base_url=HOST, api_key=key)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: providers.OpenAI(KEY, name="a/b"),
        lambda: providers.OpenAICompatible("nobody", api_key=KEY),
        lambda: providers.OpenAICompatible("nobody", headers={"X-Key": KEY}),
        lambda: providers.OpenAICompatible("nobody", headers=[("X-Key", KEY)]),
        lambda: providers.OpenAICompatible("mine", HOST, headers=f"X-Key: {KEY}"),
        lambda: providers.OpenAIResponses(base_url="no", headers={"X-Key": KEY}),
        lambda: providers.OpenAIResponses(base_url=HOST, headers=[("X-Key", KEY)]),
        lambda: providers.Agnic(KEY, key_header="X"),
        lambda: providers.Agnic("k", f"https://me:{KEY}@host", key_header="X"),
        lambda: providers.Anthropic(KEY, betas=5),
        lambda: providers.Gemini(KEY, project="p"),
        lambda: providers.Gemini(base_url=f"https://me:{KEY}@host", project="p"),
        lambda: AzureOpenAI(KEY, HOST, token=KEY),
        lambda: AzureOpenAI("k", f"https://me:{KEY}@host", token="t"),
        lambda: AzureOpenAI(KEY, f"https://host/openai/deployments/x?key={KEY}"),
        lambda: providers.Bedrock(KEY),
        lambda: providers.Bedrock(access_key=KEY, region="x"),
        lambda: providers.Bedrock(base_url=f"https://me:{KEY}@bedrock-runtime.x.amazonaws.com", access_key="a"),
    ],
)
def test_constructors(made: Callable[[], Any]) -> None:
    """Whatever else a constructor refuses, keys and addresses beside it do not show."""
    with pytest.raises(ConfigError) as caught:
        made()
    assert KEY not in shown(caught.value)


CALLS: list[Any] = [
    {"api_key": KEY},
    {"headers": {"X-Key": KEY}},
    {"password": KEY},
    {"default_headers": {"Authorization": f"Bearer {KEY}"}},
    {"extra_headers": {"X-Key": f"{KEY}\n"}},
    {"extra_headers": {"X-Key": KEY}, "temprature": 1},
    {"extra_headers": {"X-Key": KEY}, "metadata": {"x": object()}},
    {"extra_headers": {"X-Key": KEY.encode()}},
    {"extra_headers": {f"Authorization: Bearer {KEY}": ""}},
    {"extra_headers": [("X-Key", KEY)]},
    {"extra_headers": f"X-Key: {KEY}"},
    {"extra_body": {"api_key": KEY, "x": object()}},
    {"extra_body": {"api_key": KEY, "x": float("nan")}},
    {"extra_body": f'{{"api_key": "{KEY}"}}'},
    {"extra_body": {"api_key": KEY}, "timeout": -1},
    {"extra_headers": {"X-Key": KEY}, "retry": 0},
    {"extra_headers": {"X-Key": KEY}, "buffer": 0},
    {"extra_headers": {"X-Key": KEY}, "stop": 5},
    {"extra_headers": {"X-Key": KEY}, "tools": 5},
]


@pytest.mark.parametrize("options", CALLS)
@pytest.mark.parametrize("how", ["stream", "complete"])
@pytest.mark.parametrize("name", sorted(MADE))
def test_options_of_a_call(name: str, how: str, options: Any) -> None:
    """A key among the options of a call that is refused shows in no frame of ours, whichever provider refuses it."""
    provider = MADE[name](base_url=HOST, api_key="another-key-456")
    with Client([provider]) as client, pytest.raises(ConfigError) as caught:
        getattr(client, how)(f"{provider.name}/m", "Hi", **options)
    assert (False, False) == (KEY in shown(caught.value), "another-key-456" in shown(caught.value))


@pytest.mark.parametrize("options", CALLS)
@pytest.mark.parametrize("how", [streamkit.stream, streamkit.complete])
def test_options_of_the_default_client(how: Any, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key appears in the frames of the package's own functions."""
    for model in ("demo/storyteller", "nobody/m", "openai/m"):
        with pytest.raises(ConfigError) as caught:
            how(model, "Hi", **options)
        assert KEY not in shown(caught.value)


@pytest.mark.parametrize("given", [KEY, [KEY], [KEY.encode()], {"openai": KEY}])
def test_a_key_in_the_place_of_providers(given: Any) -> None:
    """A client that is given a key where providers belong does not repeat it."""
    with pytest.raises(ConfigError, match="provider") as caught:
        Client(given)
    assert KEY not in shown(caught.value)


@pytest.mark.parametrize(
    "kind", [getattr(providers, name) for name in providers.__all__ if hasattr(getattr(providers, name), "models_url")]
)
def test_a_half_built_provider(kind: Any) -> None:
    """A provider, or a client, whose constructor did not come to its end can be printed, as debuggers do."""
    assert repr(object.__new__(kind)).startswith(f"<{kind.__name__} ")
    assert "<Client " in repr(object.__new__(Client))
    with pytest.raises(ConfigError) as caught:
        kind("x", base_url="ftp://x") if kind is not AzureOpenAI else kind("x", "ftp://x")
    assert f"<{kind.__name__} " in shown(caught.value)


ECHOING = ["x-request-id", "request-id", "x-litellm-call-id", "cf-ray", "x-anything"]


@pytest.mark.parametrize("header", ECHOING)
def test_a_key_that_a_header_echoes(header: str) -> None:
    """A key that the server repeats in a header, also as the request's id, is in no error and no report."""
    echo = {header: f"req-{KEY}"}
    told: list[Any] = []

    class Observer(streamkit.Observer):
        def stream_ended(self, report: Any) -> None:
            told.append(report)

    in_stream = Reply(['data: {"error": {"message": "no"}}\n\n'], headers=echo)
    refused = Reply(['{"error": {"message": "no"}}'], status=401, headers=echo, content_type="application/json")
    options: Any = {"retry": 1, "extra_headers": {"X-Other": f"other-{KEY}", "Accept": "text/event-stream"}}
    with (
        Server(in_stream, refused) as server,
        Client([providers.OpenAI(KEY, server.url)], observers=[Observer()]) as client,
    ):
        for kind in ("text/event-stream", "application/json"):
            stream = client.stream("openai/m", "Hi", **options)
            with pytest.raises(APIError) as caught:
                stream.collect()
            assert stream.response is not None
            assert "req-***" == stream.response.headers[header]
            assert kind == stream.response.content_type
            assert ("req-***" if header != "x-anything" else None) == caught.value.request_id
            assert KEY not in f"{stream.response!r} {shown(caught.value)} {told}"


def test_litellm_names_a_request() -> None:
    """What litellm calls a call's id is a request's id."""
    assert "abc" == ResponseInfo(200, {"x-litellm-call-id": "abc"}).request_id
