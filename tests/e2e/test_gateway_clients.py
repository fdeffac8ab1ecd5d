"""Real clients through the gateway: what works with a provider works with the gateway, by address and token alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit import Client, RateLimitError, StreamError, providers, tool
from streamkit.gateway.config import read_config
from streamkit.providers import Provider
from tests.e2e.gateway_clients.script import CITIES, KINDS, TEXT, Behind, ask, gateway_before
from tests.e2e.web.browser import needs_clients, run_node
from tests.unit.gateway_server import Served, served
from tests.unit.support import SOON

anthropic = pytest.importorskip("anthropic", reason="needs anthropic")
openai = pytest.importorskip("openai", reason="needs openai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic")
pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent / "gateway_clients"
# A virtual environment with litellm, llm and langchain-openai, which are too heavy for that of the tests.
HEAVY = Path(os.environ.get("STREAMKIT_GATEWAY_CLIENTS", ROOT / ".venv" / "gateway-clients"))
NODE_MODULES = Path(__file__).parent / "web" / "node_modules"
needs_heavy = pytest.mark.skipif(
    not (HEAVY / "bin" / "python").exists(),
    reason="needs a virtual environment with litellm, llm and langchain-openai; see .ci/run",
)

LOOK = {"name": "look", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS: Any = [{"type": "function", "function": LOOK}]


class Weather(pydantic.BaseModel):  # type: ignore[name-defined,misc]
    city: str
    degrees: int


@pytest.fixture(params=KINDS)
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Behind]:
    """Serve a gateway before a provider of each of some formats."""
    with gateway_before(request.param, tmp_path) as behind:
        yield behind


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Behind]:
    """Serve a gateway before a provider of OpenAI's format."""
    with gateway_before("compatible", tmp_path) as behind:
        yield behind


def openai_of(behind: Behind, **options: Any) -> Any:
    return openai.OpenAI(**{"api_key": behind.token, "base_url": behind.url, "max_retries": 0, **options})


def anthropic_of(behind: Behind, **options: Any) -> Any:
    named = {} if "auth_token" in options else {"api_key": behind.token}
    return anthropic.Anthropic(**{"base_url": behind.root, "max_retries": 0, **named, **options})


def chat(what: str, **fields: Any) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": ask(what)}], **fields}


def message(what: str, **fields: Any) -> dict[str, Any]:
    return chat(what, **{"max_tokens": 100, **fields})


# -- openai: chat completions ----------------------------------------------------------------------------


def test_openai_streams(gateway: Behind) -> None:
    """Text arrives while it comes; usage comes when it is asked for, and only then."""
    with openai_of(gateway) as client:
        text = ""
        for chunk in client.chat.completions.create(**chat("in two"), stream=True):
            text += chunk.choices[0].delta.content or ""
            if text.strip() == "Hello":
                gateway.script.more.set()
        assert TEXT == text
        for include in (True, False):
            options = {"include_usage": include}
            chunks = list(client.chat.completions.create(**chat("hello"), stream=True, stream_options=options))
            found = [chunk.usage for chunk in chunks if chunk.usage is not None]
            assert [(7, 11)] * include == [(usage.prompt_tokens, usage.completion_tokens) for usage in found]
            assert all(chunk.choices for chunk in chunks if chunk.usage is None)
            assert ["stop"] == [end for chunk in chunks for end in finish_reasons(chunk)]


def finish_reasons(chunk: Any) -> list[str]:
    return [choice.finish_reason for choice in chunk.choices if choice.finish_reason]


