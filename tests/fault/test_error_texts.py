"""The whole message of each class of error, over real sockets: whom it is about, what happened, and what to do."""

from __future__ import annotations

import pickle
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from streamkit import Client, Retry, StreamkitError, Timeout, providers
from streamkit.testing import (
    Cut,
    Reply,
    Reset,
    Server,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    json_reply,
    redirect_reply,
    text_reply,
)
from tests.fault.conftest import Certificate
from tests.fault.socks_proxy import SocksProxy
from tests.fault.support import NEVER, SOON, join_readers, nothing_left

KEY = "sk-SECRET-of-the-texts"
TIMEOUT = Timeout(connect=NEVER, first=NEVER, idle=NEVER)
AT = "openai/gpt-x at 127.0.0.1:PORT"
THREE = "tried 3 times, the limit of Retry(attempts=3)"
LATER = "the failure is the server's: ask again in a while"
BOTH = "check the provider's base URL and the proxy settings"
DELIVERED = "not tried again, as chunks had been delivered"
TOO_EARLY = "the server or a proxy ended it too early: ask again"
PROXY = "check the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY names hosts to reach without it"


def read_aloud(error: StreamkitError) -> str:
    """Return the class and the message, without what differs from run to run; check what holds of each message."""
    text = f"{type(error).__name__}: {error}"
    assert text.count("127.0.0.1:") <= 2  # of a server and of a proxy
    assert KEY not in text
    assert len(text) < 2200
    copy = pickle.loads(pickle.dumps(error))
    assert (error.message, vars(error).keys()) == (copy.message, vars(copy).keys())
    text = re.sub(r"after \d+\.\d s and \d+ bytes", "after N s and N bytes", text)
    text = re.sub(r" ?\(_ssl\.c:\d+\)", "", text)
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)


def failure(base_url: str, model: str = "gpt-x", *, name: str = "openai", **options: object) -> str:
    """Ask, and return the error, read aloud."""
    settings: dict[str, object] = {"retry": Retry(3, backoff=0.001), "timeout": TIMEOUT, **options}
    provider = providers.OpenAI(api_key=KEY, base_url=base_url, name=name)
    with Client([provider], **settings) as client:  # type: ignore[arg-type]
        with pytest.raises(StreamkitError) as caught:
            client.complete(f"{name}/{model}", "Hi")
    join_readers()
    return read_aloud(caught.value)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# -- refusals --------------------------------------------------------------------------------------------

REFUSALS: list[tuple[Reply, str]] = [
    (
        error_reply(400, "Too long"),
        (
            f"BadRequestError: {AT} answered 400: Too long; change the messages or the options, "
            "as the same request fails again"
        ),
    ),
    (
        error_reply(401, f"Not {KEY}."),
        f"AuthenticationError: {AT} answered 401: Not ***. Check the key in OPENAI_API_KEY",
    ),
    (
        error_reply(402, "Broke"),
        (
            f"PaymentRequiredError: {AT} answered 402: Broke; add credit to the account of this key, "
            "or raise its spending limit"
        ),
    ),
    (
        error_reply(403, "Not you"),
        (
            f"PermissionDeniedError: {AT} answered 403: Not you; check what the key in OPENAI_API_KEY may use, "
            "and the provider's base URL"
        ),
    ),
    (
        error_reply(404, "No such model"),
        (
            "NotFoundError: openai/gpt-x at http://127.0.0.1:PORT/v1/chat/completions answered 404: No such model; "
            "check the model's name (`streamkit models --provider openai` lists them) and the provider's base URL"
        ),
    ),
    (
        error_reply(405, "No"),
        (
            "APIError: openai/gpt-x at http://127.0.0.1:PORT/v1/chat/completions answered 405: No; "
            "check the provider's base URL"
        ),
    ),
    (error_reply(409, "Two"), f"ConflictError: {AT} answered 409: Two; {THREE}; ask again in a while"),
    (
        error_reply(429, "Slow"),
        f"RateLimitError: {AT} answered 429: Slow; {THREE}; ask again in a while, and send fewer requests at a time",
    ),
    (
        error_reply(429, "Slow", headers={"Retry-After": "90"}),
        (
            f"RateLimitError: {AT} answered 429: Slow; the server asks to wait 90 s, more than "
            "Retry(max_retry_after=60); wait 90 s and ask again"
        ),
    ),
    (
        error_reply(429, "Slow", headers={"retry-after-ms": "1"}),
        f"RateLimitError: {AT} answered 429: Slow; {THREE}; wait 1 s and ask again",
    ),
    (
        error_reply(429, "Empty", code="insufficient_quota"),
        (
            f"RateLimitError: {AT} answered 429: Empty; {THREE}; add credit to the account of this key, "
            "or raise its spending limit"
        ),
    ),
    (error_reply(500, "Oh"), f"ServerError: {AT} answered 500: Oh; {THREE}; {LATER}"),
    (error_reply(503, "Full"), f"OverloadedError: {AT} answered 503: Full; {THREE}; {LATER}"),
    (
        html_reply(502, "<!doctype html><title>Bad Gateway</title>"),
        (
            f"ServerError: {AT} answered 502: Bad Gateway; {THREE}; "
            "a gateway or proxy before the API sent this page of HTML: ask again in a while"
        ),
    ),
    (
        html_reply(404, "<!doctype html><title>Not here</title>"),
        (
            "NotFoundError: openai/gpt-x at http://127.0.0.1:PORT/v1/chat/completions answered 404: Not here; "
            f"a web server or proxy sent this page of HTML, not the API: {BOTH}"
        ),
    ),
    (
        error_in_stream_reply("Oh", code=500, after="one two"),
        f"ServerError: {AT} answered 500: Oh; {DELIVERED}; {LATER}",
    ),
]


