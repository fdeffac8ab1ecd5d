"""One request and its response: ``Exchange``; and its line in the log, ``Record``."""

from __future__ import annotations

import http
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from streamkit.errors import RequestError
from streamkit.web.formats.json_bytes import json_bytes

__all__ = ["Exchange", "Record", "StartResponse"]

#: As PEP 3333 has it.
StartResponse = Callable[..., Callable[[bytes], object]]

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_EXPOSED = "x-request-id, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests"
_ALLOWED = "authorization, content-type, idempotency-key, x-api-key, x-request-id, anthropic-version, anthropic-beta"


@attrs.define
class Record:
    """What the log and the metrics are told of a request: no content, no key, no address of a client.

    Attributes:
        request_id: of the request, ours.
        client_id: the ``X-Request-Id`` that the client sent, "" for none.
        endpoint: the path of an endpoint that exists, "" for any other.
        token: the id of the token, team its team.
        model: the name that the client asked for; configured the one that served it.
        route: provider and model that answered, or were asked last.
        status: of the response; 499 where the client has left.
        code: of the error, "" for none.
        stream: whether a stream was asked for.
        begun: on ``time.monotonic``; seconds is the time that it took.
        first: seconds to the first chunk.
        input_tokens, output_tokens, nano: that were charged; estimated, whether by an estimate.
        attempts: requests that were sent to providers.
        repeated: whether it is the reply of an earlier request with the same ``Idempotency-Key``.
    """

    request_id: str
    client_id: str = ""
    method: str = ""
    endpoint: str = ""
    token: str = ""
    team: str = ""
    model: str = ""
    configured: str = ""
    route: str = ""
    status: int = 0
    code: str = ""
    stream: bool = False
    begun: float = attrs.field(factory=time.monotonic)
    seconds: float = 0.0
    first: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    nano: int = 0
    estimated: bool = False
    attempts: int = 0
    repeated: bool = False


class Exchange:
    """One request and its response.

    Owner of the fields: the server's thread of the request uses all of them, but ``record``: a reply that is cancelled
    from elsewhere writes what it has cost there, before it ends.

    Args:
        environ: of the request.
        start_response: of the server.
        origins: of other sites whose pages may ask; ``*`` for all.
    """

    def __init__(self, environ: Mapping[str, Any], start_response: StartResponse, origins: Iterable[str]) -> None:
        self.environ = environ
        self._start = start_response
        self._origins = origins
        given = environ.get("HTTP_X_REQUEST_ID", "")
        self.record = Record(f"req-{uuid.uuid4().hex}", given if _ID.fullmatch(given) else "")
        self.record.method = self.method
        self._begun = False
        self.body_is_read = False  # or as far as it came
        self.extra: dict[str, str] = {}  # headers that each response to this request has

    @property
    def method(self) -> str:
        """Of the request, in capitals."""
        return str(self.environ.get("REQUEST_METHOD", "GET"))

    @property
    def path(self) -> str:
        """Of the request, below where the application is mounted."""
        return str(self.environ.get("PATH_INFO", "")) or "/"

    @property
    def told_id(self) -> str:
        """The id of the request that its client is told: its own, where it sent one."""
        return self.record.client_id or self.record.request_id

    def header(self, name: str) -> str:
        """Return a header of the request, "" where it has none."""
        return str(self.environ.get(f"HTTP_{name.upper().replace('-', '_')}", ""))

    def presented(self) -> str:
        """Return the text of the token that the request presents.

        Raises:
            RequestError: it presents none.
        """
        scheme, _, text = self.header("authorization").partition(" ")
        found = text.strip() if scheme.lower() == "bearer" else ""
        found = found or self.header("x-api-key").strip()
        if not found:
            raise RequestError(
                "no token: send one as Authorization: Bearer sk-...",
                status=401,
                code="missing_token",
                type="authentication_error",
                headers={"www-authenticate": "Bearer"},
            )
        return found

    # -- responses ---------------------------------------------------------------------------------------

    def begin(self, status: int, headers: Mapping[str, str]) -> Callable[[bytes], object]:
        """Send the status and the headers, and those that each response has; return what sends bytes."""
        self.record.status = status
        # By the second name the clients of Anthropic's API find it.
        shown = {**headers, **self.extra, **self._cors(), "x-request-id": self.told_id, "request-id": self.told_id}
        phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else "Unknown"
        again = [sys.exc_info()] if self._begun else []  # it failed after the head of a reply, and nothing was sent
        self._begun = True
        listed = [(name, _one_line(value)) for name, value in shown.items()]
        return self._start(f"{status} {phrase}", listed, *again)

    def pass_on(self, status: str, headers: list[tuple[str, str]], *more: Any) -> Callable[[bytes], object]:
        """Send the status and the headers of an application inside; see PEP 3333."""
        self.record.status = int(status.partition(" ")[0])
        return self._start(status, [*headers, ("x-request-id", self.record.request_id)], *more)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> list[bytes]:
        """Return a whole response."""
        self.begin(status, {**headers, "content-length": str(len(body))})
        return [b""] if self.method == "HEAD" else [body]

    def json(self, shape: Any, status: int = 200) -> list[bytes]:
        """Return a whole response of JSON."""
        return self.answer(status, json_bytes(shape), {"content-type": "application/json", "cache-control": "no-store"})

    def text(self, text: str, status: int = 200) -> list[bytes]:
        """Return a whole response of text."""
        return self.answer(status, text.encode(), {"content-type": "text/plain; charset=utf-8"})

    # -- pages of other sites ----------------------------------------------------------------------------

    def _cors(self) -> dict[str, str]:
        """Return the headers that let a page of another site read the response: none unless it is configured."""
        origin = self.header("origin")
        if not origin or not self._origins:
            return {}
        if "*" not in self._origins and origin not in self._origins:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": _EXPOSED,
            "vary": "origin",
        }

    def preflight(self) -> list[bytes]:
        """Answer a browser that asks whether a page of another site may send a request."""
        allowed = self._cors()
        if not allowed:
            return self.answer(403, b"", {})
        return self.answer(
            204,
            b"",
            {
                "access-control-allow-methods": "GET, POST, OPTIONS",
                "access-control-allow-headers": _ALLOWED,
                "access-control-max-age": "600",
            },
        )


def _one_line(value: str) -> str:
    """Return a header's value without what would begin another header."""
    return re.sub(r"[^\x20-\x7e]", " ", value)
