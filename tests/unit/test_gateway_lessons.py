"""What the advisories of other gateways teach, a test each; and what the gateway must never show."""

from __future__ import annotations

import ast
import configparser
import http.client
import json
import logging
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import sqlalchemy as sa

import streamkit
from streamkit.gateway.config.values import ModelConfig, UpstreamConfig
from streamkit.gateway.core import token_texts
from streamkit.gateway.core.holders import Limits
from streamkit.testing import Reply, Request, Server, chunk_event, error_reply, json_reply, text_reply
from streamkit.testing.provider_replies import error_in, reply_in
from streamkit.wire.secrets import Masked
from tests.unit.gateway_server import PRICES, USD, Served, chat, config, served
from tests.unit.support import SOON

ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
KEY = "provider-key-1234567890"  # as gateway_server has it


def body_for(path: str, text: str = "Hello", **fields: Any) -> dict[str, Any]:
    """Return a good request of an endpoint."""
    body: dict[str, Any] = {"model": "fast", "max_tokens": 9, **fields}
    if path == "/v1/responses":
        return {**body, "input": text, "max_output_tokens": body.pop("max_tokens")}
    return {**body, "messages": [{"role": "user", "content": text}]}


# 1. SQL in the token.

INJECTIONS = (
    "' OR 1=1 --",
    "sk-' OR '1'='1' -- 012345678901234567890123456789",
    "sk-0'; DROP TABLE streamkit_gateway_tokens; --",
    "sk-' UNION SELECT * FROM streamkit_gateway_tokens --",
    '"; SELECT pg_sleep(10); --',
    "sk-%27%20OR%201%3D1",
    "sk-\\x27 or sleep(9)",
    "sk-%s%s%s%n" * 9,
    "sk-:hash" * 5,
    "sk-" + "a" * 60_000,
    "sk-" + "\xff" * 40,
)


@contextmanager
def statements(gateway: Served) -> Iterator[list[tuple[str, Any]]]:
    """Note each statement that goes to the database, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        seen.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_1_sql_in_the_token(header: str, tmp_path: Path) -> None:
    """A token that is SQL is no token; none of a client's token, not even a good one, gets into a statement."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway, statements(gateway) as seen:
        for text in INJECTIONS:
            value = f"Bearer {text}" if header == "Authorization" else text
            assert 401 == asked_with(gateway, {header: value}), text
            assert not any(text in f"{statement}{parameters}" for statement, parameters in seen)
        assert 200 == asked_with(
            gateway, {header: f"Bearer {gateway.token}"} if header == "Authorization" else {header: gateway.token}
        )
        assert seen
        assert not any(gateway.token in f"{statement}{parameters}" for statement, parameters in seen)
        assert 1 == len(list(gateway.gateway.tokens.list()))
        assert 1 == len(up.requests)


