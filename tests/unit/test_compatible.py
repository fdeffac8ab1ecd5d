"""Named services that speak chat completions: their addresses, keys and deviations."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from streamkit import Client, ConfigError, Message, PaymentRequiredError, ProtocolError, Retry
from streamkit.providers import ChatRequest, OpenAICompatible, Provider, Quirks
from streamkit.providers.openai_chat.remembering_decoder import RememberingDecoder
from streamkit.providers.openai_chat.services import SERVICES
from streamkit.testing import DONE, Reply, Server, chunk_event, recording_reply, sse_event, text_reply
from streamkit.testing.request import Request
from tests.conformance.recordings import Recording, check_provider, recordings

KEY = "key-of-mine-123"
HELLO = [{"role": "user", "content": "Hi"}]

# What the services' own pages say: address, variable of the key, the name of max_tokens.
PAGES = {
    "alibaba": ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", "max_tokens"),
    "cerebras": ("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "max_completion_tokens"),
    "crusoe": ("https://managed-inference-api-proxy.crusoecloud.com/v1", "CRUSOE_API_KEY", "max_tokens"),
    "deepinfra": ("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "max_tokens"),
    "deepseek": ("https://api.deepseek.com", "DEEPSEEK_API_KEY", "max_tokens"),
    "fireworks": ("https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", "max_tokens"),
    "github": ("https://models.github.ai/inference", "GITHUB_TOKEN", "max_tokens"),
    "groq": ("https://api.groq.com/openai/v1", "GROQ_API_KEY", "max_completion_tokens"),
    "huggingface": ("https://router.huggingface.co/v1", "HF_TOKEN", "max_tokens"),
    "litellm": ("http://127.0.0.1:4000/v1", "LITELLM_API_KEY", "max_tokens"),
    "llamacpp": ("http://127.0.0.1:8080/v1", "LLAMACPP_API_KEY", "max_tokens"),
    "lmstudio": ("http://127.0.0.1:1234/v1", "LM_API_TOKEN", "max_tokens"),
    "moonshot": ("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "max_tokens"),
    "nvidia": ("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", "max_tokens"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "max_tokens"),
    "perplexity": ("https://api.perplexity.ai", "PERPLEXITY_API_KEY", "max_tokens"),
    "sambanova": ("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", "max_tokens"),
    "together": ("https://api.together.ai/v1", "TOGETHER_API_KEY", "max_tokens"),
    "vllm": ("http://127.0.0.1:8000/v1", "VLLM_API_KEY", "max_tokens"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY", "max_completion_tokens"),
    "zai": ("https://api.z.ai/api/paas/v4", "ZAI_API_KEY", "max_tokens"),
}
LOCAL = {"litellm", "llamacpp", "lmstudio", "vllm"}
CLOUD = sorted(set(PAGES) - LOCAL)
NO_USAGE_ASKED = {"perplexity"}
NO_EFFORT = {"alibaba", "zai"}


def chat(model: str = "m", /, messages: Any = HELLO, **params: Any) -> ChatRequest:
    return ChatRequest(model, messages, params)


def body_of(provider: OpenAICompatible, call: ChatRequest) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(provider.request(call).body)
    return decoded


def asked(provider: OpenAICompatible, server: Server, model: str, **params: Any) -> Request:
    """Stream from a server as this provider, and return what it was asked."""
    with Client([provider], retry=Retry(1)) as client:
        assert "Hi" == client.complete(model, "Hello", **params).text
    return server.requests[-1]


class TestTable:
    def test_each_has_its_row(self) -> None:
        """The table agrees with the providers' documentation."""
        assert sorted(PAGES) == sorted(SERVICES) == list(SERVICES)
        table = {
            name: (row.base_url, row.key_variables[0], row.quirks.max_tokens_field) for name, row in SERVICES.items()
        }
        assert PAGES == table

    def test_its_variables_are_variables(self) -> None:
        """No variable is two services', and each can be set in a shell."""
        variables = [variable for row in SERVICES.values() for variable in row.key_variables]
        assert len(set(variables)) == len(variables)
        assert [] == [variable for variable in variables if not re.fullmatch(r"[A-Z][A-Z0-9_]+", variable)]

    @pytest.mark.parametrize("name", sorted(PAGES))
    def test_what_its_server_is_asked(self, name: str) -> None:
        """Over a real socket each service is asked in the words that it knows, with its key and its headers."""
        params = {"max_tokens": 5, "stop_sequences": ["END"], "temperature": 0}
        with Server(text_reply("Hi")) as server:
            provider = OpenAICompatible(name, server.url, KEY)
            request = asked(provider, server, f"{name}/vendor/model-1", **params)
        usage = {} if name in NO_USAGE_ASKED else {"stream_options": {"include_usage": True}}
        expected = {
            "model": "vendor/model-1",
            "messages": [{"role": "user", "content": "Hello"}],
            "stream": True,
            **usage,
            PAGES[name][2]: 5,
            "stop": ["END"],
            "temperature": 0,
        }
        assert expected == request.json()
        assert f"Bearer {KEY}" == request.headers["authorization"]
        assert ("2022-11-28" if name == "github" else None) == request.headers.get("x-github-api-version")

    @pytest.mark.parametrize("name", sorted(PAGES))
    def test_how_much_to_think(self, name: str) -> None:
        """The effort goes in the field that the service has for it, or is refused with what there is instead."""
        provider = OpenAICompatible(name, api_key=KEY)
        if name in NO_EFFORT:
            with pytest.raises(ConfigError, match=rf"{name} has no reasoning_effort: say .*thinking"):
                provider.request(chat(reasoning_effort="low"))
            return
        sent = body_of(provider, chat(reasoning_effort="low"))
        assert ("low" if name != "openrouter" else None) == sent.get("reasoning_effort")
        assert ({"effort": "low"} if name == "openrouter" else None) == sent.get("reasoning")

    @pytest.mark.parametrize(
        ("name", "own"),
        [
            ("alibaba", {"enable_thinking": True, "thinking_budget": 100}),
            ("deepseek", {"thinking": {"type": "disabled"}}),
            ("groq", {"reasoning_format": "hidden"}),
            ("llamacpp", {"grammar": "root ::= x", "min_p": 0.1}),
            ("openrouter", {"provider": {"order": ["x"]}, "models": ["a", "b"], "reasoning": {"max_tokens": 5}}),
            ("perplexity", {"search_mode": "academic"}),
            ("vllm", {"chat_template_kwargs": {"enable_thinking": False}}),
            ("zai", {"thinking": {"type": "enabled"}}),
        ],
    )
    def test_its_own_parameters(self, name: str, own: dict[str, Any]) -> None:
        """A service's own parameter is sent under its own name, and rejected for other services."""
        sent = body_of(OpenAICompatible(name, api_key=KEY), chat(**own))
        assert own == {field: sent[field] for field in own}
        with pytest.raises(ConfigError, match="has no parameter") as caught:
            OpenAICompatible("sambanova", api_key=KEY).request(chat(**own))
        assert all(parameter in str(caught.value) for parameter in own)

    def test_one_parameter_twice(self) -> None:
        """Both names of one parameter are one too many."""
        with pytest.raises(ConfigError, match="reasoning_effort and reasoning are the same parameter"):
            OpenAICompatible("openrouter", api_key=KEY).request(chat(reasoning_effort="low", reasoning={}))
        with pytest.raises(ConfigError, match="max_tokens and max_completion_tokens are the same parameter"):
            OpenAICompatible("groq", api_key=KEY).request(chat(max_tokens=1, max_completion_tokens=1))


