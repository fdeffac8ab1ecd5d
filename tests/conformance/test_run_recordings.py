"""Runs whose first reply is the recording of a real one with tool calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from streamkit import Approved, Client, Run, Suspension, Tool, providers
from streamkit.providers import Provider
from streamkit.testing import Server, recording_reply, reply_in
from tests.conformance import formats
from tests.conformance.recordings import Recording, recordings
from tests.conformance.test_anthropic_history import blocks_of, comparable
from tests.conformance.test_histories import READ, of_messages
from tests.tool_cases import rules

# The format of the reply after the recorded one, and the rules of the provider, by the folder of the recordings.
APIS = {
    "openai-chat": ("openai", "openai"),
    "openai-responses": ("openai-responses", "responses"),
    "anthropic-messages": ("anthropic", "anthropic"),
    "bedrock-converse": ("bedrock", "bedrock"),
    "gemini": ("gemini", "gemini"),
    "gemini-interactions": ("gemini-interactions", "gemini"),
    "cohere-chat-v2": ("cohere", "cohere"),
}
CALLING = [(api, recording) for api in APIS for recording in recordings(api) if recording.expected["tool_calls"]]
SERVICES = ("alibaba", "deepseek", "groq", "openrouter", "xai")
# Called and answered on the provider's side.
ELSEWHERE = {
    "bedrock__bedrock_model_code_execution_tool_stream.0": {"nova_code_interpreter"},
}
CUT_OFF = "anthropic__sdk_incomplete_partial_json_response"
OWN = {"OC5"}  # Writer takes ids back that are longer than OpenAI's may be, as it made them itself
X_SEARCH = "xai__v_xai-x-search-tool"


def provider_of(api: str, recording: Recording, url: str) -> Provider:
    """Return the provider that a recording was made of, as far as it has one of its own."""
    service = recording.name.partition("__")[0]
    if api == "openai-chat" and service == "mistral":
        return providers.Mistral("k", url)
    if api == "openai-chat" and service in SERVICES:
        return providers.OpenAICompatible(service, url, "k")
    return formats.PROVIDERS[api](url)


class Calls:
    """Tools with the names that a recording calls, which take anything and keep what they got."""

    def __init__(self, recording: Recording) -> None:
        asked = recording.expected["tool_calls"]
        own = ELSEWHERE.get(recording.name, set())
        self.asked = [(call["name"], json_of(call["arguments"])) for call in asked if call["name"] not in own]
        self.made: list[tuple[str, dict[str, Any]]] = []

    def tools(self, *, needs_approval: bool = False) -> list[Tool]:
        schema = {"type": "object", "properties": {}, "additionalProperties": True}
        return [
            Tool(name, "Do it.", schema, self._function(name), needs_approval=needs_approval)
            for name in dict.fromkeys(name for name, _ in self.asked)
        ]

    def _function(self, name: str) -> Callable[..., str]:
        def function(**arguments: Any) -> str:
            self.made.append((name, arguments))
            return f"done, as number {len(self.made)}"

        return function


def json_of(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return None


def label(value: str | Recording) -> str:
    return value if isinstance(value, str) else value.name


def played(api: str, recording: Recording) -> Server:
    first = recording_reply(recording.body, content_type=recording.content_type)
    return Server(first, reply_in(APIS[api][0], "All is done."))


def client_of(api: str, recording: Recording, server: Server) -> tuple[Client, str]:
    provider = provider_of(api, recording, server.url)
    return Client([provider], retry=1, timeout=60), f"{provider.name}/model"


def sent_again(api: str, recording: Recording) -> tuple[Run, Calls, dict[str, Any]]:
    """Return a run that went through, what it called, and the body of its second request."""
    calls = Calls(recording)
    with played(api, recording) as server:
        client, model = client_of(api, recording, server)
        run = client.run(model, "Go", tools=calls.tools())
        list(run)
        assert ("complete", "All is done.") == (run.status, run.completion.text)
        _, second = server.requests
    return run, calls, second.json()


@pytest.mark.parametrize(
    ("api", "recording"), [pair for pair in CALLING if pair[1].name not in (CUT_OFF, X_SEARCH)], ids=label
)
def test_each_call_of_a_recording_is_made_and_answered_once(api: str, recording: Recording) -> None:
    """Functions get the recorded arguments, and the provider's rules accept the history and what is sent of it."""
    run, calls, body = sent_again(api, recording)
    assert calls.asked == calls.made
    history = [{"role": "user", "content": "Go"}, *(message.to_dict() for message in run.messages)]
    family = "mistral" if recording.name.startswith("mistral__") else APIS[api][1]
    broken = {rule for rule, _ in rules.judge(family, history[:-1])}
    assert broken <= OWN
    answers = [message for message in history if message["role"] == "tool"]
    assert [f"done, as number {n}" for n in range(1, len(calls.asked) + 1)] == [each["content"] for each in answers]
    pairs = answered(api, body)
    assert sorted(pairs) == sorted(set(pairs))
    assert [name for name, _ in calls.asked] == [name for name, _, _ in pairs]
    assert [each["content"] for each in answers] == [text for _, _, text in pairs]
    if api in ("openai-chat", "openai-responses", "anthropic-messages", "bedrock-converse", "cohere-chat-v2"):
        read = READ.get(family, of_messages)(without_own_items(body))
        assert {rule for rule, _ in rules.judge(family, read)} <= OWN