def test_openai_whole(gateway: Behind) -> None:
    """A whole reply, its headers, structured output that is parsed, and a conversation with tools."""
    with openai_of(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(**chat("hello"))
        assert raw.headers["x-request-id"].startswith("req-")
        assert "application/json" == raw.headers["content-type"]
        whole = raw.parse()
        assert (TEXT, "stop", 18) == (
            whole.choices[0].message.content,
            whole.choices[0].finish_reason,
            whole.usage.total_tokens,
        )
        assert ("fast", "chat.completion") == (whole.model, whole.object)
        assert whole._request_id == raw.headers["x-request-id"]
        parsed = client.chat.completions.parse(**chat("json"), response_format=Weather)
        assert Weather(city="Oslo", degrees=-3) == parsed.choices[0].message.parsed
        with client.chat.completions.stream(**chat("json"), response_format=Weather) as events:
            assert Weather(city="Oslo", degrees=-3) == events.get_final_completion().choices[0].message.parsed


def test_openai_tools(gateway: Behind) -> None:
    """Calls come whole and streamed, and their results go back."""
    with openai_of(gateway) as client:
        with client.chat.completions.stream(**chat("tools", tools=TOOLS)) as events:
            streamed = events.get_final_completion().choices[0]
        whole = client.chat.completions.create(**chat("tools", tools=TOOLS)).choices[0]
        for choice in (streamed, whole):
            assert "tool_calls" == choice.finish_reason
            assert CITIES == [json.loads(call.function.arguments) for call in choice.message.tool_calls]
        asked = chat("tools", tools=TOOLS)
        asked["messages"].append(whole.message)
        asked["messages"] += [
            {"role": "tool", "tool_call_id": call.id, "content": "cold"} for call in whole.message.tool_calls
        ]
        assert "It is cold" == client.chat.completions.create(**asked).choices[0].message.content


def test_openai_choices(plain: Behind) -> None:
    """Several choices of one request."""
    with openai_of(plain) as client:
        whole = client.chat.completions.create(**chat("two", n=2))
        assert ["One", "Two"] == [choice.message.content for choice in whole.choices]
        texts = {0: "", 1: ""}
        for chunk in client.chat.completions.create(**chat("two", n=2), stream=True):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
        assert {0: "One", 1: "Two"} == texts


def test_openai_models(plain: Behind) -> None:
    """The list, one of it, and one that does not exist."""
    with openai_of(plain) as client:
        assert ["both", "fast"] == [model.id for model in client.models.list()]
        assert ("fast", "model") == (client.models.retrieve("fast").id, client.models.retrieve("fast").object)
        with pytest.raises(openai.NotFoundError) as failure:
            client.models.retrieve("none")
        assert "model_not_found" == failure.value.code


# -- openai: errors --------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], type[Exception], int, str]] = [
    (chat("hello", temperature="hot"), openai.BadRequestError, 400, "invalid_type"),
    (chat("refuse 400"), openai.BadRequestError, 400, "invalid_request"),
    (chat("refuse 401"), openai.InternalServerError, 502, "provider_refused"),
    (chat("refuse 404"), openai.NotFoundError, 404, "invalid_request"),
    (chat("refuse 422"), openai.UnprocessableEntityError, 422, "invalid_request"),
    (chat("refuse 500"), openai.InternalServerError, 502, "provider_failed"),
    (chat("refuse 503"), openai.InternalServerError, 503, "provider_overloaded"),
    (chat("hello", model="none"), openai.NotFoundError, 404, "model_not_found"),
    (chat("hello", max_tokens=2_000_000), openai.APIStatusError, 402, "insufficient_balance"),
    (chat("busy"), openai.RateLimitError, 429, "provider_rate_limit"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"), REFUSED, ids=[f"{row[2]}-{row[3]}-{at}" for at, row in enumerate(REFUSED)]
)
def test_openai_errors(
    body: dict[str, Any], kind: type[Exception], status: int, code: str, stream: bool, plain: Behind
) -> None:
    """What fails before the first chunk is the class of its status, with a code and the id of the request."""
    with openai_of(plain) as client, pytest.raises(kind) as failure:
        client.chat.completions.create(**body, stream=stream)
    error: Any = failure.value
    assert (status, code) == (error.status_code, error.code)
    assert error.request_id.startswith("req-")
    assert "provider-key" not in str(error)
    if status == 429:
        assert "1" == error.response.headers["retry-after"]


def test_openai_tokens(plain: Behind) -> None:
    """A token that is wrong, and one that may not use a model."""
    with openai_of(plain, api_key="sk-wrong") as client, pytest.raises(openai.AuthenticationError) as wrong:
        client.chat.completions.create(**chat("hello"))
    assert (401, "invalid_token") == (wrong.value.status_code, wrong.value.code)
    _, text = plain.served.gateway.tokens.create("other", by="test", balance="unlimited", models=("other*",))
    with openai_of(plain, api_key=text) as client, pytest.raises(openai.PermissionDeniedError) as denied:
        client.chat.completions.create(**chat("hello"))
    assert "model_not_allowed" == denied.value.code
    assert [] == plain.script.asked


@pytest.mark.parametrize("what", ["broken", "torn"])
def test_openai_fails_in_the_middle(what: str, gateway: Behind) -> None:
    """A stream that breaks off raises after what had come; a whole reply is an error by its status."""
    with openai_of(gateway) as client:
        text = ""
        with pytest.raises(openai.APIError):
            for chunk in client.chat.completions.create(**chat(what), stream=True):
                text += chunk.choices[0].delta.content or ""
        assert text.startswith("Half" if what == "broken" else "Hello")
        with pytest.raises(openai.InternalServerError) as failure:
            client.chat.completions.create(**chat(what))
        assert 502 == failure.value.status_code


def test_openai_tries_again(plain: Behind) -> None:
    """The client's own retry after 429 succeeds, and is charged once; so is a repeated Idempotency-Key."""
    with openai_of(plain, max_retries=1) as client:
        assert TEXT == client.chat.completions.create(**chat("busy once")).choices[0].message.content
        assert ["busy once"] * 2 == plain.script.asked
        assert ["released", "settled"] == sorted(charge.state for charge in plain.served.charges())
        once = {"Idempotency-Key": "key-1"}
        replies = [client.chat.completions.create(**chat("hello"), extra_headers=once) for _ in range(2)]
        assert replies[0].id == replies[1].id
        assert 1 == plain.script.asked.count("hello")
        assert 3 == len(plain.served.charges())
        with pytest.raises(openai.UnprocessableEntityError):
            client.chat.completions.create(**chat("json"), extra_headers=once)


# -- openai: leaving -------------------------------------------------------------------------------------


def test_openai_leaves(gateway: Behind) -> None:
    """A stream that is closed in the middle ends the provider's reply, and what had come is paid for."""
    with openai_of(gateway) as client:
        with client.chat.completions.create(**chat("endless"), stream=True) as stream:
            next(iter(stream))
        assert gateway.script.gone()


@pytest.mark.parametrize("what", ["silent", "endless"])
@pytest.mark.parametrize("stream", [True, False])
def test_openai_gives_up(what: str, stream: bool, plain: Behind) -> None:
    """A client that waits no longer ends the provider's reply: before the first chunk, after it, and a whole one."""
    with openai_of(plain, timeout=0.5) as client:
        with pytest.raises(openai.APITimeoutError):
            list(client.chat.completions.create(**chat(what), stream=stream))
        assert plain.script.gone()


def test_openai_asynchronous(plain: Behind) -> None:
    """Twenty streams at once by the asynchronous client."""

    async def one(client: Any) -> str:
        stream = await client.chat.completions.create(**chat("hello"), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them() -> list[str]:
        async with openai.AsyncOpenAI(api_key=plain.token, base_url=plain.url, max_retries=0) as client:
            return list(await asyncio.gather(*(one(client) for _ in range(20))))

    assert [TEXT] * 20 == asyncio.run(all_of_them())
    assert 20 == len(plain.served.charges())


# -- openai: responses -----------------------------------------------------------------------------------

RESPONSES_TOOL: Any = {"type": "function", "strict": False, **LOOK}


def test_responses(gateway: Behind) -> None:
    """Streamed and whole, with tools and their results, and JSON that is parsed."""
    with openai_of(gateway) as client:
        text = ""
        with client.responses.stream(model="fast", input=ask("in two")) as stream:
            for event in stream:
                text += event.delta if event.type == "response.output_text.delta" else ""
                if text.strip() == "Hello":
                    gateway.script.more.set()
            final = stream.get_final_response()
        assert (TEXT, TEXT, "completed") == (text, final.output_text, final.status)
        whole = client.responses.create(model="fast", input=ask("hello"), instructions="Be brief")
        assert (TEXT, 7, 11) == (whole.output_text, whole.usage.input_tokens, whole.usage.output_tokens)
        assert whole._request_id.startswith("req-")
        parsed = client.responses.parse(model="fast", input=ask("json"), text_format=Weather)
        assert Weather(city="Oslo", degrees=-3) == parsed.output_parsed
        called = client.responses.create(model="fast", input=ask("tools"), tools=[RESPONSES_TOOL])
        calls = [item for item in called.output if item.type == "function_call"]
        assert CITIES == [json.loads(call.arguments) for call in calls]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "cold"} for call in calls]
        again = [{"role": "user", "content": ask("tools")}, *called.output, *results]
        assert "It is cold" == client.responses.create(model="fast", input=again, tools=[RESPONSES_TOOL]).output_text


