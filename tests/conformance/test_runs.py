"""A run of three rounds with two calls each is the same in every wire format."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest

from streamkit import (
    Answered,
    Approved,
    Chunk,
    Client,
    ConfigError,
    FilePart,
    ImagePart,
    Message,
    Run,
    Suspension,
    Tool,
    ToolContext,
    Usage,
)
from streamkit.providers.contract import result_media_of
from streamkit.testing import Reply, Server, reply_in
from tests.conformance.run_replies import ROUNDS, SCRIPTED, Calls, plan_of, signature_of, signed
from tests.tool_cases import rules
from tests.unit.calls import PDF, PIXEL

GOLDEN = Path(__file__).parent.parent / "golden" / "runs"

EIGHT = ["openai", "openai-responses", "anthropic", "gemini", "mistral", "bedrock", "cohere", "ollama"]
MORE = [name for name in SCRIPTED if name not in EIGHT]
FAMILIES = {name: name for name in rules.FAMILIES} | {"openai-responses": "responses", "gemini-interactions": "gemini"}

THOUGHTS = ["Look both up", "Compare with others", "The time is missing", "All is there"]
TEXTS = ["I look it up.", "Two more.", "", "It is 18 C in Paris."]
ANSWERS = [
    ['{"city":"Paris","unit":"C","degrees":18}', "CET: 12:00:00"],
    ['{"city":"Oslo","unit":"F","degrees":18}', '{"city":"Rome","unit":"C","degrees":18}'],
    ['Zürich "☀": 12:00', "UTC: 12:00"],
]
QUESTION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How is the weather in Paris?"},
]
# What a user passes who keeps the history himself.
PARAMS: dict[str, dict[str, Any]] = {
    "openai-responses": {"store": False, "include": ["reasoning.encrypted_content"]},
    "gemini-interactions": {"store": False},
}


def tools(*, needs_approval: bool = False) -> list[Tool]:
    """Return two tools that are called both at once: each waits for the other call of its round."""
    both = threading.Barrier(1 if needs_approval else 2, timeout=60)

    def get_weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, Any]:
        """Look the weather up."""
        both.wait()
        return {"city": city, "unit": unit, "degrees": 18}

    def get_time(zone: str, precise: bool = False) -> str:
        """Tell the time.

        Args:
            zone: an IANA zone.
        """
        both.wait()
        return f"{zone}: {'12:00:00' if precise else '12:00'}"

    return [Tool.of(function, needs_approval=needs_approval) for function in (get_weather, get_time)]


def script(name: str) -> list[Reply]:
    """Return the replies of the four requests of a run."""
    return [
        signed(name, text, round, reasoning=thought, tool_calls=ROUNDS[round] if round < len(ROUNDS) else ())
        for round, (text, thought) in enumerate(zip(TEXTS, THOUGHTS, strict=True))
    ]


def counting_anew(name: str) -> list[Reply]:
    """Return the same replies of a server that gives its calls the same ids in each reply."""
    return [
        reply_in(SCRIPTED[name][0], text, reasoning=thought, tool_calls=ROUNDS[round] if round < len(ROUNDS) else ())
        for round, (text, thought) in enumerate(zip(TEXTS, THOUGHTS, strict=True))
    ]


def held(path: str, value: Any) -> None:
    """Compare with a golden file; with ``UPDATE_GOLDEN=1`` write it, to be read before it is kept."""
    file = GOLDEN / f"{path}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    assert json.loads(file.read_text("utf-8")) == value


def model_of(name: str) -> str:
    return f"{name}/{SCRIPTED[name][2]}"


def run_of(name: str, server: Server, given: Sequence[Tool], **options: Any) -> Run:
    client = Client([SCRIPTED[name][1](server.url)], retry=1, timeout=60)
    return client.run(model_of(name), QUESTION, tools=given, **PARAMS.get(name, {}), **options)


def told(chunks: Sequence[Chunk]) -> list[Any]:
    """Return what a consumer sees of chunks, pieces joined, with the calls numbered in place of their ids."""
    numbers: dict[str, int] = {}
    seen: list[Any] = []

    def kind(chunk: Chunk) -> tuple[Any, ...]:
        delta = chunk.tool_call
        return chunk.type, chunk.round, delta.index if delta else id(chunk) if chunk.type == "tool_result" else None

    for (type, round, _), group in groupby((chunk for chunk in chunks if shows(chunk)), kind):
        pieces = list(group)
        if type == "tool_call":
            deltas = [piece.tool_call for piece in pieces if piece.tool_call]
            (id_,) = {delta.id for delta in deltas if delta.id}
            (name,) = {delta.name for delta in deltas if delta.name}
            assert id_ not in numbers
            arguments = json.loads("".join(delta.arguments for delta in deltas))
            seen.append((type, round, numbers.setdefault(id_, len(numbers)), deltas[0].index, name, arguments))
        elif type == "tool_result":
            result = pieces[0].tool_result
            assert result is not None
            seen.append((type, round, numbers[result.call_id], result.name, result.content, result.error, result.state))
        elif type == "done":
            seen.append((type, round, pieces[0].finish_reason, pieces[0].usage))
        else:
            seen.append((type, round, [piece.text or piece.reasoning for piece in pieces]))
    return seen


def shows(chunk: Chunk) -> bool:
    """Return whether a chunk has more than provider's data, usage, or the news that something goes on."""
    return chunk.type not in ("text", "reasoning") or bool(chunk.text or chunk.reasoning)


