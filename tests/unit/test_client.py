"""A client finds the provider for a model's name, and reports wrong calls before any I/O."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import streamkit
from streamkit import (
    APIError,
    Chunk,
    Client,
    ConfigError,
    Message,
    ProtocolError,
    Retry,
    StopEvent,
    StreamError,
    StreamkitError,
    Timeout,
    providers,
)
from streamkit import client as client_module
from streamkit.providers import ChatRequest, OpenAI, known, registry
from streamkit.testing import Reply, Server, error_reply, redirect_reply, text_reply
from streamkit.wire.http import HttpRequest
from tests.unit.support import SOON, Task, bounded


class Stopped(Exception):
    """Ends a call at the point where it would begin to send."""


class Recorder(OpenAI):
    """A provider that keeps what it is asked for, and lets nothing be sent."""

    def __init__(self, name: str = "openai") -> None:
        super().__init__("key", "http://127.0.0.1:9/v1", name=name)
        self.asked: list[ChatRequest] = []
        self.sent: list[HttpRequest] = []

    def request(self, chat: ChatRequest) -> HttpRequest:
        self.asked.append(chat)
        self.sent.append(super().request(chat))
        raise Stopped


@pytest.fixture
def nothing_starts() -> Iterator[None]:
    """Nothing is sent before a `ConfigError`: no thread begins, so no reader does."""
    before = set(threading.enumerate())
    yield
    assert before == set(threading.enumerate())


def asked(client: Client, model: str, messages: Any = "Hi", **options: Any) -> None:
    with pytest.raises(Stopped):
        client.stream(model, messages, **options)


class TestNames:
    @pytest.mark.parametrize(
        ("provider", "model", "expected"),
        [
            ("openai", "openai/gpt-4o-mini", "gpt-4o-mini"),
            ("agnic", "agnic/openai/gpt-4o", "openai/gpt-4o"),
            ("agnic", "agnic/a/b/c/", "a/b/c/"),
            ("openai", "openai/gpt-4o:free@x y", "gpt-4o:free@x y"),
            ("openai", "gpt-4o-mini", "gpt-4o-mini"),
            ("openai", "o3", "o3"),
            ("openai", "o1-mini", "o1-mini"),
            ("openai", "chatgpt-4o-latest", "chatgpt-4o-latest"),
            ("anthropic", "claude-sonnet-5", "claude-sonnet-5"),
            ("gemini", "gemini-2.5-pro", "gemini-2.5-pro"),
            ("xai", "grok-4", "grok-4"),
            ("deepseek", "deepseek-chat", "deepseek-chat"),
            ("moonshot", "kimi-k3", "kimi-k3"),
            ("openrouter", "openrouter/anthropic/claude-sonnet-5:thinking", "anthropic/claude-sonnet-5:thinking"),
            ("demo", "demo/mine", "mine"),
        ],
    )
    def test_only_the_first_segment_is_ours(self, provider: str, model: str, expected: str) -> None:
        """The first segment names the provider, or a bare name's beginning does; the rest goes on the wire whole."""
        meant, other = Recorder(provider), Recorder("other")
        asked(Client([other, meant]), model)
        assert ([expected], []) == ([chat.model for chat in meant.asked], other.asked)
        assert expected == json.loads(meant.sent[0].body)["model"]

    def test_the_longest_beginning_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of two beginnings that fit a bare name, the longer one names the provider."""
        monkeypatch.setitem(known._PREFIXES, "gpt-oss-", "other")
        openai, other = Recorder(), Recorder("other")
        asked(Client([openai, other]), "gpt-oss-20b")
        assert (0, 1) == (len(openai.asked), len(other.asked))

    @pytest.mark.parametrize(
        ("model", "words"),
        [
            (
                "nobody/gpt-4o",
                r"unknown provider 'nobody' in the model name 'nobody/gpt-4o'; this client knows demo, openai",
            ),
            ("claude-sonnet-5", r"unknown provider 'anthropic' in the model name 'claude-sonnet-5'"),
            ("OpenAI/gpt-4o", r"unknown provider 'OpenAI'"),
            ("my-model", r"no provider is known for the model name 'my-model'; write it as provider/my-model"),
            ("", r"no provider is known for the model name ''; write it as provider/MODEL"),
            ("openai/", r"'openai/' names no model; write it as openai/MODEL"),
            ("/gpt-4o", r"unknown provider ''"),
            (None, r"model is a name such as 'openai/gpt-4o-mini', a list of names, or a Route, not NoneType"),
            (b"openai/gpt-4o", "not bytes"),
        ],
    )
    def test_what_is_no_model(self, model: Any, words: str, nothing_starts: None) -> None:
        """A name that leads nowhere is a `ConfigError` that says what there is."""
        with pytest.raises(ConfigError, match=words):
            Client([Recorder()]).stream(model, "Hi")

    def test_the_environments_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without providers a client takes the library's, each with the key that the environment has then."""
        seen: list[str] = []

        def request(self: OpenAI, chat: ChatRequest) -> HttpRequest:
            seen.append(f"{self._key!s}")
            raise Stopped

        client = Client()
        monkeypatch.setenv("OPENAI_API_KEY", "from-env")
        with monkeypatch.context() as patch:
            patch.setattr(OpenAI, "request", request)
            asked(client, "openai/gpt-4o")
            asked(client, "gpt-4o")
        assert ["from-env", "from-env"] == seen

    def test_a_key_that_comes_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that was missing at the first call, and set since, counts at the next."""
        with Server(text_reply("Hello")) as server, Client() as client:
            monkeypatch.setenv("GROQ_BASE_URL", server.url)
            client.complete("groq/m", "Hi")
            monkeypatch.setenv("GROQ_API_KEY", "later")
            client.complete("groq/m", "Hi")
            assert [None, "Bearer later"] == [request.headers.get("authorization") for request in server.requests]

    def test_without_providers_it_knows_all(self, nothing_starts: None) -> None:
        """An unknown name is refused with those of every provider that is registered."""
        with pytest.raises(ConfigError, match="unknown provider 'nobody'") as caught:
            Client().stream("nobody/m", "Hi")
        known = str(caught.value).partition("this client knows ")[2].split(", ")
        assert sorted([*registry.names(), "demo"]) == known

    @pytest.mark.parametrize("prefix", sorted(known._PREFIXES))
    def test_each_beginning_names_a_provider(self, prefix: str) -> None:
        """A bare name leads to a provider that there is."""
        assert known._PREFIXES[prefix] in registry.names()

    def test_a_missing_key(self, nothing_starts: None) -> None:
        """Without a key in the environment the call is a `ConfigError` that names the variable to set."""
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            Client().stream("openai/gpt-4o", "Hi")
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            streamkit.complete("gpt-4o", "Hi")


class TestCall:
    def test_what_the_provider_is_asked(self) -> None:
        """Messages, parameters and extras come to the provider as they were given; None leaves one out."""
        provider = Recorder()
        headers = {"X-Title": "t"}
        asked(
            Client([provider]),
            "openai/m",
            [Message("user", "Hi"), {"role": "assistant", "content": "Ho"}],
            temperature=0,
            seed=None,
            max_tokens=5,
            extra_body={"a": 1},
            extra_headers=headers,
        )
        (chat,) = provider.asked
        expected = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
        assert expected == list(chat.messages)
        assert {"temperature": 0, "max_tokens": 5} == chat.params
        assert ({"a": 1}, headers) == (chat.extra_body, chat.extra_headers)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"timeout": 0}, r"Timeout\(total=\.\.\.\)"),
            ({"timeout": "30"}, r"Timeout\(total=\.\.\.\)"),
            ({"retry": 0}, r"Retry\(attempts=\.\.\.\)"),
            ({"buffer": 0}, "buffer is a number of chunks from 1, not 0"),
            ({"buffer": True}, "buffer is a number of chunks from 1, not True"),
            ({"buffer": 2.5}, "buffer is a number of chunks from 1, not 2.5"),
        ],
    )
    def test_impossible_settings(self, options: dict[str, Any], words: str, nothing_starts: None) -> None:
        """A setting that cannot be is refused, by the client as by a single call."""
        with pytest.raises(ConfigError, match=words):
            Client(**options)
        with pytest.raises(ConfigError, match=words):
            Client([OpenAI("key", "http://127.0.0.1:9/v1")]).stream("openai/m", "Hi", **options)

    @pytest.mark.parametrize(
        ("messages", "options", "words"),
        [
            ([], {}, "messages is empty"),
            ([{"role": "bot", "content": "x"}], {}, "has the role 'bot'"),
            ("Hi", {"stop": ["END"]}, r"stop is a StopEvent or a threading.Event, not list; .*stop_sequences="),
            ("Hi", {"stop": "END"}, "not str"),
            ("Hi", {"temprature": 1}, "openai has no parameter temprature"),
            ("Hi", {"extra_headers": [("a", "b")]}, "extra_headers is a dict, not list"),
            ("Hi", {"extra_headers": "X"}, "extra_headers is a dict, not str"),
            ("Hi", {"extra_body": [1]}, "extra_body is a dict, not list"),
            ("Hi", {"extra_body": 0}, "extra_body is a dict, not int"),
        ],
    )
    def test_impossible_calls(self, messages: Any, options: dict[str, Any], words: str, nothing_starts: None) -> None:
        """What cannot be asked is refused before anything is sent."""
        with pytest.raises(ConfigError, match=words):
            Client([OpenAI("key", "http://127.0.0.1:9/v1")]).stream("openai/m", messages, **options)

    @pytest.mark.parametrize(
        ("model", "option", "words"),
        [
            ("openai/m", "api_key", r"pass providers\.OpenAI\(api_key=\.\.\.\) to a Client"),
            ("openai/m", "base_url", r"pass providers\.OpenAI\(base_url=\.\.\.\) to a Client"),
            ("openai/m", "stream", r"stream\(\) streams, complete\(\) returns the whole reply; leave it out"),
            ("groq/m", "api_key", r"pass providers\.OpenAICompatible\(name='groq', api_key=\.\.\.\) to a Client"),
            ("anthropic/m", "api_key", r"pass providers\.Anthropic\(api_key=\.\.\.\) to a Client"),
            ("ollama/m", "stream", "is no parameter"),
            ("azure/m", "base_url", r"pass providers\.AzureOpenAI\(endpoint=\.\.\.\) to a Client"),
            ("openai/m", "api_base", r"pass providers\.OpenAI\(base_url=\.\.\.\) to a Client"),
            ("azure/m", "api_base", r"pass providers\.AzureOpenAI\(endpoint=\.\.\.\) to a Client"),
        ],
    )
    def test_what_is_no_parameter_of_a_call(self, model: str, option: str, words: str, nothing_starts: None) -> None:
        """A provider's own arguments are refused with the place where they go, and without what they say."""
        with pytest.raises(ConfigError, match=f"^{option} .*{words}") as caught:
            Client().stream(model, "Hi", **{option: "sk-secret"})
        assert "sk-secret" not in str(caught.value)

    def test_what_is_given_as_none_is_left_out(self) -> None:
        """A key that the caller does not have is no parameter, as with any that is None."""
        provider = Recorder()
        asked(Client([provider]), "openai/m", api_key=None, stream=None)
        assert {} == provider.asked[0].params

    def test_a_provider_of_ones_own_is_named(self) -> None:
        """A class from elsewhere stands in the text as it is called there, with the name that it was given."""
        with pytest.raises(ConfigError, match=r"Recorder takes none; leave it out"):
            Client([Recorder()]).stream("openai/m", "Hi", api_key="k")

        class Mine(OpenAI):
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)

        with pytest.raises(ConfigError, match=r"pass Mine\(api_key=\.\.\.\) to a Client"):
            Client([Mine()]).stream("openai/m", "Hi", api_key="k")

    def test_a_stop_that_is_set_already(self, nothing_starts: None) -> None:
        """A call with a stop that is set sends nothing, and ends at once, cancelled."""
        client = Client([OpenAI("key", "http://127.0.0.1:9/v1")])
        for stop in (StopEvent(), threading.Event()):
            stop.set()
            stream = client.stream("openai/m", "Hi", stop=stop)
            assert ([], "cancelled", 0) == (list(stream), stream.status, stream.stats.attempts)