def test_responses_errors(gateway: Behind) -> None:
    """A refusal is the class of its status; a stream that breaks off ends with an error, not as completed."""
    with openai_of(gateway) as client:
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model="none", input=ask("hello"), stream=True)
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="fast", input=ask("hello"), previous_response_id="resp_1")
        assert refused.value.request_id.startswith("req-")
        for what in ("broken", "torn"):
            types = []
            try:
                for event in client.responses.create(model="fast", input=ask(what), stream=True):
                    types.append(event.type)
            except openai.APIError:
                types.append("error")
            assert types[-1] in ("error", "response.failed")
            assert "response.completed" not in types
        with client.responses.create(model="fast", input=ask("endless"), stream=True) as stream:
            next(event for event in stream if event.type == "response.output_text.delta")
        assert gateway.script.gone()


# -- anthropic -------------------------------------------------------------------------------------------

CLAUDE_TOOLS: Any = [{"name": "look", "input_schema": LOOK["parameters"]}]


@pytest.mark.parametrize("bearer", [True, False], ids=["bearer", "x-api-key"])
def test_anthropic(bearer: bool, gateway: Behind) -> None:
    """Streamed and whole, with a token in either header."""
    with anthropic_of(gateway, **({"auth_token": gateway.token, "api_key": None} if bearer else {})) as client:
        text = ""
        with client.messages.stream(**message("in two")) as stream:
            for piece in stream.text_stream:
                text += piece
                if text.strip() == "Hello":
                    gateway.script.more.set()
            final = stream.get_final_message()
        assert (TEXT, "end_turn") == (text, final.stop_reason)
        assert (7, 11) == (final.usage.input_tokens, final.usage.output_tokens)
        whole = client.messages.create(**message("hello", system="Be brief"))
        assert (TEXT, "end_turn", "fast") == (whole.content[0].text, whole.stop_reason, whole.model)
        assert (7, 11) == (whole.usage.input_tokens, whole.usage.output_tokens)
        assert whole._request_id.startswith("req-")


