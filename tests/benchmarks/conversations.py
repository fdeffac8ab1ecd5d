"""What a turn costs in a long conversation beside a short one, and what memory each of its turns takes.

python tests/benchmarks/conversations.py [--turns 10000] [--asked 60]

The reply comes from a server in this process, at once. The short and the long conversation take turns; the medians
are compared. A ratio near 1 means that a turn costs the same. `processor` is the time of all threads, the server's
included.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
import tracemalloc
from contextlib import ExitStack, closing
from pathlib import Path

import streamkit
from streamkit import Conversation, MemoryStore, Message, SQLStore, Store, Usage, Window
from streamkit.conversation.turns import ConversationState, Turn
from streamkit.testing import Server, text_reply

SHORT = 10
TEXT = "It was a dark and stormy night; the rain fell in torrents. " * 3


def turns(count: int) -> list[Turn]:
    """Return turns, each with texts of its own, as a store gives them."""
    usage = Usage(input_tokens=40, output_tokens=40, total_tokens=80)
    return [
        Turn(
            Message("user", f"{number} {TEXT}"),
            (Message("assistant", f"{TEXT} {number}"),),
            "complete",
            usage,
            model="openai/m",
            context=400,
            tokens=80,
        )
        for number in range(count)
    ]


def chat_of(client: streamkit.Client, store: Store | None, count: int) -> Conversation:
    """Return a conversation of so many turns."""
    state = ConversationState(f"of {count}", turns(count), "openai/m")
    if store is None:
        return Conversation(client, state, options={}, window=Window(turns=5))
    store.save(state, expected=0)
    return client.conversation("openai/m", store=store, id=state.id, window=Window(turns=5))


def compare(name: str, client: streamkit.Client, store: Store | None, count: int, asked: int) -> None:
    """Print what a turn costs in the short and in the long conversation."""
    chats = {size: chat_of(client, store, size) for size in (SHORT, count)}
    wall: dict[int, list[float]] = {size: [] for size in chats}
    processor: dict[int, list[float]] = {size: [] for size in chats}
    for _ in range(asked):
        for size, chat in chats.items():
            began, used = time.perf_counter(), time.process_time()
            chat.send(TEXT)
            wall[size].append(time.perf_counter() - began)
            processor[size].append(time.process_time() - used)
    shown = []
    for what, figures in (("a turn", wall), ("processor", processor)):
        short, long = (statistics.median(figures[size]) * 1e3 for size in chats)
        shown.append(f"{what} {short:6.2f} ms of {SHORT}, {long:6.2f} ms of {count:,}: x {long / short:4.2f}")
    print(f"{name:12} {'; '.join(shown)}", flush=True)


def memory(count: int) -> None:
    """Print what the turns of a conversation take, beside their text."""
    gc.collect()
    tracemalloc.start()
    made = turns(count)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    text = sum(len(str(message.content)) for turn in made for message in turn.messages)
    print(
        f"memory       {count:7,} turns: {taken / count:6.0f} bytes a turn, {text / count:4.0f} of them text",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=60)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(Server(text_reply(TEXT), remember=0))
        client = stack.enter_context(streamkit.Client([streamkit.providers.OpenAI(api_key="k", base_url=server.url)]))
        sqlite = stack.enter_context(closing(SQLStore(Path(folder, "chats.db"))))
        client.complete("openai/m", "warm up")
        for name, store in (("no store", None), ("memory", MemoryStore()), ("SQLite", sqlite)):
            compare(name, client, store, options.turns, options.asked)
    for count in (100, 1000, options.turns):
        memory(count)


if __name__ == "__main__":
    main()