def words(text: str) -> list[str]:
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)]


def expected() -> list[Any]:
    """Return what ``told`` returns of the chunks of a run."""
    seen: list[Any] = []
    number = 0
    for round, (text, thought) in enumerate(zip(TEXTS, THOUGHTS, strict=True)):
        seen.append(("reasoning", round, words(thought)))
        if text:
            seen.append(("text", round, words(text)))
        calls = ROUNDS[round] if round < len(ROUNDS) else ()
        for index, (name, arguments) in enumerate(calls):
            seen.append(("tool_call", round, number + index, index, name, arguments))
        for index, (name, _) in enumerate(calls):
            answer = ANSWERS[round][index]
            seen.append(("tool_result", round, number + index, name, answer, None, "finished"))
        number += len(calls)
    return [*seen, ("done", len(ROUNDS), "stop", (7 + 8 + 9 + 10, 11 + 13 + 15 + 17, 90))]


def plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's shape without provider's data, with the calls numbered in place of their ids."""
    numbers: dict[str, str] = {}
    shapes = [message.to_dict() for message in messages]
    for shape in shapes:
        shape.pop("provider_data", None)
        for call in shape.get("tool_calls", ()):
            assert call["id"] not in numbers
            call["id"] = numbers.setdefault(call["id"], str(len(numbers)))
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        if "tool_call_id" in shape:
            shape["tool_call_id"] = numbers[shape["tool_call_id"]]
    return shapes


def ids_of(run: Run) -> list[str]:
    return [call.id for message in run.messages for call in message.tool_calls]


def history() -> list[dict[str, Any]]:
    """Return what ``plain`` returns of the messages of a run."""
    messages: list[dict[str, Any]] = []
    number = 0
    for round, calls in enumerate(ROUNDS):
        shapes = [
            {"id": str(number + index), "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (name, arguments) in enumerate(calls)
        ]
        messages.append({"role": "assistant", "content": TEXTS[round] or None, "tool_calls": shapes})
        for index, answer in enumerate(ANSWERS[round]):
            messages.append({"role": "tool", "content": answer, "tool_call_id": str(number + index)})
        number += len(calls)
    return [*messages, {"role": "assistant", "content": TEXTS[-1]}]


@pytest.mark.parametrize("name", SCRIPTED)
def test_three_rounds_are_the_same_in_every_format(name: str) -> None:
    """Chunks, history and usage of a run are the same, and each request is the one of the golden file."""
    with Server(*script(name)) as server:
        run = run_of(name, server, tools(), parallel=2)
        seen = told(list(run))
        bodies = [request.json() for request in server.requests]
    (*rest, (type, round, finish, usage)) = seen
    assert isinstance(usage, Usage)
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    assert expected() == [*rest, (type, round, finish, counts)]
    assert history() == plain(run.messages)
    assert TEXTS == [each.text for each in run.rounds]
    assert THOUGHTS == [each.reasoning for each in run.rounds]
    assert ("complete", TEXTS[-1], usage) == (run.status, run.completion.text, run.completion.usage)
    for number in range(len(run.messages)):
        if run.messages[number].role == "assistant" and number:
            sent = [*QUESTION, *(message.to_dict() for message in run.messages[:number])]
            assert rules.accepts(FAMILIES.get(name, "openai"), sent), number
    held(name, bodies[1:])


def strings(shape: Any) -> list[str]:
    """Return all texts in a JSON value."""
    if isinstance(shape, Mapping):
        return [text for value in shape.values() for text in strings(value)]
    if isinstance(shape, list):
        return [text for value in shape for text in strings(value)]
    return [shape] if isinstance(shape, str) else []


# What has to come back of each round: signed thoughts; where nothing is signed, thoughts or plans.
BACK: dict[str, Callable[[int], str]] = {
    **dict.fromkeys(
        ["openai-responses", "anthropic", "gemini", "bedrock", "gemini-interactions", "openrouter"], signature_of
    ),
    "mistral": lambda number: THOUGHTS[number],
    "deepseek": lambda number: THOUGHTS[number],
    "ollama": lambda number: THOUGHTS[number],
    "cohere": plan_of,
}


@pytest.mark.parametrize("name", BACK)
def test_signed_thoughts_go_back_in_each_round(name: str) -> None:
    """Each request has the provider's own data of all rounds before it, once, in their order."""
    with Server(*script(name)) as server:
        list(run_of(name, server, tools(), parallel=2))
        for number, request in enumerate(server.requests):
            kept = {BACK[name](round) for round in range(len(ROUNDS))}
            assert [BACK[name](round) for round in range(number)] == [t for t in strings(request.json()) if t in kept]