def asked_with(gateway: Served, headers: Mapping[str, str], path: str = "/v1/chat/completions") -> int:
    """Ask with these headers alone, and return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SOON)
    try:
        connection.request("POST", path, json.dumps(body_for(path)).encode(), dict(headers))
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@hypothesis.settings(max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=st.data())
def test_1_any_authorization_header(data: st.DataObject, gateway_of_all_tests: Served) -> None:
    """Whatever stands in the header is answered with 401."""
    text = data.draw(
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=300)
    )
    scheme = data.draw(st.sampled_from(["", "Bearer ", "bearer\t", "Basic ", "Bearer Bearer ", "Bearer sk-"]))
    assert 401 == asked_with(gateway_of_all_tests, {"Authorization": scheme + text})


@pytest.fixture(scope="module")
def gateway_of_all_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One gateway for the examples of a property."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path_factory.mktemp("gateway"), up)) as gateway:
        yield gateway


# 2. Roles and routes set by the caller.

ADMINISTRATION = (
    "/key/generate /key/update /key/info /key/delete /key/list /user/new /user/update /team/new /team/update "
    "/config/update /config/yaml /get/config/callbacks /model/new /model/update /model/delete /global/spend "
    "/spend/logs /mcp-rest/test/connection /mcp-rest/tools/list /v1/mcp/server /guardrails /prompts /sso /debug "
    "/routes /settings /admin /admin/tokens /api/admin /api/tokens /api/token /api/topup /api/ledger /api/users "
    "/v1/tokens /v1/keys /v1/users /v1/api_keys /v1/organizations /v1/files /v1/batches /v1/fine_tuning/jobs "
    "/v1/assistants /v1/embeddings /reload /shutdown /docs /redoc /.env /static/../gateway.toml /gateway.db"
).split()


def test_2_no_administration(tmp_path: Path) -> None:
    """There is no address, whatever the method, by which a client makes a token, gets money, or changes a limit."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, page=True)) as gateway:
        gateway_tokens = gateway.gateway.tokens
        before = list(gateway_tokens.list(revoked=True)), gateway.balance()
        asked = {"models": ["*"], "role": "admin", "user_role": "proxy_admin", "max_budget": 1e9, "amount": 10}
        for path in ADMINISTRATION:
            assert 404 == gateway.get(path).status, path
            assert 404 == gateway.ask(asked, path).status, path
        for path in (*ENDPOINTS, "/v1/models", "/v1/models/fast", "/api/balance", "/api/usage", "/healthz", "/metrics"):
            for method in ("PUT", "PATCH", "DELETE", "CONNECT", "TRACE", "PROPFIND"):
                assert 405 == gateway.get(path, method=method).status, (method, path)
        assert before == (list(gateway_tokens.list(revoked=True)), gateway.balance())


def test_2_a_token_never_exceeds_its_maker(tmp_path: Path) -> None:
    """What its team may not do, a token may not, whatever it was made with; and no field of a request changes that."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        tokens, ledger = gateway.gateway.tokens, gateway.gateway._payments.ledger
        tokens.create_team("small", by="test", models=("fast",), limits=Limits(request=10**6), balance="own")
        ledger.top_up("team:small", USD, id="small", by="test")
        _, text = tokens.create(
            "rich", by="test", team="small", models=("*",), limits=Limits(request=USD), balance="team"
        )
        steer = {
            "team": "other",
            "role": "admin",
            "limits": {"request": 10**9},
            "models": ["*"],
            "metadata": {"team": "x"},
        }
        headers = {"x_streamkit_team": "other", "x_user_role": "admin"}
        assert 403 == gateway.ask(chat(model="both", **steer), token=text, **headers).status
        refused = gateway.ask(chat(max_tokens=50_000, **steer), token=text, **headers)
        assert (402, "spending_limit_exceeded") == (refused.status, refused.json()["error"]["code"])
        assert 200 == gateway.ask(chat(max_tokens=9), token=text).status
        assert ["team:small"] == [charge.account for charge in gateway.charges()]


# 3. Commands and code by request.

FORBIDDEN = {"eval", "exec", "compile", "__import__", "import_module", "system", "popen", "loads_pickle"}
MODULES = {"pickle", "subprocess", "marshal", "shelve", "yaml", "ctypes", "runpy", "code", "pty", "jinja2"}
#: Where one of them is, and why that is none of a client's.
ALLOWED_CODE = {
    ("cli/serve_worker.py", "pickle"): "the master's configuration, through a socket that it alone has",
    ("cli/serve.py", "late_import(library)"): "names that stand beside it",
    ("gateway/app/models.py", "late_import(module)"): "the function of `authorize` in the configuration",
}


def test_3_no_commands_and_no_code_by_request() -> None:
    """Nothing that a request reaches can run a command, a text as code, or a pickle, or import by a name."""
    root = Path(streamkit.__file__).parent
    files = [*(root / "gateway").rglob("*.py"), *(root / "web").rglob("*.py"), *(root / "cli").glob("serve*.py")]
    found = {(str(file.relative_to(root)), what) for file in files for what in _dangerous(ast.parse(file.read_text()))}
    assert len(files) > 60
    assert set(ALLOWED_CODE) == found


def _dangerous(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = getattr(getattr(node.func, "value", None), "id", "")
            if name in FORBIDDEN and owner != "re":
                yield name
            if name == "late_import" and not isinstance(node.args[0], ast.Constant):
                yield ast.unparse(node)


def test_3_the_search_finds_what_it_looks_for() -> None:
    """The test above would see each of them."""
    code = "import pickle\nfrom subprocess import run\neval('1')\nos.system('x')\nlate_import(name)\nre.compile('x')"
    assert ["late_import(name)", "pickle", "subprocess", "eval", "system"] == sorted(
        _dangerous(ast.parse(code)), key=["late_import(name)", "pickle", "subprocess", "eval", "system"].index
    )


_watched: list[tuple[str, str]] | None = None


def _audit(event: str, arguments: Any) -> None:
    if _watched is not None and event in (
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "open",
    ):
        _watched.append((event, repr(arguments[:1])))
    elif _watched is not None and event in ("socket.connect", "socket.getaddrinfo"):
        _watched.append((event, repr(arguments[-1] if event == "socket.connect" else arguments[:2])))


@pytest.fixture
def audited() -> Iterator[list[tuple[str, str]]]:
    """What this process starts, opens and connects to, as Python's audit events."""
    global _watched
    if not getattr(_audit, "added", False):
        sys.addaudithook(_audit)
        _audit.added = True  # type: ignore[attr-defined]  # a hook stays for ever
    _watched = []
    yield _watched
    _watched = None


