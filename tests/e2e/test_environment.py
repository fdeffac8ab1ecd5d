"""The environment, as users of requests expect it: proxies, .netrc, CA bundles, cookies, mocks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import responses

import streamkit
from streamkit import Client, providers
from streamkit.testing import DONE, Mark, Reply, Server, Wait, chunk_event, text_reply
from tests.fault.conftest import Certificate, certificate
from tests.fault.support import SOON, client_of, nothing_left

__all__ = ["certificate"]  # a fixture


class Tunnel:
    """A proxy that knows CONNECT and absolute URLs, just enough to see that it was used."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(near)
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += near.recv(65536)
        line = head.split(b"\r\n")[0].decode()
        self.asked.append(line)
        method, target, _ = line.split()
        host, _, port = target.removeprefix("http://").partition("/")[0].partition(":")
        far = socket.create_connection((host, int(port)))
        self._open.append(far)
        if method == "CONNECT":
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far.sendall(head)
        threading.Thread(target=self._copy, args=(far, near), daemon=True).start()
        self._copy(near, far)

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for sock in self._open:
            sock.close()


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    proxy = Tunnel()
    yield proxy
    proxy.close()


def test_a_proxy_of_the_environment(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY is used for plain requests."""
    monkeypatch.setenv("HTTP_PROXY", tunnel.url)
    with Server(text_reply("Hi")) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "Hi"
    assert tunnel.asked == [f"POST {server.url}/chat/completions HTTP/1.1"]


def test_an_environment_that_changes(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request goes by the variables as they are, for its own address, and not by what was found before."""
    with Server(text_reply("Hi")) as server, Server(text_reply("Ho")) as other:
        by_name = providers.OpenAI(api_key="sk-SECRET", base_url=server.url.replace("127.0.0.1", "localhost"))
        with Client([by_name], timeout=SOON) as client, client_of(other) as another:
            client.complete("openai/m", "Hi")
            monkeypatch.setenv("HTTP_PROXY", tunnel.url)
            client.complete("openai/m", "Hi")
            monkeypatch.setenv("NO_PROXY", "localhost")
            client.complete("openai/m", "Hi")
            another.complete("openai/m", "Hi")
            monkeypatch.delenv("HTTP_PROXY")
            another.complete("openai/m", "Hi")
        # Through a proxy a request names its whole address.
        proxied = [[request.path.startswith("http") for request in each.requests] for each in (server, other)]
        assert [[False, True, False], [True, False]] == proxied


def test_a_mute_handshake_through_a_tunnel(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader gives a handshake up that gets no answer, although nobody looks at the stream."""
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        provider = providers.OpenAI(api_key="sk-SECRET", base_url=f"https://127.0.0.1:{mute.getsockname()[1]}/v1")
        with Client([provider], timeout=streamkit.Timeout(connect=2), retry=1) as client:
            stream = client.stream("openai/m", "Hi")
            mute.settimeout(SOON)
            far, _ = mute.accept()
            with far:
                far.settimeout(SOON)
                while far.recv(65536):
                    pass
            with pytest.raises(streamkit.StreamTimeout) as caught:
                stream.collect()
            assert "connect" == caught.value.phase


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_limit_needs_nobody_to_look(tls: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader itself ends at a limit, and closes the connection, while the program is somewhere else."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    silent = Reply([chunk_event("Hello"), Wait(None)])
    with Server(silent, tls=certificate.context if tls else None) as server, client_of(server) as client:
        stream = client.stream("openai/m", "Hi", timeout=streamkit.Timeout(idle=0.3))
        assert server.wait_for_requests(1)[0].gone.wait(SOON)
        with pytest.raises(streamkit.StreamTimeout):
            stream.collect()


def test_cancel_through_a_tunnel(tunnel: Tunnel, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through CONNECT and TLS a reply comes whole, and a cancel ends a silent one."""
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    ready = threading.Event()
    silent = Reply([chunk_event("Hello"), Mark(ready), Wait(None)])
    with Server(text_reply("Hi"), silent, tls=certificate.context) as server, client_of(server) as client:
        assert client.complete("openai/m", "Hi").text == "Hi"
        stream = client.stream("openai/m", "Hi")
        assert ready.wait(SOON)
        assert next(stream).text == "Hello"
        stream.cancel()
        assert list(stream) == []
        stream.close()
        assert server.requests[1].gone.wait(SOON)
    assert tunnel.asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} ")


def test_the_demo_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model is reached directly, whatever proxy is set."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    completion = streamkit.complete("demo/storyteller", "Hi", extra_body={"tokens_per_second": 0})
    assert completion.finish_reason == "stop"


def test_netrc_does_not_replace_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that .netrc has for the host stays at home."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with Server(text_reply("Hi")) as server, client_of(server) as client:
        client.complete("openai/m", "Hi")
        assert server.requests[0].headers["authorization"] == "Bearer sk-SECRET"


def test_no_cookies() -> None:
    """A cookie that a server sets is not sent back."""
    with Server(text_reply("Hi").but(headers={"Set-Cookie": "a=b; Path=/"})) as server, client_of(server) as client:
        for _ in range(2):
            client.complete("openai/m", "Hi")
        assert "cookie" not in server.requests[1].headers


@responses.activate
def test_a_mocked_transport() -> None:
    """Users who mock requests with `responses` get their reply through the same path."""
    body = chunk_event("Hel") + chunk_event("lo") + chunk_event(finish_reason="stop") + DONE
    url = "https://api.openai.com/v1/chat/completions"
    responses.post(url, body=body, content_type="text/event-stream")
    with nothing_left(), Client([providers.OpenAI(api_key="k")]) as client:
        assert client.complete("openai/gpt-4o-mini", "Hi").text == "Hello"
    assert len(responses.calls) == 1