def test_anthropic_tools(gateway: Behind) -> None:
    """Calls come whole and streamed, and their results go back."""
    with anthropic_of(gateway) as client:
        with client.messages.stream(**message("tools", tools=CLAUDE_TOOLS)) as stream:
            streamed = stream.get_final_message()
        whole = client.messages.create(**message("tools", tools=CLAUDE_TOOLS))
        for got in (streamed, whole):
            assert "tool_use" == got.stop_reason
            assert CITIES == [block.input for block in got.content if block.type == "tool_use"]
        asked = message("tools", tools=CLAUDE_TOOLS)
        calls = [block for block in whole.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "cold"} for call in calls]
        asked["messages"] += [{"role": "assistant", "content": whole.content}, {"role": "user", "content": results}]
        assert "It is cold" == client.messages.create(**asked).content[0].text


def test_anthropic_thinks(gateway: Behind) -> None:
    """Thoughts come before the text, streamed and whole, whichever provider has them, where they are asked for."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    with anthropic_of(gateway) as client:
        with client.messages.stream(**message("think", max_tokens=2000, thinking=thinking)) as stream:
            streamed = stream.get_final_message()
        whole = client.messages.create(**message("think", max_tokens=2000, thinking=thinking))
        for got in (streamed, whole):
            assert ["thinking", "text"] == [block.type for block in got.content]
            assert ("Let me see", TEXT) == (got.content[0].thinking, got.content[1].text)
        for options in ({}, {"thinking": {"type": "disabled"}}):
            assert ["text"] == [block.type for block in client.messages.create(**message("think", **options)).content]


CLAUDE_REFUSED: list[tuple[dict[str, Any], type[Exception], int, str]] = [
    (message("hello", system=5), anthropic.BadRequestError, 400, "invalid_request_error"),
    (message("refuse 400"), anthropic.BadRequestError, 400, "invalid_request_error"),
    (message("refuse 500"), anthropic.InternalServerError, 502, "api_error"),
    (message("refuse 403"), anthropic.InternalServerError, 502, "api_error"),
    (message("hello", model="none"), anthropic.NotFoundError, 404, "not_found_error"),
    (message("hello", max_tokens=2_000_000, timeout=60), anthropic.APIStatusError, 402, "billing_error"),
    (message("busy"), anthropic.RateLimitError, 429, "rate_limit_error"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "kind", "status", "type"),
    CLAUDE_REFUSED,
    ids=[f"{row[2]}-{row[3]}-{at}" for at, row in enumerate(CLAUDE_REFUSED)],
)
def test_anthropic_errors(
    body: dict[str, Any], kind: type[Exception], status: int, type: str, stream: bool, plain: Behind
) -> None:
    """What fails before the first event is the class of its status, with Anthropic's type and the request's id."""
    with anthropic_of(plain) as client, pytest.raises(kind) as failure:
        client.messages.create(**body, stream=stream)
    error: Any = failure.value
    assert (status, type) == (error.status_code, error.body["error"]["type"])
    assert error.request_id.startswith("req-")
    if status == 429:
        assert "1" == error.response.headers["retry-after"]


def test_anthropic_tokens(plain: Behind) -> None:
    """A token that is wrong, in either header."""
    for options in ({"api_key": "sk-wrong"}, {"auth_token": "sk-wrong", "api_key": None}):
        with anthropic_of(plain, **options) as client, pytest.raises(anthropic.AuthenticationError):
            client.messages.create(**message("hello"))
    assert [] == plain.script.asked


def test_anthropic_models(plain: Behind) -> None:
    """The list of models, which Anthropic's clients read too."""
    with anthropic_of(plain) as client:
        assert ["both", "fast"] == [model.id for model in client.models.list()]
        assert "fast" == client.models.retrieve("fast").id


