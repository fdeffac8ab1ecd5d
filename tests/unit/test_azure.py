"""Azure OpenAI's own addresses and headers, compared with its official client."""

from __future__ import annotations

import json
import re
import traceback
from typing import Any, NamedTuple

import pytest

from streamkit import Client, ConfigError, RateLimitError
from streamkit.providers import AzureOpenAI, ChatRequest, Provider
from streamkit.testing import Server, error_reply, text_reply
from streamkit.testing.request import Request

KEY = "azure-key-123"
TOKEN = "entra-tok_456"
HOST = "https://res.openai.azure.com"
HELLO = [{"role": "user", "content": "Hi"}]
CHAT = ChatRequest("gpt-4o", HELLO)


def origin(server: Server) -> str:
    return server.url.removesuffix("/v1")


def url_of(endpoint: str = HOST, model: str = "gpt-4o", **options: Any) -> str:
    return AzureOpenAI(KEY, endpoint, **options).request(ChatRequest(model, HELLO)).url


class AccessToken(NamedTuple):
    """As azure-identity's credentials return it."""

    token: str
    expires_on: int


class TestAddress:
    @pytest.mark.parametrize("endpoint", [HOST, f"{HOST}/", f"{HOST}/openai", f"{HOST}/openai/"])
    def test_of_a_deployment(self, endpoint: str) -> None:
        """The model's name is the deployment in the path, and the version goes along."""
        assert f"{HOST}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21" == url_of(endpoint)

    @pytest.mark.parametrize(
        ("endpoint", "options", "query"),
        [
            (f"{HOST}/openai/v1", {}, ""),
            (f"{HOST}/openai/v1/", {}, ""),
            (HOST, {"api_version": "v1"}, ""),
            (f"{HOST}/openai/v1", {"api_version": "preview"}, "?api-version=preview"),
        ],
    )
    def test_of_the_v1_surface(
        self, endpoint: str, options: dict[str, Any], query: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The v1 surface has one address for all models and no dated version, whatever the environment says."""
        monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01-preview")
        assert f"{HOST}/openai/v1/chat/completions{query}" == url_of(endpoint, **options)

    def test_the_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The version is the argument's, or the environment's."""
        monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01-preview")
        assert url_of().endswith("?api-version=2025-01-01-preview")
        assert url_of(api_version="2024-06-01").endswith("?api-version=2024-06-01")

    @pytest.mark.parametrize("endpoint", [HOST, f"{HOST}/openai/v1"])
    def test_the_v1_surface_of_the_environment(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment's version means the v1 surface as the argument's does, which goes before it."""
        monkeypatch.setenv("OPENAI_API_VERSION", "v1")
        assert f"{HOST}/openai/v1/chat/completions" == url_of(endpoint)
        assert url_of(endpoint, api_version="2024-06-01").endswith("?api-version=2024-06-01")

    def test_a_name_cannot_lead_elsewhere(self) -> None:
        """A deployment's name stays one segment of the path."""
        assert "/deployments/..%2F..%2Fx%3Fy/chat" in url_of(model="../../x?y")

    @pytest.mark.parametrize(
        "endpoint",
        [
            f"{HOST}/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
            f"{HOST}/openai/deployments/gpt-4o",
            f"{HOST}?api-version=2024-10-21",
        ],
    )
    def test_what_the_portal_shows(self, endpoint: str) -> None:
        """The address of a deployment, as the portal has it to copy, is refused with what goes where."""
        with pytest.raises(ConfigError, match=r"the deployment is the model's name, and the version goes in api_ver"):
            AzureOpenAI(KEY, endpoint)

    def test_what_is_secret_does_not_show(self) -> None:
        """The error of an address that has too much says neither its password nor its query."""
        with pytest.raises(ConfigError, match="endpoint is the address of the resource") as caught:
            AzureOpenAI(KEY, "https://me:secret@res.example.com/openai/deployments/x?api-key=secret")
        assert "secret" not in str(caught.value)
        assert "res.example.com/openai/deployments/x" in str(caught.value)

    def test_missing(self) -> None:
        """Without an endpoint a call is a `ConfigError` that names the variable; the provider can be made."""
        provider = AzureOpenAI(KEY)
        assert "<AzureOpenAI azure at no endpoint>" == repr(provider)
        with pytest.raises(
            ConfigError, match=r"https://NAME.*ENDPOINT, or pass providers\.AzureOpenAI\(endpoint=\.\.\.\)"
        ):
            provider.request(CHAT)

    @pytest.mark.parametrize(
        ("endpoint", "options", "url"),
        [
            (HOST, {}, f"{HOST}/openai/models?api-version=2024-10-21"),
            (HOST, {"api_version": "2024-06-01"}, f"{HOST}/openai/models?api-version=2024-06-01"),
            (f"{HOST}/openai/v1", {}, f"{HOST}/openai/v1/models"),
            (HOST, {"api_version": "v1"}, f"{HOST}/openai/v1/models"),
        ],
    )
    def test_of_the_list_of_models(self, endpoint: str, options: dict[str, Any], url: str) -> None:
        """The list of models belongs to the resource, in the version that calls go to."""
        assert url == AzureOpenAI(KEY, endpoint, **options).models_request(None).url

    def test_impossible_and_secret(self) -> None:
        """Possible secrets in an invalid resource address are not shown."""
        with pytest.raises(ConfigError, match=r"endpoint is .*, not 'https://\*\*\*@x/openai\*\*\*'"):
            AzureOpenAI(KEY, "https://me:hush@x/openai?key=hush")

    def test_of_the_list_of_models_missing(self) -> None:
        """Without an endpoint the list is the same error as a call."""
        with pytest.raises(ConfigError, match="AZURE_OPENAI_ENDPOINT, or pass "):
            AzureOpenAI(KEY).models_request(None)

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Endpoint and key of the environment are enough for a client."""
        with Server(text_reply("Hi")) as server, Client() as client:
            monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", origin(server))
            monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
            assert "Hi" == client.complete("azure/gpt-4o", "Hi").text
            assert KEY == server.requests[0].headers["api-key"]


class TestKey:
    def test_a_key(self) -> None:
        """A key goes in a header of its own, and in no other."""
        provider = AzureOpenAI(KEY, HOST)
        headers = provider.request(CHAT).headers
        assert (KEY, None) == (headers["api-key"], headers.get("Authorization"))
        assert isinstance(provider, Provider)

    def test_a_token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token of Entra ID goes as a bearer's, also where the environment has a key."""
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
        headers = AzureOpenAI(endpoint=HOST, token=TOKEN).request(CHAT).headers
        assert (f"Bearer {TOKEN}", None) == (headers["Authorization"], headers.get("api-key"))

    def test_a_token_that_is_renewed(self) -> None:
        """A function is asked for the token of each request anew."""
        tokens = iter(["first", "second"])
        provider = AzureOpenAI(endpoint=HOST, token=lambda: next(tokens))
        sent = [provider.request(CHAT).headers["Authorization"] for _ in range(2)]
        assert ["Bearer first", "Bearer second"] == sent

    def test_of_azure_identity(self) -> None:
        """An access token of azure-identity is sent by its text, and does not show."""
        held = AccessToken(TOKEN, 0)
        for token in (held, lambda: held):
            provider = AzureOpenAI(endpoint=HOST, token=token)
            assert f"Bearer {TOKEN}" == provider.request(CHAT).headers["Authorization"]
            assert TOKEN not in f"{vars(provider)}"

    @pytest.mark.parametrize(("token", "kind"), [(lambda: None, "NoneType"), (lambda: b"x", "bytes"), (5, "int")])
    def test_no_token(self, token: Any, kind: str) -> None:
        """A token that is no text is refused before it is sent as one."""
        with pytest.raises(ConfigError, match=f"a token that is text, or a function that returns one, not {kind}"):
            AzureOpenAI(endpoint=HOST, token=token).request(CHAT)

    def test_a_function_that_fails(self) -> None:
        """The failure of the function is the cause of an error of ours."""

        def fail() -> str:
            raise LookupError("no login")

        with pytest.raises(ConfigError, match="azure got no token: LookupError") as caught:
            AzureOpenAI(endpoint=HOST, token=fail).request(CHAT)
        assert isinstance(caught.value.__cause__, LookupError)

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without a key the environment's token counts, and a key goes before it."""
        monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", TOKEN)
        assert f"Bearer {TOKEN}" == AzureOpenAI(endpoint=HOST).request(CHAT).headers["Authorization"]
        assert "Authorization" not in AzureOpenAI(KEY, HOST).request(CHAT).headers

    def test_missing(self) -> None:
        """With neither there is a `ConfigError` that names both variables."""
        with pytest.raises(ConfigError, match=r"_API_KEY or AZURE_OPENAI_AD_TOKEN, or pass providers\.Az.*\(api_key="):
            AzureOpenAI(endpoint=HOST).request(CHAT)
        with pytest.raises(ConfigError, match="AZURE_OPENAI_AD_TOKEN"):
            AzureOpenAI(endpoint=HOST, token=lambda: "").request(CHAT)

    def test_both(self) -> None:
        """Two ways to say who asks are one too many."""
        with pytest.raises(ConfigError, match="api_key and token are two ways"):
            AzureOpenAI(KEY, HOST, token=TOKEN)

    @pytest.mark.parametrize(
        "how", [{"api_key": "sk-key\n456"}, {"token": "sk-key\n456"}, {"token": lambda: "sk-key\n456"}]
    )
    def test_impossible(self, how: Any) -> None:
        """A value that no header can carry is rejected, and shown neither in the error nor among the locals."""
        with pytest.raises(ConfigError, match="holds a line break") as caught:
            AzureOpenAI(endpoint=HOST, **how).request(CHAT)
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [dict(f.f_locals) for f in frames if f.f_globals["__name__"].startswith("streamkit.")]
        assert ours
        assert "sk-key" not in f"{caught.value!r} {ours}"

    @pytest.mark.parametrize("how", [{"api_key": KEY}, {"token": TOKEN}, {"token": lambda: TOKEN}])
    def test_nowhere_to_be_seen(self, how: Any) -> None:
        """Keys and tokens show neither in printed objects nor among the locals of a traceback."""
        provider = AzureOpenAI(endpoint=HOST, **how)
        request = provider.request(CHAT)
        with pytest.raises(ConfigError) as caught:
            provider.request(ChatRequest("m", HELLO, {"metadata": {"x": object()}}))
        frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
        ours = [dict(f.f_locals) for f in frames if f.f_globals["__name__"].startswith("streamkit.")]
        assert ours
        shown = f"{provider!r} {vars(provider)} {request!r} {dict(request.headers)} {ours}"
        assert (False, False) == (KEY in shown, TOKEN in shown)
        assert {KEY, TOKEN} & set(request.secrets)


def of_the_sdk(server: Server, **options: Any) -> Request:
    """Return what Azure's client in OpenAI's package asks a server for the same call."""
    openai = pytest.importorskip("openai")
    client = openai.AzureOpenAI(api_key=KEY, max_retries=0, **options)
    with client, client.chat.completions.create(**SAME) as stream:
        assert "Hi" == "".join(event.choices[0].delta.content or "" for event in stream if event.choices)
    return server.requests[-1]


SAME: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": HELLO,
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_completion_tokens": 5,
    "seed": 7,
}


def test_as_the_official_client() -> None:
    """Path, query, key and body are those that Azure's official client sends for the same call."""
    version = "2024-10-21"
    with Server(text_reply("Hi"), text_reply("Hi")) as server:
        theirs = of_the_sdk(server, azure_endpoint=origin(server), api_version=version)
        with Client([AzureOpenAI(KEY, origin(server), api_version=version)]) as client:
            client.complete("azure/gpt-4o", HELLO, max_tokens=5, seed=7)
        ours = server.requests[-1]
    assert (theirs.method, theirs.path, theirs.json()) == (ours.method, ours.path, ours.json())
    assert KEY == theirs.headers["api-key"] == ours.headers["api-key"]
    assert theirs.headers.get("authorization") == ours.headers.get("authorization")


def test_max_tokens_of_other_vendors() -> None:
    """A model that knows the old name only is asked by it."""
    request = AzureOpenAI(KEY, HOST, max_tokens_field="max_tokens").request(ChatRequest("m", HELLO, {"max_tokens": 5}))
    body = json.loads(request.body)
    assert (5, False) == (body["max_tokens"], "max_completion_tokens" in body)


def test_its_refusal() -> None:
    """A refusal has Azure's request id, the wait that it asks for, and where the key came from."""
    headers = {"apim-request-id": "apim-1"}
    message = "Requests to the API have exceeded the call rate limit. Please retry after 26 seconds."
    with Server(error_reply(429, message, code="429", headers=headers), error_reply(401)) as server:
        with Client([AzureOpenAI(KEY, origin(server))], retry=1) as client:
            with pytest.raises(RateLimitError) as caught:
                client.complete("azure/m", "Hi")
            with pytest.raises(Exception, match=re.escape("Check the key in AZURE_OPENAI_API_KEY")):
                client.complete("azure/m", "Hi")
    error = caught.value
    assert ("apim-1", 26.0, "429", 429) == (error.request_id, error.retry_after, error.code, error.status)
