"""The configuration as values: ``Config`` and what it has."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs

from streamkit.errors import ConfigError
from streamkit.policies.route import Choose
from streamkit.settings import Timeout
from streamkit.web.formats.requests.request import Limits
from streamkit.wire.secrets import Masked

__all__ = ["Config", "LogConfig", "ModelConfig", "Secret", "UpstreamConfig"]

_SHORTEST_SECRET = 16  # bytes


@attrs.frozen
class Secret:
    """Where the bytes come from with which tokens are hashed. Without them a copy of the database tells no token.

    Attributes:
        value: the secret; ``None`` where a file has it.
        path: of the file.
        made: whether the file is made where there is none.
    """

    value: Masked | None = None
    path: str = ""
    made: bool = False

    def read(self) -> bytes:
        """Return the secret, and make its file if it may be made.

        Several processes may do so at once: all get the same.

        Raises:
            ConfigError: it cannot be read or made, or is too short.
        """
        if self.value is not None:
            return _long_enough(self.value.encode(), "the secret")
        try:
            if self.made:
                _make(Path(self.path))
            return _long_enough(Path(self.path).read_bytes().strip(), self.path)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror or error}") from None


def _long_enough(secret: bytes, what: str) -> bytes:
    if len(secret) < _SHORTEST_SECRET:
        raise ConfigError(f"{what} has less than {_SHORTEST_SECRET} bytes: use 32 random ones")
    return secret


def _make(path: Path) -> None:
    """Write a new secret for this user alone, unless there is one; a half-written one is never seen."""
    if path.exists():
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:  # another process was faster
        pass
    finally:
        fresh.unlink()


@attrs.frozen
class LogConfig:
    """What is logged, and where.

    Attributes:
        requests: whether there is a line for each request.
        format: of the lines.
        file: where they go; ``None`` for standard error.
        content: the file for prompts and replies; ``None`` keeps none.
    """

    requests: bool = True
    format: Literal["json", "text"] = "json"
    file: str | None = None
    content: str | None = None


@attrs.frozen
class ModelConfig:
    """A model as clients ask for it.

    Attributes:
        name: what clients ask for. One that ends in ``*`` stands for all names that begin like it; what stands in
            place of the asterisk replaces that of the routes.
        routes: models as ``provider/model``, each with its weight. A name of another model of the file is followed.
        choose: which is tried first.
        hedge: seconds without a first chunk after which the next one is asked as well.
        input_price: of a million tokens, in billionths of a dollar; ``None`` for the list price.
        output_price: likewise; it is ``None`` if and only if ``input_price`` is.
        cached_price: likewise, of input tokens that the provider had in its cache; ``None`` for the list price, or
            with prices of one's own for ``input_price``.
        max_output: tokens of a reply, where the client names no limit.
        timeout: of a request to a provider.
        drop: parameters of requests that are left out, for providers that lack or refuse them.
        fields: of a request's body beyond those of its format, which go to the provider as they are.
    """

    name: str
    routes: tuple[tuple[str, int], ...]
    choose: Choose = "order"
    hedge: float | None = None
    input_price: int | None = None
    output_price: int | None = None
    cached_price: int | None = None
    max_output: int = 4096
    timeout: Timeout = attrs.field(factory=Timeout)
    drop: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()


@attrs.frozen
class UpstreamConfig:
    """A provider.

    Attributes:
        name: the first segment of the routes that go to it.
        kind: what it is, such as ``openai``; ``compatible`` for any server that speaks OpenAI's format.
        base_url: where it is; ``None`` for the kind's own address.
        key: its key; ``None`` where it needs none.
        streams: at once, of each process; ``None`` for no limit.
        headers: sent with each request.
        options: further arguments of the provider, such as ``region``.
    """

    name: str
    kind: str
    base_url: str | None = None
    key: Masked | None = None
    streams: int | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    options: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class Config:
    """The configuration of a gateway, checked.

    Attributes:
        file: where it was read; ``None`` where there was no file.
        demo: whether it serves the demo models alone, as nobody has configured any.
        host, port: where it listens.
        workers: processes.
        streams: replies at once, of all processes together.
        threads: replies that one process can hold. The server gives it some threads more, for short requests.
        one_processor: whether each process keeps to one processor, which saves it much of its time.
        grace: seconds that replies have to end after SIGTERM, before they are cancelled.
        database: its URL.
        secret: the bytes with which tokens are hashed.
        redis: the URL of the Redis in which rates are counted for all machines; ``None`` counts in each process.
        heartbeat: seconds of silence after which headers and a comment are sent.
        body_seconds: for a client to send its request.
        write_seconds: for a client to take one piece of a reply.
        limits: of a request's body.
        cors: origins of pages that may use the gateway; ``*`` for any.
        page: whether the chat page is to be served; see ``shows_page``.
        log: what is logged.
        models: what clients can ask for.
        upstreams: the providers of the routes.
        authorize: ``module:function`` that says who sends a request; ``None`` for tokens alone.
        notes: what is allowed and may not be meant, for a person.
    """

    file: str | None = None
    demo: bool = False
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    streams: int = 1000
    threads: int = 1000
    one_processor: bool = True
    grace: float = 30.0
    database: str
    secret: Secret
    redis: Masked | None = None
    heartbeat: float = 5.0
    body_seconds: float = 15.0
    write_seconds: float = 30.0
    limits: Limits = attrs.field(factory=Limits)
    cors: tuple[str, ...] = ()
    page: bool = True
    log: LogConfig = attrs.field(factory=LogConfig)
    models: tuple[ModelConfig, ...] = ()
    upstreams: tuple[UpstreamConfig, ...] = ()
    authorize: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def shows_page(self) -> bool:
        """Whether the chat page is served.

        A browser that comes back to another process finds its reply only by a log that the processes share.
        """
        return self.page and (self.workers == 1 or self.redis is not None)
