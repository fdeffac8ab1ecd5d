"""The embedded server sends exactly what its scripts say, and records what its clients do."""

from __future__ import annotations

import errno
import gzip
import http.client
import re
import socket
import ssl
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import (
    Cut,
    Mark,
    Output,
    Paced,
    Raw,
    Repeat,
    Reply,
    Request,
    Reset,
    Send,
    Server,
    Step,
    Trickle,
    Wait,
    WaitFor,
    huge_event_reply,
    json_reply,
    text_reply,
)

ASK = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
OK = json_reply({"ok": True})

Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Make servers; close them at the end, and see that no thread of theirs is left."""
    made: list[Server] = []

    def make(*answers: Any, **options: Any) -> Server:
        made.append(servers.enter_context(Server(*answers, **options)))
        return made[-1]

    with ExitStack() as servers:
        yield make
    assert [name for server in made for name in threads_of(server)] == []


def threads_of(server: Server) -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith(f"demo-server-{server.port}-")]


def connect(server: Server, send: bytes = ASK) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sock.sendall(send)
    return sock


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        data = sock.recv(65536)
        assert data, f"the connection ended before {mark!r}: {seen!r}"
        seen += data
    return seen


def exchange(server: Server, send: bytes = ASK) -> bytes:
    """Return all that the server sends to one request, on a connection that ends after it."""
    with closing(connect(server, send.replace(b"Host: x", b"Host: x\r\nConnection: close"))) as sock:
        return read_all(sock)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


# Steps.


def test_chunked_sends_are_a_chunk_each(serve: Serve) -> None:
    """A Send is one HTTP chunk, and the zero chunk ends the body."""
    answer = exchange(serve(Reply([Send("data: é\n\n"), b"x"])))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")
    assert body_of(answer) == b"a\r\ndata: \xc3\xa9\n\n\r\n1\r\nx\r\n0\r\n\r\n"


def test_an_empty_send_does_not_end_the_body(serve: Serve) -> None:
    """No bytes are no chunk: an empty one would be the last."""
    assert body_of(exchange(serve(Reply(["", "a"])))) == b"1\r\na\r\n0\r\n\r\n"


def test_close_framing_has_no_frames(serve: Serve) -> None:
    """With framing="close" the body is what was sent, and the FIN ends it."""
    answer = exchange(serve(Reply(["one", "two"], framing="close")))
    assert b"Connection: close\r\n" in answer
    assert body_of(answer) == b"onetwo"


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_length_framing_counts_every_step_that_sends(serve: Serve, encoding: str | None) -> None:
    """Content-Length is the number of bytes that follow, encoded as they are."""
    steps = [Send("one"), Trickle("two"), Repeat("three", 3), Paced(["four"], every=0)]
    with closing(connect(serve(Reply(steps, framing="length", encoding=encoding)))) as sock:
        response = http.client.HTTPResponse(sock)
        response.begin()
        body = response.read()
    assert int(response.headers["Content-Length"]) == len(body)
    assert (gzip.decompress(body) if encoding else body) == b"onetwothreethreethreefour"


def test_a_length_that_lies(serve: Serve) -> None:
    """The length claimed is sent as it is, and the connection ends after the lie."""
    server = serve(Reply(["abc"], framing="length", content_length=10))
    with closing(connect(server)) as sock:
        answer = read_all(sock)
    assert b"Content-Length: 10\r\n" in answer
    assert b"Connection: close" not in answer
    assert body_of(answer) == b"abc"


def test_cut_leaves_the_framing_unfinished(serve: Serve) -> None:
    """Cut is a FIN and no zero chunk."""
    with closing(connect(serve(Reply(["a", Cut(), "b"])))) as sock:
        assert body_of(read_all(sock)) == b"1\r\na\r\n"


def test_reset_resets(serve: Serve) -> None:
    """Reset is a RST: the client's read fails."""
    with closing(connect(serve(Reply(["a", Reset()])))) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)


def test_raw_has_no_frame(serve: Serve) -> None:
    """Raw bytes go out as they are, in the body and, without a head, in its place."""
    head = "HTTP/1.1 299 Odd\r\nX: 1\r\n\r\n"
    server = serve(Reply([Raw("raw"), "a"], head=False, before_head=[Raw(head)], framing="close"))
    assert exchange(server) == head.encode() + b"rawa"