class TestClient:
    def test_the_providers_have_different_names(self) -> None:
        """Two providers of one name are refused, with the way out."""
        with pytest.raises(ConfigError, match=r"two providers are called 'openai'; give one of them another name="):
            Client([Recorder(), Recorder()])

    @pytest.mark.parametrize("value", ["openai", OpenAI, None])
    def test_what_is_no_provider(self, value: Any) -> None:
        """Anything but an instance of a provider is refused, with an example."""
        with pytest.raises(ConfigError, match=r"is not a provider; pass instances such as providers\.OpenAI\(\)"):
            Client([value])

    def test_any_iterable_of_providers(self) -> None:
        """Providers may come as any iterable, and be none."""
        asked(Client(iter([Recorder()])), "openai/m")
        with pytest.raises(ConfigError, match="this client knows demo"):
            Client([]).stream("openai/m", "Hi")

    def test_closing_is_permanent(self, nothing_starts: None) -> None:
        """A closed client starts nothing, however often it was closed."""
        client = Client([Recorder()])
        for _ in range(2):
            client.close()
            with pytest.raises(ConfigError, match="closed; make a new one"):
                client.stream("openai/m", "Hi")

    def test_a_context_closes_it(self) -> None:
        """Leaving the `with` block closes it, also by an error."""
        with pytest.raises(ZeroDivisionError), Client([Recorder()]) as client:
            asked(client, "openai/m")
            raise ZeroDivisionError
        assert "<Client closed, openai>" == repr(client)

    def test_a_redirect(self) -> None:
        """Where a server points is said, without what may be secret there."""
        reply = redirect_reply("https://me:hush@elsewhere.example/a?ticket=hush")
        with Server(reply) as server, Client([OpenAI("key", server.url)]) as client:
            with pytest.raises(ProtocolError, match=r"redirects \(307\) to 'https://elsewhere\.example/a', .*base_url"):
                client.complete("openai/m", "Hi")

    def test_repr(self) -> None:
        """State and names are in the repr, keys are not."""
        assert "<Client open, openai, x>" == repr(Client([Recorder(), Recorder("x")]))
        assert "<Client open, the environment's providers>" == repr(Client())
        assert "<Client open, no providers>" == repr(Client([]))

    @pytest.mark.parametrize("value", [None, 30, 2.5, Timeout(idle=3)])
    def test_timeouts(self, value: Any) -> None:
        """A client takes what a call takes."""
        Client([], timeout=value, retry=Retry(2), buffer=1).close()
        Client([], timeout=value, retry=2).close()