@pytest.mark.parametrize("what", ["broken", "torn"])
def test_anthropic_fails_in_the_middle(what: str, gateway: Behind) -> None:
    """A stream that breaks off raises after what had come; a whole reply is an error by its status."""
    with anthropic_of(gateway) as client:
        text = ""
        with pytest.raises(anthropic.APIError):
            with client.messages.stream(**message(what)) as stream:
                for piece in stream.text_stream:
                    text += piece
        assert text.startswith("Half" if what == "broken" else "Hello")
        with pytest.raises(anthropic.InternalServerError):
            client.messages.create(**message(what))


def test_anthropic_leaves(gateway: Behind) -> None:
    """A stream that is closed in the middle ends the provider's reply; so does a timeout of the client."""
    with anthropic_of(gateway) as client, client.messages.stream(**message("endless")) as stream:
        next(iter(stream.text_stream))
    assert gateway.script.gone()
    with anthropic_of(gateway, timeout=0.3) as client, pytest.raises(anthropic.APITimeoutError):
        client.messages.create(**message("silent"))
    assert gateway.script.gone()


# -- our own client --------------------------------------------------------------------------------------

OURS: dict[str, Callable[[Behind], Provider]] = {
    "openai": lambda behind: providers.OpenAI(api_key=behind.token, base_url=behind.url),
    "openai-responses": lambda behind: providers.OpenAIResponses(api_key=behind.token, base_url=behind.url),
    "anthropic": lambda behind: providers.Anthropic(api_key=behind.token, base_url=behind.url),
}


@pytest.mark.parametrize("format", OURS)
def test_ours(format: str, gateway: Behind) -> None:
    """Our own client by each format: text, usage, calls that are made, typed output, errors, and cancelling."""

    @tool
    def look(city: str) -> str:
        """Look."""
        return "cold"

    provider = OURS[format](gateway)
    model = f"{provider.name}/fast"
    with Client([provider], retry=1, timeout=SOON) as client:
        pieces = []
        with client.stream(model, ask("in two")) as stream:
            for chunk in stream:
                pieces.append(chunk.text)
                if "Hello" in "".join(pieces):
                    gateway.script.more.set()
        assert TEXT == "".join(pieces)
        usage = stream.completion.usage
        assert (7, 11) == (usage.input_tokens, usage.output_tokens)
        assert "It is cold" == client.run(model, ask("tools"), tools=[look]).collect().text
        assert Weather(city="Oslo", degrees=-3) == client.extract(model, ask("json"), Weather)
        with pytest.raises(StreamError):
            client.complete(model, ask("torn"))
        with client.stream(model, ask("endless")) as stream:
            next(chunk for chunk in stream if chunk.text)
            stream.cancel()
        assert gateway.script.gone()


