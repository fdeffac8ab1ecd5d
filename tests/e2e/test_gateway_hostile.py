"""Clients that try to break ``streamkit serve``: a 4xx or a bounded wait, nothing is charged, others are served."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.testing import Mark, Repeat, Reply, Request, Server, chunk_event, text_reply
from tests.e2e.servers.support import get, raw_connection
from tests.processes import Process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")
pytest.importorskip("gunicorn", reason="needs gunicorn")
pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")

SECONDS = 60.0  # for what takes a second at most
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
KEY = "provider-key-1234567890"
IDLE = 1000  # connections
CONFIG = """
[server]
body_seconds = 1.5
write_seconds = 1.5
heartbeat_seconds = 1
threads = 40
[storage]
database = "gateway.db"
secret_file = "secret"
[providers.up]
kind = "compatible"
base_url = "{url}"
key = "$UP_KEY"
[models.fast]
routes = ["up/m"]
input_price = 0.001
output_price = 0.001
"""


@attrs.define(eq=False)
class Target:
    """A gateway that runs in processes of its own, its provider, and a token of it."""

    process: Process
    port: int
    token: str
    folder: Path
    up: Server
    begun: threading.Event
    pid: int = 0

    def charges(self) -> int:
        """Return how many replies have cost something."""
        with sqlite3.connect(self.folder / "gateway.db") as database:
            count = database.execute("SELECT count(*) FROM streamkit_gateway_charges WHERE amount > 0").fetchone()[0]
        database.close()
        return int(count)

    def ask(self, body: Any, path: str = ENDPOINTS[0], token: str | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a request, and return the status and the body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return get(self.port, path, data, Authorization=f"Bearer {token or self.token}", **headers)

    def send(self, data: bytes) -> bytes:
        """Send bytes as they stand, and return all that comes until the end of the connection."""
        with raw_connection(self.port) as client:
            with suppress(OSError):
                client.sendall(data)
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def check(self) -> None:
        """Check that another client is served, by the same process."""
        status, body = self.ask(good())
        assert (200, True) == (status, b"Hello" in body)
        assert {self.pid} == set(children(self.process.pid))


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def good(**fields: Any) -> dict[str, Any]:
    return {"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}


def read_all(client: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while more := client.recv(65536):
            data += more
    return data


def token_in(folder: Path) -> str:
    """Make a token with a dollar, as ``streamkit token create`` does."""
    from streamkit.gateway.config import read_config
    from streamkit.gateway.core.database import GatewayDatabase
    from streamkit.gateway.core.ledger import Ledger
    from streamkit.gateway.core.tokens import Tokens

    config = read_config(str(folder / "gateway.toml"), {"UP_KEY": KEY})
    database = GatewayDatabase(config.database)
    try:
        token, text = Tokens(database, config.secret.read()).create("hostile", by="test", balance="own")
        Ledger(database).top_up(f"token:{token.id}", 10**9, id="first", by="test")
    finally:
        database.close()
    return str.__str__(text)


@contextmanager
def serving(folder: Path, *within: str, options: str = "") -> Iterator[Target]:
    begun = threading.Event()

    def answer(request: Request) -> Reply:
        if "for ever" in str(request.json()["messages"]):
            return Reply([chunk_event("One"), Mark(begun), Repeat(chunk_event("x" * 5000))])
        return text_reply("Hello")

    with Server(answer) as up:
        (folder / "secret").write_text("a-secret-for-tests-0123456789abcdef")
        (folder / "gateway.toml").write_text(CONFIG.format(url=up.url) + options)
        token = token_in(folder)
        command = [*within, sys.executable, "-m", "streamkit", "serve", "--config", "gateway.toml", "--port", "0"]
        variables = {"UP_KEY": KEY, "STREAMKIT_DATA": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        process = Process(command, folder, **variables)
        try:
            process.wait_for(r"Ctrl-C ends it\n")
            port = int(process.wait_for(r"the gateway is at http://\S+:(\d+)/v1"))
            target = Target(process, port, token, folder, up, begun)
            (target.pid,) = children(process.pid)
            target.check()
            yield target
        finally:
            process.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with serving(tmp_path_factory.mktemp("hostile")) as target:
        yield target
        assert "Traceback" not in target.process.output
        assert KEY not in target.process.output
        assert target.token not in target.process.output


@pytest.fixture
def target(served: Target) -> Iterator[Target]:
    """The gateway; after the test others are served as before, and nothing was charged but what was answered."""
    before, asked = served.charges(), len(served.up.requests)
    yield served
    assert served.charges() - before <= len(served.up.requests) - asked
    served.check()


def error_of(path: str, body: bytes) -> dict[str, Any]:
    """Check that an error has the shape of its endpoint's format, and return it."""
    shape = json.loads(body)
    if path == "/v1/messages":
        assert "error" == shape["type"]
        assert {"type", "message"} <= set(shape["error"])
    else:
        assert {"message", "type", "param", "code"} <= set(shape["error"])
    assert shape["error"]["message"]
    found: dict[str, Any] = shape["error"]
    return found


