"""What somebody found who tried to break the gateway: each was a mistake once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.errors import StoreError
from streamkit.gateway.config.values import Config, ModelConfig, UpstreamConfig
from streamkit.gateway.core.ledger import Ledger
from streamkit.testing import (
    DONE,
    Cut,
    Mark,
    Reply,
    Server,
    WaitFor,
    chunk_event,
    error_reply,
    json_reply,
    sse_event,
    text_reply,
    whole_reply,
)
from streamkit.testing.provider_replies import reply_in
from streamkit.wire.secrets import Masked
from tests.unit.gateway_server import PRICES, USD, Served, chat, config, served
from tests.unit.support import SOON, Task
from tests.unit.test_gateway import until

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def through(tmp_path: Path, up: Server, kind: str, **model: Any) -> Config:
    """Return a configuration in which names pass through to a provider."""
    return config(
        tmp_path,
        upstreams=(UpstreamConfig("work", kind, up.url, Masked("k" * 20)),),
        models=(ModelConfig("work/*", (("work/*", 1),), **model),),
    )


@pytest.mark.parametrize("days", ["000030" + "9" * 400, "000030" + "9" * 5000, "-1", "1e3", "", "0", "%D9%A3", "367"])
def test_days_are_a_number(days: str, tmp_path: Path) -> None:
    """Whatever is no number of days is refused with 400."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        expected = 200 if not days else 400  # an empty field is none
        assert expected == gateway.get(f"/api/usage?days={days}").status


@pytest.mark.parametrize(
    "name", ["flash/../pro", "flash/../../../x", "flash//pro", "flash/.", "flash\n", "flash/../\ud800", "flash?x=1"]
)
def test_a_name_that_passes_through_stays_below_its_pattern(name: str, tmp_path: Path) -> None:
    """A name with ``..`` would lead to another model than the token may ask, and to another price: it is none."""
    with Server(reply_in("gemini", text="Hi")) as up:
        with served(through(tmp_path, up, "gemini", **PRICES), models=("work/flash*",)) as gateway:
            assert 200 == gateway.ask(chat() | {"model": "work/flash-2.5"}).status
            assert 404 == gateway.ask(chat() | {"model": f"work/{name}"}).status
            assert 1 == len(up.requests)


def test_a_provider_of_another_name_costs_its_list_price(tmp_path: Path) -> None:
    """The list price is that of a provider's kind, whatever the configuration calls the provider."""
    pytest.importorskip("genai_prices", reason="needs genai-prices")
    with Server(text_reply("Hi", usage=USAGE)) as up, served(through(tmp_path, up, "openai")) as gateway:
        assert 200 == gateway.ask(chat() | {"model": "work/gpt-4o-mini"}).status
        assert 100 * 150 + 10 * 600 == gateway.balance().spent


def test_a_model_without_a_price_is_not_given_away(tmp_path: Path) -> None:
    """A name that passes through to a model that no list has a price for is refused, before the provider is asked."""
    with Server(text_reply("Hi", usage=USAGE)) as up, served(through(tmp_path, up, "openai")) as gateway:
        answer = gateway.ask(chat() | {"model": "work/gpt-99-secret-preview"})
        assert (404, "model_not_priced") == (answer.status, answer.json()["error"]["code"])
        assert [] == list(up.requests)


@pytest.mark.parametrize("stream", [True, False])
def test_an_impossible_usage_is_an_estimate(stream: bool, tmp_path: Path) -> None:
    """A provider that reports more tokens than a reply can have is charged by what has come, and nothing stays open."""
    usage = {"prompt_tokens": 10**15, "completion_tokens": 10**15}
    with Server(text_reply("Hi", usage=usage)) as up, served(config(tmp_path, up)) as gateway:
        assert 200 == gateway.ask(chat(stream=stream)).status
        (charge,) = gateway.charges()
        assert ("settled", True) == (charge.state, charge.estimated)
        assert 0 < charge.amount < USD // 100
        assert (0, 0) == (gateway.balance().reserved, gateway.gateway.open_replies)


