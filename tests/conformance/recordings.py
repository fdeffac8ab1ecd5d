"""The recorded streams, and the function that checks a provider against them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import attrs

from streamkit import APIError, BrokenStreamError, Chunk, Client, Completion, StreamError, TruncatedStreamError
from streamkit.providers import Provider
from streamkit.testing import Server, recording_reply
from streamkit.transport.framing import Frame
from streamkit.transport.sse import Guard
from tests.conformance.judge import Ending, Outcome, Reading, check_cuts, fed_byte_by_byte, framed, prefixes, unlogged

ROOT = Path(__file__).parent.parent / "recordings"
ENDS = ("finish", "cut", "reset")  # the framing of HTTP, FIN in the middle of it, RST
BYTE_BY_BYTE = 4_000  # bytes; longer bodies are not sent over a socket a byte at a time

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


def outcome_of(client: Client, model: str, recording: Recording) -> Outcome:
    """Stream once; return what came, after checking that the stream tells the same of itself."""
    chunks, error = [], None
    with client.stream(model, "Hello", n=recording.choices if recording.choices > 1 else None) as stream:
        try:
            for chunk in stream:
                chunks.append(chunk)
        except StreamError as failure:
            error = failure
            assert error.partial == stream.completion
        assert stream.status in (("complete",) if error is None else ("truncated", "error"))
        return Outcome(chunks, stream.completion, error)


def check_provider(
    recording: Recording, provider_of: Callable[[Server], Provider], model: str, compare: Compare | None = None
) -> None:
    """Hold a provider to one recording: whole, cut at random, a write a byte, and any prefix of it.

    All of it is judged in memory; whole, in a few cuts and for some prefixes it is streamed over a socket as well,
    with the same outcome.

    Args:
        recording: what a server sends.
        provider_of: returns the provider that asks this server.
        model: with the provider's segment.
        compare: what the completion must be, where ``wanted`` and ``seen`` do not say it; asserts by itself.
    """
    body, kind = recording.body, recording.content_type
    with unlogged():
        fed = fed_byte_by_byte(kind, body)
    lengths = socket_lengths(recording, fed[1])
    cases = [(len(body), "finish", framing, cuts) for framing, cuts in socket_cuts(recording)]
    cases += [(at, ends, "chunked", []) for at in lengths for ends in ENDS]
    replies = [
        recording_reply(body[:at], cuts, ends=ends, framing=framing, content_type=kind)  # type: ignore[arg-type]
        for at, ends, framing, cuts in cases
    ]
    with Server(*replies) as server, Client([provider_of(server)], retry=1, timeout=60) as client:
        with unlogged():
            judged = judge(provider_of(server), model, recording, fed, lengths, compare)
        for at, ends, framing, cuts in cases:
            outcome = outcome_of(client, model, recording)
            check_prefix(recording, judged[len(body), "finish"], outcome)
            if ends != "reset":  # there the kernel may throw away what it has not delivered
                expected = judged[at, "finish" if ends == "finish" else "fail"]
                assert shape(expected) == shape(outcome), (at, ends, framing, cuts)


def judge(
    provider: Provider,
    model: str,
    recording: Recording,
    fed: tuple[list[Frame], list[int]],
    lengths: Collection[int],
    compare: Compare | None = None,
) -> dict[tuple[int, Ending], Outcome]:
    """Hold a provider to a recording, in memory; return the outcomes of prefixes of these lengths, and of the whole."""
    body, kind, name = recording.body, recording.content_type, model.partition("/")[2]
    check_cuts(kind, body, fed[0])
    guard = Guard(bare_errors=True)
    whole = (
        Reading(provider, name, recording.choices).read(framed(kind, [body], guard)).outcome("finish", torn=guard.torn)
    )
    check_whole(recording, whole, compare)
    outcomes = {(len(body), "finish"): whole}
    for prefix in prefixes(provider, name, recording.choices, kind, body, fed, lengths):
        check_prefix(recording, whole, prefix.outcome)
        for at in lengths:
            if at in prefix.lengths:
                outcomes[at, prefix.ending] = prefix.outcome
    return outcomes


def shape(outcome: Outcome) -> tuple[Sequence[Chunk], Completion, object]:
    """Return what is compared of an outcome: of the failures that end a body all are the same.

    Of another error that is its class and its attributes: to its message a stream adds the address, among others.
    """
    error = outcome.error
    if isinstance(error, (TruncatedStreamError, BrokenStreamError)):
        return outcome.chunks, outcome.completion, "the bytes are over"
    told = {name: value for name, value in vars(error).items() if name not in ("partial", "remedy")} if error else {}
    return outcome.chunks, outcome.completion, (type(error), told)


def check_whole(recording: Recording, outcome: Outcome, compare: Compare | None = None) -> None:
    """Check that the outcome of a whole recording is what its manifest says."""
    completion, error = outcome.completion, outcome.error
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


def check_prefix(recording: Recording, whole: Outcome, outcome: Outcome) -> None:
    """Check that a prefix gives the whole reply, or one documented error and a part of the reply."""
    full, part, error = whole.completion, outcome.completion, outcome.error
    assert part.text == "".join(chunk.text for chunk in outcome.chunks if chunk.index == 0)
    done = [chunk.finished for chunk in outcome.chunks]
    if error is None:
        assert done.index(True) == len(done) - 1
        assert shown(full) == shown(part)
        return
    assert True not in done
    assert part.finish_reason == "error"
    in_stream = recording.expected.get("error") is not None and isinstance(error, APIError)
    assert in_stream or isinstance(error, (TruncatedStreamError, BrokenStreamError))
    assert full.text.startswith(part.text)
    assert full.reasoning.startswith(part.reasoning)
    for known, call in zip(full.tool_calls, part.tool_calls, strict=False):
        assert known.raw_arguments.startswith(call.raw_arguments)
    assert len(part.tool_calls) <= len(full.tool_calls)


def shown(completion: Completion) -> dict[str, Any]:
    """Return what a prefix must have in full to count as the whole reply; usage may come after its end."""
    return {name: value for name, value in seen(completion).items() if name != "usage"}


def socket_cuts(recording: Recording) -> list[tuple[str, Sequence[int]]]:
    """Return the framings of HTTP and the cuts in which a whole body is sent."""
    inner, chance = range(1, len(recording.body)), random.Random(recording.name)
    cuts: list[tuple[str, Sequence[int]]] = [("chunked", [])]
    cuts += [(framing, chance.sample(inner, min(40, len(inner)))) for framing in ("chunked", "close", "length")]
    if len(recording.body) <= BYTE_BY_BYTE:
        cuts.append(("chunked", inner))
    return cuts


def socket_lengths(recording: Recording, out_at: Sequence[int]) -> list[int]:
    """Return the lengths of prefixes to send: around the ends of the last two events, none at all, and any one."""
    last = [at - back for at in out_at[-2:] for back in (0, 1)]
    anywhere = random.Random(recording.name).randrange(len(recording.body))
    return sorted({0, *last, len(recording.body) - 1, anywhere})