def without_own_items(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body without the items of Responses that OpenAI's shape does not have."""
    if "input" not in body:
        return body
    known = ("message", "function_call", "function_call_output")
    return {**body, "input": [item for item in body["input"] if item["type"] in known]}


def answered(api: str, body: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, id and result of each call of a body, in order; a call or a result too much is an error."""
    calls: list[tuple[str, str]] = []
    results: list[tuple[str, str]] = []
    if api == "gemini":
        parts = [part for content in body["contents"] for part in content["parts"]]
        made = [part["functionCall"] for part in parts if "functionCall" in part]
        given = [part["functionResponse"] for part in parts if "functionResponse" in part]
        # What has no id is told apart by its place.
        calls = [(call["name"], call.get("id", f"{n} {call['name']}")) for n, call in enumerate(made)]
        results = [(one.get("id", f"{n} {one['name']}"), one["response"]["result"]) for n, one in enumerate(given)]
    elif api == "gemini-interactions":
        calls = [(step["name"], step["id"]) for step in body["input"] if step["type"] == "function_call"]
        results = [(step["call_id"], step["result"]) for step in body["input"] if step["type"] == "function_result"]
    elif api == "openai-responses":
        calls = [(item["name"], item["call_id"]) for item in body["input"] if item["type"] == "function_call"]
        results = [
            (item["call_id"], item["output"]) for item in body["input"] if item["type"] == "function_call_output"
        ]
    elif api == "anthropic-messages":
        blocks = [block for message in body["messages"] for block in message["content"]]
        calls = [(block["name"], block["id"]) for block in blocks if block["type"] == "tool_use"]
        results = [
            (block["tool_use_id"], block["content"][0]["text"]) for block in blocks if block["type"] == "tool_result"
        ]
    elif api == "bedrock-converse":
        blocks = [block for message in body["messages"] for block in message["content"]]
        calls = [(block["toolUse"]["name"], block["toolUse"]["toolUseId"]) for block in blocks if "toolUse" in block]
        given = [block["toolResult"] for block in blocks if "toolResult" in block]
        results = [(one["toolUseId"], one["content"][0]["text"]) for one in given]
    else:
        for message in body["messages"]:
            calls += [(call["function"]["name"], call["id"]) for call in message.get("tool_calls", ())]
            if message["role"] == "tool":
                results.append((message["tool_call_id"], message["content"]))
    assert [id for _, id in calls] == [id for id, _ in results]
    assert len(set(results)) == len(results)
    return [(name, id, text) for (name, id), (_, text) in zip(calls, results, strict=True)]


def test_a_call_that_was_cut_off_is_not_made() -> None:
    """Arguments that ended at the limit of tokens go back as an empty object, with a result that says so."""
    (recording,) = (recording for _, recording in CALLING if recording.name == CUT_OFF)
    run, calls, body = sent_again("anthropic-messages", recording)
    assert [] == calls.made
    (result,) = (message for message in run.messages if message.role == "tool")
    ((name, _, text),) = answered("anthropic-messages", body)
    assert ("make_file", result.content) == (name, text)
    assert "cut off" in text


def test_tools_that_xai_calls_itself_are_none_of_the_run() -> None:
    """Calls that the server has made and answered leave a run of one round, with its own tools not called."""
    (recording,) = (recording for _, recording in CALLING if recording.name == X_SEARCH)
    calls = Calls(recording)
    with played("openai-responses", recording) as server:
        client, model = client_of("openai-responses", recording, server)
        own = Tool("look", "Look.", {"type": "object", "properties": {}}, lambda: "seen")
        run = client.run(model, "Go", tools=[own, {"type": "x_search"}])
        chunks = list(run)
        assert 1 == len(server.requests)
    assert ("complete", "stop", ()) == (run.status, run.completion.finish_reason, run.completion.tool_calls)
    assert recording.expected["text"] == run.completion.text == "".join(chunk.text for chunk in chunks)
    assert 2 == len(calls.asked)


def values(shape: Any, *names: str) -> list[Any]:
    """Return all values of these names in a JSON value that are not empty, in order."""
    if isinstance(shape, Mapping):
        return [
            found
            for name, value in shape.items()
            for found in ([value] if name in names and value else values(value, *names))
        ]
    return [found for value in shape for found in values(value, *names)] if isinstance(shape, list) else []


def data_of(recording: Recording) -> list[Any]:
    """Return the events of a recording as JSON."""
    return [json.loads(event.data) for event in formats.events_of(recording) if event.data != "[DONE]"]


def test_recorded_thoughts_are_there() -> None:
    """The recordings have signed, encrypted and plain thoughts beside calls."""
    signed = ("thoughtSignature", "encrypted_content", "signature", "reasoning_content", "tool_plan")
    found = {
        (api, name)
        for api, recording in CALLING
        if api != "bedrock-converse"
        for name in signed
        if values(data_of(recording), name)
    }
    assert {
        ("gemini", "thoughtSignature"),
        ("gemini-interactions", "signature"),
        ("openai-responses", "encrypted_content"),
        ("openai-chat", "reasoning_content"),
        ("cohere-chat-v2", "tool_plan"),
    } == found


@pytest.mark.parametrize("recording", [recording for api, recording in CALLING if api == "gemini"], ids=label)
def test_signatures_of_gemini_go_back(recording: Recording) -> None:
    """Each thought signature is on the same call as it came, unchanged."""
    _, _, body = sent_again("gemini", recording)
    came = [part for part in values(data_of(recording), "parts") for part in part if part.get("thoughtSignature")]
    went = [part for content in body["contents"] for part in content["parts"] if "thoughtSignature" in part]
    assert [(sorted(part), part["thoughtSignature"]) for part in came] == [
        (sorted(part), part["thoughtSignature"]) for part in went
    ]


def test_a_signature_of_interactions_goes_back() -> None:
    """The signature of a thought goes back in a thought, before the call."""
    (recording,) = (recording for api, recording in CALLING if api == "gemini-interactions")
    _, _, body = sent_again("gemini-interactions", recording)
    kinds = [step["type"] for step in body["input"]]
    assert kinds.index("thought") < kinds.index("function_call")
    assert values(data_of(recording), "signature") == values(body["input"], "signature")


@pytest.mark.parametrize(
    "recording",
    [each for api, each in CALLING if api == "openai-responses" and values(data_of(each), "encrypted_content")],
    ids=label,
)
def test_encrypted_reasoning_goes_back(recording: Recording) -> None:
    """The item of a reasoning goes back as it came last, before the call."""
    _, _, body = sent_again("openai-responses", recording)
    items = [event["item"] for event in data_of(recording) if event["type"] == "response.output_item.done"]
    came = [item for item in items if item["type"] == "reasoning"]
    went = [item for item in body["input"] if item["type"] == "reasoning"]
    assert came == went
    kinds = [item["type"] for item in body["input"]]
    assert kinds.index("reasoning") < kinds.index("function_call")


@pytest.mark.parametrize(
    "recording", [each for api, each in CALLING if api == "openai-responses" and each.name != X_SEARCH], ids=label
)
def test_fields_of_calls_and_programs_of_responses_go_back(recording: Recording) -> None:
    """A call has its namespace and its caller again, its result the caller, and a program is there as it came."""
    _, _, body = sent_again("openai-responses", recording)
    came = [event["item"] for event in data_of(recording) if event["type"] == "response.output_item.done"]

    def fields(items: list[Any], type: str, *names: str) -> list[Any]:
        return [{name: item.get(name) for name in names} for item in items if item["type"] == type]

    names = ("call_id", "caller", "namespace")
    assert fields(came, "function_call", *names) == fields(body["input"], "function_call", *names)
    assert fields(came, "function_call", "caller") == fields(body["input"], "function_call_output", "caller")
    assert [item for item in came if item["type"] == "program"] == [
        item for item in body["input"] if item["type"] == "program"
    ]
    kinds = [item["type"] for item in body["input"]]
    assert "program" not in kinds or kinds.index("reasoning") < kinds.index("program") < kinds.index("function_call")


@pytest.mark.parametrize(
    "recording",
    [each for api, each in CALLING if api == "anthropic-messages" and each.name != CUT_OFF],
    ids=label,
)
def test_blocks_of_anthropic_go_back(recording: Recording) -> None:
    """All blocks of a reply go back with the results, in their places, those of the server's tools among them."""
    _, _, body = sent_again("anthropic-messages", recording)
    assert comparable(blocks_of(recording)) == comparable(body["messages"][1]["content"])
    containers = [each["id"] for each in values(data_of(recording), "container")]
    assert containers[-1:] == values(body, "container")
    assert bool(containers) == ("programmatic" in recording.name)


@pytest.mark.parametrize("recording", [each for api, each in CALLING if api == "cohere-chat-v2"], ids=label)
def test_a_plan_of_cohere_goes_back(recording: Recording) -> None:
    """The plan that a model told before its calls goes back with them."""
    _, _, body = sent_again("cohere-chat-v2", recording)
    assert ["".join(values(data_of(recording), "tool_plan"))] == values(body["messages"], "tool_plan")


def test_reasoning_of_deepseek_goes_back() -> None:
    """DeepSeek gets its reasoning with the results, or it would refuse them; servers that do not want it get none."""
    for api, recording in CALLING:
        if api != "openai-chat":
            continue
        _, _, body = sent_again(api, recording)
        came = "".join(values(data_of(recording), "reasoning_content"))
        wanted = [came] if recording.name.startswith("deepseek__") else []
        assert wanted == values(body["messages"], "reasoning_content", "reasoning", "reasoning_details")
        assert came or not wanted


@pytest.mark.parametrize(("api", "recording"), CALLING, ids=label)
def test_a_suspension_changes_nothing_of_a_recording(api: str, recording: Recording) -> None:
    """Suspended after a recorded reply, kept as JSON and resumed, a run sends the same bytes."""
    at_once, later = Calls(recording), Calls(recording)
    with played(api, recording) as server:
        client, model = client_of(api, recording, server)
        list(client.run(model, "Go", tools=at_once.tools()))
        bodies = [request.body for request in server.requests]
    with played(api, recording) as server:
        client, model = client_of(api, recording, server)
        run = client.run(model, "Go", tools=later.tools(needs_approval=True))
        list(run)
        if at_once.made:
            assert [] == later.made
            assert run.suspension is not None
            kept = Suspension.from_json(run.suspension.to_json())
            decisions = {call.id: Approved() for call in kept.waiting}
            run = client.resume(kept, decisions, tools=later.tools(needs_approval=True))
            list(run)
        assert bodies == [request.body for request in server.requests]
    assert ("complete", at_once.made) == (run.status, later.made)
