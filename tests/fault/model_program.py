"""A server of models in a process of its own, for tests whose programs run in a network namespace."""

from __future__ import annotations

import threading

from streamkit.testing import Server, text_reply

if __name__ == "__main__":
    words = " ".join(f"w{number}" for number in range(240))
    with Server(text_reply(words, pause=0.05)) as server:
        print(f"serving {server.url}", flush=True)
        threading.Event().wait()