ECHO = "a secret of the prompt"
ECHOES = {
    "refusal": error_reply(400, f"wrong: {ECHO}"),
    "rate": error_reply(429, f"wrong: {ECHO}"),
    "failure": error_reply(500, f"wrong: {ECHO}"),
    "event": Reply([chunk_event(ECHO), f'data: {{"error":{{"message":"{ECHO}","code":"x"}}}}\n\n']),
    "cut": Reply([chunk_event(ECHO)]),
    "another format": json_reply({"a": ECHO}),
    "a page": Reply([ECHO], content_type="text/html"),
    "good": text_reply(ECHO),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("echo", ECHOES)
def test_no_prompt_is_logged(echo: str, stream: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No logger, at any level, has what stands in a prompt or a reply, also where a provider's error repeats it."""
    caplog.set_level(logging.DEBUG)
    with Server(ECHOES[echo]) as up, served(config(tmp_path, up)) as gateway:
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
            body = {"model": "fast", "stream": stream, "max_tokens": 9}
            body |= {"input": ECHO} if "responses" in path else {"messages": [{"role": "user", "content": ECHO}]}
            gateway.ask(body, path)
    assert "HTTP" in caplog.text  # something was logged
    assert ECHO not in caplog.text


def test_an_error_of_ours_is_logged_by_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The text of an error that nobody has foreseen may quote a request: its class and its places are logged."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        gateway.gateway._information = attrs.evolve(gateway.gateway._information, ledger=None)
        answer = gateway.get("/api/balance", X_Request_Id="mine")
        assert (500, "internal_error") == (answer.status, answer.json()["error"]["code"])
        assert "mine" == answer.headers["x-request-id"]
    assert "a request failed: AttributeError in information.py:" in caplog.text
    assert "NoneType" not in caplog.text


# The database is away, and the configuration changes.


class Away:
    """Fails with StoreError in place of some methods, as a database that is away does."""

    def __init__(self, inner: Any, *names: str) -> None:
        self._inner, self._names = inner, names
        self.away = True

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def failing(*arguments: Any, **named: Any) -> Any:
            if self.away:
                raise StoreError("the database is away")
            return found(*arguments, **named)

        return failing


def open_streams(gateway: Served) -> float:
    """Return the figure of the open replies."""
    figures = gateway.get("/metrics").body.decode()
    return float(next(line for line in figures.split("\n") if line.startswith("streamkit_open_streams ")).split()[1])


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_that_was_paid_is_delivered(stream: bool, tmp_path: Path) -> None:
    """Where a reply cannot be kept for its Idempotency-Key it is delivered none the less: it was paid for."""
    with Server(text_reply("Hello", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        replying = gateway.gateway._replying
        gateway.gateway._replying = attrs.evolve(replying, replies=Away(replying.replies, "finish", "forget"))
        answer = gateway.ask(chat(stream=stream), idempotency_key="key")
        assert 200 == answer.status
        assert answer.body.endswith(b"[DONE]\n\n" if stream else b"}")
        assert ["settled"] == [charge.state for charge in gateway.charges()]
        until(lambda: open_streams(gateway) == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_whose_rate_cannot_be_counted_is_delivered(stream: bool, tmp_path: Path) -> None:
    """What fails after the end of a reply, which was paid for, takes nothing of it away, and counts it once."""
    with Server(text_reply("Hello " * 99, usage=USAGE | {"completion_tokens": 900})) as up:
        with served(config(tmp_path, up)) as gateway:
            gateway.gateway._replying = attrs.evolve(
                gateway.gateway._replying, rates=Away(gateway.gateway._replying.rates, "used")
            )
            answer = gateway.ask(chat(stream=stream))
            assert 200 == answer.status
            assert b"Hello" in answer.body
            until(lambda: open_streams(gateway) == 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("step", ["reserve", "settle", "begin"])
def test_the_database_is_away(step: str, stream: bool, tmp_path: Path) -> None:
    """A step that fails is a 503 in the format's shape, or an error event; what was spent is charged later, once."""
    with Server(text_reply("Hello", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        ledger = gateway.gateway._payments.ledger
        away = Away(ledger, step)
        replies = Away(gateway.gateway._replying.replies, step)
        gateway.gateway._payments.ledger = away
        gateway.gateway._replying = attrs.evolve(gateway.gateway._replying, replies=replies)
        answer = gateway.ask(chat(stream=stream), idempotency_key="key")
        if step == "settle" and stream:
            assert (200, "ledger_unavailable") == (answer.status, answer.events()[-1]["error"]["code"])
            assert b"[DONE]" not in answer.body
        else:
            assert (503, "ledger_unavailable") == (answer.status, answer.json()["error"]["code"])
        assert (step == "settle") == bool(up.requests)
        away.away = replies.away = False
        gateway.gateway._payments._tend()
        assert (1 if step == "settle" else 0) == len([each for each in gateway.charges() if each.amount])
        assert 0 == gateway.balance().reserved
        assert [] == ledger.check()
        if step != "settle":
            assert 200 == gateway.ask(chat(stream=stream), idempotency_key="key").status
        until(lambda: open_streams(gateway) == 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_open_when_the_gateway_ends(path: str, stream: bool, tmp_path: Path) -> None:
    """It is cancelled, told as an error, and paid, also where it began before the configuration was read again."""
    go, begun = threading.Event(), threading.Event()
    reply = [chunk_event("One"), Mark(begun), WaitFor(go), chunk_event(" two", finish_reason="stop"), DONE]
    with Server(Reply(reply)) as up:
        made = config(tmp_path, up)
        with served(made) as gateway:
            body = {"model": "fast", "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
            body |= {"input": "Hi"} if "responses" in path else {}
            asked = Task(lambda: gateway.ask(body, path))
            assert begun.wait(SOON)
            first = gateway.gateway._payments
            until(lambda: any(each.output.pieces for each in list(first._open.values())))
            gateway.gateway.reload(made)
            gateway.gateway.reload(made)
            gateway.gateway.close()
            try:
                assert up.requests[0].gone.wait(SOON / 6), "the provider still writes"
                answer = asked.result()
            finally:
                go.set()
        assert b"gateway_ends" in answer.body or b"the gateway ends" in answer.body
        assert (200 if stream else 503) == answer.status
        assert b"[DONE]" not in answer.body
        assert b"completed" not in answer.body
        assert 0 == gateway.gateway.open_replies


@pytest.mark.parametrize("stream", [True, False])
def test_a_gateway_that_ends_waits_for_the_ledger(
    stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``close`` returns when what was open is paid, and its client was told: the process may end then."""
    go, begun = threading.Event(), threading.Event()
    with Server(Reply([chunk_event("One"), Mark(begun), WaitFor(go), DONE])) as up:
        with served(config(tmp_path, up)) as gateway:
            settle = Ledger.settle

            def slow(ledger: Ledger, *args: Any, **named: Any) -> Any:
                threading.Event().wait(0.3)
                return settle(ledger, *args, **named)

            monkeypatch.setattr(Ledger, "settle", slow)
            asked = Task(lambda: gateway.ask(chat(stream=stream)))
            assert begun.wait(SOON)
            payments = gateway.gateway._payments
            until(lambda: any(each.output.pieces for each in list(payments._open.values())))
            gateway.gateway.close()
            assert 0 == gateway.gateway.open_replies
            assert ["settled"] == [charge.state for charge in gateway.charges()]
            go.set()
            assert b"gateway_ends" in asked.result().body


def test_the_page_asks_what_the_new_configuration_says(tmp_path: Path) -> None:
    """After the configuration was read again the page asks the new provider, with the new key."""
    with Server(text_reply("Old")) as up, Server(text_reply("New")) as other:
        with served(config(tmp_path, up, page=True)) as gateway:
            gateway.gateway.reload(config(tmp_path, other, page=True))
            form = f"token={gateway.token}".encode()
            login = gateway.ask(form, "/login", content_type="application/x-www-form-urlencoded")
            cookie = login.headers["set-cookie"].partition(";")[0]
            question = {
                "id": "c1",
                "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
            }
            assert b"New" in gateway.ask(question, "/api/chat", cookie=cookie).body
            assert [] == list(up.requests)


def test_an_authorize_hook_revives_no_token(tmp_path: Path) -> None:
    """A token that was revoked is nobody, also where the function of ``authorize`` names it; and a name is none."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        models, tokens = gateway.gateway._models, gateway.gateway.tokens
        token, _ = tokens.create("hook", by="test", balance="unlimited")
        named = token.id
        models.authorize = lambda headers: named
        assert 200 == gateway.get("/api/balance", token="sk-none").status
        tokens.revoke(token.id, by="test")
        for named in (token.id, "test", "hook", "none", "\x00", 5):
            assert 401 == gateway.get("/api/balance", token="sk-none").status, named
            assert 401 == gateway.ask(chat(), token="sk-none").status, named


def test_a_repeat_while_the_first_runs(tmp_path: Path) -> None:
    """Of many requests with one key at once one is answered, the others are told so, and one is charged."""
    go = threading.Event()
    reply = Reply([chunk_event("One"), WaitFor(go), chunk_event(" two", finish_reason="stop"), DONE])
    with Server(reply) as up, served(config(tmp_path, up)) as gateway:
        first = gateway.open(chat(stream=True), idempotency_key="k")
        assert first.read1(10)
        answers: list[Any] = []
        threads = [
            threading.Thread(target=lambda: answers.append(gateway.ask(chat(stream=True), idempotency_key="k")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        assert {(409, "idempotency_key_in_use")} == {(each.status, each.json()["error"]["code"]) for each in answers}
        go.set()
        whole = first.read()
        assert b"[DONE]" in whole
        again = gateway.ask(chat(stream=True), idempotency_key="k")
        assert (200, "true") == (again.status, again.headers["idempotent-replayed"])
        assert 1 == len(up.requests) == len(gateway.charges())


@pytest.mark.parametrize("stream", [True, False])
def test_a_head_that_cannot_be_sent(stream: bool, tmp_path: Path) -> None:
    """Where the server refuses the head of a response, the reply is cancelled, paid for, and written to the log."""
    from io import BytesIO

    body = str(chat(stream=stream)).replace("'", '"').replace("True", "true").replace("False", "false").encode()

    def start(status: str, headers: Any, *more: Any) -> Any:
        raise OSError("the client has left")

    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/v1/chat/completions",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": f"Bearer {gateway.token}",
            "wsgi.input": BytesIO(body),
        }
        with pytest.raises(OSError, match="left"):
            gateway.gateway(environ, start)
        assert (0, 0) == (gateway.balance().reserved, gateway.gateway.open_replies)
        until(lambda: open_streams(gateway) == 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_other_methods(path: str, tmp_path: Path) -> None:
    """HEAD and GET at an address of replies are 405 in the format's shape, with what is allowed; HEAD has no body."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        for method in ("HEAD", "GET", "PUT"):
            answer = gateway.get(path, method=method)
            assert (405, "POST") == (answer.status, answer.headers["allow"])
            assert (method == "HEAD") == (not answer.body)
        assert 403 == gateway.get(path, method="OPTIONS", origin="http://evil.example").status


def test_errors_in_anthropics_format_have_the_request_id(tmp_path: Path) -> None:
    """As its clients show it: of a refusal, of an error in the middle of a reply, and of a request without a token."""
    cut = Reply([chunk_event("One"), Cut()])
    with Server(cut) as up, served(config(tmp_path, up)) as gateway:
        body = {"model": "fast", "stream": True, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        for answer in (
            gateway.ask(body, "/v1/messages", x_request_id="mine"),
            gateway.ask(body | {"max_tokens": -1}, "/v1/messages", x_request_id="mine"),
            gateway.ask(body, "/v1/messages", token="sk-none", x_request_id="mine"),
        ):
            told = answer.events()[-1] if answer.status == 200 else answer.json()
            assert ("error", "mine", "mine") == (told["type"], told["request_id"], answer.headers["request-id"])


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_a_provider_that_does_not_stream(path: str, stream: bool, tmp_path: Path) -> None:
    """A provider that answers with whole JSON is understood, or is a 502 that costs nothing; never half a reply."""
    with Server(whole_reply("Whole reply", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        body = {"model": "fast", "stream": stream, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        answer = gateway.ask(body | ({"input": "Hi"} if "responses" in path else {}), path)
        if answer.status == 200:
            assert b"Whole reply" in answer.body
        else:
            assert 502 == answer.status
            assert 0 == gateway.balance().spent
        assert 0 == gateway.balance().reserved


@pytest.mark.parametrize("stream", [True, False])
def test_choices_with_tools(stream: bool, tmp_path: Path) -> None:
    """Several choices with calls of tools come each with its own."""

    def event(index: int, delta: Any, finish: str | None = None) -> str:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return sse_event(
            {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        )

    def call(index: int) -> Any:
        function = {"name": "f", "arguments": f'{{"a":{index}}}'}
        return {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": f"call_{index}", "type": "function", "function": function}],
        }

    events = [event(at, call(at)) for at in range(3)] + [event(at, {}, "tool_calls") for at in range(3)]
    with Server(Reply([*events, DONE])) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(chat(n=3, stream=stream, tools=[{"type": "function", "function": {"name": "f"}}]))
        if stream:
            shapes = [each for each in answer.events()[:-1] if each.get("choices")]
            found = {
                choice["index"]: made["function"]["arguments"]
                for each in shapes
                for choice in each["choices"]
                for made in choice["delta"].get("tool_calls") or ()
            }
        else:
            found = {
                choice["index"]: choice["message"]["tool_calls"][0]["function"]["arguments"]
                for choice in answer.json()["choices"]
            }
        assert {at: f'{{"a":{at}}}' for at in range(3)} == found
        assert 3 == up.requests[0].json()["n"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"service_tier": "priority"}, "service_tier"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}]}, "tools[1].type"),
    ],
)
def test_what_costs_more_than_its_tokens(params: dict[str, Any], param: str, tmp_path: Path) -> None:
    """It is refused before anything is reserved: what it would cost is in no price by the token."""
    with Server(text_reply("Hello", usage=USAGE)) as up, served(config(tmp_path, up)) as gateway:
        answer = gateway.ask(chat(**params))
        error = answer.json()["error"]
        assert (400, "unsupported_parameter", param) == (answer.status, error["code"], error["param"])
        assert [] == list(up.requests) == gateway.charges()
        fine = {"service_tier": "flex", "modalities": ["text"], "tools": [{"type": "custom", "custom": {"name": "f"}}]}
        assert 200 == gateway.ask(chat(**fine)).status


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_a_dearer_tier_in_other_formats(path: str, tmp_path: Path) -> None:
    """The same holds for the other formats, where the model's provider would be told of it."""
    with Server(text_reply("Hello", usage=USAGE)) as up:
        kind = "openai-responses" if "responses" in path else "anthropic"
        made = config(tmp_path, up)
        upstream = attrs.evolve(made.upstreams[0], kind=kind)
        with served(attrs.evolve(made, upstreams=(upstream,), models=made.models[:1])) as gateway:
            body = {"model": "fast", "max_tokens": 9, "service_tier": "priority"}
            body |= {"input": "Hi"} if kind == "openai-responses" else {"messages": [{"role": "user", "content": "Hi"}]}
            assert 400 == gateway.ask(body, path).status
            assert [] == list(up.requests)