def test_trickle_is_a_byte_a_frame(serve: Serve) -> None:
    """Each byte of a Trickle is a write, and so a chunk, of its own."""
    assert body_of(exchange(serve(Reply([Trickle("ab", 0.001)])))) == b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"


def test_repeat_sends_as_often_as_it_says(serve: Serve) -> None:
    """Repeat with a count ends by itself, and the bytes are counted."""
    server = serve(Reply([Repeat("ab", 3)], framing="close"))
    assert body_of(exchange(server)) == b"ababab"
    assert server.requests[0].sent == 6


def test_an_endless_repeat_ends_with_its_client(serve: Serve) -> None:
    """An endless stream stops when the client leaves, and says how much went out."""
    server = serve(Reply([Repeat(b"x" * 1000)]))
    sock = connect(server)
    read_until(sock, b"x" * 1000)
    sock.close()
    assert server.requests[0].gone.wait(60)
    assert server.requests[0].sent >= 1000


def test_a_client_that_leaves_is_seen_by_a_blocked_write(serve: Serve) -> None:
    """A FIN is noticed also while the server waits for room, with no write to fail."""
    started = threading.Event()
    server = serve(Reply([Mark(started), Repeat(b"x" * 65536)]), send_buffer=4096)
    with closing(connect(server)) as sock:
        assert started.wait(60)
        sock.shutdown(socket.SHUT_WR)
        assert server.requests[0].gone.wait(60)


def test_marks_and_events_hand_over(serve: Serve) -> None:
    """Mark tells the test where the reply is, WaitFor holds it there."""
    reached, go_on = threading.Event(), threading.Event()
    with closing(connect(serve(Reply(["a", Mark(reached), WaitFor(go_on), "b"])))) as sock:
        assert reached.wait(60)
        assert read_until(sock, b"a\r\n").endswith(b"1\r\na\r\n")
        go_on.set()
        assert read_until(sock, b"0\r\n\r\n") == b"1\r\nb\r\n0\r\n\r\n"


def test_a_wait_delays(serve: Serve) -> None:
    """Wait waits at least as long as it says."""
    begin = time.monotonic()
    exchange(serve(Reply(["a", Wait(0.05), "b"])))
    assert time.monotonic() - begin >= 0.05


def test_paced_keeps_to_an_absolute_clock(serve: Serve) -> None:
    """The pieces of a Paced take as long as they should, and no write is lost."""
    begin = time.monotonic()
    answer = exchange(serve(Reply([Paced(["a", "b", "c"], every=0.02, first=0.03)], framing="close")))
    assert time.monotonic() - begin >= 0.07
    assert body_of(answer) == b"abc"


HELD = [Wait(None), Wait(30), WaitFor(threading.Event(), 30)]


@pytest.mark.parametrize(
    "reply",
    [*(Reply(before_head=[step]) for step in HELD), *(Reply([step]) for step in [*HELD, Trickle("ab", 30)])],
)
def test_a_client_that_leaves_ends_a_wait(serve: Serve, reply: Reply) -> None:
    """In any wait, the server notices that the client has disconnected, and when."""
    server = serve(reply)
    sock = connect(server)
    (request,) = server.wait_for_requests(1)
    left_at = time.monotonic()
    sock.close()
    assert request.gone.wait(60)
    assert request.gone_at is not None
    assert request.gone_at >= left_at
    assert request.answered.wait(60)
    server.wait_for_open_connections(0)


def test_a_step_of_ones_own(serve: Serve) -> None:
    """A subclass of Step plays on the Output it is given."""

    class Echo(Step):
        def play(self, out: Output) -> None:
            out.send(out.request.body)

    assert body_of(exchange(serve(Reply([Echo()], framing="close")))) == b"{}"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reply(framing="odd"),
        lambda: Reply(encoding="br"),
        lambda: Reply(content_length=3),
        lambda: Reply(before_head=["text"]),
        lambda: Reply([Repeat("x")], framing="length"),
    ],
)
def test_a_script_that_cannot_be_played_is_refused(make: Callable[[], Reply]) -> None:
    """A wrong Reply fails where it is written."""
    with pytest.raises(ValueError):
        make()


def test_a_reply_makes_others() -> None:
    """`but`, `first` and `then` leave the reply they start from alone."""
    reply = text_reply("Hello world")
    spoiled = reply.but(framing="close").first(1).then(Cut())
    assert (reply.framing, len(reply.steps)) == ("chunked", 6)
    assert spoiled == Reply([reply.steps[0], Cut()], framing="close")


