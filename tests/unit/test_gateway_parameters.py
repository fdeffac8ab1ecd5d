"""Which parameters of a request reach the provider, through a gateway on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.gateway.config.values import UpstreamConfig
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
KINDS = ["anthropic", "bedrock", "cohere", "gemini", "gemini-interactions", "ollama", "openai-responses"]


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


@pytest.mark.parametrize("kind", KINDS)
def test_what_asks_for_nothing_is_left_out(kind: str, tmp_path: Path) -> None:
    """Where a provider has no word for it; each alone, and all at once."""
    with behind(tmp_path, kind) as (gateway, up):
        for params in ({}, *({name: value} for name, value in IDLE.items()), IDLE):
            answer = gateway.ask(chat(**params))
            assert (200, "Hello") == (answer.status, answer.json()["choices"][0]["message"]["content"]), params
        plain, whole = up.requests[0].json(), up.requests[-1].json()
        allowed = {"store", "user", "user_id", "metadata", "service_tier", "parallel_tool_calls", "top_logprobs"}
        assert names_in(whole) - names_in(plain) <= allowed | {"text", "verbosity", "run", "format", "type"} | {
            "candidateCount"
        }
        if kind == "anthropic":
            assert {"user_id": "ada"} == whole["metadata"]


def test_a_provider_of_the_same_format_gets_what_was_sent(tmp_path: Path) -> None:
    """It may have a default of its own."""
    with behind(tmp_path, "compatible") as (gateway, up):
        assert 200 == gateway.ask(chat(**IDLE)).status
        sent = up.requests[0].json()
        assert IDLE == {name: sent.get(name) for name in IDLE}


def test_routes_to_several_formats(tmp_path: Path) -> None:
    """The same request goes to each of them."""
    with Server(error_reply(503)) as first, Server(reply_in("anthropic", "Hello")) as second:
        made = config(tmp_path, first, second)
        upstreams = (made.upstreams[0], attrs.evolve(made.upstreams[1], kind="anthropic"))
        with served(attrs.evolve(made, upstreams=upstreams)) as gateway:
            assert 200 == gateway.ask(chat(**{**IDLE, "model": "both"})).status
        assert [1, 1] == [len(first.requests), len(second.requests)]


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("anthropic", {"seed": 7}, "up0 has no seed: its replies cannot be made to repeat; leave it out"),
        ("anthropic", {"frequency_penalty": 0.5}, "up0 has no parameter frequency_penalty; leave it out"),
        ("gemini", {"store": True}, "up0 has no parameter store; leave it out"),
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
        assert (400, "unsupported_parameter", *params) == (answer.status, error["code"], error["param"])
        assert error["message"].startswith(words)
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


def gateway_fields() -> set[str]:
    """What is sent of a plain question."""
    return {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"}


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
