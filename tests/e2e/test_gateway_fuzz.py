"""Requests that nobody has thought of: by the gateway's own description, and by bodies that were valid once.

``STREAMKIT_FUZZ_SECONDS`` is the time of the first, 20 by default; four times as many of the others are sent.
"""

from __future__ import annotations

import copy
import http.client
import importlib.util
import json
import logging
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

from streamkit.testing import Server, text_reply
from tests.unit.gateway_server import Served, config, served
from tests.unit.support import SOON

SECONDS = int(os.environ.get("STREAMKIT_FUZZ_SECONDS", "20"))
EXAMPLES = max(10, 4 * SECONDS)
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
# The description is narrower than what is taken, as every provider takes a little more and less than another.
LEFT_OUT = "negative_data_rejection,positive_data_acceptance"


@pytest.fixture(scope="module")
def up() -> Iterator[Server]:
    with Server(text_reply("Hi", usage=USAGE)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(up: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with a million dollars."""
    with served(config(tmp_path_factory.mktemp("gateway"), up), dollars=10**6) as made:
        yield made


def check_ledger(gateway: Served, up: Server, before: int) -> None:
    """Check that each request of the provider was paid once, and no other one."""
    assert len(up.requests) - before == sum(1 for charge in gateway.charges() if charge.amount > 0)
    assert [] == gateway.gateway._payments.ledger.check()
    assert 0 == gateway.balance().reserved


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("schemathesis") is None, reason="needs schemathesis")
def test_requests_by_the_description(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No 5xx, errors in the described shape, no reply without a token; what was answered was paid for."""
    caplog.set_level(logging.ERROR)
    with Server(text_reply("Hi", usage=USAGE)) as up, served(config(tmp_path, up), dollars=10**6) as gateway:
        address = f"http://127.0.0.1:{gateway.port}/openapi.json"
        token = f"Authorization: Bearer {str.__str__(gateway.token)}"
        options = [f"--max-time={SECONDS}", "--checks=all", f"--exclude-checks={LEFT_OUT}", "--no-color"]
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", address, "-H", token, "--continue-on-failure", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS * 3 + SOON,
            check=False,
        )
        assert 0 == done.returncode, done.stdout[-6000:] + done.stderr[-2000:]
        assert len(up.requests) > 0
        check_ledger(gateway, up, 0)
    assert [] == [record.getMessage() for record in caplog.records if record.name.startswith("streamkit.gateway")]


# Bodies that were valid once.

_TOOL = {"type": "function", "function": {"name": "f", "description": "x", "parameters": {"type": "object"}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
VALID: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [
        {
            "model": "fast",
            "max_tokens": 9,
            "stream": False,
            "n": 1,
            "temperature": 0.5,
            "stop": ["x"],
            "seed": 1,
            "logit_bias": {"5": 1},
            "metadata": {"a": "b"},
            "tools": [_TOOL],
            "tool_choice": "auto",
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            "messages": [
                {"role": "system", "content": "x"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hi"},
                        {"type": "image_url", "image_url": {"url": "https://h/x.png"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "x"},
            ],
        }
    ],
    "/v1/responses": [
        {
            "model": "fast",
            "max_output_tokens": 9,
            "instructions": "x",
            "temperature": 0.5,
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
            "reasoning": {"effort": "low"},
            "include": ["reasoning.encrypted_content"],
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "Hi"},
                        {"type": "input_image", "image_url": "https://h/x.png"},
                    ],
                },
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "x"},
                {"type": "reasoning", "id": "r", "summary": []},
            ],
        }
    ],
    "/v1/messages": [
        {
            "model": "fast",
            "max_tokens": 2000,
            "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
            "temperature": 0.5,
            "top_k": 5,
            "stop_sequences": ["x"],
            "metadata": {"user_id": "x"},
            "tools": [{"name": "f", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "auto"},
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image", "source": _PNG}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
            ],
        }
    ],
}

