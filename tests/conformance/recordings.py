"""The recorded streams, and the one function that holds a provider to them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from streamkit import APIError, BrokenStreamError, Client, Completion, StreamError, TruncatedStreamError
from streamkit.providers import Provider
from streamkit.testing import Server, recording_reply

ROOT = Path(__file__).parent.parent / "recordings"


Compare = Callable[["Recording", Completion], None]


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
    """Return of a manifest's line what a completion shows.

    xAI and Google count the tokens of thoughts beside those of the answer, as their totals show; the rest of the
    world, and a completion, count them in, as they are billed.
    """
    usage = dict(expected["usage"] or {})
    given, made, total = (usage.get(f"{name}_tokens") or 0 for name in ("input", "output", "total"))
    if usage.get("reasoning") and given + made + usage["reasoning"] <= total:
        usage["output_tokens"] += usage["reasoning"]
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


def check_recording(
    server: Server, provider: Provider, model: str, recording: Recording, compare: Compare | None = None
) -> None:
    """Hold a provider, which must point at the server, to a recording that the server plays."""
    with Client([provider], retry=1, timeout=30) as client:
        completion, error = outcome_of(client, model, recording)
    check_outcome(completion, error, recording, compare)


def check_outcome(
    completion: Completion, error: StreamError | None, recording: Recording, compare: Compare | None = None
) -> None:
    if recording.expected.get("error") is None:
        assert error is None
    else:
        assert isinstance(error, APIError)
        assert error.in_stream
        assert recording.expected["error"]["message"] in str(error)
    if compare is not None:
        compare(recording, completion)
        return
    assert wanted(recording.expected) == seen(completion)
    for choice, expected in zip(completion.choices, recording.expected.get("choices") or [], strict=False):
        assert expected["text"] == choice.text
        assert expected["finish_reason"] == choice.raw_finish_reason


def check_provider(
    recording: Recording, provider_of: Callable[[Server], Provider], model: str, compare: Compare | None = None
) -> None:
    """Hold a provider to one recording: whole, cut at random, a write a byte, and any prefix of it.

    Args:
        recording: what a server sends.
        provider_of: returns the provider that asks this server.
        model: with the provider's segment.
        compare: what the completion must be, where ``wanted`` and ``seen`` do not say it; asserts by itself.
    """
    body, chance = recording.body, random.Random(recording.name)
    many = min(40, len(body) - 1)
    cuts = [(framing, sorted(chance.sample(range(1, len(body)), many))) for framing in ("chunked", "close", "length")]
    cuts.append(("chunked", []))
    if len(body) < 20_000:
        cuts.append(("chunked", list(range(1, len(body)))))
    replies = [
        recording_reply(body, at, framing=framing, content_type=recording.content_type)  # type: ignore[arg-type]
        for framing, at in cuts
    ]
    with Server(*replies) as server, Client([provider_of(server)], retry=1, timeout=30) as client:
        for _ in cuts:
            completion, error = outcome_of(client, model, recording)
            check_outcome(completion, error, recording, compare)
    check_prefixes(recording, provider_of, model, completion)


def check_prefixes(
    recording: Recording, provider_of: Callable[[Server], Provider], model: str, full: Completion
) -> None:
    """Hold a provider to prefixes: each gives the full reply, or one documented error and a part of the reply."""
    cases = [(at, ends) for at in prefix_lengths(recording) for ends in ("finish", "cut", "reset")]
    replies = [
        recording_reply(recording.body[:at], ends=ends, content_type=recording.content_type)  # type: ignore[arg-type]
        for at, ends in cases
    ]
    with Server(*replies) as server, Client([provider_of(server)], retry=1, timeout=30) as client:
        for at, ends in cases:
            completion, error = outcome_of(client, model, recording)
            if error is None:
                assert shown(full) == shown(completion), (at, ends)
            else:
                in_stream = recording.expected.get("error") is not None and isinstance(error, APIError)
                assert in_stream or isinstance(error, (TruncatedStreamError, BrokenStreamError)), (at, ends)
                assert full.text.startswith(completion.text), (at, ends)
                assert full.reasoning.startswith(completion.reasoning), (at, ends)
                for known, part in zip(full.tool_calls, completion.tool_calls, strict=False):
                    assert known.raw_arguments.startswith(part.raw_arguments), (at, ends)
                assert len(completion.tool_calls) <= len(full.tool_calls)


def shown(completion: Completion) -> dict[str, Any]:
    """Return what a prefix must have in full to count as the whole reply; usage may come after its end."""
    return {name: value for name, value in seen(completion).items() if name != "usage"}


def prefix_lengths(recording: Recording) -> list[int]:
    """Return where to cut: around the ends of events, most of all the last ones, and anywhere."""
    body, chance = recording.body, random.Random(recording.name)
    gap = b"\n\n" if b"\n\n" in body else b"\r\n\r\n" if b"\r\n\r\n" in body else b"\n"
    ends = [match.end() for match in re.finditer(re.escape(gap), body)]
    chosen = {0, 1, len(body) - 1}
    for end in ends[-4:] + chance.sample(ends, min(4, len(ends))):
        chosen |= {end - len(gap), end - 1, end}
    return sorted(at for at in chosen | set(chance.sample(range(len(body)), 6)) if 0 <= at <= len(body))
