"""Which parameters of a request reach the provider, through a gateway on a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.gateway.config.values import UpstreamConfig
from streamkit.providers.call import ChatRequest
from streamkit.testing import Server, error_reply
from streamkit.testing.provider_replies import reply_in
from streamkit.wire.secrets import Masked
from tests.unit.gateway_server import Served, chat, config, served

#: What programs send with each request, and what asks for nothing.
IDLE: dict[str, Any] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "metadata": {"run": "7"},
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "response_format": {"type": "text"},
    "service_tier": "auto",
    "store": False,
    "top_logprobs": 0,
    "user": "ada",
    "verbosity": "medium",
}


@contextmanager
def behind(tmp_path: Path, kind: str, **model: Any) -> Iterator[tuple[Served, Server]]:
    """Serve one model of a provider of some kind; yield the gateway, and the provider's server."""
    with Server(lambda _: reply_in("openai" if kind == "compatible" else kind, "Hello", usage=(3, 2))) as up:
        made = config(tmp_path, up)
        options = {"access_key": Masked("a" * 20), "secret_key": Masked("s" * 40), "region": "x"}
        upstream = UpstreamConfig("up0", kind, up.url, Masked("k" * 20))
        if kind == "bedrock":
            upstream = attrs.evolve(upstream, key=None, options=options)
        models = (attrs.evolve(made.models[0], **model),)
        with served(attrs.evolve(made, upstreams=(upstream,), models=models)) as gateway:
            yield gateway, up


def names_in(value: Any) -> set[str]:
    """Return all names of fields, at any depth."""
    if isinstance(value, dict):
        return {*value, *(name for each in value.values() for name in names_in(each))}
    return {name for each in value for name in names_in(each)} if isinstance(value, list) else set()


#: Of these, what each kind of provider has words for, and gets.
HAS: dict[str, dict[str, Any]] = {
    "anthropic": {"metadata": {"user_id": "ada"}, "service_tier": "auto"},
    "bedrock": {"requestMetadata": {"run": "7"}},
    "cohere": {"logprobs": False, "frequency_penalty": 0, "presence_penalty": 0.0},
    "gemini": {"store": False},
    "gemini-interactions": {"store": False},
    "ollama": {},
    "openai-responses": {"store": False, "user": "ada", "metadata": {"run": "7"}, "parallel_tool_calls": True},
}


@pytest.mark.parametrize("kind", HAS)
def test_what_asks_for_nothing_is_left_out(kind: str, tmp_path: Path) -> None:
    """Where a provider has no word for it; each alone, and all at once. It gets what it has a word for."""
    with behind(tmp_path, kind) as (gateway, up):
        for params in ({}, *({name: value} for name, value in IDLE.items()), IDLE):
            answer = gateway.ask(chat(**params))
            assert (200, "Hello") == (answer.status, answer.json()["choices"][0]["message"]["content"]), params
        sent = up.requests[-1].json()
        assert HAS[kind] == {name: sent.get(name) for name in HAS[kind]}


def test_a_provider_of_the_same_format_gets_what_was_sent(tmp_path: Path) -> None:
    """It may have a default of its own."""
    with behind(tmp_path, "compatible") as (gateway, up):
        assert 200 == gateway.ask(chat(**IDLE)).status
        sent = up.requests[0].json()
        assert IDLE == {name: sent.get(name) for name in IDLE}


def test_routes_to_several_formats(tmp_path: Path) -> None:
    """Each of them gets what it has a word for."""
    with Server(error_reply(503)) as first, Server(reply_in("anthropic", "Hello")) as second:
        made = config(tmp_path, first, second)
        upstreams = (made.upstreams[0], attrs.evolve(made.upstreams[1], kind="anthropic"))
        with served(attrs.evolve(made, upstreams=upstreams)) as gateway:
            assert 200 == gateway.ask(chat(**{**IDLE, "model": "both"})).status
        one, other = first.requests[0].json(), second.requests[0].json()
        assert IDLE == {name: one.get(name) for name in IDLE}
        assert ({"user_id": "ada"}, None) == (other["metadata"], other.get("store"))