# Encodings.


def test_gzip_can_be_read_piece_by_piece(serve: Serve) -> None:
    """Each piece is flushed: the client can have it before the next one is sent."""
    go_on = threading.Event()
    server = serve(Reply(["one", WaitFor(go_on), "two"], encoding="gzip", framing="close"))
    inflate = zlib.decompressobj(31)
    with closing(connect(server)) as sock:
        first = body_of(read_until(sock, b"\r\n\r\n"))
        while not (text := inflate.decompress(first)):
            first = sock.recv(65536)
        assert text == b"one"
        go_on.set()
        assert inflate.decompress(read_all(sock)) == b"two"
    assert inflate.eof


def test_a_bomb_is_small_on_the_wire(serve: Serve) -> None:
    """A compressed event of 64 MiB takes a thousandth of that, and is not built in memory."""
    server = serve(huge_event_reply(64 << 20, encoding="gzip", framing="close"))
    body = body_of(exchange(server))
    assert len(body) == server.requests[0].sent < (64 << 20) / 500
    inflate, size = zlib.decompressobj(31), 0
    while not inflate.eof:
        size += len(inflate.decompress(body, 1 << 20))
        body = inflate.unconsumed_tail
    assert size > 64 << 20


# Requests.


def test_a_request_is_remembered(serve: Serve) -> None:
    """Method, path, headers in any case, body, JSON, connection and time are kept."""
    server = serve(OK)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        client.request("POST", "/v1/x?y=1", body=b'{"a": 1}', headers={"X-Key": "s3cret", "Accept": "*/*"})
        assert client.getresponse().read() == b'{"ok":true}'
    (request,) = server.requests
    assert (request.method, request.path, request.connection) == ("POST", "/v1/x?y=1", 1)
    assert request.headers["X-KEY"] == request.headers.get("x-key") == dict(request.headers)["x-key"] == "s3cret"
    assert request.json() == {"a": 1}
    assert request.arrived_at <= time.monotonic()
    assert "s3cret" not in repr(request) + repr(request.headers)


