"""Networks that silently drop packets: dead addresses, dead pooled connections, errors of the kernel.

Each program runs in its own network namespace; the tests are skipped on systems without them.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.fault.conftest import make_certificate
from tests.fault.simulated_network import isolated

pytestmark = pytest.mark.slow

START = """
import socket, threading, time
import streamkit
from streamkit import Client, Retry, StreamError, Timeout, providers
from streamkit.testing import Reply, Send, Server, Wait, chunk_event, text_reply

real = socket.getaddrinfo
names = {}

def resolve(host, port, *more):
    if host in names:
        return [found for address in names[host] for found in real(address, port, *more)]
    return real(host, port, *more)

socket.getaddrinfo = resolve
HELLO = chunk_event("Hello", role="assistant")

def client_of(server, host="10.9.0.2", **options):
    options = {"retry": Retry(1), **options}
    return Client([providers.OpenAI(api_key="k", base_url=f"http://{host}:{server.port}/v1")], **options)

def outcome(client, **options):
    began = time.monotonic()
    try:
        said = client.complete("openai/m", "Hi", **options).text
    except StreamError as error:
        said = f"{type(error).__name__}: {error}"
    return said, time.monotonic() - began
"""


def program(body: str) -> list[str]:
    return isolated(START + textwrap.dedent(body))


def test_many_addresses_that_all_live() -> None:
    """A limit that one round trip fits into is enough for a name of any number of addresses."""
    lines = program("""
        network = Network(delay=0.3)
        names["far.test"] = [f"10.9.0.{n}" for n in range(2, 10)]
        with Server(text_reply("Hi")) as server, client_of(server, "far.test", timeout=Timeout(connect=3)) as client:
            print(outcome(client)[0])
    """)
    assert lines == ["Hi"]


def test_a_dead_address_of_the_other_family() -> None:
    """It costs 250 ms on each new connection, and not half of the limit."""
    lines = program("""
        network = Network()
        network.dead = frozenset({"fd09::2"})
        names["far.test"] = ["fd09::2", "10.9.0.2"]
        with Server(text_reply("Hi")) as server:
            with client_of(server, "far.test", timeout=Timeout(connect=20)) as client:
                said, seconds = outcome(client)
                print(said, seconds < 9)
    """)
    assert lines == ["Hi True"]


def test_connections_that_the_network_forgot() -> None:
    """One stream at most fails for all of them; the next one has a new connection."""
    lines = program("""
        network = Network()
        with Server(text_reply("Hi")) as server, client_of(server) as client:
            for stream in [client.stream("openai/m", "Hi") for _ in range(4)]:
                stream.collect()
                stream.close()
            print(server.connections > 1)
            network.forget_connections()
            for _ in range(3):
                print(outcome(client, timeout=Timeout(first=3))[0].partition("; ")[0].replace(str(server.port), "PORT"))
    """)
    assert lines == [
        "True",
        "StreamTimeout: openai/m at 10.9.0.2:PORT: no chunk within 3 s of sending the request",
        "Hi",
        "Hi",
    ]


def test_a_request_that_nobody_acknowledges() -> None:
    """The kernel gives it up in its time, without any limit of the stream's, and the next try has a new connection."""
    lines = program("""
        import streamkit.transport.connecting as connecting
        connecting._UNACKNOWLEDGED_SECONDS = 2
        network = Network()
        unbounded = Timeout(connect=None, first=None, idle=None)
        with Server(text_reply("Hi")) as server, client_of(server, timeout=unbounded, retry=Retry(2)) as client:
            print(outcome(client)[0])
            network.forget_connections()
            said, seconds = outcome(client)
            print(said, seconds < 20)
    """)
    assert lines == ["Hi", "Hi True"]


def test_a_large_request_that_nobody_acknowledges() -> None:
    """The same where it does not fit into the kernel, so that sending it is what waits: a broken connection."""
    lines = program("""
        import streamkit.transport.connecting as connecting
        connecting._UNACKNOWLEDGED_SECONDS = 2
        network = Network(delay=0.05)
        unbounded = Timeout(connect=None, first=None, idle=None)
        with Server(text_reply("Hi")) as server, client_of(server, timeout=unbounded) as client:
            stream = client.stream("openai/m", "x" * 30_000_000)
            while not server.connections:
                time.sleep(0.01)
            network.dark = True
            try:
                print(stream.collect())
            except StreamError as error:
                print(f"{type(error).__name__}: {error}".replace(str(server.port), "PORT"))
    """)
    assert lines == [
        (
            "BrokenStreamError: openai/m: 10.9.0.2:PORT closed the connection before it answered: "
            "[Errno 110] Connection timed out; tried once, the limit of Retry(attempts=1); "
            "the server, a proxy or the network ended the connection: ask again"
        )
    ]


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
def test_a_peer_that_vanishes_in_the_middle_of_a_reply(framing: str, content_type: str) -> None:
    """The probes find out, and that is a broken connection, whatever the reply was."""
    lines = program(f"""
        import streamkit.transport.connecting as connecting
        connecting._UNACKNOWLEDGED_SECONDS = 3
        connecting._KEEP_ALIVE = (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))
        network = Network()
        reply = Reply([HELLO, Wait(None), HELLO], content_type={content_type!r}, framing={framing!r})
        with Server(reply) as server:
            with client_of(server, timeout=Timeout(first=None, idle=None)) as client:
                stream = client.stream("openai/m", "Hi")
                while not stream.stats.bytes:
                    time.sleep(0.01)
                network.dark = True
                try:
                    print(stream.collect())
                except StreamError as error:
                    print(f"{{type(error).__name__}}: {{error}}")
    """)
    assert "the connection failed in the middle of the reply: [Errno 110] Connection timed out, after " in lines[0]
    assert lines[0].startswith("BrokenStreamError: openai/m at 10.9.0.2:")