@pytest.mark.parametrize("kind", ["gemini-interactions", "openai-responses"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_provider_keeps_nothing_unless_it_is_asked_to(kind: str, path: str, tmp_path: Path) -> None:
    """Where its own format keeps each reply by default, it is told not to; chat completions may ask for it."""
    with behind(tmp_path, kind) as (gateway, up):
        body = {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        body = {"model": "fast", "input": "Hi"} if "responses" in path else body
        for given, sent in (({}, False), ({"store": False}, False), ({"store": True}, "chat" in path)):
            if path == "/v1/messages" and given:
                continue
            assert 200 == gateway.ask({**body, **given}, path).status
            assert sent is up.requests[-1].json()["store"], given


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("anthropic", {"seed": 7}, "up0 has no seed: its replies cannot be made to repeat; leave it out"),
        ("anthropic", {"frequency_penalty": 0.5}, "up0 has no parameter frequency_penalty; leave it out"),
        ("bedrock", {"store": True}, "up0 has no parameter store; leave it out"),
        ("bedrock", {"seed": 7}, "up0 has no seed: it differs by model; leave it out"),
        ("openai-responses", {"stop_sequences": ["x"], "seed": 7}, "up0 has no seed: "),
        ("ollama", {"verbosity": "low"}, "up0 has no parameter verbosity; leave it out"),
        ("compatible", {"functions": [{"name": "f"}]}, "functions is not served: send tools instead"),
        (
            "compatible",
            {"web_search_options": {"a": 1}},
            "web_search_options is not served: let the client search, and ",
        ),
    ],
)
def test_what_asks_for_something_is_refused(kind: str, params: Any, words: str, tmp_path: Path) -> None:
    """The error names it, and says what to do in the words of a client; nothing is sent, nothing charged."""
    with behind(tmp_path, kind) as (gateway, up):
        answer = gateway.ask(chat(**params))
        error = answer.json()["error"]
        assert (400, "unsupported_parameter", [*params][-1]) == (answer.status, error["code"], error["param"])
        assert error["message"].startswith(words)
        assert "=" not in error["message"]
        assert [] == list(up.requests)
        assert not any(charge.amount for charge in gateway.charges())


def test_what_a_model_drops(tmp_path: Path) -> None:
    """It is left out whatever its value, also where it would be refused."""
    drop = ("frequency_penalty", "seed", "service_tier", "stop", "temperature")
    with behind(tmp_path, "anthropic", drop=drop) as (gateway, up):
        params = {"frequency_penalty": 0.5, "seed": 7, "service_tier": "priority", "stop": ["x"], "temperature": "hot"}
        assert 200 == gateway.ask(chat(**params, top_p=0.5)).status
        sent = up.requests[0].json()
        assert not names_in(sent) & {*params, "stop_sequences"}
        assert 0.5 == sent["top_p"]


@pytest.mark.parametrize("stream", [True, False])
def test_fields_that_a_model_lets_through(stream: bool, tmp_path: Path) -> None:
    """They go to the provider as they are; others of the client's do not, and none becomes a header."""
    given = {"top_k": 4, "chat_template_kwargs": {"thinking": False}, "min_p": None, "extra_headers": {"x-a": "b"}}
    fields = ("top_k", "chat_template_kwargs", "min_p", "functions")
    with behind(tmp_path, "compatible", fields=fields) as (gateway, up):
        answer = gateway.ask(chat(**given, repetition_penalty=2, functions=[{"name": "f"}], stream=stream))
        assert 200 == answer.status
        request = up.requests[0]
        sent = request.json()
        assert {"top_k": 4, "chat_template_kwargs": {"thinking": False}, "functions": [{"name": "f"}]} == {
            name: sent[name] for name in sent if name not in gateway_fields()
        }
        assert "x-a" not in request.headers


def test_fields_are_paid_for(tmp_path: Path) -> None:
    """What they send counts as input, for which a token has to have money."""
    with behind(tmp_path, "compatible", fields=("documents",)) as (gateway, up):
        answer = gateway.ask(chat(documents=["x" * 2_000_000], max_tokens=5))
        assert (402, []) == (answer.status, list(up.requests))
        assert 200 == gateway.ask(chat(documents=["x"], max_tokens=5)).status


@pytest.mark.parametrize("content", ["Hi", [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]])
def test_errors_about_messages(content: Any, tmp_path: Path) -> None:
    """They say what to do once, and name no parameter."""
    with behind(tmp_path, "cohere") as (gateway, _):
        body = chat()
        body["messages"] = [{"role": "user", "content": content, "name": "bob"}]
        error = gateway.ask(body).json()["error"]
        assert ("unsupported_parameter", None) == (error["code"], error["param"])
        assert 1 >= error["message"].count("leave it out")


@pytest.mark.parametrize("name", ["temperature", "top_p", "frequency_penalty"])
def test_a_number_that_no_float_can_be(name: str, tmp_path: Path) -> None:
    """It is refused like any other that is too large."""
    with behind(tmp_path, "compatible") as (gateway, _):
        assert (400, name) == ((answer := gateway.ask(chat(**{name: 10**400}))).status, answer.json()["error"]["param"])


def test_thinking_is_dropped_in_each_format(tmp_path: Path) -> None:
    """Also under the names that it has in formats of its own."""
    for kind, path, body in (
        ("anthropic", "/v1/messages", {"max_tokens": 9, "output_config": {"effort": "high"}, "messages": HI}),
        ("openai-responses", "/v1/responses", {"input": "Hi", "reasoning": {"effort": "high", "summary": "auto"}}),
    ):
        (folder := tmp_path / kind).mkdir()
        with behind(folder, kind, drop=("reasoning_effort", "thinking")) as (gateway, up):
            assert 200 == gateway.ask({"model": "fast", **body, "thinking": {"type": "adaptive"}}, path).status
            assert not names_in(up.requests[0].json()) & {"effort", "reasoning", "summary", "thinking"}


HI = [{"role": "user", "content": "Hi"}]


def gateway_fields() -> set[str]:
    """What is sent of a plain question."""
    return {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}


def test_the_page_asks_the_same_providers(tmp_path: Path) -> None:
    """It has no request that could say what is to be kept."""
    with behind(tmp_path, "openai-responses") as (gateway, _):
        (provider,) = gateway.gateway._models.providers
        request = provider.request(ChatRequest("m", HI))
        assert json.loads(request.body)["store"] is False


def test_drop_holds_in_each_format(tmp_path: Path) -> None:
    """Of Messages and Responses too, for providers of their own format."""
    for kind, path, body in (
        ("anthropic", "/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}),
        ("openai-responses", "/v1/responses", {"input": "Hi"}),
    ):
        (folder := tmp_path / kind).mkdir()
        with behind(folder, kind, drop=("temperature",), fields=("own",)) as (gateway, up):
            assert 200 == gateway.ask({"model": "fast", **body, "temperature": 0.5, "own": [1]}, path).status
            sent = up.requests[0].json()
            assert (None, [1]) == (sent.get("temperature"), sent.get("own"))
