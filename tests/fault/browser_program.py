"""What a page does with an EventSource: sends a task, follows its reply, and comes back where the connection breaks.

Takes the address of the web app; prints each event.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import requests


def main(site: str) -> None:
    """Print each event as it comes."""
    id = requests.post(f"{site}/tasks/answer", "x", timeout=60).json()["id"]
    print("asked", flush=True)
    last, ended = "", False
    while not ended:
        headers = {"Last-Event-ID": last} if last else {}
        with suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
            with requests.get(f"{site}/replies/{id}", stream=True, timeout=60, headers=headers) as response:
                event: dict[str, str] = {}
                for line in response.iter_lines(decode_unicode=True):
                    name, _, value = line.partition(": ")
                    if name:
                        event[name] = value
                    elif "data" in event:
                        last = event.get("id", last)
                        kind = event.get("event", "message")
                        ended = kind in ("done", "error")
                        print(kind, last, event["data"], flush=True)
                        event = {}
    print("over", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