@pytest.fixture(scope="module")
def far_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key and a certificate of 10.9.0.2."""
    folder = tmp_path_factory.mktemp("far")
    make_certificate("10.9.0.2", folder / "key.pem", folder / "cert.pem")
    return folder


TLS = """
    import os, ssl
    import streamkit.transport.connecting as connecting
    connecting._UNACKNOWLEDGED_SECONDS = 3
    connecting._KEEP_ALIVE = (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2))
    folder = "{folder}"
    os.environ["REQUESTS_CA_BUNDLE"] = folder + "/cert.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    network = Network()
    with Server(Reply([HELLO, Wait(None), HELLO]), tls=context) as server:
        provider = providers.OpenAI(api_key="k", base_url=f"https://10.9.0.2:{server.port}/v1")
        with Client([provider], retry=Retry(1), timeout=Timeout(connect=None, first=None, idle=None)) as client:
            stream = client.stream("openai/m", "Hi")
            while not WHEN:
                time.sleep(0.01)
            network.dark = True
            try:
                print(stream.collect())
            except StreamError as error:
                print(f"{type(error).__name__}: {error}".replace(str(server.port), "PORT"))
"""


def test_a_peer_that_vanishes_under_tls(far_certificate: Path) -> None:
    """The same as without TLS, which hides the reason from older versions of Python."""
    lines = program(TLS.replace("{folder}", str(far_certificate)).replace("WHEN", "stream.stats.bytes"))
    assert len(lines) == 1
    assert lines[0].startswith("BrokenStreamError: openai/m at ")
    assert ": the connection failed in the middle of the reply: [Errno " in lines[0]


MUTE = """
    import select, socket

    class Mute:
        def __enter__(self):
            self._listener = socket.create_server(("0.0.0.0", 0))
            self.port = self._listener.getsockname()[1]
            return self

        def accepted(self):
            if not select.select([self._listener], [], [], 0)[0]:
                return False
            self._connection, _ = self._listener.accept()
            return bool(self._connection.recv(1))  # the client has begun the handshake

        def __exit__(self, *_):
            self._connection.close()
            self._listener.close()

"""


def test_a_peer_that_vanishes_before_a_handshake(far_certificate: Path) -> None:
    """A host that vanishes right after it accepted counts as a failed connection."""
    # A silent server, so that the handshake cannot be over before the network goes dark.
    mute = TLS.replace(
        "with Server(Reply([HELLO, Wait(None), HELLO]), tls=context) as server:",
        "with Mute() as server:",
    ).replace("    network = Network()", MUTE + "    network = Network()")
    lines = program(mute.replace("{folder}", str(far_certificate)).replace("WHEN", "server.accepted()"))
    assert len(lines) == 1
    assert lines[0].startswith("ConnectError: ")
    assert "10.9.0.2:PORT" in lines[0]
    assert "[Errno 110] Connection timed out; tried " in lines[0]


def test_the_kernel_gives_up_connecting() -> None:
    """Without a limit of the stream's it is the kernel that ends an attempt: no connection."""
    lines = program("""
        with open("/proc/sys/net/ipv4/tcp_syn_retries", "w") as file:
            file.write("1")
        network = Network()
        network.dead = frozenset({"10.9.0.2"})
        with Server(text_reply("Hi")) as server, client_of(server, timeout=Timeout(connect=None)) as client:
            said, seconds = outcome(client)
            print(said.replace(str(server.port), "PORT"), seconds < 20)
    """)
    assert lines == [
        (
            "ConnectError: openai/m: no connection to 10.9.0.2:PORT: [Errno 110] Connection timed out; "
            "tried once, the limit of Retry(attempts=1); check the network and the provider's base URL True"
        )
    ]


def test_a_cancel_while_it_connects() -> None:
    """The reader ends at once, with all its attempts."""
    lines = program("""
        network = Network()
        network.dead = frozenset({"fd09::2", "10.9.0.2"})
        names["far.test"] = ["fd09::2", "10.9.0.2"]
        with Server(text_reply("Hi")) as server, client_of(server, "far.test") as client:
            stream = client.stream("openai/m", "Hi")
            time.sleep(0.6)
            began = time.monotonic()
            stream.close()
            print(stream._worker.is_alive(), time.monotonic() - began < 0.1 + 2)
    """)
    assert lines == ["False True"]


@pytest.mark.parametrize("zone", ["net0", "fa", "41", "2", "a.b-1_c~"])
def test_an_address_of_one_link(zone: str) -> None:
    """An IPv6 address with a zone, percent-encoded as RFC 6874 has it, is connected to on that link."""
    lines = program(f"""
        network = Network({zone!r})
        with Server(text_reply("Hi")) as server, client_of(server, "[fe80::2%25{zone}]") as client:
            print(outcome(client)[0])
            print(server.requests[0].headers["host"].startswith("[fe80::2"))
    """)
    assert lines == ["Hi", "True"]


@pytest.mark.parametrize("zone", ["nolink", "ab"])
def test_an_address_of_a_link_that_is_not_there(zone: str) -> None:
    """It is an error that names the address."""
    lines = program(f"""
        with Server(text_reply("Hi")) as server, client_of(server, "[fe80::2%25{zone}]") as client:
            print(outcome(client)[0][:80])
    """)
    assert lines[0].startswith(f"ConnectError: openai/m: the name of [fe80::2%{zone}]:")
