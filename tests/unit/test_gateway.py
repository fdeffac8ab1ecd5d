"""The gateway: replies through it, what they cost, and what is refused, over real sockets."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamkit.gateway.config.values import ModelConfig, UpstreamConfig
from streamkit.gateway.core.holders import Limits
from streamkit.testing import (
    DONE,
    Cut,
    Mark,
    Repeat,
    Reply,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_reply,
    text_reply,
    tool_call_reply,
)
from streamkit.testing.provider_replies import reply_in
from streamkit.wire.secrets import Masked
from tests.unit.gateway_server import PRICES, USD, chat, config, served
from tests.unit.support import SOON

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
COST = 100 * 1000 + 10 * 10_000  # nano, of USAGE at PRICES


def test_a_reply_and_what_it_costs(tmp_path: Path) -> None:
    """A whole reply is what the provider said, and is charged by the usage that it reported."""
    with Server(text_reply("Hello world", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(chat())
        assert (200, "application/json") == (answer.status, answer.headers["content-type"])
        shape = answer.json()
        assert "Hello world" == shape["choices"][0]["message"]["content"]
        assert ("chat.completion", "fast") == (shape["object"], shape["model"])
        assert USAGE == {name: shape["usage"][name] for name in USAGE}
        assert answer.headers["x-request-id"].startswith("req-")
        balance = gateway.balance()
        assert (USD - COST, 0, COST) == (balance.available, balance.reserved, balance.spent)
        assert [] == gateway.gateway._payments.ledger.check()


def test_a_stream_passes_as_it_came(tmp_path: Path) -> None:
    """The events are the provider's own, unknown fields and all, but for the usage that nobody asked for."""
    events = [
        {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m-2026", "system_fingerprint": "fp_1",
         "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
        {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m-2026", "obfuscation": "xyz",
         "choices": [{"index": 0, "delta": {"content": "Hi"}, "logprobs": None, "finish_reason": None}]},
        {"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m-2026",
         "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]  # fmt: skip
    usage = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m-2026",
        "choices": [],
        "usage": USAGE,
    }
    sent = [f"data: {json.dumps(event)}\n\n" for event in [*events, usage]]
    with Server(Reply([*sent, DONE])) as up, served(config(tmp_path, up)) as gateway:
        assert [*events, "[DONE]"] == gateway.ask(chat(stream=True)).events()
        asked = gateway.ask(chat(stream=True, stream_options={"include_usage": True})).events()
        assert [*events, usage, "[DONE]"] == asked
        assert {"include_usage": True} == up.requests[0].json()["stream_options"]
        assert 2 * COST == gateway.balance().spent


def test_another_format_behind(tmp_path: Path) -> None:
    """A client of OpenAI's format is answered by a provider with another one."""
    with Server(reply_in("anthropic", text="Hello from far")) as up:
        made = config(
            tmp_path,
            upstreams=(UpstreamConfig("far", "anthropic", up.url, Masked("k" * 20)),),
            models=(ModelConfig("fast", (("far/claude", 1),), **PRICES),),
        )
        with served(made) as gateway:
            events = gateway.ask(chat(stream=True)).events()
            text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events[:-1])
            assert ("Hello from far", "[DONE]") == (text, events[-1])
            assert {"fast"} == {event["model"] for event in events[:-1]}


def test_tools_and_choices(tmp_path: Path) -> None:
    """Calls of tools come whole, and the tools went to the provider as they were."""
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    with Server(tool_call_reply("weather", {"city": "Oslo"})) as up, served(config(tmp_path, up)) as gateway:
        message = gateway.ask(chat(tools=tools)).json()["choices"][0]["message"]
        assert {"city": "Oslo"} == json.loads(message["tool_calls"][0]["function"]["arguments"])
        assert "weather" == up.requests[0].json()["tools"][0]["function"]["name"]


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (error_reply(400, "bad thing about org-abc12345"), 400, None),
        (error_reply(401, "Incorrect API key provided: sk-proj-abcdefgh"), 502, "provider_refused"),
        (error_reply(403, "no"), 502, "provider_refused"),
        (error_reply(429, "slow down", headers={"retry-after": "7"}), 429, "provider_rate_limit"),
        (error_reply(503, "busy"), 503, "provider_overloaded"),
        (error_reply(500, "oops"), 502, None),
        (Reply([chunk_event("")], status=200, content_type="text/html"), 502, "provider_failed"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_first_chunk_is_a_status(
    reply: Reply, status: int, code: str | None, stream: bool, tmp_path: Path
) -> None:
    """It costs nothing, is in OpenAI's shape, and names nothing of ours."""
    with Server(reply) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(chat(stream=stream))
        assert status == answer.status, answer.body
        error = answer.json()["error"]
        assert code is None or code == error["code"]
        if status == 429:
            assert "7" == answer.headers["retry-after"]
        assert not any(secret in answer.body.decode() for secret in ("org-abc", "sk-proj", "provider-key", "127.0.0.1"))
        balance = gateway.balance()
        assert (USD, 0, 0) == (balance.available, balance.reserved, balance.spent)
        assert ["released"] == [charge.state for charge in gateway.charges()]


@pytest.mark.parametrize(
    "reply",
    [
        Reply([chunk_event("One two three"), Cut()]),
        Reply([chunk_event("One two three")]),
        Reply([chunk_event("One two three"), 'data: {"error":{"message":"oops","code":"x"}}\n\n']),
    ],
    ids=["cut", "no terminator", "error"],
)
def test_a_torn_reply_is_an_error_event(reply: Reply, tmp_path: Path) -> None:
    """Never a clean end: an error, no [DONE], and what was delivered is charged, marked as an estimate."""
    with Server(reply) as up, served(config(tmp_path, up)) as gateway:
        events = gateway.ask(chat(stream=True)).events()
        assert "error" in events[-1]
        assert "[DONE]" not in events
        (charge,) = gateway.charges()
        assert charge.estimated
        assert 0 < charge.amount < COST
        whole = gateway.ask(chat())
        assert (502, "error") == (whole.status, next(iter(whole.json())))


PHASES: dict[str, Callable[[threading.Event], Reply]] = {
    "before the head": lambda ready: Reply(before_head=[Mark(ready), Wait(None)]),
    "before the first token": lambda ready: Reply([chunk_event(""), Mark(ready), Wait(None)]),
    "in silence": lambda ready: Reply([chunk_event("One"), Mark(ready), Wait(None)]),
    "in mid-reply": lambda ready: Reply([chunk_event("One"), Mark(ready), Repeat(chunk_event("more"))]),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", PHASES)
def test_a_client_that_leaves_cancels(phase: str, stream: bool, tmp_path: Path) -> None:
    """In each phase, also of a whole reply, the provider's connection ends, and what has come is paid for."""
    ready = threading.Event()
    with Server(PHASES[phase](ready)) as up, served(config(tmp_path, up, heartbeat=SOON)) as gateway:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SOON)
        connection.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(chat(stream=stream)),
            {"authorization": f"Bearer {gateway.token}"},
        )
        assert ready.wait(SOON)
        if phase in ("in silence", "in mid-reply"):
            until(lambda: any(each.output.pieces for each in list(gateway.gateway._payments._open.values())))
        connection.close()
        assert up.requests[0].gone.wait(SOON)
        charge = ended(gateway)
        if phase == "before the head":
            assert ("released", 0) == (charge.state, charge.amount)
        elif phase != "before the first token":  # of which the head may not have been read yet
            assert ("settled", True) == (charge.state, charge.estimated)
        assert 0 == gateway.balance().reserved


def until(condition: Callable[[], Any]) -> Any:
    """Wait until a condition is true, and return it."""
    never = threading.Event()
    for _ in range(int(SOON * 100)):
        if found := condition():
            return found
        never.wait(0.01)
    raise AssertionError("it did not come")


def ended(gateway: Any) -> Any:
    """Wait for the first charge, and return it."""
    return until(lambda: not gateway.gateway._payments.count and gateway.charges())[0]


def test_headers_come_before_the_first_chunk(tmp_path: Path) -> None:
    """After some silence the response begins, with a comment; a failure after that is an event."""
    with (
        Server(Reply(before_head=[Wait(1.0)], status=500)) as up,
        served(config(tmp_path, up, heartbeat=0.1)) as gateway,
    ):
        answer = gateway.ask(chat(stream=True))
        assert 200 == answer.status
        assert b": hb" in answer.body
        assert b"[DONE]" not in answer.body
        assert "error" in answer.events()[-1]


def test_without_money_nothing_is_asked(tmp_path: Path) -> None:
    """What the balance does not cover is refused with 402, before the provider is asked."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(chat(max_tokens=200_000))
        assert (402, "insufficient_balance") == (answer.status, answer.json()["error"]["code"])
        assert [] == list(up.requests)


def test_a_request_without_a_limit_is_capped_to_what_can_be_paid(tmp_path: Path) -> None:
    """Without max_tokens the reply may be as long as the balance pays for."""
    with Server(text_reply("Hi", usage=USAGE)) as up, served(config(tmp_path, up), dollars=0) as gateway:
        assert 402 == gateway.ask(chat()).status
        id = gateway.gateway.tokens.find(gateway.token).id
        gateway.gateway._payments.ledger.top_up(f"token:{id}", 1_100_000, id="some", by="test")
        assert 200 == gateway.ask(chat()).status
        assert 90 < up.requests[0].json()["max_tokens"] < 110


def test_limits_of_a_token(tmp_path: Path) -> None:
    """A limit of one request is told with what was asked for."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up), limits=Limits(request=USD // 100)) as gateway:
        answer = gateway.ask(chat(max_tokens=50_000))
        error = answer.json()["error"]
        assert (402, "spending_limit_exceeded", "request") == (answer.status, error["code"], error["limit"])
        assert {"current", "requested", "max"} <= set(error)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b"{", 400),
        (b'{"model": NaN}', 400),
        (chat(model=5), 400),
        (chat(model="unknown"), 404),
        ({"model": "fast", "messages": []}, 400),
        ({"model": "fast", "messages": [{"role": "king", "content": "x"}]}, 400),
        ({"model": "fast", "messages": [{"role": "user", "content": 5}]}, 400),
        (chat(max_tokens=-1), 400),
        (chat(max_tokens="5"), 400),
        (chat(max_tokens=10**30), 400),
        (chat(n=0), 400),
        (chat(n=10**9), 400),
        (chat(stream="yes"), 400),
        (chat(temperature="hot"), 400),
        (chat(temperature=10**40), 400),
        (chat(tools="none"), 400),
        (chat(tools=[5]), 400),
        (chat(response_format=7), 400),
        (chat(stop=[5]), 400),
        (b'{"model":"fast","messages":' + b"[" * 1000 + b"]" * 1000 + b"}", 400),
        (chat("x" * 20_000_000), 413),
    ],
)
def test_bad_input_is_a_4xx(body: Any, status: int, tmp_path: Path) -> None:
    """In OpenAI's shape; nothing is charged, and the provider is not asked."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(body)
        assert status == answer.status, answer.body[:300]
        assert answer.json()["error"]["message"]
        assert [] == list(up.requests)
        assert [] == gateway.charges()


def test_who_may_ask(tmp_path: Path) -> None:
    """Without a valid token nothing is answered, whatever else is sent."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up), models=("other*",)) as gateway:
        assert 401 == gateway.ask(chat(), token="sk-wrong").status
        assert 401 == gateway.ask(chat(), Host="admin.internal", token="sk-wrong").status
        answer = gateway.ask(chat())
        assert (403, "model_not_allowed") == (answer.status, answer.json()["error"]["code"])
        assert [] == list(up.requests)


