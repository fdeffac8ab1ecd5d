"""Get the elements of a list one by one, each as soon as it is whole and valid, while the rest is still being written.

Run it as it is, or with the name of another model: ``python items.py openai/gpt-4o-mini``.
"""

import sys

import attrs

from streamkit import Client

model = sys.argv[1] if len(sys.argv) > 1 else "demo/assistant"


@attrs.frozen
class Person:
    name: str
    age: int


with Client() as client:
    stream = client.stream(model, "Ann is 34 years old, Bob is 5, and Cleo is 61.", response_format=list[Person])
    for person in stream.iter_items():
        print(f"{person!r} after {len(stream.text)} characters")
    print(f"{len(stream.text)} characters in all, {len(stream.completion.parsed)} people")
