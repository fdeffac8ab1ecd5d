"""Streams that end with fewer choices than were requested."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from streamkit import BrokenStreamError, Client, StreamError, TruncatedStreamError, providers
from streamkit.testing import Server, recording_reply

ONE = b'data: {"id":"r","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
STOPPED = b'data: {"id":"r","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
TWO = b'data: {"id":"r","choices":[{"index":1,"delta":{"content":"Ho"},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize(
    ("body", "ends", "framing", "failure"),
    [
        (ONE + STOPPED, "finish", "chunked", None),
        (ONE + STOPPED, "finish", "length", None),
        (ONE + STOPPED, "finish", "close", None),
        (ONE + STOPPED + b"data: [DONE]\n\n", "finish", "chunked", None),
        (ONE + STOPPED, "cut", "chunked", TruncatedStreamError),
        (ONE + STOPPED, "reset", "chunked", BrokenStreamError),
        (ONE + STOPPED + TWO, "finish", "chunked", TruncatedStreamError),
        (ONE + TWO + STOPPED, "finish", "chunked", TruncatedStreamError),
        (ONE + STOPPED + TWO[:-2], "finish", "chunked", TruncatedStreamError),
        (ONE, "finish", "chunked", TruncatedStreamError),
        (b"", "finish", "chunked", TruncatedStreamError),
    ],
)
def test_fewer_choices_than_were_asked_for(
    body: bytes, ends: Any, framing: Any, failure: type[StreamError] | None
) -> None:
    """One finished choice of two with a clean end is complete; with a broken connection or an open choice it is not."""
    reply = recording_reply(body, ends=ends, framing=framing)
    with (
        Server(reply) as server,
        Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=1, timeout=30) as client,
    ):
        with client.stream("openai/m", "Hello", n=2) as stream:
            with nullcontext() if failure is None else pytest.raises(failure):
                list(stream)
            if failure is None:
                said = stream.completion
                assert ("complete", "Hi", "stop") == (stream.status, said.text, said.finish_reason)