def test_a_request_steers_nothing(tmp_path: Path) -> None:
    """Addresses, headers and keys in the body go nowhere, and the provider's key goes to the provider alone."""
    with Server(text_reply("Hi")) as up, Server(text_reply("stolen")) as other, served(config(tmp_path, up)) as gateway:
        fields = {"api_base": other.url, "base_url": other.url, "api_key": "x", "extra_headers": {"X-A": "b"}}
        answer = gateway.ask(chat(**fields, user="somebody"), x_portkey_custom_host=other.url, host="127.0.0.1:1")
        assert 200 == answer.status
        assert [] == list(other.requests)
        sent = up.requests[0]
        assert not set(fields) & set(sent.json())
        assert "X-A" not in sent.headers
        assert "Bearer provider-key-1234567890" == sent.headers["Authorization"]
        (charge,) = gateway.charges()
        assert gateway.gateway.tokens.find(gateway.token).id == charge.token


def test_routes(tmp_path: Path) -> None:
    """Where the first provider fails before its first chunk, the next one answers, and is charged once."""
    with Server(error_reply(500, "oops")) as up, Server(text_reply("Second", usage=USAGE)) as next_up:
        with served(config(tmp_path, up, next_up)) as gateway:
            answer = gateway.ask(chat(model="both"))
            assert "Second" == answer.json()["choices"][0]["message"]["content"]
            (charge,) = gateway.charges()
            assert (COST, "up1") == (charge.amount, charge.provider)


