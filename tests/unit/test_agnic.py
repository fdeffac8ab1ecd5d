"""Agnic's gateway: two headers for the token, the wallet's costs, and spending limits."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from streamkit import Client, ConfigError, Message, PaymentRequiredError, Retry, Usage
from streamkit.providers import Agnic, ChatRequest, Provider
from streamkit.providers.openai_chat.agnic import AgnicDecoder
from streamkit.testing import DONE, Reply, Server, chunk_event, json_reply, sse_event, text_reply, whole_reply

KEY = "agnic_tok_sk_live_123"
CHAT = ChatRequest("openai/gpt-4o", [{"role": "user", "content": "Hi"}])
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "cost": 0.00004}
PAID = {"request_id": "req_1", "cost_usd": "0.000100", "latency_ms": 800}
# https://docs.agnic.ai/docs/authentication/api-tokens
DAILY = {
    "error": "spending_limit_exceeded",
    "error_description": "Daily limit exceeded",
    "limit": "daily",
    "current": 9.5,
    "requested": 1.0,
    "max": 10.0,
}


class TestRequest:
    @pytest.mark.parametrize("variable", ["AGNIC_TOKEN", "AGNIC_API_KEY"])
    def test_of_the_environment(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token in either variable is enough; the vendor's part of the model's name goes on the wire."""
        monkeypatch.setenv(variable, KEY)
        with Server(text_reply("Hi")) as server, Client() as client:
            monkeypatch.setenv("AGNIC_BASE_URL", server.url)
            assert "Hi" == client.complete("agnic/openai/gpt-4o", "Hi").text
            request = server.requests[0]
        assert (f"Bearer {KEY}", "openai/gpt-4o") == (request.headers["authorization"], request.json()["model"])
        assert "/v1/chat/completions" == request.path
        assert {"include_usage": True} == request.json()["stream_options"]

    def test_its_own_header(self) -> None:
        """An API token may go in Agnic's header, and then in no other; a partner's id goes along."""
        provider = Agnic(KEY, key_header="X-Agnic-Token", partner_id="me")
        headers = provider.request(CHAT).headers
        assert (KEY, "me", None) == (headers["X-Agnic-Token"], headers["X-Partner-Id"], headers.get("Authorization"))
        assert isinstance(provider, Provider)
        assert "X-Partner-Id" not in Agnic(KEY).request(CHAT).headers

    def test_another_header(self) -> None:
        """Any other header is refused."""
        with pytest.raises(ConfigError, match="key_header is 'Authorization' or 'X-Agnic-Token', not 'X-Key'"):
            Agnic(KEY, key_header="X-Key")  # type: ignore[arg-type]

    def test_missing(self) -> None:
        """Without a token there is a `ConfigError` that names both variables, before anything is sent."""
        with pytest.raises(ConfigError, match=r"^agnic needs an API key: set the .* AGNIC_TOKEN or AGNIC_API_KEY, or"):
            Client().stream("agnic/openai/gpt-4o", "Hi")

    @pytest.mark.parametrize("header", ["Authorization", "X-Agnic-Token"])
    def test_nowhere_to_be_seen(self, header: Any) -> None:
        """The token does not show, in whichever way provider and request are printed."""
        provider = Agnic(KEY, key_header=header)
        request = provider.request(CHAT)
        assert KEY not in f"{provider!r} {vars(provider)} {request!r} {dict(request.headers)}"
        assert KEY in request.secrets


def streamed(*events: bytes) -> Usage:
    with Server(Reply([*events, DONE])) as server, Client([Agnic(KEY, server.url)], retry=1) as client:
        return client.complete("agnic/openai/gpt-4o", "Hi").usage


def with_agnic(event: bytes, told: Any) -> bytes:
    body = json.loads(event.partition(b"data: ")[2])
    return sse_event({**body, "agnic": told})


