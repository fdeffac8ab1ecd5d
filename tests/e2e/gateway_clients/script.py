"""A provider that answers by what it is asked, in any format, behind a gateway."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from streamkit.gateway.config.values import UpstreamConfig
from streamkit.testing import (
    DONE,
    Cut,
    Mark,
    Reply,
    Request,
    Server,
    Wait,
    WaitFor,
    chunk_event,
    error_in,
    error_reply,
    reply_in,
)
from streamkit.wire.secrets import Masked
from tests.unit.gateway_server import Served, config, served
from tests.unit.support import SOON

__all__ = ["CITIES", "KINDS", "TEXT", "Behind", "Script", "ask", "gateway_before"]

TEXT = "Hello wörld 😀"
USAGE = (7, 11)  # tokens in and out
CITIES = [{"city": "Oslo"}, {"city": "Rome"}]
# Two choices, which OpenAI's format alone has.
_TWO = Reply(
    [
        *(chunk_event(text, index=at) for at, text in enumerate(("One", "Two"))),
        *(chunk_event(finish_reason="stop", index=at) for at in (0, 1)),
        chunk_event(usage={"prompt_tokens": 7, "completion_tokens": 11}),
        DONE,
    ]
)
# The kind of an upstream, and the format of its replies.
KINDS = {"compatible": "openai", "openai-responses": "openai-responses", "anthropic": "anthropic", "gemini": "gemini"}


def ask(what: str) -> str:
    """Return a prompt for which the script has an answer."""
    return f"ask: {what}"


class Script:
    """Answers by the prompt.

    Attributes:
        more: lets the reply in two go on.
        begun: is set once a reply that has no end has begun.
        left: the request whose reply has no end.
        asked: how often each was asked.
    """

    def __init__(self, format: str) -> None:
        self._format = format
        self.more = threading.Event()
        self.begun = threading.Event()
        self.left: Request | None = None
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Reply:
        found = re.findall(rb"ask: ([a-z0-9 ]+)", request.body)
        what = found[-1].decode()
        self.asked.append(what)
        return self._reply(what, request)

    def _reply(self, what: str, request: Request) -> Reply:
        format = self._format
        if what.startswith("refuse "):
            return error_in(format, "The provider says no", status=int(what.removeprefix("refuse ")))
        if what == "busy once":
            what = "busy" if self.asked.count(what) == 1 else "hello"
        if what == "tools" and b"cold" in request.body:  # the result of a call
            return reply_in(format, "It is cold", usage=USAGE)
        if what in ("silent", "endless"):
            self.left = request
        return self._fixed(what) or self._cut_up(what)

    def _fixed(self, what: str) -> Reply | None:
        """Return the replies that depend on nothing."""
        format = self._format
        busy = error_reply(429, "slow down", headers={"retry-after": "1"})
        return {
            "hello": reply_in(format, TEXT, usage=USAGE),
            "tools": reply_in(format, tool_calls=[("look", city) for city in CITIES], usage=USAGE),
            "json": reply_in(format, '{"city":"Oslo","degrees":-3}', usage=USAGE),
            "think": reply_in(format, TEXT, reasoning="Let me see", usage=USAGE),
            "broken": reply_in(format, "Half of it", error="it went wrong"),
            "busy": busy,
            "silent": Reply(before_head=[Mark(self.begun), Wait(None)]),
            "two": _TWO,
        }.get(what)

    def _cut_up(self, what: str) -> Reply:
        """Return the replies with something in their middle."""
        steps = reply_in(self._format, TEXT, usage=USAGE).steps
        half = next(at for at, step in enumerate(steps, 1) if b"Hello" in b"".join(step.payload()))
        begin, end = steps[:half], steps[half:]
        middle = {
            "torn": [Cut()],
            "in two": [WaitFor(self.more, SOON), *end],
            "endless": [Mark(self.begun), Wait(None)],
        }
        return reply_in(self._format, TEXT).but(steps=[*begin, *middle[what]])

    def gone(self) -> bool:
        """Return whether the request whose reply has no end is cancelled."""
        assert self.left is not None
        return self.left.gone.wait(SOON)


@attrs.frozen
class Behind:
    """A gateway, and what is behind it.

    Attributes:
        served: the gateway.
        script: the provider.
        url: for clients of OpenAI's format; ``root`` is the one for those of Anthropic's.
    """

    served: Served
    script: Script

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.served.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def token(self) -> str:
        return self.served.token


@contextmanager
def gateway_before(kind: str, folder: Path, dollars: int = 10) -> Iterator[Behind]:
    """Serve a gateway before an upstream of a kind; its models are ``fast`` and ``both``."""
    script = Script(KINDS[kind])
    with Server(script) as server:
        made = config(folder, server, page=False)
        upstream = UpstreamConfig("up0", kind, server.url, Masked("provider-key-1234567890"))
        with served(attrs.evolve(made, upstreams=(upstream,)), dollars) as gateway:
            yield Behind(gateway, script)
            assert [] == gateway.gateway._payments.ledger.check()