def test_3_a_request_starts_opens_and_reaches_nothing(tmp_path: Path, audited: list[tuple[str, str]]) -> None:
    """Commands, files and addresses in a request are text: none is run, opened or connected to."""
    target = tmp_path / "a-file-of-the-host"
    target.write_text("secret")
    command = f"touch {target}-made"
    audited.clear()
    with Server(text_reply("Hi")) as up, Server(text_reply("stolen")) as other, served(config(tmp_path, up)) as gateway:
        places = [f"file://{target}", str(target), f"{other.url}/x.png", f"@{target}", f"data:,{target}"]
        steer: dict[str, Any] = {
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"$ref": f"file://{target}"}}},
                {
                    "type": "mcp",
                    "server_label": "x",
                    "server_url": other.url,
                    "command": command,
                    "args": ["-c", command],
                },
            ],
            "callbacks": ["os.system"],
            "guardrails": [f"{target}:run"],
            "template": "{{ ''.__class__.__mro__ }}",
            "file": str(target),
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": other.url}}},
        }
        for path in ENDPOINTS:
            gateway.ask(body_for(path, command, **steer), path)
            for place in places:
                for part in (
                    {"type": "image_url", "image_url": {"url": place}},
                    {"type": "file", "file": {"file_data": place, "filename": place}},
                    {"type": "input_image", "image_url": place},
                    {"type": "input_file", "file_url": place},
                    {"type": "image", "source": {"type": "url", "url": place}},
                    {"type": "document", "source": {"type": "file", "file_id": place}},
                ):
                    content = [{"role": "user", "content": [part]}]
                    gateway.ask({"model": "fast", "max_tokens": 5, "messages": content, "input": content}, path)
        assert [] == list(other.requests)
        assert any(event == "socket.connect" for event, _ in audited)  # to the provider
        assert not any(str(other.port) in what for event, what in audited if event.startswith("socket"))
        started = [each for each in audited if each[0] not in ("open", "socket.connect", "socket.getaddrinfo")]
        assert [] == started
        assert [] == [each for each in audited if each[0] == "open" and target.name in each[1]]
        assert not Path(f"{target}-made").exists()


# 4. Tokens that share their beginning.


def test_4_tokens_that_share_their_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is itself, also right after the other was asked with; one that was revoked takes no other along."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up)) as gateway:
        tokens = gateway.gateway.tokens
        made = {}
        for name, models in (("a", ("fast",)), ("b", ("both",))):
            monkeypatch.setattr(token_texts.secrets, "token_urlsafe", lambda size, name=name: "S" * 42 + name)
            made[name] = tokens.create(name, by="test", models=models, balance="unlimited")[1]
        monkeypatch.undo()
        assert made["a"][:-1] == made["b"][:-1]
        for _ in range(2):
            assert [200, 403] == [gateway.ask(chat(model=model), token=made["a"]).status for model in ("fast", "both")]
            assert [403, 200] == [gateway.ask(chat(model=model), token=made["b"]).status for model in ("fast", "both")]
        text = made["a"]
        for wrong in (
            text[:-1],
            text[:20],
            text[:20] + "x" * 26,
            text + "x",
            text.swapcase(),
            text[:-1] + "c",
            text * 2,
        ):
            assert 401 == gateway.ask(chat(), token=wrong).status
        tokens.revoke("a", by="test")
        assert 401 == gateway.ask(chat(), token=made["a"]).status
        assert 200 == gateway.ask(chat(model="both"), token=made["b"]).status


