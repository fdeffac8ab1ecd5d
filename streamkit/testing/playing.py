"""Play a reply: its head, its steps and the end of its body."""

from __future__ import annotations

from http import HTTPStatus

from streamkit.testing.encoding import encoder_of
from streamkit.testing.output import Output
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request
from streamkit.testing.socket_line import SocketLine

_BODILESS = (204, 304)  # statuses whose responses have no body


def play(reply: Reply, request: Request, line: SocketLine) -> bool:
    """Answer a request; return whether the connection may take another.

    Raises:
        HangUp: a step ends the connection.
        ClientGone: the client left before the end.
        ServerClosed: the server closes.
    """
    keep = reply.may_keep_alive and not request.wants_close
    chunked = reply.framing == "chunked" and reply.status not in _BODILESS
    out = Output(request, line, encoding=reply.encoding, chunked=chunked)
    for step in reply.before_head:
        step.play(out)
    if reply.head:
        line.send(_head(reply, keep))
    for step in reply.steps:
        step.play(out)
    out.finish()
    return keep


def _head(reply: Reply, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {_phrase(reply.status)}"]
    if reply.content_type is not None:
        lines.append(f"Content-Type: {reply.content_type}")
    if reply.encoding is not None:
        lines.append(f"Content-Encoding: {reply.encoding}")
    if reply.status not in _BODILESS:
        lines.extend(_framing(reply))
    if not keep and reply.content_length is None:  # a script with a false length must not announce the close
        lines.append("Connection: close")
    lines.extend(f"{name}: {value}" for name, value in reply.headers)
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _framing(reply: Reply) -> list[str]:
    if reply.framing == "chunked":
        return ["Transfer-Encoding: chunked"]
    if reply.framing == "length":
        length = _body_length(reply) if reply.content_length is None else reply.content_length
        return [f"Content-Length: {length}"]
    return []


def _body_length(reply: Reply) -> int:
    """Count the bytes of a body by encoding it once more, piece by piece: it may not fit in memory."""
    encoder = encoder_of(reply.encoding)
    length = sum(len(encoder.encode(piece)) for step in reply.steps for piece in step.payload())
    return length + len(encoder.finish())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"
