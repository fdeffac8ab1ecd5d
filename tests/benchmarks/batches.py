"""Processor time of a batch of short replies, beside the openai package under asyncio and litellm's batch_completion.

python tests/benchmarks/batches.py [--replies 2000] [--concurrency 32] [--rounds 3] [--memory]

Each client is a process of its own, and so is the server, which is one thread that writes a reply at once. The clients
take turns. ``streamed`` is the same request as streamkit's, a stream of events; ``whole`` asks for the reply as one
piece of JSON, which streamkit never does. What is not installed is left out. ``--memory`` prints what an open stream of
a batch takes instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

WORDS = 10  # of a reply, an event each


def serve() -> None:
    """Answer each request on any number of connections at once; one with the path /hang never."""
    events = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        for choice in [
            *({"index": 0, "delta": {"content": f" word{word}"}, "finish_reason": None} for word in range(WORDS)),
            {"index": 0, "delta": {}, "finish_reason": "stop"},
        ]
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": WORDS, "total_tokens": 5 + WORDS}
    events.append({**events[0], "choices": [], "usage": usage})
    message = {"role": "assistant", "content": "".join(f" word{word}" for word in range(WORDS))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode() + b"data: [DONE]\n\n"
    answers = {True: reply("text/event-stream", body), False: reply("application/json", json.dumps(whole).encode())}
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    received: dict[socket.socket, bytes] = {}
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                received[connection] = b""
                continue
            connection = key.fileobj  # type: ignore[assignment]
            data = connection.recv(65536)
            if not data:
                selector.unregister(connection)
                connection.close()
                del received[connection]
                continue
            request = received[connection] + data
            head, blank, sent = request.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            if not blank or len(sent) < length:
                received[connection] = request
                continue
            received[connection] = b""
            if b" /hang/" not in head:
                connection.sendall(answers[b'"stream":true' in sent.replace(b" ", b"")])


def reply(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def prompts(count: int) -> list[str]:
    return [f"Prompt {number}" for number in range(count)]


def with_streamkit(url: str, count: int, concurrency: int) -> int:
    import streamkit

    client = streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=url)])
    return sum(len(result.text) > 0 for result in client.map("openai/m", prompts(count), concurrency=concurrency))


def with_openai(stream: bool) -> Callable[[str, int, int], int]:
    def ask(url: str, count: int, concurrency: int) -> int:
        import asyncio

        import openai

        async def all_of_them() -> int:
            places = asyncio.Semaphore(concurrency)

            async def one(prompt: str) -> str:
                async with places:
                    messages = [{"role": "user", "content": prompt}]
                    if not stream:
                        whole = await client.chat.completions.create(model="m", messages=messages)  # type: ignore[arg-type]
                        return whole.choices[0].message.content or ""
                    chunks = await client.chat.completions.create(
                        model="m",
                        messages=messages,
                        stream=True,
                        stream_options={"include_usage": True},  # type: ignore[arg-type]
                    )
                    texts = []
                    async for chunk in chunks:
                        if chunk.choices:
                            texts.append(chunk.choices[0].delta.content or "")
                    return "".join(texts)

            async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
                return sum(len(text) > 0 for text in await asyncio.gather(*map(one, prompts(count))))

        return asyncio.run(all_of_them())

    return ask


def with_litellm(url: str, count: int, concurrency: int) -> int:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the network for prices
    import litellm

    litellm.telemetry = False
    messages = [[{"role": "user", "content": prompt}] for prompt in prompts(count)]
    replies = litellm.batch_completion(
        model="openai/m", messages=messages, api_base=url, api_key="k", max_workers=concurrency
    )
    return sum(len(reply.choices[0].message.content) > 0 for reply in replies)


CLIENTS = {
    "streamkit": ("streamkit", with_streamkit),
    "openai, asyncio, streamed": ("openai", with_openai(True)),
    "openai, asyncio, whole": ("openai", with_openai(False)),
    "litellm.batch_completion, whole": ("litellm", with_litellm),
}


def measure(client: str, url: str, count: int, concurrency: int) -> None:
    """Print processor microseconds a reply, and seconds in all."""
    ask = CLIENTS[client][1]
    ask(url, concurrency, concurrency)  # imports, and whatever is made once
    used, began = time.process_time(), time.perf_counter()
    assert ask(url, count, concurrency) == count
    print((time.process_time() - used) / count * 1e6, time.perf_counter() - began, flush=True)
    os._exit(0)  # no figure is worth the time that a clean exit takes


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(url: str, streams: int) -> None:
    """Print what an open stream of a batch takes: its reader, the thread that waits for it, its connection."""
    import streamkit

    client = streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=f"{url}/hang")])
    stop = streamkit.StopEvent()
    assert [result.text for result in client.map("demo/storyteller", ["a"], max_tokens=3)]
    before = resident()
    batch = client.map("openai/m", prompts(streams), concurrency=streams, stop=stop, timeout=None)
    import threading

    threading.Timer(5 + streams / 100, stop.set).start()
    largest = before
    threading.Thread(target=lambda: [None for _ in batch], daemon=True).start()
    while not stop.is_set():
        largest = max(largest, resident())
        time.sleep(0.05)
    print(f"{streams} open streams: {(largest - before) / streams / 1024:6.1f} KiB each")
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="what an open stream takes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    if options.measure == "memory":
        memory(options.url, options.concurrency)
    if options.measure:
        measure(options.measure, options.url, options.replies, options.concurrency)
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    command = [sys.executable, __file__, "--url", f"http://127.0.0.1:{server.stdout.readline().strip()}"]

    def run(*arguments: str) -> str:
        return subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout

    try:
        if options.memory:
            for streams in (16, 100, 1000):
                print(run("--measure", "memory", "--concurrency", str(streams)), end="", flush=True)
            return
        clients = [name for name, (module, _) in CLIENTS.items() if importlib.util.find_spec(module)]
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in clients}
        for _ in range(options.rounds):
            for name in clients:
                size = ("--replies", str(options.replies), "--concurrency", str(options.concurrency))
                used, seconds = run("--measure", name, *size).split()[-2:]
                took[name].append((float(used), float(seconds)))
        ours = statistics.median(used for used, _ in took["streamkit"])
        for name, figures in took.items():
            used = statistics.median(used for used, _ in figures)
            seconds = statistics.median(seconds for _, seconds in figures)
            print(
                f"{name:32} {used:8.0f} processor µs a reply = {used / ours:5.2f}x streamkit, {seconds:6.1f} s in all"
            )
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
