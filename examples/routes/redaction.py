"""Middleware: take names out of what is sent, and put them back into what comes.

A test server stands for the provider, and shows what it was sent.
"""

from collections.abc import Callable

import attrs

from streamkit import Chunk, ChunkStream, Client, Middleware, providers
from streamkit.policies.middleware import Request
from streamkit.testing import Server, text_reply

NAMES = {"Ann Miller": "PERSON-1"}


class HideNames(Middleware):
    """Replaces names by marks on the way out, and marks by names on the way back.

    A mark comes in one piece here; a model may split it over two chunks.
    """

    def request(self, request: Request, next: Callable[[Request], ChunkStream]) -> ChunkStream:
        """Hide the names in all messages."""
        messages = [{**message, "content": hidden(message["content"])} for message in request.messages]
        return next(attrs.evolve(request, messages=messages))

    def chunk(self, chunk: Chunk) -> Chunk:
        """Put the names back."""
        return attrs.evolve(chunk, text=shown(chunk.text)) if chunk.text else chunk


def hidden(text: str) -> str:
    """Return the text with marks for names."""
    for name, mark in NAMES.items():
        text = text.replace(name, mark)
    return text


def shown(text: str) -> str:
    """Return the text with names for marks."""
    for name, mark in NAMES.items():
        text = text.replace(mark, name)
    return text


with Server(text_reply("Dear PERSON-1, welcome.")) as server:
    client = Client([providers.OpenAICompatible("local", server.url, "key")], policies=[HideNames()])
    print(client.complete("local/model", "Greet Ann Miller").text)
    print("sent:", server.requests[0].json()["messages"][0]["content"])