# Bodies.

DEEP = b"[" * 1000 + b"]" * 1000
BODIES: dict[str, tuple[int, Any]] = {
    "10 MB of text": (413, good(messages=[{"role": "user", "content": "x" * 10_000_000}])),
    "10,000 messages": (413, good(messages=[{"role": "user", "content": "x"}] * 10_000)),
    "10,000 parts": (413, good(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}] * 10_000}])),
    "depth 1,000": (400, b'{"model":"fast","max_tokens":9,"messages":' + DEEP + b"}"),
    "depth 100,000": (413, b'{"model":"fast","messages":' + b"[" * 100_000 + b"}"),
    "unknown model": (404, good(model="gpt-none")),
    "a long name": (404, good(model="m" * 500)),
    "negative": (400, good(max_tokens=-1)),
    "huge": (400, good(max_tokens=10**30)),
    "infinite": (400, json.dumps(good()).replace("9", "1e999", 1).encode()),
    "not a number": (400, json.dumps(good()).replace("9", "NaN", 1).encode()),
    "many digits": (400, json.dumps(good()).replace("9", "9" * 100_000, 1).encode()),
    "text": (400, good(max_tokens="9")),
    "null bytes": (400, b"\0" * 1000),
    "a list": (400, b"[]"),
    "nothing": (400, b""),
}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("body", BODIES)
def test_bodies(body: str, path: str, target: Target) -> None:
    """A body that is too large, too deep or wrong is a 4xx in the format's shape, and the provider is not asked."""
    expected, given = BODIES[body]
    if path == "/v1/responses" and isinstance(given, dict):
        given = {**given, "input": given["messages"], "max_output_tokens": given["max_tokens"]}
    elif path == "/v1/responses":
        given = given.replace(b"messages", b"input").replace(b"max_tokens", b"max_output_tokens")
    before = len(target.up.requests)
    status, answer = target.ask(given, path)
    assert expected == status if expected != 413 else status in (400, 413), answer[:300]
    error_of(path, answer)
    assert before == len(target.up.requests)


def test_a_body_that_is_declared_too_large(target: Target) -> None:
    """It is refused before it is read."""
    with raw_connection(target.port) as client:
        client.sendall(head(target, "Content-Length: 99999999999"))
        assert b" 413 " in client.recv(65536).partition(b"\r\n")[0]