@pytest.mark.parametrize(("reply", "text"), REFUSALS)
def test_a_refusal(reply: Reply, text: str) -> None:
    """A status, or an error inside a 200: for how long, why it was not tried again, and the next step."""
    with nothing_left(), Server(reply, reply, reply) as server:
        assert text == failure(server.url)


def test_why_there_was_one_try() -> None:
    """The limit of the tries and the limit of the time are told apart."""
    slow = error_reply(429, "Slow", headers={"Retry-After": "30"})
    with Server(slow, slow) as server:
        said = f"RateLimitError: {AT} answered 429: Slow; tried once, "
        end = "; wait 30 s and ask again"
        assert f"{said}the limit of Retry(attempts=1){end}" == failure(server.url, retry=1)
        assert f"{said}as Timeout(total=20) leaves no time to try again{end}" == failure(server.url, timeout=20)


def test_a_model_of_a_server_that_no_command_knows() -> None:
    """``streamkit models`` is advised only for the providers that it knows."""
    with Server(error_reply(404, "No such model")) as server:
        text = failure(server.url, name="mine")
    assert text.endswith("; check the model's name and the provider's base URL")


def test_a_model_that_ollama_has_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(json_reply({"error": "model 'x' not found"}, 404)) as server:
        with Client([providers.Ollama(base_url=server.origin)], timeout=TIMEOUT) as client:
            with pytest.raises(StreamkitError) as caught:
                client.complete("ollama/x", "Hi")
    assert (
        "NotFoundError: ollama/x at http://127.0.0.1:PORT/api/chat answered 404: model 'x' not found; "
        "fetch the model with `ollama pull x`, or list those that are there: `ollama list`"
    ) == read_aloud(caught.value)


# -- replies that are none, or not whole -----------------------------------------------------------------

REPLIES: list[tuple[Reply, str]] = [
    (
        html_reply(),
        (
            f"ProtocolError: {AT}: the server sent text/html ('Hello'), not an event stream; "
            f"a web site or a proxy answered, not the API: {BOTH}"
        ),
    ),
    (
        Reply(["plain"], content_type="text/plain"),
        (
            f"ProtocolError: {AT}: the server sent text/plain, not an event stream; "
            "check that the provider's base URL is that of an API"
        ),
    ),
    (
        Reply(["data: {nope\n\n"]),
        (
            f"ProtocolError: {AT}: an event is not JSON; the fault is the server's or a proxy's: ask again, "
            "and report it to the provider if it stays"
        ),
    ),
    (
        redirect_reply("https://else.example/v1"),
        (
            f"ProtocolError: {AT}: the server redirects (307) to 'https://else.example/v1', and redirects are not "
            "followed; set base_url to the right address"
        ),
    ),
    (
        text_reply("one two").first(2).then(Cut()),
        (
            f"TruncatedStreamError: {AT}: the connection was closed before the reply was over, "
            f"after N s and N bytes; {DELIVERED}; {TOO_EARLY}"
        ),
    ),
    (
        text_reply("one two", finish_reason=None, done=False),
        (
            f"TruncatedStreamError: {AT}: the reply ended before the provider's terminator, "
            f"after N s and N bytes; {DELIVERED}; {TOO_EARLY}"
        ),
    ),
    (
        text_reply("one two").first(2).then(Reset()),
        (
            f"BrokenStreamError: {AT}: the connection failed in the middle of the reply: [Errno 104] Connection reset "
            f"by peer, after N s and N bytes; {DELIVERED}; "
            "the server, a proxy or the network ended the connection: ask again"
        ),
    ),
    (
        Reply(before_head=[Reset()]),
        (
            "BrokenStreamError: openai/gpt-x: 127.0.0.1:PORT closed the connection before it answered: [Errno 104] "
            f"Connection reset by peer; {THREE}; the server, a proxy or the network ended the connection: ask again"
        ),
    ),
]


