"""A provider with OpenAI's format for `gateways.py`: one thread in a process of its own; prints its port.

The prompt says what is sent, so that every gateway passes it on:

    count=100 every=20 before=0 end=done mark=a1

`count` chunks, one each `every` milliseconds, after `before` seconds of silence in which not even the headers are sent.
The text of each chunk is the moment at which it is sent, as @nanoseconds@ of the monotonic clock. After the last one
comes a usage chunk, if the request asks for it, and [DONE]; with `end=hang` nothing more comes. A request that asks
for no stream gets its whole reply after `before` seconds.

GET /left/MARK tells what became of a request, as JSON: `asked` and `left`, moments or null, and `over`, whether all was
sent. `left` is the moment at which its connection was closed before all was sent.
"""

from __future__ import annotations

import gc
import heapq
import json
import re
import select
import socket
import time

ASKED = re.compile(rb"count=(\d+) every=([\d.]+) before=([\d.]+) end=(\w+) mark=(\w+)")
STREAM = re.compile(rb'"stream" ?: ?true')
USAGE = re.compile(rb'"include_usage" ?: ?true')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
SHAPE = '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1764200000,"model":"m",%s}'
NUMBERS = {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120}


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(fields: str) -> bytes:
    return framed(f"data: {SHAPE % fields}\n\n".encode())


STAMP = b"@%016d@ "
FIRST, LATER = (
    event(f'"choices":[{{"index":0,"delta":{{{role}"content":"{"_" * 19}"}},"finish_reason":null}}]').replace(
        b"_" * 19, STAMP
    )
    for role in ('"role":"assistant",', "")
)
FINISH = event('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]')
USED = event(f'"choices":[],"usage":{json.dumps(NUMBERS)}')
LAST = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"
MESSAGE = {"role": "assistant", "content": "Hello " * 100}
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764200000,
        "model": "m",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": NUMBERS,
    }
).encode()


def json_reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Connection:
    """A connection, and the reply that is on its way on it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got = b""  # of a request
        self.rest = b""  # of what the other side has not taken yet
        self.serial = 0  # of the reply; what was planned for another one is void
        self.mark = ""  # of the reply that is on its way
        self.left = 0  # chunks
        self.every = 0  # ns
        self.end = self.prefix = b""
        self.chunk = LATER


class Upstream:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.poll = select.epoll()
        self.poll.register(self.listener, select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        self.due: list[tuple[int, int, int]] = []  # moment, descriptor, serial
        self.seen: dict[str, dict[str, object]] = {}  # by mark
        self.serial = 0  # of the last reply

    def serve(self) -> None:
        while True:
            for descriptor, what in self.events():
                if descriptor == self.listener.fileno():
                    self.accept()
                elif connection := self.connections.get(descriptor):
                    self.on_event(connection, what)
            now = time.monotonic_ns()
            while self.due and self.due[0][0] <= now:
                planned, descriptor, serial = heapq.heappop(self.due)
                connection = self.connections.get(descriptor)
                if connection is not None and connection.serial == serial:
                    self.step(connection, planned)

    def events(self) -> list[tuple[int, int]]:
        """Wait until something came or is due. epoll waits whole milliseconds; sleep waits the rest."""
        if not self.due:
            return self.poll.poll()
        wait = (self.due[0][0] - time.monotonic_ns()) / 1e9
        if wait >= 0.002:
            return self.poll.poll(wait - 0.001)
        if wait > 0:
            time.sleep(wait)
        return self.poll.poll(0)

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections[sock.fileno()] = Connection(sock)
            self.poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)

    def on_event(self, connection: Connection, what: int) -> None:
        if what & select.EPOLLOUT:
            self.send(connection, b"")
        if what & select.EPOLLIN:
            try:
                data = connection.sock.recv(262144)
            except OSError:
                data = b""
            if data:
                connection.got += data
                self.read(connection)
                if not what & GONE:
                    return
        if what & (GONE | select.EPOLLIN):
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        if connection.mark:
            self.seen[connection.mark]["left"] = time.monotonic_ns()
        self.connections.pop(connection.sock.fileno(), None)
        connection.serial = -1
        connection.sock.close()

    def read(self, connection: Connection) -> None:
        """Start a reply once its request is there as a whole."""
        head, found, body = connection.got.partition(b"\r\n\r\n")
        if not found:
            return
        length = LENGTH.search(head)
        if length and len(body) < int(length[1]):
            return
        connection.got = b""
        if not head.startswith(b"POST"):
            mark = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
            self.send(connection, json_reply(json.dumps(self.seen.get(mark)).encode()))
            return
        asked = ASKED.search(body)
        assert asked, "the prompt says nothing"
        self.serial += 1
        connection.serial = self.serial
        connection.mark = asked[5].decode()
        connection.every = int(float(asked[2]) * 1e6)
        now = time.monotonic_ns()
        self.seen[connection.mark] = {"asked": now, "left": None, "over": False}
        if STREAM.search(body):
            connection.left = int(asked[1])
            connection.prefix, connection.chunk = STREAM_HEAD, FIRST
            connection.end = b"" if asked[4] == b"hang" else FINISH + (USED if USAGE.search(body) else b"") + LAST
        else:
            connection.left, connection.prefix, connection.end = 0, b"", json_reply(WHOLE)
        before = int(float(asked[3]) * 1e9)
        if before:
            heapq.heappush(self.due, (now + before, connection.sock.fileno(), connection.serial))
        else:
            self.step(connection, now)

    def step(self, connection: Connection, planned: int) -> None:
        """Send the chunk that is due, or all where there is no time between them, and plan the next one."""
        sent = connection.prefix
        connection.prefix = b""
        count = connection.left if not connection.every else min(connection.left, 1)
        for _ in range(count):
            sent += connection.chunk % time.monotonic_ns()
            connection.chunk = LATER
        connection.left -= count
        if connection.left:
            # By the plan, so that the rate holds; after a pause of the machine not all at once.
            due = max(planned + connection.every, time.monotonic_ns())
            heapq.heappush(self.due, (due, connection.sock.fileno(), connection.serial))
        elif connection.end:
            sent += connection.end
            self.seen[connection.mark]["over"] = True
            connection.mark = ""
        self.send(connection, sent)

    def send(self, connection: Connection, data: bytes) -> None:
        data = connection.rest + data
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop(connection)
            return
        if sent < len(data) or connection.rest:
            connection.rest = data[sent:]
            wanted = select.EPOLLIN | select.EPOLLRDHUP | (select.EPOLLOUT if connection.rest else 0)
            self.poll.modify(connection.sock, wanted)


if __name__ == "__main__":
    upstream = Upstream()
    print(upstream.listener.getsockname()[1], flush=True)
    gc.disable()  # its pauses would be lag
    upstream.serve()
