"""Lists of models: every provider's format, caching, and failures."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from streamkit import (
    AuthenticationError,
    BadRequestError,
    Client,
    ConfigError,
    ConnectError,
    NotFoundError,
    ProtocolError,
    ServerError,
    StreamError,
    StreamkitError,
    StreamTimeout,
    providers,
)
from streamkit.models.catalog import Catalog, not_in_use
from streamkit.providers import Provider
from streamkit.providers.reply.model_lists import ModelInfo, read_models
from streamkit.testing import Reply, Server, Wait, error_reply, html_reply, json_reply, redirect_reply
from streamkit.transport.transport import Transport

OPENAI = {"object": "list", "data": [{"id": "m-1", "object": "model", "created": 1700000000, "owned_by": "me"}]}
OPENROUTER = {
    "data": [
        {
            "id": "acme/big",
            "name": "Acme: Big",
            "context_length": 200000,
            "architecture": {"input_modalities": ["text", "image", "file"]},
            "pricing": {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003"},
            "top_provider": {"max_completion_tokens": 64000},
            "supported_parameters": ["tools", "reasoning", "structured_outputs"],
        },
        {"id": "acme/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
    ]
}


def one(provider: str, body: Any) -> ModelInfo:
    (model,), page = read_models(provider, body)
    assert page is None
    return model


class TestShapes:
    def test_openai(self) -> None:
        """The plain shape tells the id and the date; all else is unknown."""
        model = one("openai", OPENAI)
        assert ("openai/m-1", 2023, None, None) == (
            model.full_name,
            model.created.year if model.created else 0,
            model.context_window,
            model.input_price,
        )

    def test_openrouter(self) -> None:
        """The rich shape, which is Agnic's as well, has prices a token as text: they become prices a million."""
        (model, auto), _ = read_models("openrouter", OPENROUTER)
        assert (200000, 64000, 3.0, 15.0, 0.3) == (
            model.context_window,
            model.max_output_tokens,
            model.input_price,
            model.output_price,
            model.cached_price,
        )
        assert {"tools", "images", "files", "reasoning", "json"} == model.capabilities
        assert auto.input_price is None  # a price that varies is none

    def test_agnic_under_another_key(self) -> None:
        """A list under `models`, or bare, is a list as well."""
        assert ["a"] == [model.id for model in read_models("agnic", {"models": [{"id": "a"}]})[0]]
        assert ["a"] == [model.id for model in read_models("agnic", [{"id": "a"}, "no model", {}])[0]]

    def test_anthropic(self) -> None:
        """Names are for people, and a list that goes on says where."""
        entry = {"type": "model", "id": "claude-x", "display_name": "Claude X", "created_at": "2026-02-19T00:00:00Z"}
        (model,), page = read_models("anthropic", {"data": [entry], "has_more": True, "last_id": "claude-x"})
        assert ("Claude X", "after_id=claude-x") == (model.name, page)

    def test_gemini(self) -> None:
        """Names lose their folder; limits and thinking are read."""
        entry = {"name": "models/gemini-x", "displayName": "Gemini X", "inputTokenLimit": 10, "outputTokenLimit": 5}
        (model,), page = read_models("gemini", {"models": [{**entry, "thinking": True}], "nextPageToken": "a/b"})
        assert ("gemini-x", 10, 5, {"reasoning"}, "pageToken=a%2Fb") == (
            model.id,
            model.context_window,
            model.max_output_tokens,
            model.capabilities,
            page,
        )

    def test_mistral(self) -> None:
        """Capabilities that are flags count where they are set."""
        flags = {"completion_chat": True, "function_calling": True, "vision": False}
        model = one("mistral", {"data": [{"id": "m", "max_context_length": 32768, "capabilities": flags}]})
        assert (32768, {"tools"}) == (model.context_window, model.capabilities)

    def test_ollama(self) -> None:
        """Tags have a name and no id."""
        assert "llama3:8b" == one("ollama", {"models": [{"name": "llama3:8b", "model": "llama3:8b"}]}).id

    def test_bedrock(self) -> None:
        """Amazon's summaries have names of their own for everything."""
        summary = {
            "modelArn": "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-x-v1:0",
            "modelId": "anthropic.claude-x-v1:0",
            "modelName": "Claude X",
            "providerName": "Anthropic",
            "inputModalities": ["TEXT", "IMAGE"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "modelLifecycle": {"status": "ACTIVE"},
        }
        model = one("bedrock", {"modelSummaries": [summary]})
        assert ("bedrock/anthropic.claude-x-v1:0", "Claude X", {"images"}) == (
            model.full_name,
            model.name,
            model.capabilities,
        )

    @pytest.mark.parametrize("body", [{}, {"data": None}, {"data": []}, {"data": [None, {"id": 4}]}, [[]]])
    def test_a_list_may_hold_no_model(self, body: Any) -> None:
        """An empty list, or one of other things, is a list without models."""
        assert ([], None) == read_models("x", body)

    @pytest.mark.parametrize("body", [None, 3, "x", {"data": 3}, {"detail": "nothing here"}])
    def test_anything_else_is_no_list(self, body: Any) -> None:
        """A response that is not a list is an error, not an empty list."""
        with pytest.raises(ProtocolError, match="something else than a list"):
            read_models("x", body)

    def test_half_a_character_in_the_next_page(self) -> None:
        """A page's name that no URL can carry is made one that it can."""
        _, page = read_models("x", {"has_more": True, "last_id": "\ud800", "data": [{"id": "a"}]})
        assert "after_id=%EF%BF%BD" == page

    def test_models_can_be_in_a_set(self) -> None:
        """Two that are equal are one in a set, whatever the provider sent."""
        assert 1 == len({one("openai", OPENAI), one("openai", OPENAI)})


def local(server: Server, name: str = "local") -> Provider:
    return providers.OpenAI(api_key="sk-secret-catalog", base_url=server.url, name=name)


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


class TestList:
    def test_a_list_over_http(self) -> None:
        """The list is fetched from the provider's endpoint, with its key."""
        with Server(json_reply(OPENAI)) as server, Client([local(server)]) as client:
            assert ["local/m-1"] == [model.full_name for model in client.models.list()]
            (request,) = server.requests
        assert ("GET", "/v1/models") == (request.method, request.path)
        assert "sk-secret-catalog" in request.headers["authorization"]

    def test_pages(self) -> None:
        """A list in pages is read to its last page."""
        first = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
        with Server(json_reply(first), json_reply({"data": [{"id": "b"}], "has_more": False})) as server:
            anthropic = providers.Anthropic(api_key="k", base_url=server.url)
            with Client([anthropic]) as client:
                assert ["a", "b"] == [model.id for model in client.models.list("anthropic")]
            assert ["limit=1000", "limit=1000&after_id=a"] == [r.path.partition("?")[2] for r in server.requests]

    def test_one_that_fails_is_reported_and_hides_nothing(self) -> None:
        """Beside a provider that refuses, and one without a key, the others' models are there."""
        with Server(json_reply(OPENAI)) as well, Server(error_reply(401)) as refuses:
            known = [local(well, "well"), local(refuses, "refuses"), providers.Cohere()]
            with Client(known) as client:
                models = client.models.list()
        assert ["well/m-1"] == [model.full_name for model in models]
        assert {"refuses", "cohere"} == set(models.errors)
        assert isinstance(models.errors["refuses"], AuthenticationError)
        assert isinstance(models.errors["cohere"], ConfigError)
        assert "sk-secret" not in f"{models.errors}"

    def test_asked_for_one_its_error_is_raised(self) -> None:
        """If only one provider is asked, its failure is raised."""
        with Server(error_reply(404)) as server, Client([local(server)]) as client:
            with pytest.raises(NotFoundError):
                client.models.list("local")
            with pytest.raises(ConfigError, match="unknown provider 'nobody'"):
                client.models.list("nobody")

    @pytest.mark.parametrize(
        "reply",
        [html_reply(), Reply(["[1,"], content_type="application/json"), json_reply("x"), json_reply({"object": "x"})],
    )
    def test_what_is_no_list(self, reply: Reply) -> None:
        """A page in HTML, half a list, or no list is a documented error."""
        reply = reply.but(status=200)
        with Server(reply) as server, Client([local(server)]) as client, pytest.raises(ProtocolError):
            client.models.list("local")

    def test_a_list_is_kept_for_a_while(self, transport: Transport) -> None:
        """Within its time a list is not fetched again, unless that is asked for."""
        now = [0.0]
        with Server(json_reply(OPENAI)) as server:
            provider = local(server)
            catalog = Catalog(lambda _: {"local": lambda: provider}, transport, ttl=60, now=lambda: now[0])
            for moment, refresh, asked in [(0, False, 1), (59, False, 1), (59, True, 2), (120, False, 3)]:
                now[0] = moment
                assert 1 == len(catalog.list(refresh=refresh))
                assert asked == len(server.requests)

    def test_an_old_list_is_better_than_none(self, transport: Transport) -> None:
        """When a list cannot be had again, the last one is given, and the error beside it."""
        with Server(json_reply(OPENAI), error_reply(400)) as server:
            provider = local(server)
            catalog = Catalog(lambda _: {"local": lambda: provider}, transport, ttl=0)
            assert {} == catalog.list().errors
            again = catalog.list()
            assert (["m-1"], {"local"}) == ([model.id for model in again], set(again.errors))

    def test_an_error_inside_a_200(self) -> None:
        """An error that comes in place of a list is that error."""
        body = {"error": {"message": "who are you?", "code": 401}}
        with Server(json_reply(body)) as server, Client([local(server)]) as client:
            with pytest.raises(AuthenticationError, match="who are you"):
                client.models.list("local")

    @pytest.mark.parametrize(
        "beside", [{"error": ""}, {"error": {}}, {"error": False}, {"code": 500, "message": "OK"}, {"status": "error"}]
    )
    def test_what_stands_beside_a_list(self, beside: Any) -> None:
        """A list with a gateway's additional fields is not an error."""
        with Server(json_reply({**OPENAI, **beside})) as server, Client([local(server)]) as client:
            assert ["m-1"] == [model.id for model in client.models.list("local")]

    def test_a_short_key_garbles_nothing(self) -> None:
        """A key such as `none` is no secret, and its letters stay in the words of errors."""
        with Server(error_reply(404, "no model, none at all")) as server:
            provider = providers.OpenAI(api_key="no", base_url=server.url, name="local")
            with Client([provider]) as client, pytest.raises(NotFoundError, match="no model, none at all"):
                client.models.list("local")

    def test_a_redirect_is_named(self) -> None:
        """A server that points elsewhere is not followed; where it points is said, without its secrets."""
        with (
            Server(redirect_reply("https://me:hush@elsewhere.example/a?ticket=hush")) as server,
            Client([local(server)]) as client,
        ):
            with pytest.raises(ProtocolError, match=r"redirects \(307\) to 'https://elsewhere\.example/a', and"):
                client.models.list("local")

    def test_an_empty_list_is_no_error(self) -> None:
        """A provider that lists nothing was asked, and lists nothing."""
        with Server(json_reply({"data": []})) as server, Client([local(server)]) as client:
            models = client.models.list()
        assert ((), {}, ("local",)) == (models.models, models.errors, models.asked)

    @pytest.mark.parametrize(
        "reply",
        [
            error_reply(401, "no such key: sk-secret-catalog", type="sk-secret-catalog", code="sk-secret-catalog"),
            html_reply(200, "<p>sk-secret-catalog"),
            redirect_reply("https://elsewhere.example/sk-secret-catalog/"),
        ],
    )
    def test_a_key_that_the_server_repeats_is_masked(self, reply: Reply) -> None:
        """No part of the error that a server makes of the key shows it."""
        with Server(reply) as server, Client([local(server)]) as client, pytest.raises(StreamError) as caught:
            client.models.list("local")
        assert "***" in f"{vars(caught.value)} {caught.value}"
        assert "sk-secret-catalog" not in f"{vars(caught.value)} {caught.value!r}"

    def test_a_foreign_failure_hides_nothing(self) -> None:
        """A provider of another package that fails in a way of its own is reported as the others are."""

        class Odd(providers.OpenAI):
            def headers(self) -> dict[str, str | None]:
                raise KeyError("a variable")

        with Server(json_reply(OPENAI)) as server:
            with Client([local(server), Odd(api_key="k", base_url=server.url, name="odd")]) as client:
                models = client.models.list()
                with pytest.raises(StreamkitError, match="odd cannot be asked for its models: KeyError"):
                    client.models.list("odd")
        assert (1, {"odd"}) == (len(models), set(models.errors))

    def test_a_closed_client(self) -> None:
        """A client that was closed asks nobody any more, and says so."""
        with Server(json_reply(OPENAI)) as server:
            client = Client([local(server)])
            client.models.list()
            client.close()
            for refresh in (False, True):
                with pytest.raises(ConfigError, match="closed"):
                    client.models.list(refresh=refresh)

    def test_the_demo(self) -> None:
        """The model that is always there is listed for who asks for it, and not among all."""
        with Client() as client:
            found = client.models.get("demo/storyteller")
            assert found is not None
            assert "demo/storyteller" == found.full_name
        with Client([]) as nobody:
            assert () == nobody.models.list().asked


def page(*ids: str, more: str | None = None) -> Reply:
    return json_reply({"data": [{"id": id} for id in ids], "has_more": more is not None, "last_id": more})


class TestPages:
    def test_a_page_that_fails(self) -> None:
        """The pages before the one that fails are kept, and its error is told."""
        with Server(page("a", more="a"), page("b", more="b"), error_reply(400)) as server:
            with Client([local(server)]) as client:
                models = client.models.list("local")
        assert (["a", "b"], {"local": BadRequestError}) == (
            [model.id for model in models],
            {name: type(error) for name, error in models.errors.items()},
        )

    @pytest.mark.parametrize(
        "answers",
        [(page("a", more="x"), page("b", more="x")), (page("a", more="x"), page("b", more="y"), page("a", more="z"))],
        ids=["the same page", "the same models"],
    )
    def test_a_list_that_turns_in_a_circle(self, answers: tuple[Reply, ...]) -> None:
        """A server that says the same again has come to its end."""
        with Server(*answers) as server, Client([local(server)]) as client:
            models = client.models.list("local")
            assert len(answers) == len(server.requests)
        assert (["a", "b"], {}) == ([model.id for model in models], models.errors)

    def test_an_empty_page(self) -> None:
        """A page without models is no end where it names the next one."""
        with Server(page("a", more="x"), page(more="y"), page("b")) as server, Client([local(server)]) as client:
            assert ["a", "b"] == [model.id for model in client.models.list("local")]

    def test_a_list_without_end(self) -> None:
        """Beyond some number of pages no more are asked for; what was found is there, and the error beside it."""
        count = itertools.count()
        with Server(lambda _: page(f"m{next(count)}", more=f"{count}")) as server, Client([local(server)]) as client:
            models = client.models.list("local")
        assert 50 == len(models)
        assert "more than 50 pages" in f"{models.errors['local']}"

    def test_one_deadline_for_all_pages(self, transport: Transport) -> None:
        """A provider whose pages come slower and slower has no more time for many than for one."""
        with Server(page("a", more="a"), Reply(before_head=[Wait(None)])) as server:
            provider = local(server)
            catalog = Catalog(lambda _: {"local": lambda: provider}, transport, timeout=2)
            models = catalog.list()
        assert (1, StreamTimeout) == (len(models), type(models.errors["local"]))

    def test_all_are_asked_at_once(self, transport: Transport) -> None:
        """Twenty providers answer only once all of them were asked."""
        everybody = threading.Barrier(20)

        def answer(_: object) -> Reply:
            everybody.wait(60)
            return json_reply(OPENAI)

        with Server(answer) as server:
            known = [local(server, f"p{number}") for number in range(20)]
            with Client(known) as client:
                assert (20, {}) == (len(client.models.list()), client.models.list().errors)

    def test_an_interrupt_leaves_at_once(self) -> None:
        """Ctrl-C waits for nobody's answer, and the requests that are under way are cut off."""

        def interrupt(_: object) -> Reply:
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
            return Reply(before_head=[Wait(None)])

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored in the background
        try:
            with Server(interrupt) as server, Client([local(server)]) as client:
                with pytest.raises(KeyboardInterrupt):
                    client.models.list()
                server.wait_for_open_connections(0)
        finally:
            signal.signal(signal.SIGINT, before)


class TestChoosing:
    @pytest.fixture
    def client(self) -> Iterator[Client]:
        cheap = {"id": "small", "pricing": {"prompt": "0.0000001", "completion": "0.0000002"}}
        body = {"data": [*OPENROUTER["data"], cheap]}
        with Server(json_reply(body)) as server:
            with Client([local(server)]) as client:
                yield client

    def test_get(self, client: Client) -> None:
        """A model is got by its full name."""
        found = client.models.get("local/acme/big")
        assert found is not None
        assert 200000 == found.context_window
        assert client.models.get("local/none") is None

    def test_find(self, client: Client) -> None:
        """Only models with all of the capabilities are found."""
        assert ["acme/big"] == [model.id for model in client.models.find(["tools", "images"])]
        assert () == client.models.find(["tools", "video"])

    def test_cheapest(self, client: Client) -> None:
        """The cheapest is the one with the lowest price of those that are able."""
        small, able = client.models.cheapest(), client.models.cheapest(["tools"])
        assert small is not None
        assert able is not None
        assert ("small", "acme/big") == (small.id, able.id)


def test_nothing_was_found_for_somebody_failed() -> None:
    """If no model was found, a provider's failure is raised; a missing key is not a failure."""
    with Server(error_reply(500)) as server, Client([local(server), providers.Cohere()]) as client:
        for choose in (client.models.find, client.models.cheapest):
            with pytest.raises(ServerError):
                choose()
    with Client([providers.Cohere()]) as client:
        assert ((), None) == (client.models.find(), client.models.cheapest())
    with Client([providers.Ollama(base_url="http://127.0.0.1:1")]) as client, pytest.raises(ConnectError):
        client.models.find()


def test_a_server_on_this_machine_that_somebody_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server that is not running is skipped, unless an environment variable configures it."""
    error = ConnectError("nobody there")
    assert all(not_in_use(name, error) for name in ("ollama", "vllm", "litellm"))
    assert not_in_use("vllm", ProtocolError("another program's page"))
    assert not not_in_use("vllm", ServerError("it runs"))
    assert not not_in_use("openai", error)
    for name, variable in (("ollama", "OLLAMA_HOST"), ("vllm", "VLLM_BASE_URL"), ("litellm", "LITELLM_API_KEY")):
        monkeypatch.setenv(variable, "127.0.0.1:2")
        assert not not_in_use(name, error)


def test_prices_are_filled_in_where_the_provider_sends_none() -> None:
    """Limits and prices that a provider does not send come from the price data."""
    body = {"data": [{"id": "gpt-4o-mini"}]}
    with Server(json_reply(body)) as server:
        provider = providers.OpenAI(api_key="k", base_url=server.url)
        with Client([provider]) as client:
            (model,) = client.models.list()
    assert (True, True) == (model.input_price is not None, model.context_window is not None)
    assert json.dumps(dict(model.raw)) == '{"id": "gpt-4o-mini"}'