class TestCost:
    def test_on_the_usage(self) -> None:
        """The wallet's cost is preferred to the supplier's."""
        usage = streamed(
            chunk_event("Hi"), chunk_event(finish_reason="stop"), with_agnic(chunk_event(usage=USAGE), PAID)
        )
        assert (3, 4, 7, 0.0001) == (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.cost)

    @pytest.mark.parametrize("place", range(3))
    def test_on_any_event(self, place: int) -> None:
        """It counts on whichever event it comes, before the usage, with text, or after."""
        events = [chunk_event("Hi"), chunk_event("Ho"), chunk_event(finish_reason="stop"), chunk_event(usage=USAGE)]
        events[place] = with_agnic(events[place], PAID)
        usage = streamed(*events)
        assert (7, 0.0001) == (usage.total_tokens, usage.cost)

    def test_without_usage(self) -> None:
        """Without any usage the cost is known all the same, and the rest is not."""
        assert Usage(cost=0.0001) == streamed(chunk_event("Hi"), with_agnic(chunk_event(finish_reason="stop"), PAID))

    @pytest.mark.parametrize("told", [None, {}, [], "x", {"cost_usd": None}, {"cost_usd": "free"}, {"cost_usd": "-1"}])
    def test_unknown(self, told: Any) -> None:
        """Without a cost from Agnic, the supplier's cost counts."""
        usage = streamed(
            chunk_event('about "agnic"'),
            chunk_event(finish_reason="stop"),
            with_agnic(chunk_event(usage=USAGE), told),
        )
        assert USAGE["cost"] == usage.cost

    def test_of_a_whole_reply(self) -> None:
        """A reply that was not streamed tells it as well."""
        body = json.loads(b"".join(step.data for step in whole_reply("Hi").steps))  # type: ignore[union-attr]
        with Server(json_reply({**body, "agnic": PAID})) as server:
            with Client([Agnic(KEY, server.url)], retry=1) as client:
                said = client.complete("agnic/openai/gpt-4o", "Hi")
        assert ("Hi", 0.0001) == (said.text, said.usage.cost)

    def test_each_stream_has_its_own(self) -> None:
        """One stream's cost does not appear in another."""

        @attrs.define
        class Event:
            data: str
            event: str = "message"

        decoder, other = AgnicDecoder("agnic"), AgnicDecoder("agnic")
        decoder.decode(Event(json.dumps({"choices": [], "agnic": PAID})))
        for each in (decoder, other):
            each.decode(Event(json.dumps({"choices": [], "usage": USAGE})))
        costs = [usage.cost for each in (decoder, other) if (usage := each.finish().usage)]
        assert [0.0001, 0.00004] == costs

    def test_a_torn_event(self) -> None:
        """An event that is not JSON is reported as such, whatever it contains."""
        with Server(Reply([b'data: {"agnic"\n\n'])) as server, Client([Agnic(KEY, server.url)], retry=1) as client:
            with pytest.raises(Exception, match="an event is not JSON"):
                client.complete("agnic/m", "Hi")


def test_reasoning_goes_back() -> None:
    """The reasoning blocks of a call go back with its result, as OpenRouter, which stands behind, wants them."""
    detail = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}
    delta = {"reasoning_details": [detail], "content": "ok"}
    first = sse_event({"id": "r", "choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]})
    with Server(Reply([first, DONE]), text_reply("Hi")) as server, Client([Agnic(KEY, server.url)], retry=1) as client:
        said = client.complete("agnic/a/b", "Hi")
        client.complete("agnic/a/b", [Message("user", "Hi"), said.message, Message("user", "So?")])
        assert [detail] == server.requests[1].json()["messages"][1]["reasoning_details"]


class TestLimits:
    @pytest.mark.parametrize("in_stream", [False, True])
    def test_a_spending_limit(self, in_stream: bool) -> None:
        """A spending limit says which it is and how far, and is not tried again, also inside a stream."""
        reply = Reply([sse_event(DAILY)]) if in_stream else json_reply(DAILY, 402)
        with Server(reply) as server, Client([Agnic(KEY, server.url)], retry=Retry(3)) as client:
            with pytest.raises(
                PaymentRequiredError, match=r"agnic/openai/gpt-4o at \S+ answered 402: Daily limit exceeded"
            ) as caught:
                client.complete("agnic/openai/gpt-4o", "Hi")
            assert 1 == len(server.requests)
        error = caught.value
        assert ("daily", 9.5, 1.0, 10.0) == (error.limit, error.current, error.requested, error.max)
        assert ("spending_limit_exceeded", in_stream, False) == (error.code, error.in_stream, error.retryable)

    def test_an_empty_wallet(self) -> None:
        """No credit is the same class, of which no limit is known."""
        with Server(json_reply({"error": "insufficient_balance", "message": "Top up"}, 402)) as server:
            with Client([Agnic(KEY, server.url)], retry=1) as client:
                with pytest.raises(PaymentRequiredError, match="Top up") as caught:
                    client.complete("agnic/m", "Hi")
        error = caught.value
        assert (None, None, None, None) == (error.limit, error.current, error.requested, error.max)