class TestDefaultClient:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(client_module, "_default", None)

    def test_made_once(self) -> None:
        """The module's functions share one client, made on first use."""
        assert client_module._default is None
        client = client_module.default_client()
        assert client is client_module.default_client() is client_module._default

    def test_from_many_threads(self) -> None:
        """Threads that come first at once are all served, and later ones share the one that was kept."""
        together = threading.Barrier(8)

        def first() -> Client:
            together.wait(SOON)
            return client_module.default_client()

        clients = {id(task.result()) for task in [Task(first) for _ in range(8)]}
        assert id(client_module.default_client()) in clients

    def test_its_functions_take_the_same(self) -> None:
        """`streamkit.stream` and `streamkit.complete` pass everything on."""
        provider = Recorder()
        client_module._default = Client([provider])
        for call in (streamkit.stream, streamkit.complete):
            with pytest.raises(Stopped):
                call("openai/m", "Hi", temperature=1, extra_body={"a": 1}, timeout=3)
        assert [({"temperature": 1}, {"a": 1})] * 2 == [(chat.params, chat.extra_body) for chat in provider.asked]


def test_the_providers_package_is_public() -> None:
    """`streamkit.providers.OpenAI` is where the documentation says."""
    assert OpenAI is providers.OpenAI is streamkit.providers.OpenAI