@pytest.mark.parametrize(("reply", "text"), REPLIES)
def test_a_reply_that_is_none(reply: Reply, text: str) -> None:
    """Whose the fault is, how far the reply came, and what to check."""
    with nothing_left(), Server(reply, reply, reply) as server:
        assert text == failure(server.url)


LIMITS: list[tuple[Timeout, Reply, str]] = [
    (Timeout(first=0.2), Reply(before_head=[Wait(None)]), "no chunk within 0.2 s of sending the request"),
    (Timeout(first=NEVER, idle=0.2), Reply([chunk_event("Hi"), Wait(None)]), "no chunk for 0.2 s"),
    (Timeout(total=0.2), Reply(before_head=[Wait(None)]), "not complete within 0.2 s"),
]


@pytest.mark.parametrize(("limits", "reply", "what"), LIMITS)
def test_a_limit(limits: Timeout, reply: Reply, what: str) -> None:
    """It is the client's own, and the argument to raise is named."""
    phase = next(name for name in ("first", "idle", "total") if getattr(limits, name) == 0.2)
    with nothing_left(), Server(reply) as server:
        text = failure(server.url, timeout=limits)
    remedy = f"the limit is the client's: raise Timeout({phase}=...) if the model needs longer"
    assert f"StreamTimeout: {AT}: {what}; {remedy}" == text


def test_the_limit_of_a_connection(black_hole: str) -> None:
    with nothing_left():
        text = failure(black_hole, timeout=Timeout(connect=0.2))
    assert (
        f"StreamTimeout: {AT}: no connection within 0.2 s; the limit is the client's: "
        "check the network and the provider's base URL, or raise Timeout(connect=...)"
    ) == text


# -- connections that cannot be made ---------------------------------------------------------------------

REFUSED = f"no connection to 127.0.0.1:PORT: [Errno 111] Connection refused; {THREE}"

