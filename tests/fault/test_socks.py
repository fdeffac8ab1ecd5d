"""Streams through a SOCKS proxy: chunks without delay, every limit and cancel in each phase, and faults."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from streamkit import Client, ConfigError, ConnectError, Retry, StreamError, StreamTimeout, Timeout, providers
from streamkit.testing import Mark, Reply, Server, Wait, WaitFor, chunk_event, text_reply
from tests.fault.conftest import Certificate
from tests.fault.socks_proxy import Phase, SocksProxy
from tests.fault.support import NEVER, SOON, client_of, join_readers, nothing_left
from tests.fault.test_cancel import PHASES, cancel_after, reply_for
from tests.fault.test_hostile_servers import FIRST_FAULTS, LATE_FAULTS, SILENT, fails

pytest.importorskip("socks")

HELLO = chunk_event("Hello", role="assistant")
SCHEMES = ["socks5", "socks5h", "socks4", "socks4a"]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[SocksProxy]:
    """A proxy that works, and that is used."""
    with SocksProxy() as made:
        monkeypatch.setenv("ALL_PROXY", made.url("socks5h"))
        yield made


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_chunks_come_one_by_one(
    scheme: str, tls: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks arrive without delay (the server waits until the first is seen), and the connection is reused."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    seen = threading.Event()
    replies = Reply([HELLO, WaitFor(seen), chunk_event(finish_reason="stop")]), text_reply("Two")
    with nothing_left(), Server(*replies, tls=certificate.context if tls else None) as server, SocksProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        with client_of(server) as client:
            with client.stream("openai/m", "Hi") as stream:
                assert next(stream).text == "Hello"
                seen.set()
                stream.collect()
            assert client.complete("openai/m", "Hi").text == "Two"
        assert proxy.asked == [(int(scheme[5]), "127.0.0.1", server.port)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_who_looks_the_name_up(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By socks5h and socks4a it is the proxy, otherwise this machine."""
    with nothing_left(), Server(text_reply("Hi")) as server, SocksProxy() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        remote = scheme in ("socks5h", "socks4a")
        host = "far.invalid" if remote else "localhost"
        provider = providers.OpenAI(api_key="k", base_url=f"http://{host}:{server.port}/v1")
        with Client([provider], timeout=SOON, retry=1) as client:
            with suppress(ConnectError):  # this machine's first address for it may be IPv6
                assert client.complete("openai/m", "Hi").text == "Hi"
        assert proxy.asked[0][1] in (["far.invalid"] if remote else ["127.0.0.1", "::1"])


def test_a_name_that_nobody_knows(proxy: SocksProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lookup is ours, its failure names the host."""
    monkeypatch.setenv("ALL_PROXY", proxy.url("socks5"))
    with nothing_left(), Client([providers.OpenAI(api_key="k", base_url="http://far.invalid/v1")], retry=1) as client:
        with pytest.raises(ConnectError, match=r"through the proxy socks5://.*the name far\.invalid could not be"):
            client.complete("openai/m", "Hi")
    assert proxy.asked == []


def test_a_password_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy gets the user and the password of its address."""
    with nothing_left(), Server(text_reply("Hi")) as server, SocksProxy(user="me", password="hush") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url("socks5h", "me:hush@"))
        with client_of(server) as client:
            assert client.complete("openai/m", "Hi").text == "Hi"


