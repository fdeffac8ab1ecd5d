"""Cost of many open streams with few chunks: processor share and lag of the chunks.

python tests/benchmarks/many_open.py [--streams 1000] [--seconds 10]

Each stream has a thread that consumes it. The server is one thread in a process of its own. First nothing is sent;
then each stream is sent a chunk twice a second, and five times, spread evenly. Lag is from the server's send to the
loop's body.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
EVENT = '{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"%s "}}]}'


def serve(per_second: float, seconds: float) -> None:
    """Answer each connection with a head and one chunk, and later with chunks at a rate, when a byte comes on stdin."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    open_ones: list[socket.socket] = []
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ)
    started = False
    while not started:
        for key, _ in selector.select():
            if key.fileobj is listener:
                sock, _ = listener.accept()
                selector.register(sock, selectors.EVENT_READ)
            elif key.fileobj is sys.stdin.buffer:
                started = True
            else:
                sock = key.fileobj  # type: ignore[assignment]
                sock.recv(65536)
                selector.unregister(sock)
                sock.sendall(HEAD + chunk("0"))
                open_ones.append(sock)
    if per_second:
        every, due = 1 / per_second / len(open_ones), time.monotonic()
        until = due + seconds
        while due < until:
            for sock in open_ones:
                due += every
                if (left := due - time.monotonic()) > 0.0005:
                    time.sleep(left)
                sock.sendall(chunk(str(time.monotonic_ns())))
    else:
        time.sleep(seconds)
    for sock in open_ones:
        sock.sendall(b"data: [DONE]\n\n")
        sock.close()


def chunk(text: str) -> bytes:
    return f"data: {EVENT % text}\n\n".encode()


def measure(streams: int, per_second: float, seconds: float) -> None:
    import streamkit

    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(per_second), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdin is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    client = streamkit.Client(
        [streamkit.providers.OpenAI(api_key="k", base_url=url)], timeout=streamkit.Timeout(first=600, idle=600)
    )
    lags: list[float] = []
    begun = threading.Barrier(streams + 1)

    def consume() -> None:
        with suppress(streamkit.StreamError):
            stream = client.stream("openai/m", "Hi")
            next(stream)
            begun.wait(120)
            for each in stream:
                if each.text:
                    lags.append((time.monotonic_ns() - int(each.text)) / 1e6)

    threads = [threading.Thread(target=consume, daemon=True) for _ in range(streams)]
    for thread in threads:
        thread.start()
    begun.wait(120)
    time.sleep(1)  # for the threads to be at their waits
    before = time.process_time()
    server.stdin.write("\n")
    server.stdin.flush()
    time.sleep(seconds)
    used = time.process_time() - before
    for thread in threads:
        thread.join(60)
    server.wait(60)
    shown = f"{streams} streams, {per_second:g} chunks a second each: {used / seconds:6.2%} of a core"
    if lags:
        lags.sort()
        p50, p99 = lags[len(lags) // 2], lags[int(len(lags) * 0.99)]
        shown += f", {used / len(lags) * 1e6:6.0f} µs a chunk, lag p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    print(shown, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--serve", nargs=2, type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(*options.serve)
        return
    for per_second in (0, 2, 5):
        measure(options.streams, per_second, options.seconds)


if __name__ == "__main__":
    main()