def test_ours_is_told_when_to_try_again(plain: Behind) -> None:
    """The provider's Retry-After comes through as the error's, by each format."""
    for make in OURS.values():
        provider = make(plain)
        with Client([provider], retry=1) as client, pytest.raises(RateLimitError) as failure:
            client.complete(f"{provider.name}/fast", ask("busy"))
        assert 1.0 == failure.value.retry_after


# -- programs of other languages and environments --------------------------------------------------------


@needs_clients
def test_npm(gateway: Behind) -> None:
    """OpenAI's package of npm: streams, tools, JSON, Responses, errors, and leaving."""
    script = gateway.script
    calls = {"go on": lambda _: script.more.set(), "gone": lambda _: script.gone()}
    got = run_node("gateway_openai.mjs", gateway.url, {"token": gateway.token}, calls=calls).result
    assert TEXT == got["text"] == got["whole"] == got["response"] == got["streamed response"]
    assert ([18], []) == (got["usage true"], got["usage false"])
    assert ["tool_calls", CITIES] == got["tools"]
    assert "It is cold" == got["after tools"]
    assert {"city": "Oslo", "degrees": -3} == got["parsed"]
    assert ["both", "fast"] == got["models"]
    for kind, status, code in (
        ("AuthenticationError", 401, "invalid_token"),
        ("NotFoundError", 404, "model_not_found"),
    ):
        refused = got[str(status)]
        assert (kind, status, code) == (refused["kind"], refused["status"], refused["code"])
        assert refused["request"].startswith("req-")
    assert ("APIError", "Half of it") == (got["broken"]["kind"], got["broken"]["got"])
    assert True is got["gone"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(plain: Behind) -> None:
    """curl -N shows the events as they come, and -f makes a refusal an error."""
    command = ["curl", "-sSfN", "--config", "-", f"{plain.url}/chat/completions", "-d"]
    header = f'header = "Authorization: Bearer {plain.token}"\n'
    body = json.dumps(chat("in two", stream=True))
    with subprocess.Popen(
        [*command, body], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as curl:
        assert curl.stdin is not None
        assert curl.stdout is not None
        curl.stdin.write(header)
        curl.stdin.close()
        lines = []
        for line in curl.stdout:
            lines.append(line)
            if "Hello" in line:
                plain.script.more.set()
        assert 0 == curl.wait(SOON)
    assert "data: [DONE]\n" == lines[-2]
    refused = json.dumps(chat("hello", model="none"))
    done = subprocess.run([*command, refused], input=header, capture_output=True, text=True, timeout=SOON, check=False)
    assert (22, "") == (done.returncode, done.stdout)
    assert "404" in done.stderr


def in_heavy(*command: str, behind: Behind, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the other virtual environment, without keys of this one, and without the internet."""
    return subprocess.run(
        [str(HEAVY / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONUTF8": "1",
            "OPENAI_BASE_URL": behind.url,
            "OPENAI_API_KEY": behind.token,
            "ANTHROPIC_BASE_URL": behind.root,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LLM_USER_PATH": str(folder / "llm"),
            "LANGSMITH_TRACING": "false",
            **environment,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )


@needs_heavy
@pytest.mark.parametrize("gateway", ["compatible", "anthropic"], indirect=True)  # they take long to start
@pytest.mark.parametrize("name", ["langchain", "litellm"])
def test_heavy(name: str, gateway: Behind, tmp_path: Path) -> None:
    """LangChain's ChatOpenAI and LiteLLM: streams, whole replies, tools, JSON, usage, errors."""
    done = in_heavy("python", str(HERE / f"{name}_client.py"), behind=gateway, folder=tmp_path)
    assert 0 == done.returncode, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    expected: dict[str, Any] = {
        "streamed": TEXT,
        "streamed usage": [7, 11],
        "whole": TEXT,
        "usage": [7, 11],
        "responses": TEXT,
        "calls": CITIES,
        "after tools": "It is cold",
        "json": {"city": "Oslo", "degrees": -3},
        "wrong token": "AuthenticationError",
        "unknown model": "NotFoundError",
        "without money": 402,
        "broken": "Half of it",
    }
    assert {**expected, **got} == got, done.stderr
    assert expected.keys() <= got.keys()


@needs_heavy
def test_llm(plain: Behind, tmp_path: Path) -> None:
    """llm by its extra models: streamed, whole, with a schema, and an error."""
    folder = tmp_path / "llm"
    folder.mkdir()
    models = [
        {"model_id": "gw", "model_name": "fast", "api_base": plain.url, "api_key_name": "gw", "supports_schema": True}
    ]
    (folder / "extra-openai-models.yaml").write_text(json.dumps(models))  # JSON is YAML
    (folder / "keys.json").write_text(json.dumps({"gw": plain.token}))

    def llm(*arguments: str) -> subprocess.CompletedProcess[str]:
        return in_heavy("llm", "-m", "gw", *arguments, behind=plain, folder=tmp_path)

    for options in ([], ["--no-stream"]):
        done = llm(*options, ask("hello"))
        assert (0, f"{TEXT}\n") == (done.returncode, done.stdout), done.stderr
    done = llm("--schema", "city, degrees int", ask("json"))
    assert {"city": "Oslo", "degrees": -3} == json.loads(done.stdout), done.stderr
    done = llm(ask("refuse 400"))
    assert 1 == done.returncode
    assert "The provider says no" in done.stderr
    done = llm("-u", ask("hello"))
    assert "7 input, 11 output" in done.stderr
    (folder / "keys.json").unlink()  # the test must not leave a token in a file


# -- the examples ----------------------------------------------------------------------------------------

LAST_WORDS = 'I only kept talking until you were here."'


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Served]:
    """Serve a gateway with the demo models, as without a configuration."""
    made = attrs.evolve(read_config(None, {"STREAMKIT_DATA": str(tmp_path)}), page=False)
    with served(made) as gateway:
        yield gateway


def story_of(*command: str | Path, demo: Served, folder: Path, path: str = "") -> str:
    """Run a program that asks for a story; return what it prints."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={
            **kept,
            "PATH": path + os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONUTF8": "1",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{demo.port}/v1",
            "OPENAI_API_KEY": demo.token,
        },
        capture_output=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    (charge,) = demo.charges()
    assert ("settled", "demo/storyteller") == (charge.state, charge.model)
    return done.stdout


@pytest.mark.parametrize("name", ["openai_python.py", "ours.py"])
def test_example_in_python(name: str, demo: Served, tmp_path: Path) -> None:
    """The programs in Python stream a story, and say how long it was."""
    output = story_of(sys.executable, "-W", "error", example(name), demo=demo, folder=tmp_path)
    story, _, tokens = output.rpartition("\n[")
    assert story.endswith(LAST_WORDS)
    assert re.fullmatch(r"\d+ tokens\]\n", tokens)


@needs_clients
def test_example_in_node(demo: Served, tmp_path: Path) -> None:
    """So does the one for Node."""
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    program = shutil.copy(example("openai_node.mjs"), tmp_path)
    assert re.search(
        rf"{re.escape(LAST_WORDS)}\n\[\d+ tokens\]\n$", story_of("node", program, demo=demo, folder=tmp_path)
    )


@needs_heavy
def test_example_of_langchain(demo: Served, tmp_path: Path) -> None:
    """So does the one of LangChain."""
    output = story_of(HEAVY / "bin" / "python", example("langchain_chat.py"), demo=demo, folder=tmp_path)
    assert re.search(rf"{re.escape(LAST_WORDS)}\n\[\d+ tokens\]\n$", output)


@needs_heavy
def test_example_of_llm(demo: Served, tmp_path: Path) -> None:
    """llm prints the story, and leaves no file with the token."""
    output = story_of("sh", example("llm.sh"), demo=demo, folder=tmp_path, path=f"{HEAVY / 'bin'}{os.pathsep}")
    assert output.endswith(f"{LAST_WORDS}\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_example_of_curl(demo: Served, tmp_path: Path) -> None:
    """curl shows the events up to the last one."""
    output = story_of("sh", example("curl.sh"), demo=demo, folder=tmp_path)
    assert output.endswith("data: [DONE]\n\n")
    assert output.count("data: ") > 100


def example(name: str) -> Path:
    """Return an example's path."""
    return ROOT / "examples" / "gateway" / "clients" / name


def test_each_example_is_tested() -> None:
    """Each program of the folder is named here."""
    here = Path(__file__).read_text("utf-8")
    assert [] == [path.name for path in example("ours.py").parent.iterdir() if f'"{path.name}"' not in here]
