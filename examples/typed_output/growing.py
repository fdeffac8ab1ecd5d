"""Show an object while the model writes it, and get an instance of your class at its end.

``iter_partial()`` yields plain dicts and lists each time that something has come, whatever the JSON lacks still.
``completion.parsed`` is the instance, validated.

Run it as it is, or with the name of another model: ``python growing.py openai/gpt-4o-mini``.
"""

import sys
from dataclasses import dataclass
from datetime import date

from streamkit import Client

model = sys.argv[1] if len(sys.argv) > 1 else "demo/assistant"


@dataclass
class Invoice:
    customer: str
    due: date
    total: float
    paid: bool = False


with Client() as client:
    text = "customer: Ann; due: 2026-12-24; total: 52.50 EUR"
    stream = client.stream(model, text, response_format=Invoice)
    for value in stream.iter_partial():
        print(value)
    print(repr(stream.completion.parsed))
