"""Small requests, bounded in time and size."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamkit
from streamkit import BrokenStreamError, ConnectError, ProtocolError, StreamTimeout, TruncatedStreamError
from streamkit.testing import Cut, Raw, Reply, Server, Trickle, Wait, error_reply, json_reply
from streamkit.transport.small_requests import Deadline, fetch
from streamkit.transport.transport import Transport
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Masked


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = Transport()
    yield made
    made.close()


def get(url: str) -> HttpRequest:
    return HttpRequest(f"{url}/models", {}, b"", method="GET")


def test_head_and_body_come_back(transport: Transport) -> None:
    """Whatever the status, the head and all of the body are returned, over one connection."""
    with Server(json_reply({"a": 1}), error_reply(404)) as server:
        first = fetch(transport, get(server.url), Deadline(10))
        second = fetch(transport, get(server.url), Deadline(10))
        assert 1 == server.connections
    assert (200, b'{"a":1}', 404) == (first[0].status, first[1].replace(b" ", b""), second[0].status)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(before_head=[Wait(None)]),
        Reply(["[", Wait(None)], content_type="application/json"),
        Reply([Trickle(b"x" * 4000, 0.02)], content_type="application/json"),
    ],
    ids=["no answer", "half an answer", "trickles"],
)
def test_the_time_is_bounded(reply: Reply, transport: Transport) -> None:
    """A response that never ends is a timeout, in any phase."""
    with Server(reply) as server, pytest.raises(StreamTimeout, match=r"no answer within 0\.2 s") as caught:
        fetch(transport, get(server.url), Deadline(0.2))
    assert ("total", 0.2) == (caught.value.phase, caught.value.limit)


def test_the_size_is_bounded(transport: Transport) -> None:
    """A body beyond the bound is refused."""
    with Server(json_reply({"a": "x" * 5000})) as server, pytest.raises(ProtocolError, match="larger than 1000"):
        fetch(transport, get(server.url), Deadline(10), max_body=1000)


def test_connections_that_fail(transport: Transport) -> None:
    """A refused connection and a truncated body are documented errors."""
    with pytest.raises(ConnectError):
        fetch(transport, get("http://127.0.0.1:1"), Deadline(10))
    with Server(Reply(["[1", Cut()])) as server, pytest.raises(TruncatedStreamError):
        fetch(transport, get(server.url), Deadline(10))


@pytest.mark.parametrize(
    ("scheme", "proxy"),
    [("http", "http://me:hush@127.0.0.1:1"), ("https", "http://me:hush@127.0.0.1:1"), ("https", "127.0.0.1:1")],
)
def test_a_dead_proxy_is_named(scheme: str, proxy: str, transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at the proxy is put down to it, without its password; the server was not even asked."""
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
    with pytest.raises(ConnectError) as caught:
        fetch(transport, get(f"{scheme}://far.invalid"), Deadline(10))
    shown = proxy.replace("me:hush", "***")
    assert str(caught.value).startswith(f"no connection to far.invalid through the proxy {shown}: ")
    assert caught.value.retryable


def test_a_proxy_that_has_no_address(transport: Transport, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the proxy's name cannot be looked up, the error names the proxy."""

    def unknown(*asked: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.invalid:1")
    with pytest.raises(
        ConnectError, match=r"^the name of the proxy http://\*\*\*@proxy\.invalid:1 could not be looked up"
    ):
        fetch(transport, get("https://far.invalid"), Deadline(10))


@pytest.mark.parametrize("scheme", ["socks5", "SOCKS5h"])
def test_a_proxy_that_needs_more(scheme: str) -> None:
    """A SOCKS proxy without the package for it is a ConfigError with the way to get that."""
    code = """if True:
        import sys
        sys.modules["socks"] = None  # importing it fails
        import streamkit
        provider = streamkit.providers.OpenAI(api_key="k", base_url="http://far.invalid/v1")
        try:
            streamkit.Client([provider]).complete("openai/m", "Hi")
        except streamkit.ConfigError as error:
            print(error)
    """
    environment = {
        "PYTHONPATH": str(Path(streamkit.__file__).parents[1]),
        "ALL_PROXY": f"{scheme}://me:hush@127.0.0.1:1",
    }
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert result.stderr == ""
    shown = f'the proxy {scheme}://***@127.0.0.1:1 needs PySocks: python -m pip install "requests[socks]"'
    assert shown == result.stdout.strip()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "'SSH-2.0-OpenSSH_9'"),
        (b"SSH-2.0-OpenSSH_9", "'SSH-2.0-OpenSSH_9'"),
        (b"\x15\x03\x01\n", r"'\x15\x03\x01'"),
        (b"HTTP/1.1 fine\r\n", "'HTTP/1.1 fine'"),
        (b"HTTP/3 200 OK\r\n\r\n", "'HTTP/3'"),
        (b"x" * 70_000, "'got more than 65536 bytes when reading status line'"),
    ],
)
def test_what_does_not_speak_http(sent: bytes, shown: str, transport: Transport) -> None:
    """Another protocol's greeting is said to be none of HTTP, and is no reason to ask again."""
    with Server(Reply(before_head=[Raw(sent), Cut()])) as server, pytest.raises(ProtocolError) as caught:
        fetch(transport, get(server.url), Deadline(10))
    assert str(caught.value).endswith(
        f" does not speak HTTP: {shown}; check scheme and port of the provider's base URL"
    )
    assert not caught.value.retryable


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"HT", b"HTTP/1.1 2"])
def test_half_a_status_line(sent: bytes, transport: Transport) -> None:
    """A connection that is torn before or within the status line is broken, and worth another try."""
    steps = [Raw(sent), Cut()] if sent else [Cut()]
    with Server(Reply(before_head=steps)) as server, pytest.raises(BrokenStreamError) as caught:
        fetch(transport, get(server.url), Deadline(10))
    assert caught.value.retryable


def test_only_our_own_headers_go_out(transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key stays ours: neither a password of .netrc, nor one in the address, nor a cookie takes part."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(json_reply({}).but(headers={"Set-Cookie": "a=b; Path=/"})) as server:
        for url in (server.url, server.url, server.url.replace("//", "//me:hush@")):
            fetch(transport, HttpRequest(url, {"Authorization": Masked("Bearer key")}, b"{}"), Deadline(10))
        assert ["Bearer key"] * 3 == [request.headers["authorization"] for request in server.requests]
        assert not any("cookie" in request.headers for request in server.requests)