@pytest.mark.parametrize("name", SCRIPTED)
def test_ids_that_come_again_in_each_round(name: str) -> None:
    """Each call has an id of its own, the same one in its chunks, its result and the history."""
    with Server(*counting_anew(name)) as server:
        run = run_of(name, server, tools(), parallel=2)
        assert expected()[:-1] == told(list(run))[:-1]
    assert history() == plain(run.messages)
    again = [*QUESTION, *run.messages, Message("user", "And now?")]
    with Server(*counting_anew(name)) as server:
        client = Client([SCRIPTED[name][1](server.url)], retry=1, timeout=60)
        later = client.run(model_of(name), again, tools=tools(), parallel=2)
        assert expected()[:-1] == told(list(later))[:-1]
    assert history() == plain(later.messages)
    assert len({*ids_of(run), *ids_of(later)}) == len([*ids_of(run), *ids_of(later)])


@pytest.mark.parametrize("name", SCRIPTED)
def test_a_suspension_changes_no_request(name: str) -> None:
    """Suspended in each round, kept as JSON and resumed, a run sends byte for byte what it sends in one go."""
    with Server(*script(name)) as server:
        whole = run_of(name, server, tools(), parallel=2)
        list(whole)
        at_once = [request.body for request in server.requests]
    with Server(*script(name)) as server:
        run = run_of(name, server, tools(needs_approval=True))
        while list(run) and run.status == "suspended":
            assert run.suspension is not None
            kept = Suspension.from_json(run.suspension.to_json())
            client = Client([SCRIPTED[name][1](server.url)], retry=1, timeout=60)
            decisions = {call.id: Approved() for call in kept.waiting}
            run = client.resume(kept, decisions, tools=tools(needs_approval=True))
        assert at_once == [request.body for request in server.requests]
    assert "complete" == run.status
    assert whole.messages == run.messages


MEDIA: dict[str, Any] = {"image": ImagePart(PIXEL), "file": FilePart(PDF, "report.pdf")}
SHOW: Calls = [("show", {"alone": True}), ("show", {"alone": False})]


def shown(name: str, kind: str, server: Server, *, needs_approval: bool = False) -> Run:
    """Return a run whose tool returns an image or a file, alone and after text."""

    def show(alone: bool) -> Any:
        """Show it."""
        return MEDIA[kind] if alone else ["Here it is.", MEDIA[kind]]

    def second(call: Any) -> bool | None:
        return True if call.arguments["alone"] else None

    given = [Tool.of(show, needs_approval=needs_approval)]
    run = run_of(name, server, given, approve=second)
    if not needs_approval:
        return run
    list(run)
    assert run.suspension is not None
    kept = Suspension.from_json(run.suspension.to_json())
    client = Client([SCRIPTED[name][1](server.url)], retry=1, timeout=60)
    return client.resume(kept, {kept.waiting[0].id: Approved()}, tools=given)