# 5. A Host header that goes round the check.

HOSTS = (
    "localhost",
    "127.0.0.1",
    "admin",
    "metadata.google.internal",
    "x:0",
    "[::1]",
    "",
    "a" * 200,
    "x/healthz",
    "x?",
    "/",
)
ROUND = (
    {"X-Forwarded-Host": "localhost", "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"},
    {"X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"},
    {"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "GET"},
    {"X-Remote-User": "admin", "Remote-User": "admin", "X-Forwarded-User": "admin"},
    {"X-Forwarded-Prefix": "/healthz", "X-Script-Name": "/healthz", "X-Forwarded-Proto": "https"},
    {"Cookie": "streamkit-gateway=admin; session=1", "Origin": "http://localhost"},
    {"Authorization": "Basic YWRtaW46YWRtaW4=", "Proxy-Authorization": "Bearer x"},
)


def test_5_no_header_goes_round_the_check(tmp_path: Path) -> None:
    """Without a token each address that needs one answers with 401, whatever the Host and other headers say."""
    with Server(text_reply("Hi")) as up, served(config(tmp_path, up, page=True)) as gateway:
        described = gateway.get("/openapi.json").json()
        protected = [
            (method.upper(), path.replace("{model}", "fast"))
            for path, methods in described["paths"].items()
            for method, shape in methods.items()
            if shape.get("security") != []
        ]
        assert {("GET", "/api/balance"), ("POST", "/v1/messages")} < set(protected)
        for method, path in [*protected, ("POST", "/api/chat"), ("GET", "/api/chat"), ("GET", "/api/models")]:
            sent = [{"Host": host} for host in HOSTS] + [{"Host": "x", **each} for each in ROUND]
            for headers in sent:
                status = raw(gateway.port, method, path, headers)
                # The page refuses other sites, and some names of hosts, before it looks who asks.
                assert status in ((400, 401, 403) if path in ("/api/chat", "/api/models") else (401,)), (
                    method,
                    path,
                    headers,
                )
            assert 401 == raw(
                gateway.port, method, f"{path}?token={gateway.token}&api_key={gateway.token}", {"Host": "x"}
            )
        assert [] == list(up.requests)


def raw(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"{}") -> int:
    """Send a request as it stands, and return the status."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"])
    with socket.create_connection(("127.0.0.1", port), timeout=SOON) as client:
        client.sendall(f"{head}\r\n\r\n".encode("latin-1") + body)
        answer = b""
        while more := client.recv(65536):
            answer += more
    return int(answer.split(b" ", 2)[1])


# 6. The client's addresses take the key along.


def test_6_the_key_goes_to_the_provider_alone(tmp_path: Path) -> None:
    """No field, header or parameter of a request names another server, another payer, or a header of the provider's."""
    with Server(text_reply("Hi")) as up, Server(text_reply("stolen")) as other, served(config(tmp_path, up)) as gateway:
        names = (
            "api_base base_url api_url url host endpoint azure_endpoint api_version custom_llm_provider provider proxy "
            "proxies http_proxy webhook webhook_url callback_url custom_host litellm_params model_config deployment "
            "fallbacks"
        ).split()
        steer: dict[str, Any] = {
            **dict.fromkeys(names, other.url),
            "api_key": "sk-mine",
            "headers": {"X-A": "b"},
            "extra_headers": {"Authorization": "Bearer x", "X-A": "b"},
            "extra_query": {"a": "b"},
            "extra_body": {"base_url": other.url},
            "timeout": 0.001,
            "user": "token:somebody",
            "user_id": "somebody",
            "team_id": "somebody",
            "_who": "x",
            "gateway_payer": ["x", "y"],
            "policies": [],
            "retry": {"attempts": 100},
            "routes": [other.url],
        }
        headers = {
            "x_portkey_custom_host": other.url,
            "x_portkey_provider": "openai",
            "x_portkey_config": json.dumps({"custom_host": other.url}),
            "x_litellm_api_base": other.url,
            "x_forwarded_host": f"127.0.0.1:{other.port}",
            "helicone_target_url": other.url,
            "openai_organization": "org-mine",
            "openai_project": "proj-mine",
            "cookie": "a=b",
            "x_api_key": "sk-mine",
            "host": f"127.0.0.1:{other.port}",
        }
        for path in ENDPOINTS:
            for stream in (False, True):
                given = body_for(path, stream=stream, **steer)
                assert 200 == gateway.ask(given, f"{path}?api_base={other.url}", **headers).status
        for model in (other.url, f"openai/{other.url}", f"up0@{other.url}/m", "up0/m", "openai/gpt-4o", "../fast"):
            assert 404 == gateway.ask(chat(model=model)).status
        assert [] == list(other.requests)
        assert 6 == len(up.requests)
        for request in up.requests:
            check_sent(request, set(steer) - {"user"}, f"127.0.0.1:{up.port}")
        token = gateway.gateway.tokens.find(gateway.token)
        assert {token.id} == {charge.token for charge in gateway.charges()}
        assert {f"token:{token.id}"} == {charge.account for charge in gateway.charges()}


def check_sent(request: Request, steer: set[str], host: str) -> None:
    """Check that a provider's request has nothing of the client's but what was asked."""
    assert not steer & set(request.json())
    assert {"model", "messages", "stream"} <= set(request.json())
    lower = {name.lower(): value for name, value in request.headers.items()}
    assert (f"Bearer {KEY}", host) == (lower.pop("authorization"), lower.pop("host"))
    assert {"content-type", "content-length", "accept", "user-agent", "accept-encoding", "connection"} >= set(lower)
    assert "?" not in request.path


# 7. A compromised release.

SERVES = {
    "click", "flask", "genai-prices", "gunicorn", "limits", "platformdirs", "prometheus-client", "sqlalchemy", "tomli",
}  # fmt: skip


def test_7_dependencies_are_few_and_bounded() -> None:
    """The extra has these libraries, each below a version that nobody has seen yet."""
    setup = Path(streamkit.__file__).parents[1] / "setup.cfg"
    if not setup.exists():
        pytest.skip("setup.cfg is not installed")
    parser = configparser.ConfigParser()
    parser.read(setup)
    lines = parser["options.extras_require"]["serve"].split("\n")
    found = {re.split(r"[<>=\[;]", line)[0].strip().lower(): line for line in lines if line.strip()}
    assert SERVES == set(found)
    assert [] == [line for line in found.values() if not re.search(r">=[\d.]+,<\d", line)]


def test_7_the_application_imports_no_more() -> None:
    """Importing the gateway loads no library beside those of the extra, of the core, and what they bring."""
    code = (
        "import sys\nbefore = set(sys.modules)\nimport streamkit.gateway.app.application\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    known = {
        "streamkit",
        "attr",
        "attrs",
        "msgspec",
        "jiter",
        "requests",
        "urllib3",
        "idna",
        "certifi",
        "docstring_parser",
    }
    known |= {
        "charset_normalizer",
        "sseclient",
        "jsonschema",
        "sqlalchemy",
        "limits",
        "packaging",
        "deprecated",
        "wrapt",
    }
    known |= {
        "greenlet",
        "typing_extensions",
        "prometheus_client",
        "referencing",
        "rpds",
        "jsonschema_specifications",
        "tomli",
    }
    known |= {"chardet", "brotli", "zstandard", "simplejson", "importlib_metadata", "backports", "socks", "OpenSSL"}
    other = {
        name for name in loaded - known - sys.stdlib_module_names if not name.startswith(("_", "charset", "cython"))
    }
    assert set() == other


# 8. Error bodies that name the provider's account.

ORG, PROJECT, REQUEST, UUID = (
    "org-AbC123xyz456",
    "proj_XyZ987abc",
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "0F1e2d3c-1111-4222-8333-444455556666",
)
ACCOUNT, NUMBER, MAIL, ARN = (
    "123456789012",
    "98765432101",
    "billing@acme-corp.example.com",
    "arn:aws:iam::123456789012:user/dev-bedrock",
)
WORKSPACE, AWS_KEY, LONG = "wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ", "AKIAIOSFODNN7EXAMPLE", "q8Zr" + "4fT9wLmX2c" * 4
SECRETS = (
    *(ORG, PROJECT, REQUEST, UUID, ACCOUNT, NUMBER, MAIL, WORKSPACE, AWS_KEY, LONG, KEY),
    *("dev-bedrock", "acme-prod", "acme-openai"),
)
GOOGLE = (
    f"projects/acme-prod-1/locations/us-central1/publishers/google/models/x, project_number:{NUMBER}, project {ACCOUNT}"
)
SAYINGS = (
    f"Rate limit reached for gpt-4o in organization {ORG} (project `{PROJECT}`) on tokens per min (TPM): Limit 30000.",
    f"Incorrect API key provided: sk-proj-********abcd. Include the request ID {REQUEST} and mail {MAIL}.",
    f"Workspace {WORKSPACE} of organization {UUID} is over its limit; see https://console.example.com/{ORG}",
    f"Publisher Model `{GOOGLE}` was not found.",
    f"User: {ARN} cannot invoke arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/acme-prod with {AWS_KEY}",
    f"The deployment of acme-openai.openai.azure.com was not found; token {LONG}; key {KEY}",
)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("format", ["openai", "anthropic", "gemini", "bedrock"])
def test_8_errors_name_nothing_of_the_account(format: str, status: int, tmp_path: Path) -> None:
    """Organisations, projects, request ids, accounts, addresses and keys in a provider's words reach no client."""
    said = ""

    def answer(request: Request) -> Reply:
        if format == "openai":
            return error_reply(status, said, code=ORG, headers={"openai-organization": ORG, "x-request-id": REQUEST})
        if format == "anthropic":
            body = {"type": "error", "error": {"type": "api_error", "message": said}, "request_id": REQUEST}
            return json_reply(body, status, headers={"anthropic-organization-id": UUID, "request-id": REQUEST})
        if format == "gemini":
            details = [{"@type": "ErrorInfo", "metadata": {"consumer": f"projects/{ACCOUNT}"}}]
            return json_reply([{"error": {"code": status, "message": said, "status": "X", "details": details}}], status)
        return json_reply({"message": said, "__type": ARN}, status, headers={"x-amzn-requestid": UUID})

    with Server(answer) as up, served(upstream(tmp_path, up, format)) as gateway:
        for number, said in enumerate(SAYINGS):  # noqa: B007  # the answer has it
            for path in ENDPOINTS:
                answered = gateway.ask(body_for(path, stream=bool(number % 2)), path)
                assert answered.status >= 400
                told = answered.body.decode() + repr(answered.headers)
                assert [] == [secret for secret in SECRETS if secret.lower() in told.lower()], told


@pytest.mark.parametrize("format", ["openai", "anthropic", "gemini", "bedrock"])
def test_8_errors_in_mid_stream_name_nothing_either(format: str, tmp_path: Path) -> None:
    """An error after the first chunk is told in an event, without what names the account."""
    for number, saying in enumerate(SAYINGS):
        (tmp_path / str(number)).mkdir()
        with Server(reply_in(format, text="One", error=saying)) as up:
            with served(upstream(tmp_path / str(number), up, format)) as gateway:
                for path in ENDPOINTS:
                    told = gateway.ask(body_for(path, stream=True), path).body.decode()
                    assert "error" in told
                    assert [] == [secret for secret in SECRETS if secret.lower() in told.lower()], told


def upstream(tmp_path: Path, up: Server, format: str) -> Any:
    """Return a configuration with ``fast`` at a provider of a format."""
    kind = "compatible" if format == "openai" else format
    options = {"region": "us-east-1"} if format == "bedrock" else {}
    made = UpstreamConfig("far", kind, up.url, Masked(KEY), options=options)
    return config(tmp_path, upstreams=(made,), models=(ModelConfig("fast", (("far/m", 1),), **PRICES),))


def test_8_what_a_client_can_mend_is_still_told(tmp_path: Path) -> None:
    """The provider's words about the request itself pass."""
    words = "This model's maximum context length is 128000 tokens, and `user_location` is unknown"
    with (
        Server(error_in("anthropic", words)) as up,
        served(upstream(tmp_path, up, "anthropic")) as gateway,
    ):
        assert words in gateway.ask(chat()).json()["error"]["message"]


# Others: what one client causes.

REFUSALS = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429)


