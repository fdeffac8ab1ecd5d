"""A gateway on a real server on loopback, with scripted providers behind it."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.gateway.config.values import Config, ModelConfig, Secret, UpstreamConfig
from streamkit.testing import Server
from streamkit.wire.secrets import Masked
from tests.unit.support import SOON

serving = pytest.importorskip("werkzeug.serving", reason="needs flask")

USD = 10**9  # nano
SECRET = Secret(Masked("0123456789abcdef0123456789abcdef"))
#: A dollar for a million tokens of input, ten for a million of output.
PRICES: Mapping[str, Any] = {"input_price": USD, "output_price": 10 * USD}


@attrs.frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of the events, decoded; [DONE] is a text."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


@attrs.define
class Served:
    """A gateway that is served."""

    gateway: Any
    port: int
    token: str

    def open(
        self, body: Any, path: str = "/v1/chat/completions", *, token: str | None = None, **headers: str
    ) -> http.client.HTTPResponse:
        """Send a request, and return the response once its head has arrived."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", path, data, sent)
        return connection.getresponse()

    def ask(self, body: Any, path: str = "/v1/chat/completions", **options: Any) -> Answer:
        """Send a request, and return the whole response."""
        return whole(self.open(body, path, **options))

    def get(self, path: str, *, token: str | None = None, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON)
        sent = {"authorization": f"Bearer {token or self.token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=sent)
        return whole(connection.getresponse())

    def balance(self, account: str | None = None) -> Any:
        ledger = self.gateway._payments.ledger
        return ledger.balance(account or f"token:{self.gateway.tokens.find(self.token).id}")

    def charges(self) -> list[Any]:
        return list(self.gateway._payments.ledger.charges())


def whole(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, response.read())


def chat(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"model": "fast", "messages": [{"role": "user", "content": text}], **fields}


def config(tmp_path: Path, *upstreams: Server, **fields: Any) -> Config:
    """Return a configuration: ``fast`` by the first upstream, ``both`` by all in order."""
    names = [f"up{number}" for number in range(len(upstreams))]
    made = tuple(
        UpstreamConfig(name, "compatible", server.url, Masked("provider-key-1234567890"))
        for name, server in zip(names, upstreams, strict=True)
    )
    models = (
        ModelConfig("fast", (("up0/m", 1),), **PRICES),
        ModelConfig("both", tuple((f"{name}/m", 1) for name in names), **PRICES),
    )
    given: dict[str, Any] = {"database": f"sqlite:///{tmp_path}/gateway.db", "secret": SECRET}
    return Config(**{**given, "upstreams": made, "models": models, **fields})


@contextmanager
def served(made: Config, dollars: int = 1, **token: Any) -> Iterator[Served]:
    """Serve with werkzeug's server, which hands the client's socket over, with a token of some dollars."""
    from streamkit.gateway.app.application import Gateway

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    gateway = Gateway(made)
    made_token, text = gateway.tokens.create("test", by="test", **{"balance": "own", **token})
    gateway._payments.ledger.top_up(f"token:{made_token.id}", dollars * USD, id="first", by="test")
    server = serving.make_server("127.0.0.1", 0, gateway, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Served(gateway, server.server_port, text)
    finally:
        server.shutdown()
        thread.join(SOON)
        server.server_close()
        gateway.close()
