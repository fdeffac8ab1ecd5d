"""Ask many questions with a pool of threads, stop when enough replies are whole, and lose nothing that came.

All calls share one client and one ``StopEvent``. A call that is stopped raises ``StreamCancelledError``; its partial
reply is in ``error.partial``. A call that has not started yet ends before it sends anything.

Run it as it is, or with the name of another model: ``python thread_pool.py openai/gpt-4o-mini``.
"""

import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from streamkit import Client, Completion, StopEvent, StreamCancelledError

ENOUGH = 2  # replies
model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"
topics = ("a fox", "an owl", "a lighthouse", "the moon", "the sea", "a robot")

client, stop = Client(), StopEvent()


def ask(topic: str) -> Completion:
    return client.complete(model, f"Tell me a story about {topic}", max_tokens=60, stop=stop)


with client, ThreadPoolExecutor(max_workers=2) as pool:
    futures = {topic: pool.submit(ask, topic) for topic in topics}
    try:
        for number, _ in enumerate(as_completed(futures.values()), start=1):
            if number == ENOUGH:
                break
    finally:
        stop.set()  # in a finally, as after Ctrl-C the pool would wait for all replies

    for topic, future in futures.items():
        try:
            print(f"{topic}: whole, {len(future.result().text.split())} words")
        except StreamCancelledError as error:
            kept = error.partial.text.split() if error.partial else []
            print(f"{topic}: stopped, {len(kept)} words kept")