@pytest.mark.parametrize("status", REFUSALS)
def test_refusals_of_one_client_shut_no_model(status: int, tmp_path: Path) -> None:
    """Any number of refused calls leave the model open for the next one."""

    def answer(request: Request) -> Reply:
        return error_reply(status, "no") if "bad" in str(request.json()["messages"]) else text_reply("Good")

    with Server(answer) as up, served(config(tmp_path, up)) as gateway:
        for number in range(24):
            assert gateway.ask(chat("bad", stream=bool(number % 2))).status >= 400
        assert 200 == gateway.ask(chat("good")).status


def test_clients_that_leave_shut_no_model(tmp_path: Path) -> None:
    """A client that leaves, before and after the first token, says nothing about the provider."""
    go = threading.Event()

    def answer(request: Request) -> Reply:
        from streamkit.testing import Mark, Wait

        if "bad" not in str(request.json()["messages"]):
            return text_reply("Good")
        return Reply([chunk_event("One"), Mark(go), Wait(None)])

    with Server(answer) as up, served(config(tmp_path, up)) as gateway:
        for _ in range(24):
            go.clear()
            response = gateway.open(chat("bad", stream=True))
            assert go.wait(SOON)
            response.close()
        assert 200 == gateway.ask(chat("good")).status


# What must never be shown.