def head(target: Target, *more: str, path: str = ENDPOINTS[0], method: str = "POST") -> bytes:
    """Return the head of a good request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {target.token}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_chunks_without_end(target: Target) -> None:
    """A body in chunks that never ends is refused once it is too large."""
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with raw_connection(target.port) as client:
        client.sendall(head(target, "Transfer-Encoding: chunked"))
        client.settimeout(SECONDS)
        with suppress(ConnectionError):
            for _ in range(2000):
                client.sendall(chunk)
        answer = read_all(client)
    assert not answer or b" 413 " in answer.partition(b"\r\n")[0] or b" 408 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "chunk",
    [
        b"FFFFFFFFFFFFFFFFFFFF\r\nx", b"-5\r\nxxxxx\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"zz\r\n",
        b"5;" + b"a" * 100_000,
        b"5\nhello\n0\n\n", b"5\r\nhelloWORLD\r\n0\r\n\r\n", b"\r\n",
    ],
)  # fmt: skip
def test_chunks_that_are_wrong(chunk: bytes, target: Target) -> None:
    """Chunks with an impossible length or frame are a 4xx, and the connection ends."""
    answer = target.send(head(target, "Transfer-Encoding: chunked") + chunk)
    assert answer[9:10] == b"4", answer
    assert 1 == answer.count(b"HTTP/1.1 ")


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_trickles(framing: str, target: Target) -> None:
    """A body that comes a byte at a time, or stops, is a 408 in the format's shape within the time for bodies."""
    piece = b" " if "Length" in framing else b"1\r\n \r\n"
    with ExitStack() as stack:
        clients = []
        for path in ENDPOINTS:
            client = stack.enter_context(raw_connection(target.port))
            client.sendall(head(target, framing, path=path) + piece)
            clients.append((path, client))
        silent = stack.enter_context(raw_connection(target.port))
        silent.sendall(head(target, framing))
        with trickling([client for _, client in clients], piece):
            target.check()
            answers = [(path, read_all(client)) for path, client in [*clients, (ENDPOINTS[0], silent)]]
    for path, answer in answers:
        first, _, body = answer.partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 408 "), answer
        error_of(path, body)


@contextmanager
def trickling(clients: list[socket.socket], piece: bytes) -> Iterator[None]:
    stop = threading.Event()

    def send() -> None:
        while not stop.wait(0.1):
            for client in clients:
                with suppress(OSError):
                    client.send(piece)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_heads_that_trickle(target: Target) -> None:
    """More heads that never end than there are threads hold nobody up, and end with 408."""
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_connection(target.port)) for _ in range(60)]
        for client in clients:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-A: ")
        with trickling(clients, b"a"):
            answers = [read_all(client) for client in clients]
            target.check()
    assert {b"HTTP/1.1 408"} == {answer[:12] for answer in answers}


def test_slow_readers(target: Target) -> None:
    """A client that stops reading is given up after the time for a write; its provider is cancelled, others go on."""
    with ExitStack() as stack:
        body = json.dumps(good(stream=True, messages=[{"role": "user", "content": "for ever"}])).encode()
        gone = []
        for _ in range(5):
            target.begun.clear()
            client = stack.enter_context(raw_connection(target.port, receive_buffer=4096))
            client.sendall(head(target, f"Content-Length: {len(body)}") + body)
            assert target.begun.wait(SECONDS)
            gone.append(target.up.requests[-1].gone)
        target.check()
        assert all(each.wait(SECONDS) for each in gone)
    until(lambda: open_streams(target) == 0)


def until(condition: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.02)


def open_streams(target: Target) -> float:
    _, body = get(target.port, "/metrics")
    line = next(line for line in body.decode().split("\n") if line.startswith("streamkit_open_streams"))
    return float(line.split()[1])


