"""The recorded streams, and the one function that holds a provider to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from streamkit import APIError, Client, Completion, StreamError
from streamkit.providers import Provider
from streamkit.testing import Reply, Server

ROOT = Path(__file__).parent.parent / "recordings"


@attrs.frozen
class Recording:
    """A body that a provider sent, and what it must give."""

    name: str
    body: bytes = attrs.field(repr=False)
    content_type: str = attrs.field(repr=False)
    expected: dict[str, Any] = attrs.field(repr=False)

    @property
    def choices(self) -> int:
        return len(self.expected.get("choices") or [0])


def recordings(api: str) -> list[Recording]:
    rows = map(json.loads, (ROOT / api / "manifest.jsonl").read_text("utf-8").splitlines())
    return [
        Recording(row["name"], (ROOT / api / row["file"]).read_bytes(), row["content_type"], row["expected"])
        for row in rows
    ]


def seen(completion: Completion) -> dict[str, Any]:
    """Return of a completion what a manifest knows."""
    usage = completion.usage
    return {
        "text": completion.text,
        "reasoning_text": completion.reasoning,
        "refusal": completion.refusal or None,
        "finish_reason": completion.raw_finish_reason,
        "tool_calls": [[call.id, call.name, call.raw_arguments] for call in completion.tool_calls],
        "usage": [
            usage.input_tokens,
            usage.output_tokens,
            usage.total_tokens,
            usage.cached_tokens,
            usage.reasoning_tokens,
        ],
    }


def wanted(expected: dict[str, Any]) -> dict[str, Any]:
    """Return of a manifest's line what a completion shows."""
    usage = expected["usage"] or {}
    return {
        "text": expected["text"],
        "reasoning_text": expected["reasoning_text"],
        "refusal": expected["refusal"] or None,
        "finish_reason": expected["finish_reason"],
        "tool_calls": [[call["id"], call["name"], call["arguments"]] for call in expected["tool_calls"]],
        "usage": [usage.get(key) for key in ("input_tokens", "output_tokens", "total_tokens", "cached", "reasoning")],
    }


def outcome_of(client: Client, model: str, recording: Recording) -> tuple[Completion, StreamError | None]:
    """Stream once; return what came and the error, if any, after checking what holds for every stream."""
    with client.stream(model, "Hello", n=recording.choices if recording.choices > 1 else None) as stream:
        chunks = []
        error: StreamError | None = None
        try:
            for chunk in stream:
                chunks.append(chunk)
        except StreamError as failure:
            error = failure
        assert "".join(chunk.text for chunk in chunks if chunk.index == 0) == stream.completion.text
        done = [chunk.finished for chunk in chunks]
        if error is None:
            assert done.count(True) == 1
            assert done[-1]
            assert stream.status == "complete"
        else:
            assert True not in done
            assert error.partial == stream.completion
            assert stream.completion.finish_reason == "error"
            assert stream.status in ("truncated", "error")
        return stream.completion, error


def check_recording(server: Server, provider: Provider, model: str, recording: Recording) -> None:
    """Hold a provider, which must point at the server, to a recording that the server plays."""
    with Client([provider], retry=1, timeout=30) as client:
        completion, error = outcome_of(client, model, recording)
    if recording.expected.get("error") is None:
        assert error is None
    else:
        assert isinstance(error, APIError)
        assert error.in_stream
        assert recording.expected["error"]["message"] in str(error)
    assert wanted(recording.expected) == seen(completion)
    for choice, expected in zip(completion.choices, recording.expected.get("choices") or [], strict=False):
        assert expected["text"] == choice.text
        assert expected["finish_reason"] == choice.raw_finish_reason


def serve(reply: Reply) -> Server:
    return Server(reply)