@pytest.mark.parametrize("given", [providers.OpenAI("k"), 5])
def test_providers_are_a_list(given: Any) -> None:
    """A single provider, or something else altogether, is an error that says what to pass."""
    with pytest.raises(ConfigError, match="a list of providers"):
        Client(given)


@pytest.mark.parametrize("url", ["http://host:port", "http://[::1", "http://host:99999", "host/v1", ""])
def test_a_base_url_is_checked_at_once(url: str) -> None:
    """An address that cannot be one is refused when the provider is made."""
    with pytest.raises(ConfigError):
        providers.OpenAICompatible("mine", url)


@pytest.mark.parametrize("name", ["", " ", "a/b", 5, None])
@pytest.mark.parametrize(
    "made", [providers.OpenAI, providers.Anthropic, providers.AzureOpenAI, providers.Ollama, providers.Bedrock]
)
def test_a_name_that_no_model_can_begin_with(made: Any, name: Any) -> None:
    """A provider whose name is no first segment of a model's name could never be reached, so it cannot be made."""
    region = {"region": "eu-west-1"} if made is providers.Bedrock else {}
    with pytest.raises(ConfigError, match=r"the name of a provider is text without a slash"):
        made(api_key="k", name=name, **region)


class Halt(BaseException):
    pass


class Lacking(providers.OpenAI):
    """A provider of another package, of which one method is wrong."""

    def __init__(self, url: str, wrong: str, does: Callable[[], object]) -> None:
        super().__init__("k", url, name="lacking")
        self._wrong = wrong
        self._does = does

    def __getattribute__(self, name: str) -> Any:
        if name == super().__getattribute__("__dict__").get("_wrong"):
            return lambda *_: self._does()
        return super().__getattribute__(name)