@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize("name", SCRIPTED)
def test_a_result_with_an_image_or_a_file(name: str, kind: str) -> None:
    """It is sent as the golden file has it; where a provider takes none the model is told so, and the run goes on."""
    script = [signed(name, "", 0, reasoning="Show both", tool_calls=SHOW), signed(name, "I see.", 1)]
    with Server(*script) as server:
        run = shown(name, kind, server)
        results = [chunk.tool_result for chunk in run if chunk.tool_result]
        _, second = server.requests
    assert ("complete", "I see.") == (run.status, run.completion.text)
    if kind in result_media_of(SCRIPTED[name][1]("http://localhost")):
        assert [None, None] == [result.error for result in results]
        assert ["", "Here it is."] == [result.content for result in results]
        assert [1, 2] == [len(result.parts) for result in results]
        held(f"{kind}/{name}", second.json())
    else:
        what = {"image": "an image", "file": "a file"}[kind]
        text = (
            f"The function was called and has returned, but its result has {what}, "
            "which this provider does not take in a result."
        )
        assert [("exception", text)] * 2 == [(result.error, result.content) for result in results]
        assert [text, text] == [each for each in strings(second.json()) if what in each]


@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize("name", SCRIPTED)
def test_a_suspension_keeps_images_and_files(name: str, kind: str) -> None:
    """The result that a suspension has kept as JSON is sent as it would have been at once."""
    script = [signed(name, "", 0, reasoning="Show both", tool_calls=SHOW), signed(name, "I see.", 1)]
    with Server(*script) as server:
        list(shown(name, kind, server))
        at_once = [request.body for request in server.requests]
    with Server(*script) as server:
        list(shown(name, kind, server, needs_approval=True))
        assert at_once == [request.body for request in server.requests]


# What a provider takes by its kind, and not in this form, and a word of the reason.
REFUSED: list[tuple[str, Any, str]] = [
    ("ollama", ImagePart("https://example.com/a.png"), "by content"),
    ("bedrock", ImagePart("https://example.com/a.png"), "does not fetch"),
    ("bedrock", FilePart("data:application/zip;base64,UEsDBA==", "all.zip"), "formats"),
    ("anthropic", FilePart("data:application/zip;base64,UEsDBA==", "all.zip"), "PDF"),
    ("anthropic", ImagePart(PIXEL, detail="low"), "detail"),
]


@pytest.mark.parametrize(("name", "part", "why"), REFUSED)
@pytest.mark.parametrize("answered", [False, True], ids=["returned", "answered"])
def test_a_result_that_only_the_translation_refuses(name: str, part: Any, why: str, answered: bool) -> None:
    """The model is told why, in place of a request that fails after the function has run."""

    def show() -> Any:
        """Show it."""
        return part

    with Server(signed(name, "", 0, tool_calls=[("show", {})]), signed(name, "I see.", 1)) as server:
        if answered:
            with pytest.raises(ConfigError, match=rf"Answered.*cannot be sent: {name} .*{why}"):
                list(run_of(name, server, [Tool.of(show, needs_approval=True)], approve=Answered(part)))
            return
        run = run_of(name, server, [Tool.of(show)])
        (result,) = (chunk.tool_result for chunk in run if chunk.tool_result)
    assert ("complete", "exception") == (run.status, result.error)
    assert result.content.startswith(f"The function was called and has returned, but its result cannot be sent: {name}")
    assert why in result.content


def test_a_report_may_have_what_the_provider_does_not_take() -> None:
    """A preliminary result is for the program alone."""

    def show(context: ToolContext) -> str:
        """Show it."""
        context.report(ImagePart("https://example.com/a.png"))
        return "shown"

    with Server(signed("openai", "", 0, tool_calls=[("show", {})]), signed("openai", "I see.", 1)) as server:
        results = [chunk.tool_result for chunk in run_of("openai", server, [Tool.of(show)]) if chunk.tool_result]
    assert [(True, 1), (False, 0)] == [(result.preliminary, len(result.parts)) for result in results]
    assert "shown" == results[-1].content