def test_idle_connections(target: Target) -> None:
    """A thousand connections that send nothing keep nobody from being served, and are closed in the end."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 200:
        pytest.skip("this system allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE + 200), hard))
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_connection(target.port)) for _ in range(IDLE)]
        for _ in range(5):
            target.check()
        assert {b""} == {read_all(client) for client in clients}


# Frames: one request must not become two, and no header another.

NEXT = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
FRAMES = {
    "length and chunks": (["Content-Length: 4", "Transfer-Encoding: chunked"], b"0\r\n\r\n" + NEXT),
    "chunks and length": (["Transfer-Encoding: chunked", "Content-Length: 6"], b"0\r\n\r\nG" + NEXT),
    "two lengths": (["Content-Length: 0", f"Content-Length: {len(NEXT)}"], NEXT),
    "a list of lengths": (["Content-Length: 0, 5"], NEXT),
    "a length with a sign": (["Content-Length: +0"], NEXT),
    "a length with a blank": (["Content-Length: 0 0"], NEXT),
    "a length of another script": (["Content-Length: \u00b2"], NEXT),
    "a negative length": (["Content-Length: -1"], NEXT),
    "chunked twice": (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n" + NEXT),
    "chunked, identity": (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + NEXT),
    "x-chunked": (["Transfer-Encoding: xchunked"], b"0\r\n\r\n" + NEXT),
    "a blank before the colon": (["Transfer-Encoding : chunked"], b"0\r\n\r\n" + NEXT),
    "a tab before chunked": (["Transfer-Encoding:\x0bchunked"], b"0\r\n\r\n" + NEXT),
    "a folded header": (["Transfer-Encoding:", " chunked"], b"0\r\n\r\n" + NEXT),
    "an underscore": (["Content_Length: 0", "Transfer_Encoding: chunked"], b""),
    "a bare CR": (["X-A: b\rTransfer-Encoding: chunked"], b"0\r\n\r\n" + NEXT),
    "a null": (["X-A: b\0c"], b""),
    "a header without a name": ([": x"], b""),
    "a header without a colon": (["nothing"], b""),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_requests_in_requests(frame: str, target: Target) -> None:
    """A request whose end is not clear is refused, or is taken as one; nothing behind it is taken as another."""
    lines, body = FRAMES[frame]
    answer = target.send(head(target, *lines) + body)
    assert answer[9:10] == b"4" or answer.startswith(b"HTTP/1.1 501 "), answer  # 501: a coding that nobody knows
    assert 1 == answer.count(b"HTTP/1."), answer
    assert b"smuggled" not in answer


def test_headers_of_the_client_become_none_of_the_response(target: Target) -> None:
    """Nothing that a client sends begins a header of the response, also not its id of the request or its origin."""
    for name in ("X-Request-Id", "Origin", "Idempotency-Key"):
        for value in (
            "a\rSet-Cookie: x=1",
            "a\nSet-Cookie: x=1",
            "a%0d%0aSet-Cookie: x=1",
            "a\u0100".encode().decode("latin-1"),
        ):
            body = json.dumps(good()).encode()
            data = head(target, f"{name}: {value}", f"Content-Length: {len(body)}", "Connection: close")
            answer = target.send(data + body).lower()
            assert b"\nset-cookie" not in answer
            assert b"\rset-cookie" not in answer


# Addresses.

TRICKS = (
    "//v1/models",
    "/v1//models",
    "/v1/../metrics",
    "/v1/models/../../metrics",
    "/v1/%2e%2e/metrics",
    "/v1/models/",
    "/./v1/models",
    "/v1/models;x=1",
    "/v1/models%00",
    "/v1%2fmodels",
    "/V1/MODELS",
    "/v1/models%20",
    "/v1/models%0a",
    "/v1/models/..;/metrics",
    "/metrics/",
    "/metrics;x",
    "/healthz/../api/balance",
    "/static/../../etc/passwd",
    "/chat-page/../../gateway.toml",
    "/chat-page/%2e%2e%2f%2e%2e%2fgateway.toml",
    "/chat-page//etc/passwd",
    "/chat-page/..%5cgateway.toml",
    "/%",
    "/%zz",
    "/\\v1\\models",
    "/v1/chat/completions/",
    "/v1/chat/completions%2f",
    "/v1/messages?beta=true/../x",
    "/api/balance/x",
    "/api/../api/balance",
)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_path_tricks(method: str, target: Target) -> None:
    """Another spelling of an address is no address, or the same one with the same check: never the way round it."""
    for path in TRICKS:
        for line in ("Authorization: none", f"Authorization: Bearer {target.token}"):
            data = (
                f"{method} {path} HTTP/1.1\r\nHost: h\r\n{line}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
            )
            answer = target.send(data.encode())
            allowed = (b"400", b"401", b"404", b"405", b"302", b"308")
            same = path == "/v1%2fmodels" and target.token in line and method == "GET"  # as Python's servers decode it
            assert answer[9:12] in (*allowed, *([b"200"] if same else [])), (path, answer)
            assert b"streamkit_requests_total" not in answer
            assert b"root:" not in answer
            assert b"secret_file" not in answer


def test_other_methods(target: Target) -> None:
    """HEAD is GET without a body, and other methods are refused; none of them asks the provider."""
    before = len(target.up.requests)
    for path in (*ENDPOINTS, "/v1/models", "/healthz", "/readyz", "/metrics", "/api/balance", "/openapi.json"):
        for method in ("HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get"):
            answer = target.send(head(target, "Content-Length: 0", "Connection: close", path=path, method=method))
            first, _, body = answer.partition(b"\r\n\r\n")
            assert first[9:12] in (b"200", b"403", b"404", b"405", b"400"), (method, path, answer)
            assert (first[9:12] == b"200") == (method == "HEAD" and path not in ENDPOINTS), (method, path)
            assert method != "HEAD" or not body
    assert before == len(target.up.requests)


@pytest.mark.parametrize("host", ["evil.example", "h:99999", "", "h\tx", "h@x", "127.0.0.1:1/healthz", "a" * 5000])
def test_hosts(host: str, target: Target) -> None:
    """The Host header opens nothing, and two of them are no more than one."""
    for lines in ([f"Host: {host}"], [f"Host: {host}", "Host: localhost"]):
        data = "\r\n".join(["GET /api/balance HTTP/1.1", *lines, "Connection: close", "", ""])
        assert target.send(data.encode())[9:12] in (b"400", b"401")
    absolute = "GET http://evil.example/api/balance HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert target.send(absolute.encode())[9:12] in (b"400", b"401", b"404")


# Tokens.


def test_a_token_in_the_address_is_none(target: Target) -> None:
    """A token in the query string opens nothing, and is logged nowhere."""
    for name in ("token", "api_key", "key", "access_token", "Authorization"):
        assert 401 == get(target.port, f"/v1/models?{name}={target.token}")[0]
        assert 401 == get(target.port, f"/v1/chat/completions?{name}={target.token}", json.dumps(good()).encode())[0]
    assert 404 == get(target.port, f"/{target.token}")[0]
    assert target.token not in target.process.output


@pytest.mark.parametrize("length", [200, 5_000, 60_000, 200_000])
def test_long_tokens(length: int, target: Target) -> None:
    """A token of any length that is none is refused."""
    data = f"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-{'a' * length}\r\nConnection: close\r\n\r\n"
    assert target.send(data.encode())[9:12] in (b"401", b"431")


@pytest.mark.parametrize("size", [1, 5, 20, 60])
def test_a_large_body_of_nobody(size: int, target: Target) -> None:
    """Who sends many megabytes without a valid token, or too many with one, reads why it was refused."""
    body = b"x" * (size * 1_000_000)
    assert 401 == target.ask(body, token="sk-" + "0" * 43)[0]
    status, answer = target.ask(body)
    assert status in ((400, 413) if size <= 16 else (413,))
    error_of(ENDPOINTS[0], answer)


def test_a_body_of_nobody_that_trickles(target: Target) -> None:
    """It holds its thread for a bounded time, and is refused."""
    with ExitStack() as stack:
        clients = [stack.enter_context(raw_connection(target.port)) for _ in range(50)]
        for client in clients:
            client.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
        with trickling(clients, b" "):
            answers = [read_all(client) for client in clients]
            target.check()
    assert {b"HTTP/1.1 401"} == {answer[:12] for answer in answers}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_refusal_has_the_shape_of_its_format(path: str, target: Target) -> None:
    """401, 404 and 405 too."""
    for status, answer in (
        target.ask(good(input="x"), path, token="sk-" + "0" * 43),
        target.ask({**good(input="x"), "model": "none"}, path),
        get(target.port, path),
    ):
        assert status in (401, 404, 405)
        error_of(path, answer)


# What the process shows, and where it writes.


def test_nothing_secret_in_the_arguments(target: Target) -> None:
    """No key, token, secret or prompt stands in the arguments, the output or the name of a process."""
    target.ask(good(messages=[{"role": "user", "content": "a secret of the prompt"}]))
    secrets = (KEY, target.token, "a-secret-for-tests", "a secret of the prompt")
    for pid in (target.process.pid, target.pid):
        for name in ("cmdline", "comm"):
            text = Path(f"/proc/{pid}/{name}").read_bytes().decode()
            assert not any(secret in text for secret in secrets)
    assert not any(secret in target.process.output for secret in secrets)


READ_ONLY = """
mount --make-rprivate / && mount --bind "$1" "$1" || exit 99
for place in / /tmp /dev/shm /var /run; do
    mountpoint -q $place && { mount -o remount,bind,ro $place || exit 99; }