LOCAL: list[tuple[str, Callable[[str], object], str]] = [
    ("ollama", lambda url: providers.Ollama(base_url=url), "ollama serve"),
    *(
        (name, lambda url, name=name: providers.OpenAICompatible(name, base_url=url), command)
        for name, command in [
            ("litellm", "litellm --config FILE"),
            ("llamacpp", "llama-server -m FILE.gguf"),
            ("lmstudio", "lms server start"),
            ("vllm", "vllm serve MODEL"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "make", "command"), LOCAL, ids=[name for name, _, _ in LOCAL])
def test_a_local_server_that_is_down(
    name: str, make: Callable[[str], providers.OpenAI], command: str, closed_port: int
) -> None:
    """The command that starts it is named."""
    with nothing_left():
        with Client([make(f"http://127.0.0.1:{closed_port}")], retry=Retry(3, backoff=0.001)) as client:
            with pytest.raises(StreamkitError) as caught:
                client.complete(f"{name}/m", "Hi")
        text = read_aloud(caught.value)
        caught.value.__traceback__ = None
    assert f"ConnectError: {name}/m: {REFUSED}; is {name} running? start it with `{command}`" == text


def test_another_server_here_that_is_down(closed_port: int) -> None:
    with nothing_left():
        text = failure(f"http://127.0.0.1:{closed_port}/v1", name="mine")
    assert (
        f"ConnectError: mine/gpt-x: {REFUSED}; is the server running? start it, or check the provider's base URL"
    ) == text


def test_a_misspelt_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*asked: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with nothing_left():
        text = failure("https://api.opnai.example/v1")
    assert (
        "ConnectError: openai/gpt-x: the name of api.opnai.example could not be looked up: [Errno -2] Name or service "
        f"not known; {THREE}; check the host in the provider's base URL, and the network"
    ) == text


def test_a_certificate_that_nobody_trusts(certificate: Certificate) -> None:
    """That of a proxy that decrypts TLS, most of the time; the variable for its certificate is named."""
    with nothing_left(), Server(text_reply("Hi"), tls=certificate.context) as server:
        text = failure(server.url)
    reason = r"\[SSL: CERTIFICATE_VERIFY_FAILED\] certificate verify failed: self.signed certificate"
    assert re.fullmatch(
        rf"ConnectError: openai/gpt-x: no secure connection to 127\.0\.0\.1:PORT: {reason}; tried once; "
        "if a proxy of your network decrypts TLS, set REQUESTS_CA_BUNDLE to the file of its certificate",
        text,
    )


def test_a_certificate_of_another_host(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    with nothing_left(), Server(text_reply("Hi"), tls=certificate.context) as server:
        text = failure(f"https://localhost:{server.port}/v1")
    assert text.startswith("ConnectError: openai/gpt-x: no secure connection to localhost:")
    assert text.endswith("; tried once; check the host in the provider's base URL")


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong path is no passing failure: one try, and the variables are named."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with nothing_left():
        text = failure("https://127.0.0.1:1/v1")
    assert (
        "ConnectError: openai/gpt-x: no secure connection to 127.0.0.1:PORT: Could not find a suitable TLS CA "
        "certificate bundle, invalid path: /nowhere.pem; tried once; set REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE to a "
        "file that exists, or unset it"
    ) == text


def test_no_tls_there() -> None:
    """The address says https, the server speaks http."""
    with nothing_left(), socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as sock, suppress(OSError):
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                sock.recv(1)  # until the client leaves

        server = threading.Thread(target=answer)
        server.start()
        text = failure(f"https://127.0.0.1:{listener.getsockname()[1]}/v1")
        server.join(SOON)
    assert text.startswith("ConnectError: openai/gpt-x: no secure connection to 127.0.0.1:PORT: [SSL")
    assert text.endswith("; tried once; no TLS is spoken there: check scheme and port of the provider's base URL")


def test_a_proxy_that_is_down(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure is put down to the proxy, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{KEY}@127.0.0.1:{closed_port}")
    with nothing_left():
        text = failure("https://far.example/v1")
    assert (
        "ConnectError: openai/gpt-x: no connection to far.example through the proxy http://***@127.0.0.1:PORT: "
        f"[Errno 111] Connection refused; {THREE}; {PROXY}"
    ) == text


def test_a_socks_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("socks")
    with nothing_left(), SocksProxy(refusal=2) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url("socks5h"))
        text = failure("http://far.example/v1")
    assert (
        "ConnectError: openai/gpt-x: no connection to far.example through the proxy socks5h://127.0.0.1:PORT: "
        f"0x02: Connection not allowed by ruleset; tried once; {PROXY}"
    ) == text


@pytest.mark.parametrize(("scheme", "other"), [("socks5", "socks5h"), ("socks4", "socks4a")])
def test_a_name_that_only_the_socks_proxy_knows(scheme: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheme that lets the proxy look names up is named."""
    pytest.importorskip("socks")

    def unknown(*asked: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with nothing_left(), SocksProxy() as proxy:
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        monkeypatch.setenv("ALL_PROXY", proxy.url(scheme))
        text = failure("http://far.example/v1")
    assert (
        f"ConnectError: openai/gpt-x: no connection to far.example through the proxy {scheme}://127.0.0.1:PORT: the "
        f"name far.example could not be looked up: [Errno -2] Name or service not known; {THREE}; "
        f"{other}:// in place of {scheme}:// lets the proxy look names up"
    ) == text


# -- lists of models -------------------------------------------------------------------------------------

LISTS: list[tuple[Reply, str]] = [
    (error_reply(401, "Who"), "AuthenticationError: {at} answered 401: Who; check the key in OPENAI_API_KEY"),
    (
        error_reply(404, "Nope"),
        (
            "NotFoundError: openai at http://127.0.0.1:PORT/v1/models answered 404: Nope; check the provider's base "
            "URL, such as for a missing /v1"
        ),
    ),
    (
        html_reply(),
        (
            "ProtocolError: {at}: the server sent text/html ('Hello'), not a list of models in JSON; "
            f"a web site or a proxy answered, not the API: {BOTH}"
        ),
    ),
]


@pytest.mark.parametrize(("reply", "text"), LISTS)
def test_a_list_of_models(reply: Reply, text: str) -> None:
    """The provider and the address are named, where there is no model to name."""
    with nothing_left(), Server(reply) as server:
        with Client([providers.OpenAI(api_key=KEY, base_url=server.url)]) as client:
            with pytest.raises(StreamkitError) as caught:
                client.models.list("openai")
    assert text.format(at="openai at 127.0.0.1:PORT") == read_aloud(caught.value)


# -- bounds ----------------------------------------------------------------------------------------------


def test_a_long_reason_does_not_displace_what_to_do() -> None:
    with Server(error_reply(400, "x" * 5000)) as server:
        text = failure(server.url, "m" * 5000)
    assert text.endswith("xxx; change the messages or the options, as the same request fails again")
    assert len(text) < 2100


def test_a_key_in_a_model_name_is_masked() -> None:
    """A key in the wrong place does not come back in the message."""
    with Server(error_reply(404, "No such model")) as server:
        text = failure(server.url, KEY)
    assert text.startswith("NotFoundError: openai/*** at http://127.0.0.1:PORT/v1/chat/completions answered 404: ")