def test_a_hedged_route(tmp_path: Path) -> None:
    """The first one to speak answers, streamed and whole; the other is left."""
    with Server(Reply(before_head=[Wait(None)])) as slow, Server(text_reply("Quick", usage=USAGE)) as quick:
        made = config(tmp_path, slow, quick)
        both = ModelConfig("both", (("up0/m", 1), ("up1/m", 1)), hedge=0.05, **PRICES)
        with served(config(tmp_path, slow, quick, models=(both,), upstreams=made.upstreams)) as gateway:
            events = gateway.ask(chat(model="both", stream=True)).events()
            text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events[:-1])
            assert ("Quick", "[DONE]") == (text, events[-1])
            answer = gateway.ask(chat(model="both"))
            assert "Quick" == answer.json()["choices"][0]["message"]["content"]
            assert all(request.gone.wait(SOON) for request in list(slow.requests))
            assert [COST] * 2 == [charge.amount for charge in gateway.charges()]


def test_the_same_key_gives_the_same_reply(tmp_path: Path) -> None:
    """A repeated Idempotency-Key is answered with what was answered, and charged once; another body is refused."""
    with Server(text_reply("Hello", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        for stream in (False, True):
            first = gateway.ask(chat(stream=stream), idempotency_key=f"key-{stream}")
            again = gateway.ask(chat(stream=stream), idempotency_key=f"key-{stream}")
            assert (first.status, first.body) == (again.status, again.body)
            assert "true" == again.headers["idempotent-replayed"]
            assert 422 == gateway.ask(chat("Other", stream=stream), idempotency_key=f"key-{stream}").status
        assert 2 == len(up.requests) == len(gateway.charges())


def test_a_failed_reply_can_be_asked_for_again(tmp_path: Path) -> None:
    """A key whose request failed is free again."""
    replies = iter([error_reply(400, "no"), text_reply("Yes")])
    with Server(lambda request: next(replies)) as up, served(config(tmp_path, up)) as gateway:
        assert [400, 200] == [gateway.ask(chat(), idempotency_key="k").status for _ in range(2)]


def test_lists_and_figures(tmp_path: Path) -> None:
    """Models, balance, usage, health and figures."""
    with Server(text_reply("Hello", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        gateway.ask(chat())
        assert ["both", "fast"] == [model["id"] for model in gateway.get("/v1/models").json()["data"]]
        assert "fast" == gateway.get("/v1/models/fast").json()["id"]
        assert 404 == gateway.get("/v1/models/none").status
        balance = gateway.get("/api/balance").json()
        assert ("0.9998", "0.0002") == (balance["available"], balance["spent"])
        (day,) = gateway.get("/api/usage").json()["data"]
        assert (1, 100, 10, "0.0002") == tuple(
            day[name] for name in ("requests", "input_tokens", "output_tokens", "cost")
        )
        assert [200, 200] == [gateway.get(path).status for path in ("/healthz", "/readyz")]
        figures = gateway.get("/metrics").body.decode()
        assert 'streamkit_requests_total{endpoint="/v1/chat/completions",model="fast",status="200"} 1.0' in figures
        assert 404 == gateway.get("/nothing").status
        assert 405 == gateway.get("/v1/chat/completions").status
        assert 401 == gateway.get("/v1/models", token="sk-wrong").status


def test_the_log_has_no_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line of JSON a request: who, what, how long, how much; no prompt, no reply, no token, no key."""
    caplog.set_level(logging.DEBUG)
    with Server(text_reply("a secret reply", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        gateway.ask(chat("a secret prompt", stream=True))
        gateway.ask(chat("a secret prompt", temperature="a secret value"))
        ended(gateway)

        def written() -> list[Any]:
            return [json.loads(record.getMessage()) for record in caplog.records if record.name.endswith("requests")]

        until(lambda: len(written()) == 2)  # that of a stream comes after its last bytes
        lines = sorted(written(), key=lambda line: line["status"])
        assert ["/v1/chat/completions"] * 2 == [line["endpoint"] for line in lines]
        assert [200, 400] == [line["status"] for line in lines]
        assert ("0.0002", "up0/m", 100, 10) == tuple(
            lines[0][name] for name in ("cost", "route", "input_tokens", "output_tokens")
        )
        text = caplog.text
        assert not any(word in text for word in ("secret prompt", "secret reply", gateway.token, "provider-key"))


def test_pages_of_other_sites_may_not_ask(tmp_path: Path) -> None:
    """No CORS unless it is configured, and then for these origins alone."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        assert "access-control-allow-origin" not in gateway.ask(chat(), origin="https://evil.example").headers
        assert 403 == gateway.get("/v1/chat/completions", method="OPTIONS", origin="https://evil.example").status
    (tmp_path / "gateway.db").unlink()
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, cors=("https://app.example",))) as gateway:
        answer = gateway.get("/v1/chat/completions", method="OPTIONS", origin="https://app.example")
        assert (204, "https://app.example") == (answer.status, answer.headers["access-control-allow-origin"])
        assert "access-control-allow-origin" not in gateway.ask(chat(), origin="https://evil.example").headers


def test_a_body_that_never_ends(tmp_path: Path) -> None:
    """It is answered with 408 in time, also where a byte comes now and then."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, body_seconds=0.3)) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=SOON) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token}\r\n"
            client.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"{")
            answer = client.recv(65536)
            assert b" 408 " in answer.partition(b"\r\n")[0]
        assert [] == list(up.requests)


def test_another_configuration_is_taken_at_once(tmp_path: Path) -> None:
    """A stream that is open goes on by the old one."""
    go = threading.Event()
    with Server(Reply([chunk_event("One"), WaitFor(go), chunk_event(" two", finish_reason="stop"), DONE])) as up:
        made = config(tmp_path, up)
        with served(made) as gateway:
            response = gateway.open(chat(stream=True))
            gateway.gateway.reload(config(tmp_path, up, models=(ModelConfig("new", (("up0/m", 1),), **PRICES),)))
            assert 404 == gateway.ask(chat()).status
            go.set()
            assert b"two" in response.read()


def test_the_page_asks_who_it_is_and_pays(tmp_path: Path) -> None:
    """Without a token there is a form; with one the chat answers, and its replies are charged."""
    with Server(text_reply("Hello page", usage=USAGE)) as up, served(config(tmp_path, up, page=True)) as gateway:
        first = gateway.get("/")
        assert (302, "login") == (first.status, first.headers["location"])
        assert b"Your token" in gateway.get("/login").body
        question = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
        assert 401 == gateway.ask(question, "/api/chat").status
        wrong = gateway.ask(b"token=sk-wrong", "/login", content_type="application/x-www-form-urlencoded")
        assert 401 == wrong.status
        form = f"token={gateway.token}".encode()
        cookie = gateway.ask(form, "/login", content_type="application/x-www-form-urlencoded").headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
        cookie = cookie.partition(";")[0]
        assert b"<title>" in gateway.get("/", cookie=cookie).body
        answer = gateway.ask(question, "/api/chat", cookie=cookie)
        assert b"Hello page" in answer.body
        assert COST == ended(gateway).amount
        assert [] == gateway.gateway._payments.ledger.check()


def signed_in(gateway: Any, token: str | None = None) -> str:
    """Return the cookie of who is signed in on the page."""
    form = f"token={token or gateway.token}".encode()
    answer = gateway.ask(form, "/login", content_type="application/x-www-form-urlencoded")
    return str(answer.headers["set-cookie"].partition(";")[0])


def on_page(id: str, **more: Any) -> dict[str, Any]:
    message = {"id": f"m-{id}", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    return {"id": id, "messages": [message], **more}


def test_the_page_where_processes_share_nothing(tmp_path: Path) -> None:
    """It is not served, and says why."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, page=True, workers=2)) as gateway:
        answer = gateway.get("/")
        assert 404 == answer.status
        assert "with redis in [storage]" in answer.json()["error"]["message"]


def test_the_page_offers_the_models_of_the_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Those that the token may use, without patterns; the chosen one is asked, paid and logged."""
    caplog.set_level(logging.INFO, "streamkit.gateway.requests")
    models = (
        ModelConfig("dear", (("up1/n", 1),), input_price=USD, output_price=100 * USD),
        ModelConfig("fast", (("up0/m", 1),), **PRICES),
        ModelConfig("other", (("up0/o", 1),), **PRICES),
        ModelConfig("any/*", (("up0/*", 1),), **PRICES),
    )
    with Server(text_reply("Cheap", usage=USAGE)) as up, Server(text_reply("Dear", usage=USAGE)) as second:
        with served(
            config(tmp_path, up, second, page=True, models=models), models=("fast", "dear", "any/*")
        ) as gateway:
            assert 401 == gateway.get("/api/models").status
            cookie = signed_in(gateway)
            offered = gateway.get("/api/models", cookie=cookie).json()
            assert {"models": ["dear", "fast"], "default": "dear"} == offered
            assert b"Cheap" in gateway.ask(on_page("c1", model="fast"), "/api/chat", cookie=cookie).body
            cheap = ended(gateway)
            assert ("fast", "m", COST) == (cheap.model, cheap.provider_model, cheap.amount)
            answer = gateway.ask(on_page("c2"), "/api/chat", cookie=cookie)
            assert b"Dear" in answer.body
            assert b"up1" not in answer.body
            until(lambda: len(gateway.charges()) == 2)
            [dear] = [charge for charge in gateway.charges() if charge.model == "dear"]
            assert ("n", 100 * 1000 + 10 * 100_000) == (dear.provider_model, dear.amount)
            for wrong in ("other", "any/m", "up0/m", "any/*"):
                refused = gateway.ask(on_page("c3", model=wrong), "/api/chat", cookie=cookie)
                assert 403 == refused.status, wrong
                assert b"may not be asked" in refused.body
            lines = [json.loads(each.getMessage()) for each in caplog.records if each.name.endswith("gateway.requests")]
            assert ["fast", "dear"] == [line["model"] for line in lines if "model" in line]
            assert [1, 1] == [len(up.requests), len(second.requests)]
            assert [] == gateway.gateway._payments.ledger.check()


def test_a_token_of_the_page_loses_a_model(tmp_path: Path) -> None:
    """Then it is refused and offered no more, whatever the page still shows; and who has none left is told so."""
    with Server(text_reply("Hi", usage=USAGE)) as up, served(config(tmp_path, up, page=True)) as gateway:
        cookie, tokens = signed_in(gateway), gateway.gateway.tokens
        id = tokens.find(gateway.token).id
        assert ["both", "fast"] == gateway.get("/api/models", cookie=cookie).json()["models"]
        tokens.set(id, by="test", models=("fast",))
        assert 403 == gateway.ask(on_page("c1", model="both"), "/api/chat", cookie=cookie).status
        assert {"models": ["fast"], "default": "fast"} == gateway.get("/api/models", cookie=cookie).json()
        tokens.set(id, by="test", models=("none",))
        assert 403 == gateway.ask(on_page("c1"), "/api/chat", cookie=cookie).status
        assert 403 == gateway.get("/api/models", cookie=cookie).status
        assert [] == list(up.requests)


def test_the_page_signs_out(tmp_path: Path) -> None:
    """The page names the address of its button, and that takes the cookie back."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, page=True)) as gateway:
        cookie = signed_in(gateway)
        assert b'data-to="logout"' in gateway.get("/", cookie=cookie).body
        out = gateway.ask(b"", "/logout", cookie=cookie)
        assert (302, "login") == (out.status, out.headers["location"])
        assert "streamkit-gateway=;" in out.headers["set-cookie"]


def test_the_page_keeps_a_reply_that_breaks_off(tmp_path: Path) -> None:
    """What came of it is in the chat's history, and is charged."""
    with Server(Reply([chunk_event("One two"), Cut()])) as up, served(config(tmp_path, up, page=True)) as gateway:
        form = f"token={gateway.token}".encode()
        cookie = gateway.ask(form, "/login", content_type="application/x-www-form-urlencoded").headers["set-cookie"]
        cookie = cookie.partition(";")[0]
        question = {"id": "c1", "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]}
        answer = gateway.ask(question, "/api/chat", cookie=cookie)
        assert b"One two" in answer.body
        assert ended(gateway).amount > 0
        until(lambda: b"One two" in gateway.get("/api/chat/c1", cookie=cookie).body)