REFUSALS: list[tuple[str, Callable[[], SocksProxy], str, bool]] = [
    ("socks5", lambda: SocksProxy(refusal=1), "General SOCKS server failure", True),
    ("socks5", lambda: SocksProxy(refusal=2), "Connection not allowed by ruleset", False),
    ("socks5h", lambda: SocksProxy(refusal=5), "Connection refused", True),
    ("socks5h", lambda: SocksProxy(refusal=8), "Address type not supported", False),
    ("socks5h", lambda: SocksProxy(user="me", password="other"), "authentication failed", False),
    ("socks4", lambda: SocksProxy(refusal=0x5B), "Request rejected or failed", True),
    ("socks4a", lambda: SocksProxy(refusal=0x5D), "0x5d", False),
    ("socks5h", lambda: SocksProxy(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "sent invalid data", False),
    ("socks4a", lambda: SocksProxy(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n"), "sent invalid data", False),
    ("socks5h", lambda: SocksProxy(garbage=b"\x05"), "Connection closed unexpectedly", True),
]


@pytest.mark.parametrize(("scheme", "make", "message", "retryable"), REFUSALS)
def test_a_proxy_that_refuses(
    scheme: str, make: Callable[[], SocksProxy], message: str, retryable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is a ConnectError with the proxy's words and no password, asked again only where that may help."""
    with nothing_left(), Server() as server, make() as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme, "me:hush@"))
        with client_of(server, retry=Retry(2, backoff=0.01)) as client:
            stream = client.stream("openai/m", "Hi")
            with pytest.raises(ConnectError, match=rf"through the proxy {scheme}://\*\*\*@.*{message}") as caught:
                stream.collect()
        assert (retryable, 2 if retryable else 1) == (caught.value.retryable, stream.stats.attempts)
        assert "hush" not in str(caught.value)
        assert server.connections == 0


def test_nobody_at_the_proxys_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that cannot be reached is a ConnectError that names it."""
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:hush@127.0.0.1:1")
    with nothing_left(), Server() as server, client_of(server) as client:
        with pytest.raises(ConnectError, match=r"through the proxy socks5h://\*\*\*@127\.0\.0\.1:1: .*refused"):
            client.complete("openai/m", "Hi")


@pytest.mark.parametrize("scheme", ["socks", "socks6"])
def test_a_kind_of_proxy_that_there_is_not(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other schemes are a ConfigError that names the known ones, without the password."""
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:hush@127.0.0.1:1")
    with nothing_left(), Server() as server, client_of(server) as client:
        with pytest.raises(ConfigError, match=rf"{scheme}://\*\*\*@127\.0\.0\.1:1 .*socks5h") as caught:
            client.complete("openai/m", "Hi")
    assert "hush" not in str(caught.value)


MUTE: list[tuple[str, Phase]] = [
    ("socks5", "greeting"),
    ("socks5h", "password"),
    ("socks5h", "request"),
    ("socks4", "request"),
    ("socks4a", "request"),
]


def mute_proxy(phase: Phase) -> SocksProxy:
    return SocksProxy(mute=phase, user="me" if phase == "password" else None, password="hush")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(("scheme", "phase"), MUTE)
def test_a_mute_proxy_ends_at_the_connect_limit(
    scheme: str, phase: Phase, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that accepts and stays silent ends in a timeout after `connect`, reported by the reader."""
    with nothing_left(), Server() as server, mute_proxy(phase) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme, "me:hush@"))
        url = server.url.replace("http:", "https:") if tls else server.url
        with Client([providers.OpenAI(api_key="k", base_url=url)], retry=1) as client:
            stream = client.stream("openai/m", "Hi", timeout=Timeout(connect=0.3))
            join_readers()  # nobody looks at the stream
            with pytest.raises(StreamTimeout) as caught:
                stream.collect()
        assert ("connect", 0.3) == (caught.value.phase, caught.value.limit)


def test_a_proxy_that_trickles_ends_at_the_connect_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is over the whole of the handshake, not over each byte of it."""
    with nothing_left(), Server() as server, SocksProxy(trickle=0.2) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url("socks5h"))
        with client_of(server, timeout=Timeout(connect=0.5)) as client:
            with pytest.raises(StreamTimeout) as caught:
                client.complete("openai/m", "Hi")
        assert caught.value.phase == "connect"


@pytest.mark.parametrize(("scheme", "phase"), MUTE)
def test_cancel_while_the_proxy_is_mute(scheme: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel ends each phase of the handshake at once."""
    with nothing_left(), Server() as server, mute_proxy(phase) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme, "me:hush@"))
        with client_of(server, timeout=None) as client:
            stream = client.stream("openai/m", "Hi")
            assert proxy.waiting.wait(SOON)
            stream.cancel()
            assert list(stream) == []
            join_readers()
        assert stream.status == "cancelled"


def test_tls_that_is_mute_through_a_proxy(proxy: SocksProxy) -> None:
    """The handshake of TLS through the proxy has the same limit."""
    with nothing_left(2), Server() as server:
        url = server.url.replace("http:", "https:")
        with Client([providers.OpenAI(api_key="k", base_url=url)], timeout=Timeout(connect=0.3), retry=1) as client:
            stream = client.stream("openai/m", "Hi")
            join_readers()
            with pytest.raises(StreamTimeout) as caught:
                stream.collect()
        assert caught.value.phase == "connect"


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("phase", PHASES)
def test_cancel_through_a_proxy(
    phase: str, tls: bool, proxy: SocksProxy, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the head, in silence, between chunks and in a flood: the loop ends and the server is left."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    ready = threading.Event()
    reply = reply_for(phase, ready)
    with Server(reply, tls=certificate.context if tls else None) as server, client_of(server) as client:
        cancel_after(server, client.stream("openai/m", "Hi"), ready)


@pytest.mark.parametrize(("reply", "phase", "text"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_silence_ends_at_its_limit(reply: Reply, phase: str, text: str, proxy: SocksProxy) -> None:
    """A server that sends nothing of use ends in a StreamTimeout of the right phase."""
    error, kept, _ = fails(reply, timeout=Timeout(connect=NEVER, **{"first": NEVER, "idle": NEVER, phase: 0.4}))
    assert isinstance(error, StreamTimeout)
    assert (phase, 0.4, text) == (error.phase, error.limit, kept)


@pytest.mark.parametrize("reply", [row[1] for row in FIRST_FAULTS], ids=[row[0] for row in FIRST_FAULTS])
def test_what_fails_before_the_first_chunk_is_retried(reply: Reply, proxy: SocksProxy) -> None:
    """A connection that fails, or an error inside a 200, is tried again while nothing was delivered."""
    with Server(reply, text_reply("Well.")) as server, client_of(server, retry=Retry(2, backoff=0.01)) as client:
        with client.stream("openai/m", "Hi") as stream:
            assert stream.collect().text == "Well."
            assert stream.stats.attempts == 2


@pytest.mark.parametrize(("reply", "kind"), [row[1:] for row in LATE_FAULTS], ids=[row[0] for row in LATE_FAULTS])
def test_after_the_first_chunk_nothing_is_retried(reply: Reply, kind: type[StreamError], proxy: SocksProxy) -> None:
    """A failure midway is raised after the chunks that came, which stay in the partial reply; one request."""
    error, kept, server = fails(reply, retry=Retry(3, backoff=0.01))
    assert isinstance(error, kind)
    assert (kept, len(server.requests)) == ("Hello", 1)


def test_the_first_limit_is_not_part_of_connecting(proxy: SocksProxy) -> None:
    """A model that thinks longer than ``connect`` lets it is no failed connection."""
    sent = threading.Event()
    reply = Reply([Mark(sent), Wait(2.5), HELLO, chunk_event(finish_reason="stop")])
    with Server(reply) as server, client_of(server, timeout=Timeout(connect=2, first=SOON)) as client:
        assert client.complete("openai/m", "Hi").text == "Hello"