done
cd "$1"; shift
exec "$@"
"""


@pytest.mark.writes_keys  # the secret of the gateway, in its file
def test_a_read_only_file_system(tmp_path: Path) -> None:
    """It serves where nothing can be written but the folder of its database."""
    within = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(tmp_path)]
    tried = subprocess.run(
        [*within, "sh", "-c", f"touch {tmp_path}/here && ! touch /tmp/there.$$ 2>/dev/null"],
        capture_output=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip("a file system cannot be made read-only here: needs root and unshare")
    with serving(tmp_path, *within) as target:
        status, _ = target.ask(good(stream=True))
        assert 200 == status
        assert 200 == get(target.port, "/metrics")[0]
        assert 200 == get(target.port, "/readyz")[0]


def test_many_at_once(target: Target) -> None:
    """Garbage, clients that leave at once, and good requests at the same time: the good ones are all answered."""
    answers: list[int] = []
    stop = threading.Event()

    def disturb(number: int) -> None:
        data = [
            b"\xff" * 500,
            head(target, "Content-Length: 50"),
            head(target, "Transfer-Encoding: chunked") + b"5\r\nab",
            NEXT * 20,
        ]
        while not stop.is_set():
            with suppress(OSError), raw_connection(target.port) as client:
                client.sendall(data[number % 4])

    disturbing = [threading.Thread(target=disturb, args=(number,)) for number in range(4)]
    asking = [
        threading.Thread(target=lambda: answers.extend(target.ask(good())[0] for _ in range(5))) for _ in range(4)
    ]
    for thread in (*disturbing, *asking):
        thread.start()
    for thread in asking:
        thread.join(SECONDS)
    stop.set()
    for thread in disturbing:
        thread.join(SECONDS)
    assert [200] * 20 == answers


@pytest.mark.parametrize("header", ["PATH_INFO: /metrics", "SCRIPT_NAME: /x", "Path-Info: /metrics", "Script-Name: /x"])
def test_no_header_names_the_address(header: str, target: Target) -> None:
    """A proxy in front may let some addresses through only: no header of a client changes which one it asks."""
    answer = target.send(f"GET /x/healthz HTTP/1.1\r\nHost: h\r\n{header}\r\nConnection: close\r\n\r\n".encode())
    assert answer[9:12] in (b"400", b"404"), answer
    assert b"streamkit_" not in answer