class TestKey:
    @pytest.mark.parametrize("name", CLOUD)
    def test_missing(self, name: str) -> None:
        """Without a key there is a `ConfigError` that names the variables, before anything is sent."""
        variables = " or ".join(SERVICES[name].key_variables)
        with pytest.raises(ConfigError, match=f"^{name} needs an API key: set the environment variable {variables}, "):
            Client().stream(f"{name}/m", "Hi")

    @pytest.mark.parametrize("name", sorted(LOCAL))
    def test_not_needed_at_home(self, name: str) -> None:
        """A server on this machine is asked without a key, and past all proxies."""
        request = OpenAICompatible(name).request(chat())
        assert ("Authorization" in request.headers, request.direct) == (False, True)

    @pytest.mark.parametrize("variable", ["PERPLEXITY_API_KEY", "PPLX_API_KEY"])
    def test_of_either_variable(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A service with two names for its key takes it from either, and says which one was wrong."""
        monkeypatch.setenv(variable, KEY)
        provider = OpenAICompatible("perplexity")
        assert f"Bearer {KEY}" == provider.request(chat()).headers["Authorization"]
        assert variable == provider.key_variable

    def test_of_a_variable_of_ones_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any other variable may be named; then the usual one does not count."""
        monkeypatch.setenv("GROQ_API_KEY", "another")
        with pytest.raises(ConfigError, match="WORK_KEY"):
            OpenAICompatible("groq", key_variable="WORK_KEY").request(chat())
        monkeypatch.setenv("WORK_KEY", KEY)
        sent = OpenAICompatible("groq", key_variable="WORK_KEY").request(chat())
        assert f"Bearer {KEY}" == sent.headers["Authorization"]

    def test_openais_key_is_openais(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """OpenAI's key and address are not used for another service."""
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
        provider = OpenAICompatible("vllm")
        assert "Authorization" not in provider.request(chat()).headers
        assert "http://127.0.0.1:8000/v1" == provider.base_url

    def test_nowhere_to_be_seen(self) -> None:
        """Keys and the user's headers do not show when the provider is printed."""
        provider = OpenAICompatible("openrouter", api_key=KEY, headers={"X-Secret": "hush-hush"})
        request = provider.request(chat())
        shown = f"{provider!r} {vars(provider)} {request!r} {dict(request.headers)} {request.secrets}"
        assert (False, False) == (KEY in shown, "hush-hush" in shown)
        assert {KEY, "hush-hush"} <= set(request.secrets)
        assert "<OpenAICompatible openrouter at https://openrouter.ai/api/v1>" == repr(provider)

    def test_not_in_what_a_server_repeats(self) -> None:
        """A server that says the key in its error, wherever it does, gives nobody the key."""
        body = {"error": {"message": f"bad {KEY}", "type": KEY, "code": KEY}, "limit": KEY, "request_id": KEY}
        with Server(Reply([json.dumps(body)], status=402, content_type="application/json")) as server:
            client = Client([OpenAICompatible("openrouter", server.url, KEY)], retry=1)
            with client, pytest.raises(PaymentRequiredError) as caught:
                client.complete("openrouter/m", "Hi")
        assert KEY not in f"{caught.value!r} {vars(caught.value)}"


class TestAddress:
    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each service can be moved by a variable of its name; an argument goes over it."""
        monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:8000/v1/")
        moved = OpenAICompatible("vllm")
        assert ("http://gpu:8000/v1", False) == (moved.base_url, moved.request(chat()).direct)
        assert "http://mine/v1" == OpenAICompatible("vllm", "http://mine/v1").base_url

    def test_a_service_elsewhere_needs_no_key(self) -> None:
        """A service at another address, such as a gateway, may do without; a call can insist."""
        elsewhere = OpenAICompatible("groq", "http://gateway/v1")
        assert "Authorization" not in elsewhere.request(chat()).headers
        with pytest.raises(ConfigError, match="GROQ_API_KEY"):
            OpenAICompatible("groq", "http://gateway/v1", key_needed=True).request(chat())

    def test_any_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server of one's own has what its name says: the variable of its key and of its address."""
        monkeypatch.setenv("MY_SERVER_API_KEY", KEY)
        with Server(text_reply("Hi"), text_reply("Hi")) as server:
            request = asked(OpenAICompatible("my-server", server.url), server, "my-server/a/b", max_tokens=5)
            assert ("a/b", 5) == (request.json()["model"], request.json()["max_tokens"])
            assert f"Bearer {KEY}" == request.headers["authorization"]
            monkeypatch.setenv("MY_SERVER_BASE_URL", server.url)
            odd = OpenAICompatible(
                "my-server",
                include_usage=False,
                max_tokens_field="num_predict",
                headers={"X-Title": "Mine"},
                quirks=Quirks(own=frozenset({"tfs_z"})),
            )
            request = asked(odd, server, "my-server/m", max_tokens=5, tfs_z=1)
        assert (5, 1, False) == (
            request.json()["num_predict"],
            request.json()["tfs_z"],
            "stream_options" in request.json(),
        )
        assert "Mine" == request.headers["x-title"]

    def test_no_address(self) -> None:
        """A name that is not known needs an address; the error says which variable and which names there are."""
        with pytest.raises(ConfigError, match=r"no address is known for 'my-server': .*MY_SERVER_BASE_URL; .*groq"):
            OpenAICompatible("my-server")
        with pytest.raises(ConfigError, match="base_url is an absolute http or https URL"):
            OpenAICompatible("my-server", "localhost:8000")

    def test_it_is_a_provider(self) -> None:
        """It has what the protocol asks for."""
        assert isinstance(OpenAICompatible("groq"), Provider)


def stream_of(*deltas: dict[str, Any], finish: str = "tool_calls") -> Reply:
    events = [
        sse_event({"id": "r", "model": "m", "choices": [{"index": 0, "delta": d, "finish_reason": None}]})
        for d in deltas
    ]
    return Reply([*events, chunk_event(finish_reason=finish), DONE])


CALL = {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}]}