def halt() -> None:
    raise Halt("no luck")


class Decoding:
    """A decoder that decodes nothing."""

    ended = whole = True

    def __init__(self, decode: Callable[[], object] = lambda: None) -> None:
        self._decode = decode

    def decode(self, event: object) -> object:
        return self._decode()

    def finish(self) -> None:
        return None

    def leftover(self) -> list[Chunk]:
        return []


class Unspeakable(Exception):
    """An exception that fails to say anything."""

    def __str__(self) -> str:
        raise OSError("no words")

    __repr__ = __str__


def unspeakable() -> None:
    raise Unspeakable


def with_a_strange_body() -> APIError:
    return APIError("no", status=400, body={1, 2})


LACKING = "tests.unit.test_client.Lacking"


@pytest.mark.parametrize(
    ("wrong", "does", "reply", "kind", "words"),
    [
        ("request", lambda: None, text_reply("Hi"), ConfigError, f"{LACKING}.request() returned NoneType, not an Http"),
        (
            "decoder",
            lambda: None,
            text_reply("Hi"),
            ConfigError,
            f"{LACKING}.decoder() returned NoneType, not a Decoder",
        ),
        ("decoder", Decoding, text_reply("Hi"), ConfigError, "Decoding.finish() returned NoneType, not a Chunk"),
        (
            "error",
            lambda: None,
            error_reply(400),
            ConfigError,
            f"{LACKING}.error() returned NoneType, not an error of st",
        ),
        (
            "decoder",
            halt,
            text_reply("Hi"),
            StreamError,
            f"the provider lacking, of the class {LACKING}, failed by itself",
        ),
        ("decoder", lambda: Decoding(halt), text_reply("Hi"), StreamError, "failed by itself, please report it: Halt("),
        ("error", unspeakable, error_reply(400), StreamError, "failed by itself, please report it: Unspeakable"),
        ("error", with_a_strange_body, error_reply(400), StreamError, "APIError cannot be shown: TypeError"),
    ],
)
def test_a_provider_that_is_wrong(
    wrong: str, does: Callable[[], object], reply: Reply, kind: type[StreamkitError], words: str
) -> None:
    """The fault of another package's provider is told as its own, with its class."""
    with Server(reply) as server, Client([Lacking(server.url, wrong, does)], retry=1, timeout=None) as client:
        with bounded(), pytest.raises(kind) as caught:
            client.complete("lacking/m", "Hi")
    assert words in str(caught.value)
