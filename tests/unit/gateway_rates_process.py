"""A process of the test of rates: four threads ask as fast as they can; the output says how many requests passed."""

from __future__ import annotations

import sys
import threading

import redis

from streamkit.errors import RequestError
from streamkit.gateway.core.holders import Holder, Limits
from streamkit.gateway.core.rates import Rates

ASKED = 100  # by each thread


def main(url: str, requests: int, tokens: int) -> None:
    """Ask when the list ``go`` has something."""
    rates, passed = Rates(url), []
    holders = [
        Holder("token:a", Limits(requests_per_minute=2 * requests, tokens_per_minute=tokens)),
        Holder("team:blue", Limits(requests_per_minute=requests)),
    ]

    def ask() -> None:
        for _ in range(ASKED):
            try:
                rates.ask(holders, 10)
                passed.append(1)
            except RequestError:
                pass

    threads = [threading.Thread(target=ask) for _ in range(4)]
    print("ready", flush=True)
    redis.Redis.from_url(url).blpop(["go"], 60)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"passed {len(passed)} of {4 * ASKED}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