class TestReasoningBack:
    @pytest.mark.parametrize("name", ["deepseek", "moonshot", "zai"])
    def test_as_text(self, name: str) -> None:
        """A service that wants its reasoning back with the history gets it, whole and in its own field."""
        first = stream_of({"reasoning_content": "Let me"}, {"reasoning_content": " look."}, CALL)
        with Server(first, text_reply("18 C")) as server:
            with Client([OpenAICompatible(name, server.url)], retry=1) as client:
                said = client.complete(f"{name}/m", "Weather?")
                history = [Message("user", "Weather?"), said.message, Message("tool", "18 C", tool_call_id="c1")]
                client.complete(f"{name}/m", history)
            sent = server.requests[1].json()["messages"]
        assert "Let me look." == said.reasoning == sent[1]["reasoning_content"]
        assert [False, False] == ["reasoning_content" in message for message in (sent[0], sent[2])]
        assert [] == [message for message in sent if "provider_data" in message]

    def test_as_details(self) -> None:
        """OpenRouter gets its reasoning blocks back: pieces joined, signatures and encrypted ones as they came."""
        pieces: list[dict[str, Any]] = [
            {"type": "reasoning.text", "text": "Let me", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.text", "text": " look.", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.text", "signature": "sig", "format": "anthropic-claude-v1", "index": 0},
            {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 1},
            {"type": "reasoning.encrypted", "data": "abc", "id": "rs_2", "index": 1},
        ]
        first = stream_of(*({"reasoning_details": [piece]} for piece in pieces), CALL)
        with Server(first, text_reply("18 C")) as server:
            with Client([OpenAICompatible("openrouter", server.url)], retry=1) as client:
                said = client.complete("openrouter/a/b", "Weather?")
                history = [Message("user", "Weather?"), said.message, Message("tool", "18 C", tool_call_id="c1")]
                client.complete("openrouter/a/b", history)
            sent = server.requests[1].json()["messages"][1]["reasoning_details"]
        joined = {"type": "reasoning.text", "text": "Let me look.", "format": "anthropic-claude-v1", "index": 0}
        assert [{**joined, "signature": "sig"}, *pieces[3:]] == sent

    @pytest.mark.parametrize(
        ("name", "field", "pieces", "back"),
        [
            ("deepseek", "reasoning_content", [r'"\ud83d"', r'"\ude42"'], "\N{SLIGHTLY SMILING FACE}"),
            (
                "openrouter",
                "reasoning_details",
                [r'[{"type":"t","text":"\ud83d"}]', r'[{"type":"t","text":"\ude42"}]', r'[{"odd":["\ud83d"]}]'],
                [{"type": "t", "text": "\N{SLIGHTLY SMILING FACE}"}],
            ),
        ],
    )
    def test_characters_in_halves(self, name: str, field: str, pieces: list[str], back: Any) -> None:
        """A character that came in two halves goes back whole, and what no JSON can say does not go back."""
        deltas = [f'{{"id":"r","choices":[{{"index":0,"delta":{{"{field}":{piece}}}}}]}}' for piece in pieces]
        events = [f"data: {delta}\n\n".encode() for delta in deltas]
        with Server(Reply([*events, chunk_event(finish_reason="stop"), DONE]), text_reply("Hi")) as server:
            with Client([OpenAICompatible(name, server.url)], retry=1) as client:
                said = client.complete(f"{name}/m", "Hi")
                client.complete(f"{name}/m", [said.message, Message("user", "So?")])
            assert back == server.requests[1].json()["messages"][0][field]

    def test_nobody_elses(self) -> None:
        """A service's reasoning is not sent to another, and a message's own fields are not overwritten."""
        said = Message("assistant", "x", provider_data=({"reasoning_details": [{"text": "a"}]},))
        history = [*HELLO, said.to_dict()]
        assert HELLO[0] == body_of(OpenAICompatible("deepseek", api_key=KEY), chat("m", history))["messages"][0]
        for name in ("deepseek", "groq"):
            sent = body_of(OpenAICompatible(name, api_key=KEY), chat("m", history))["messages"][1]
            assert {"role": "assistant", "content": "x"} == sent
        own = {**said.to_dict(), "reasoning_details": []}
        sent = body_of(OpenAICompatible("openrouter", api_key=KEY), chat("m", [own]))["messages"][0]
        assert [] == sent["reasoning_details"]

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning_details"])
    @pytest.mark.parametrize("sent", [None, "", 5, [], [5, None, "x"], {}, [{"index": {}, "text": 5}, {"text": None}]])
    def test_odd_shapes(self, field: Any, sent: Any) -> None:
        """Whatever a server sends for its reasoning, the reply is read."""
        with Server(stream_of({field: sent, "content": "a"}, {field: sent, "content": "b"}, finish="stop")) as server:
            provider = OpenAICompatible("x", server.url, quirks=Quirks(reasoning_back=field))
            with Client([provider], retry=1) as client:
                assert "ab" == client.complete("x/m", "Hi").text

    def test_it_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server cannot make a stream keep reasoning without end."""
        monkeypatch.setattr("streamkit.providers.openai_chat.remembering_decoder._MOST_DETAILS", 20)
        pieces = ({"reasoning_content": "thinking"} for _ in range(3))
        with (
            Server(stream_of(*pieces)) as server,
            Client([OpenAICompatible("deepseek", server.url)], retry=1) as client,
        ):
            with pytest.raises(ProtocolError, match="reasoning of more than 20 characters"):
                client.complete("deepseek/m", "Hi")

    def test_only_of_the_first_choice(self) -> None:
        """Only the first choice and its reasoning go into the history, once."""
        decoder = RememberingDecoder("p", 2, "reasoning_content")
        told = []
        for index, text in ((1, "other"), (0, "mine")):
            choice = {"index": index, "delta": {"reasoning_content": text}, "finish_reason": "stop"}
            told += decoder.decode_whole({"id": "r", "choices": [choice]})
        told.append(decoder.finish())
        assert [{"reasoning_content": "mine"}] == [datum for chunk in told for datum in chunk.provider_data]


# The names under which the recordings have services of the table.
RECORDED = {"moonshotai": "moonshot", **{name: name for name in PAGES}}


def service_of(recording: Recording) -> str | None:
    return RECORDED.get(recording.name.partition("__")[0])


RECORDINGS = [recording for recording in recordings("openai-chat") if service_of(recording)]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_what_each_service_sent(recording: Recording) -> None:
    """Each service's own recordings give what it meant, whole, cut anywhere and up to any point."""
    name = service_of(recording)
    assert name is not None
    check_provider(recording, lambda server: OpenAICompatible(name, server.url, KEY), f"{name}/model")


@pytest.mark.parametrize(
    "recording", [each for each in RECORDINGS if service_of(each) in ("deepseek", "zai")], ids=lambda each: each.name
)
def test_what_was_thought_goes_back(recording: Recording) -> None:
    """The whole reasoning of a recording is sent back; without reasoning none is."""
    with Server(recording_reply(recording.body)) as server:
        with Client([OpenAICompatible("deepseek", server.url, KEY)], retry=1) as client:
            said = client.complete("deepseek/m", "Hi")
    thought = recording.expected["reasoning_text"]
    back = [datum["reasoning_content"] for datum in said.provider_data]
    assert ([thought] if thought else []) == [text for text in back if text]
