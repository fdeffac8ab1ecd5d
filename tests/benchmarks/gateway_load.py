"""A client of streams for `gateways.py`: one thread in a process of its own.

It reads jobs from standard input, a line of JSON each, and answers each with a line of JSON.

A job has targets by name (port, head, body), lanes, and the seconds that it may take. A lane sends one request after
another: `turns` names the target of each; a request of one target follows on one of the other, so that both meet the
same machine. What is measured is counted by target: the time to the first token in milliseconds, the lag of each chunk
(from the moment in its text until it was read), how many were asked and done. A reply is done when all its chunks and
[DONE] came.
With a window the processor time of processes and the chunks of a target are counted between two moments, as starts and
ends are no part of what a chunk costs.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import sys
import time
from collections import Counter, deque
from typing import Any

from gateway_tree import processor_seconds

STAMP = re.compile(rb"@(\d{16})@")
STATUS = re.compile(rb"\s*HTTP/1\.[01] (\d+)")
READ_ONLY = select.EPOLLIN | select.EPOLLRDHUP
TAIL = 17  # bytes of a stamp that may have come in part


class Target:
    """Where requests go, and what was measured there."""

    def __init__(self, name: str, port: int, head: str, body: str) -> None:
        self.name, self.port, self.head, self.body = name, port, head, body
        self.first: list[float] = []
        self.lags: list[int] = []
        self.asked = self.done = 0
        self.errors: Counter[str] = Counter()

    def request(self, prompt: str, keep: bool, stream: bool) -> bytes:
        body = self.body.replace("PROMPT", prompt).replace('"STREAM"', "true" if stream else "false").encode()
        keeping = "keep-alive" if keep else "close"
        return f"{self.head}Connection: {keeping}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def shown(self) -> dict[str, Any]:
        lags = [lag / 1e6 for lag in sorted(self.lags)]
        return {
            "first": percentiles(sorted(self.first)),
            "lag": percentiles(lags),
            "chunks": len(lags),
            "asked": self.asked,
            "done": self.done,
            "errors": dict(self.errors.most_common(3)),
        }


def percentiles(ordered: list[float]) -> list[float] | None:
    return [ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]] if ordered else None


class Lane:
    """Requests that are sent one after another."""

    def __init__(self, lane: dict[str, Any]) -> None:
        self.at: float = lane.get("at", 0)  # seconds after the job's begin
        self.turns: list[str] = lane["turns"]
        self.prompt: str = lane["prompt"]
        self.chunks: int = lane["chunks"]
        self.stream: bool = lane.get("stream", True)
        self.until: float | None = lane.get("until")  # seconds; the turns are repeated until then
        self.leave: float | None = lane.get("leave")  # seconds after the request at which the client leaves
        self.keep: bool = lane.get("keep", False)
        self.number = 0  # of requests that were sent
        self.idle: dict[str, socket.socket] = {}  # connections for the next request, by target


class Reply:
    """A request and what has come of its reply."""

    def __init__(self, lane: Lane, target: Target, sock: socket.socket, kept: bool) -> None:
        self.lane, self.target, self.sock = lane, target, sock
        self.kept = kept  # the connection had a request before
        self.begun = time.monotonic_ns()
        self.head: bytes | None = b""  # as far as it has come; None when it is whole
        self.status = 0
        self.chunked = self.keeps = False
        self.length = -1  # of a body that says it
        self.frame = 0  # bytes that are still to come of the frame, its line break included
        self.raw = b""  # not yet taken out of frames
        self.tail = b""
        self.count = 0
        self.marked = self.whole = False  # [DONE] came; the body ended


class Load:
    def __init__(self, job: dict[str, Any]) -> None:
        self.poll = select.epoll()
        self.targets = {name: Target(name, **target) for name, target in job["targets"].items()}
        self.waiting = deque(sorted((Lane(lane) for lane in job["lanes"]), key=lambda lane: lane.at))
        self.replies: dict[int, Reply] = {}
        self.leaving: list[tuple[int, Reply]] = []
        self.left: dict[str, int] = {}  # prompt to moment
        self.begun = time.monotonic_ns()
        self.seconds: float = job["seconds"]
        self.edges: deque[float] = deque(job.get("window", ()))
        self.processes: list[int] = job.get("processes", [])
        self.watched: str = job.get("watched", "")
        self.counted: list[tuple[float, int, float]] = []  # moment, chunks, processor seconds

    def run(self) -> dict[str, Any]:
        while self.waiting or self.replies:
            now = (time.monotonic_ns() - self.begun) / 1e9
            if now > self.seconds:
                break
            while self.waiting and self.waiting[0].at <= now:
                self.ask(self.waiting.popleft())
            while self.edges and self.edges[0] <= now:
                self.edges.popleft()
                self.counted.append((now, len(self.targets[self.watched].lags), processor_seconds(self.processes)))
            while self.leaving and self.leaving[0][0] <= time.monotonic_ns():
                self.leave(self.leaving.pop(0)[1])
            nearest = [self.seconds, *([self.waiting[0].at] if self.waiting else []), *list(self.edges)[:1]]
            nearest += [(self.leaving[0][0] - self.begun) / 1e9] if self.leaving else []
            for descriptor, what in self.poll.poll(max(min(nearest) - now, 0)):
                if reply := self.replies.get(descriptor):
                    self.on_event(reply, what)
        took = (time.monotonic_ns() - self.begun) / 1e9
        for reply in list(self.replies.values()):
            self.end(reply, "unfinished")
        answer: dict[str, Any] = {"targets": {name: target.shown() for name, target in self.targets.items()}}
        answer.update(seconds=took, left=self.left)
        if len(self.counted) == 2:
            (_, first, before), (_, last, after) = self.counted
            answer["window"] = {"chunks": last - first, "processor": after - before}
        return answer

    def ask(self, lane: Lane) -> None:
        target = self.targets[lane.turns[lane.number % len(lane.turns)]]
        lane.number += 1
        target.asked += 1
        self.send(lane, target)

    def send(self, lane: Lane, target: Target) -> None:
        sock = lane.idle.pop(target.name, None)
        kept = sock is not None
        if sock is None:
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reply = Reply(lane, target, sock, kept)
        self.replies[sock.fileno()] = reply
        if lane.leave is not None:
            self.leaving.append((reply.begun + int(lane.leave * 1e9), reply))
            self.leaving.sort(key=lambda each: each[0])
        if kept:
            self.write(reply)
        else:
            sock.connect_ex(("127.0.0.1", target.port))
            self.poll.register(sock, select.EPOLLOUT)

    def write(self, reply: Reply) -> None:
        try:
            reply.sock.send(reply.target.request(reply.lane.prompt, reply.lane.keep, reply.lane.stream))
            self.poll.modify(reply.sock, READ_ONLY)
        except OSError as error:
            self.end(reply, type(error).__name__)

    def on_event(self, reply: Reply, what: int) -> None:
        if what & select.EPOLLOUT:
            self.write(reply)
            return
        try:
            data = reply.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now = time.monotonic_ns()
        if data:
            self.read(reply, data, now)
        if reply.whole or not data:
            self.end(reply, "" if reply.whole or self.is_done(reply) else "cut")

    def read(self, reply: Reply, data: bytes, now: int) -> None:
        if reply.head is not None:
            head, found, data = (reply.head + data).partition(b"\r\n\r\n")
            if not found:
                reply.head = head
                return
            self.read_head(reply, head)
        if reply.chunked:
            data = self.unframed(reply, data)
        elif reply.length >= 0:
            reply.length -= len(data)
            reply.whole = reply.length <= 0
        text = reply.tail + data
        at = 0
        lags = reply.target.lags
        for found_stamp in STAMP.finditer(text):
            lags.append(now - int(found_stamp[1]))
            at = found_stamp.end()
            reply.count += 1
            if reply.count == 1:
                reply.target.first.append((now - reply.begun) / 1e6)
        reply.marked = reply.marked or b"[DONE]" in text
        reply.tail = text[max(at, len(text) - TAIL) :]

    def read_head(self, reply: Reply, head: bytes) -> None:
        reply.head = None
        status = STATUS.match(head)
        reply.status = int(status[1]) if status else 0
        fields = head.lower()
        reply.chunked = b"transfer-encoding: chunked" in fields
        if length := re.search(rb"content-length: *(\d+)", fields):
            reply.length = int(length[1])
        reply.keeps = b"http/1.1" in fields[:12] and b"connection: close" not in fields

    def unframed(self, reply: Reply, data: bytes) -> bytes:
        """Take what is there out of its frames; a moment may be spread over two of them."""
        data = reply.raw + data
        at, found = 0, []
        while at < len(data):
            if not reply.frame:
                line = data.find(b"\r\n", at)
                if line < 0:
                    break
                size = int(data[at:line].partition(b";")[0], 16)
                at = line + 2
                if not size:
                    reply.whole = True
                    break
                reply.frame = size + 2
            piece = data[at : at + reply.frame]
            found.append(piece if len(piece) <= reply.frame - 2 else piece[: reply.frame - 2])
            reply.frame -= len(piece)
            at += len(piece)
        reply.raw = b"" if reply.whole else data[at:]
        return found[0] if len(found) == 1 else b"".join(found)

    def is_done(self, reply: Reply) -> bool:
        if not reply.lane.stream:
            return reply.whole
        return reply.marked and reply.count == reply.lane.chunks

    def leave(self, reply: Reply) -> None:
        if self.replies.get(reply.sock.fileno()) is reply:
            self.left[reply.lane.prompt] = time.monotonic_ns()
            self.end(reply, "left")

    def end(self, reply: Reply, why: str) -> None:
        lane, target = reply.lane, reply.target
        del self.replies[reply.sock.fileno()]
        if reply.kept and why not in ("", "left", "unfinished") and reply.head == b"":
            # The server closed the connection between two requests, which is its right.
            reply.sock.close()
            self.send(lane, target)
            return
        if reply.status != 200 and why != "left":
            why = f"status {reply.status}" if reply.status else why
        elif not why and not self.is_done(reply):
            why = "incomplete"
        if why:
            target.errors[why] += 1
        else:
            target.done += 1
        if lane.keep and reply.keeps and not why:
            lane.idle[target.name] = reply.sock
        else:
            reply.sock.close()
        over = lane.until is not None and (time.monotonic_ns() - self.begun) / 1e9 >= lane.until
        if why in ("left", "unfinished") or over or (lane.until is None and lane.number >= len(lane.turns)):
            for sock in lane.idle.values():
                sock.close()
            return
        self.ask(lane)


if __name__ == "__main__":
    gc.disable()  # its pauses would be lag
    for line in sys.stdin:
        print(json.dumps(Load(json.loads(line)).run()), flush=True)
        gc.collect()