def test_a_chunked_request_body(serve: Serve) -> None:
    """A body in chunks, with extensions and trailers, is put together."""
    server = serve(OK)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    exchange(server, head + b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n")
    assert server.requests[0].body == b"abc0123456789"


def test_pipelined_requests_are_answered_in_turn(serve: Serve) -> None:
    """Requests that arrive together, or while the first is answered, get their replies in order."""
    server = serve(*(Reply([Wait(0.01), name], framing="length") for name in "abc"))
    with closing(connect(server, ASK * 3)) as sock:
        seen = read_until(sock, b"\r\n\r\nc")
    assert re.findall(rb"\r\n\r\n(\w)", seen) == [b"a", b"b", b"c"]
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_expect_100_is_no_obstacle(serve: Serve) -> None:
    """A client that waits for a 100 and then sends its body all the same is answered."""
    server = serve(OK)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with closing(connect(server, head)) as sock:
        sock.sendall(b"{}")
        assert read_until(sock, b"}").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused(serve: Serve, sent: bytes, status: int) -> None:
    """Malformed and oversized requests get an error and an end, and are not among the requests."""
    server = serve(OK)
    with closing(connect(server, sent)) as sock:
        assert read_all(sock).startswith(b"HTTP/1.1 %d " % status)
    assert server.requests == []


def test_http_1_0_ends_after_the_reply(serve: Serve) -> None:
    """An old client gets its end."""
    with closing(connect(serve(OK), b"GET / HTTP/1.0\r\n\r\n")) as sock:
        assert read_all(sock).endswith(b'{"ok":true}')


# Answers.


def test_replies_come_in_order_and_the_last_one_repeats(serve: Serve) -> None:
    """The n-th request gets the n-th reply, over any number of connections."""
    server = serve(Reply(["a"], framing="close"), Reply(["b"], framing="close"))
    assert [body_of(exchange(server)) for _ in range(4)] == [b"a", b"b", b"b", b"b"]
    assert server.connections == 4


def test_a_function_answers(serve: Serve) -> None:
    """A function of the request may make the reply."""
    server = serve(lambda request: Reply([request.path], framing="close"))
    assert body_of(exchange(server)) == b"/v1/chat/completions"


def test_a_function_that_fails_is_heard_of() -> None:
    """The client gets a 500, and closing the server raises."""

    def fail(request: Request) -> Reply:
        raise KeyError("lost")

    server = Server(fail)
    assert exchange(server).startswith(b"HTTP/1.1 500 ")
    with pytest.raises(RuntimeError, match="lost") as caught:
        server.close()
    assert isinstance(caught.value.__cause__, KeyError)
    server.close()


def test_an_event_that_nobody_sets_is_heard_of() -> None:
    """A WaitFor that runs out ends the connection, and closing the server raises."""
    server = Server(Reply([WaitFor(threading.Event(), timeout=0.01)]))
    exchange(server)
    with pytest.raises(RuntimeError, match="nobody set the event"):
        server.close()


def test_an_error_on_its_way_is_not_replaced() -> None:
    """Leaving `with` by an exception closes the server and lets that exception through."""
    server = Server(Reply([WaitFor(threading.Event(), timeout=0)]))

    def use() -> None:
        with server:
            exchange(server)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert not server.running


def test_few_requests_may_be_remembered(serve: Serve) -> None:
    """With `remember` the oldest requests are forgotten, and still counted."""
    server = serve(OK, remember=1)
    exchange(server)
    exchange(server, ASK.replace(b"/v1", b"/v2"))
    assert [request.path for request in server.wait_for_requests(2)] == ["/v2/chat/completions"]


# Connections.


def test_a_client_that_leaves_after_its_replies_is_seen(serve: Serve) -> None:
    """All requests of a kept connection hear of its end."""
    server = serve(OK)
    with closing(connect(server, ASK * 2)) as sock:
        (first, second) = server.wait_for_requests(2)
        assert second.answered.wait(60)
        assert not first.gone.is_set()
        assert server.open_connections == 1
        read_until(sock, b"}")
    assert first.gone.wait(60)
    assert second.gone.wait(60)
    server.wait_for_open_connections(0)


def test_a_client_that_leaves_after_a_cut_is_seen(serve: Serve) -> None:
    """The server waits for the client's end of a connection that it has ended itself."""
    server = serve(Reply([Cut()]))
    with closing(connect(server)) as sock:
        read_all(sock)
        assert not server.requests[0].gone.is_set()
    assert server.requests[0].gone.wait(60)


def test_hundreds_at_once(serve: Serve) -> None:
    """200 connections are answered at the same time, held by one event, by one more thread."""
    go_on = threading.Event()
    server = serve(Reply([WaitFor(go_on), "done"], framing="close"))
    with ExitStack() as socks:
        clients = [socks.enter_context(closing(connect(server))) for _ in range(200)]
        server.wait_for_requests(200)
        assert server.open_connections == 200
        go_on.set()
        assert {body_of(read_all(sock)) for sock in clients} == {b"done"}
    server.wait_for_open_connections(0)
    assert server.connections == 200


def test_many_clients_of_their_own_threads(serve: Serve) -> None:
    """Clients in many threads each get a whole reply."""
    server = serve(text_reply("Hello world"))
    with ThreadPoolExecutor(32) as pool:
        answers = set(pool.map(lambda _: body_of(exchange(server)), range(200)))
    assert len(answers) == 1


@pytest.mark.parametrize("part", ["SocketLine", "Connection"])
def test_a_connection_that_cannot_be_served_is_closed(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """When there are no more files or threads, the connection ends, the server goes on, and close() tells."""

    def fail(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    server = Server(OK)
    with monkeypatch.context() as patch:
        patch.setattr(f"streamkit.testing.server.{part}", fail)
        with closing(connect(server, b"")) as sock:
            assert read_all(sock) == b""
    assert server.open_connections == 0
    assert exchange(server).startswith(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(RuntimeError, match="Too many open files"):
        server.close()


def test_a_client_that_sends_too_much_is_reset(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipelined bytes of a client are bounded."""
    monkeypatch.setattr("streamkit.testing.socket_line.MAX_INPUT_BYTES", 1000)
    server = serve(Reply([Wait(None)]))
    with closing(connect(server)) as sock:
        server.wait_for_requests(1)
        sock.sendall(b"x" * 2000)
        with pytest.raises(ConnectionResetError):
            read_all(sock)


def test_without_poll_there_is_select(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits and blocked writes also work where the system has no poll."""
    monkeypatch.delattr("select.poll")
    server = serve(Reply([Wait(0.01), "a" * 1_000_000, Wait(None)]), send_buffer=4096)
    with closing(connect(server)) as sock:
        read_until(sock, b"a\r\n")
    assert server.requests[0].gone.wait(60)


# The end.


@pytest.mark.parametrize(
    "reply",
    [
        Reply([Wait(None)]),
        Reply([WaitFor(threading.Event(), 60)]),
        Reply([Repeat(b"x" * 65536)]),
        Reply([Cut()]),
        OK,
    ],
)
def test_close_ends_what_is_open(reply: Reply) -> None:
    """Closing ends every wait, write and idle connection at once, and no thread is left."""
    server = Server(reply)
    with closing(connect(server)):
        server.wait_for_requests(1)
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 20
    assert server.open_connections == 0
    assert threads_of(server) == []
    server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_a_thread_that_does_not_end_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing raises when a function among the answers holds its thread, and works once it lets go."""
    monkeypatch.setattr("streamkit.testing.server._JOIN_SECONDS", 0.05)
    stuck, let_go = threading.Event(), threading.Event()

    def hold(request: Request) -> Reply:
        stuck.set()
        let_go.wait(60)
        return OK

    server = Server(hold)
    with closing(connect(server)):
        assert stuck.wait(60)
        with pytest.raises(RuntimeError, match=rf"demo-server-{server.port}-1"):
            server.close()
        let_go.set()
        monkeypatch.undo()
        server.close()


def test_waiting_for_what_does_not_come_fails(serve: Serve) -> None:
    """The waits of the test's side are bounded, and say what is missing."""
    server = serve(OK)
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        server.wait_for_requests(1, timeout=0.01)
    with closing(connect(server)):
        server.wait_for_requests(1)
        with pytest.raises(TimeoutError, match="1 connections are still open"):
            server.wait_for_open_connections(0, timeout=0.01)


def test_the_repr_shows_the_state() -> None:
    """A server says where it is, and whether."""
    with Server(OK) as server:
        assert repr(server) == f"<Server {server.origin} open, 0 connections, 0 requests>"
    assert " closed, " in repr(server)


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a self-signed certificate, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no certificate without openssl: {error}")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def connect_tls(server: Server, certificate: Path, **options: bool) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(certificate))
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    return context.wrap_socket(sock, server_hostname="127.0.0.1", **options)


def test_https(serve: Serve, tls: ssl.SSLContext, certificate: Path) -> None:
    """With a context the server speaks TLS, sees its clients leave, and says goodbye as TLS wants it."""
    server = serve(OK, Reply([Wait(0.01), "a" * 500_000], framing="close"), tls=tls)
    assert server.url.startswith("https://")
    with closing(connect_tls(server, certificate, suppress_ragged_eofs=False)) as sock:
        sock.sendall(ASK)
        assert read_until(sock, b"}").endswith(b'{"ok":true}')
        sock.sendall(ASK)
        assert len(body_of(read_all(sock))) == 500_000
    assert server.requests[1].gone.wait(60)


def test_a_cut_over_tls_is_ragged(serve: Serve, tls: ssl.SSLContext, certificate: Path) -> None:
    """A Cut does not say goodbye: the client can tell it from an end."""
    server = serve(Reply(["a", Cut()]), tls=tls)
    with closing(connect_tls(server, certificate, suppress_ragged_eofs=False)) as sock:
        sock.sendall(ASK)
        with pytest.raises(ssl.SSLEOFError):
            read_all(sock)


@pytest.mark.parametrize("step", [Wait(None), Repeat(b"x" * 65536)])
def test_a_tls_client_that_leaves_is_seen(serve: Serve, tls: ssl.SSLContext, certificate: Path, step: Step) -> None:
    """The end of a TLS connection is noticed, behind the alert that comes before the FIN."""
    server = serve(Reply([step]), tls=tls)
    with closing(connect_tls(server, certificate)) as sock:
        sock.sendall(ASK)
        (request,) = server.wait_for_requests(1)
        sock.settimeout(0)
        with suppress(ssl.SSLError):  # it would wait for the answer to its goodbye
            sock.unwrap()
    assert request.gone.wait(60)


def test_a_client_that_does_not_speak_tls_is_left(serve: Serve, tls: ssl.SSLContext) -> None:
    """A failed handshake ends its connection and nothing else."""
    server = serve(OK, tls=tls)
    with closing(connect(server)) as sock:
        read_all(sock)
    server.wait_for_open_connections(0)
    assert server.requests == []