PROMPT = "a very secret prompt 31415926"


def test_no_key_token_or_prompt_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither logs at any level, nor errors, figures or lists have a provider's key, a token, or what was asked."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    replies = [
        text_reply(f"echo {PROMPT}"),
        error_reply(400, f"bad {PROMPT}"),
        error_reply(401, f"key {KEY}"),
        error_reply(500, PROMPT),
    ]
    for number, reply in enumerate(replies):
        (tmp_path / str(number)).mkdir()
        with Server(reply) as up, served(config(tmp_path / str(number), up, page=True)) as gateway:
            for path in ENDPOINTS:
                for stream in (True, False):
                    answer = gateway.ask(body_for(path, PROMPT, stream=stream), path)
                    assert gateway.token not in answer.body.decode()
                    assert KEY not in answer.body.decode()
                gateway.ask(
                    {**body_for(path, PROMPT), "stream": PROMPT, "tools": PROMPT, "tool_choice": {"type": PROMPT}}, path
                )
                gateway.ask(json.dumps(body_for(path, PROMPT)).encode()[:-2], path)
                gateway.ask(
                    {**body_for(path), "model": PROMPT, "messages": [{"role": PROMPT, "content": PROMPT}]}, path
                )
            gateway.get(f"/v1/models/{PROMPT.replace(' ', '%20')}?key={gateway.token}")
            gateway.get(f"/{gateway.token}")
            gateway.ask(f"token={gateway.token}x".encode(), "/login", content_type="application/x-www-form-urlencoded")
            shown += [gateway.get(path).body.decode() for path in ("/metrics", "/openapi.json", "/healthz", "/readyz")]
            shown.append(gateway.get("/api/usage?by=model").body.decode())
            secret = gateway.token
            logged = "\n".join(record.getMessage() + str(record.exc_text or "") for record in caplog.records)
            for text in (*shown, logged):
                assert secret not in text
                assert KEY not in text
                assert PROMPT not in text
                assert PROMPT.replace(" ", "%20") not in text
    assert "streamkit.gateway.requests" in {record.name for record in caplog.records}