HUGE = [0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**30), 1e308, -1e308, 0.1, -0.0, math.nan, math.inf, -math.inf]
TEXTS = ["", " ", "\0", "\ud83d", "\udc00x", "\uffff", "\u202e", "x" * 2000, "\U0001f9e8", "null", "__proto__"]
TEXTS += ["../..", "{}", "%s%n", "\r\nX: y"]
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(HUGE),
    st.integers(),
    st.floats(),
    st.sampled_from(TEXTS),
    st.text(max_size=20),
)
NAMES = st.sampled_from([*TEXTS, "type", "text", "role", "content", "url"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)
NEIGHBOURS = ["role", "type", "stream", "stream_options", "n", "name", "user", "store", *TEXTS]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


@st.composite
def mutated(draw: st.DrawFn, path: str) -> str:
    """Draw the text of a valid body in which some values were changed."""
    body = copy.deepcopy(draw(st.sampled_from(VALID[path])))
    for _ in range(draw(st.integers(0, 3))):
        everywhere = list(places(body))
        if not everywhere:
            break
        *way, last = draw(st.sampled_from(everywhere))
        target: Any = body
        for key in way:
            target = target[key]
        mutate(draw, target, last)
    text = json.dumps(body, ensure_ascii=False)
    return re.sub(r'"@deep(\d+)@"', lambda found: "[" * int(found[1]) + "1" + "]" * int(found[1]), text)


def mutate(draw: st.DrawFn, target: Any, last: Any) -> None:
    """Replace, remove, repeat, wrap or swap a value, or give it a neighbour."""
    how = draw(st.sampled_from(["replace", "remove", "repeat", "wrap", "neighbour", "deepen", "swap"]))
    if how == "replace":
        target[last] = draw(VALUES)
    elif how == "remove":
        del target[last]
    elif how == "repeat":
        small = len(json.dumps(target[last])) < 1000  # or two mutations would make millions
        times = draw(st.sampled_from([2, 40, 3000] if small else [2]))
        target[last] = [copy.deepcopy(target[last]) for _ in range(times)]
    elif how == "wrap":
        target[last] = draw(st.sampled_from([[target[last]], {"x": target[last]}, str(target[last])]))
    elif how == "neighbour" and isinstance(target, dict):
        target[draw(st.sampled_from(NEIGHBOURS))] = draw(VALUES)
    elif how == "deepen":
        target[last] = f"@deep{draw(st.sampled_from([3, 62, 70, 900, 90_000]))}@"  # written out as brackets
    else:
        target[last] = copy.deepcopy(draw(st.sampled_from(OTHERS)))


OTHERS = [
    VALID[path][0][name] for path in ENDPOINTS for name in ("model", "messages", "input") if name in VALID[path][0]
]


def _doubled(text: str) -> str:
    return text.replace("{", '{"model":"both","model":"fast","stream":false,', 1)


ENCODED = {
    "plain": lambda text: text.encode("utf-8", "surrogatepass"),
    "escaped": lambda text: re.sub(r"[^ -~]", lambda found: f"\\u{ord(found[0]) & 0xFFFF:04x}", text).encode(),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass"),
    "utf-16": lambda text: text.encode("utf-16", "surrogatepass"),
    "utf-32": lambda text: text.encode("utf-32", "surrogatepass"),
    "latin-1": lambda text: text.encode("latin-1", "replace"),
    "twice": lambda text: text.encode("utf-8", "surrogatepass") * 2,
    "cut": lambda text: text.encode("utf-8", "surrogatepass")[: len(text) // 2],
    "keys twice": lambda text: _doubled(text).encode("utf-8", "surrogatepass"),
    "null behind": lambda text: text.encode("utf-8", "surrogatepass") + b"\0",
    "blanks": lambda text: b" \n\t" * 50 + text.encode("utf-8", "surrogatepass"),
    "bad byte": lambda text: text.encode("utf-8", "surrogatepass").replace(b"x", b"\xff", 1),
    "comment": lambda text: b"/* x */" + text.encode("utf-8", "surrogatepass"),
    "single quotes": lambda text: text.replace('"', "'").encode("utf-8", "surrogatepass"),
}


@pytest.mark.slow
@pytest.mark.parametrize("path", ENDPOINTS)
@hypothesis.settings(
    max_examples=EXAMPLES,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(data=st.data())
def test_bodies_that_were_valid(path: str, data: st.DataObject, gateway: Served, up: Server) -> None:
    """Each is answered with 200 or a 4xx in the format's shape; what is refused costs nothing, and reaches nobody."""
    text = data.draw(mutated(path))
    raw = ENCODED[data.draw(st.sampled_from(["plain", "plain", "plain", "escaped", *ENCODED]))](text)
    asked, spent = len(up.requests), gateway.balance().spent
    status, kind, answer = sent(gateway, path, raw)
    if status == 200:
        assert len(up.requests) == asked + 1
        assert gateway.balance().spent > spent
        json.loads(up.requests[-1].body, parse_constant=lambda word: pytest.fail(f"the provider was sent {word}"))
        assert "json" in kind or b"data: " in answer
    else:
        assert 400 <= status < 500, (status, answer[:500])
        shape = json.loads(answer)
        assert "application/json" == kind
        assert shape["error"]["message"]
        if path == "/v1/messages":
            assert ("error", str) == (shape["type"], type(shape["error"]["type"]))
        else:
            assert {"type", "param", "code"} <= set(shape["error"])
        assert (asked, spent) == (len(up.requests), gateway.balance().spent)
    assert 0 == gateway.balance().reserved


def sent(gateway: Served, path: str, raw: bytes) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SOON)
    try:
        headers = {"Authorization": f"Bearer {gateway.token}", "Content-Type": "application/json"}
        connection.request("POST", path, raw, headers)
        response = connection.getresponse()
        return response.status, response.headers["content-type"], response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_bodies_are_valid_at_first(path: str, gateway: Served) -> None:
    """What is mutated above is taken as it is."""
    for body in VALID[path]:
        status, _, answer = sent(gateway, path, json.dumps(body).encode())
        assert 200 == status, answer
