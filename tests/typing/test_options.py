"""The options of a call as type checkers see them; this file is only type-checked, never run.

Each line that is marked is an error which mypy and pyright find; either fails here if it does not. The same calls are
made on a client and on the module.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import streamkit
from streamkit import Client, Completion, Message, MessageDict, RequestParameters, Retry, StopEvent, Stream, Timeout
from tests.typing.support import assert_type

if TYPE_CHECKING:
    from typing_extensions import Unpack

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def weather(city: str) -> str:
    return city


def the_options_that_there_are(client: Client, stop: threading.Event, retry: Retry | None) -> None:
    """Each option of a call is known by name and type, and its result is not lost."""
    assert_type(
        client.stream(
            "openai/m",
            "Hi",
            stop=stop,
            timeout=Timeout(first=3),
            retry=retry,
            buffer=8,
            buffer_bytes=1 << 20,
            extra_body={"a": 1},
            extra_headers={"X-Title": "t"},
            temperature=0,
            max_tokens=5,
            top_p=0.5,
            stop_sequences=["END"],
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "weather"}},
            response_format={"type": "json_object"},
            seed=None,
            n=2,
            reasoning_effort="low",
        ),
        Stream,
    )
    assert_type(client.complete("openai/m", "Hi", stop=StopEvent(), timeout=None, retry=1, temperature=0.5), Completion)
    assert_type(streamkit.stream("openai/m", "Hi", timeout=3, stop_sequences="END", tools=(TOOL,)), Stream)
    assert_type(streamkit.complete("openai/m", "Hi", buffer=1, extra_body={}, logprobs=True), Completion)


def parameters_of_single_providers(client: Client) -> None:
    """The library's providers' own parameters are known too; those of other packages' providers pass unchecked."""
    client.stream("anthropic/m", "Hi", thinking={"type": "enabled", "budget_tokens": 1024})
    client.complete("ollama/m", "Hi", num_ctx=4096, keep_alive="5m")
    streamkit.stream("gemini/m", "Hi", safety_settings=[{"category": "x", "threshold": "y"}])
    streamkit.complete("openrouter/m", "Hi", provider={"sort": "price"}, min_p=0.1)
    own: dict[str, Any] = {"warp": 9}
    client.stream("acme/m", "Hi", **own)
    streamkit.complete("acme/m", "Hi", extra_body=own)


def handed_on(question: str, **parameters: Unpack[RequestParameters]) -> str:
    """A function of one's own hands parameters on."""
    return streamkit.complete("openai/m", question, **parameters).text


def messages(client: Client) -> None:
    """Messages are text, values, dicts, or both, in any iterable."""
    history: list[MessageDict] = [{"role": "user", "content": "Hi"}]
    history.append({"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]})
    client.stream("openai/m", history)
    mixed: list[Message | MessageDict] = [Message("system", "Be brief"), *history]
    streamkit.stream("openai/m", mixed)
    client.complete("openai/m", [Message("system", "Be brief"), {"role": "user", "content": "Hi"}])
    streamkit.complete("openai/m", (Message("user", text) for text in "ab"))
    streamkit.complete(
        "openai/m",
        [{"role": "user", "content": [{"type": "text", "text": "Hi"}, streamkit.ImagePart("https://host/a.png")]}],
    )


def errors_on_a_client(client: Client) -> None:
    client.stream("openai/m", "Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.stream("openai/m", "Hi", timout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.stream("openai/m", "Hi", max_tokens="lots")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", [{"role": "usr"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", api_key="k")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.stream("openai/m", "Hi", tools=["weather"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", stop="END")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.stream("openai/m", "Hi", retry="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.complete("openai/m", "Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.complete("openai/m", "Hi", timout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.complete("openai/m", "Hi", max_tokens="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.complete("openai/m", [{"role": "usr"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    client.complete("openai/m", "Hi", max_retries=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.complete("openai/m", "Hi", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def errors_on_the_module() -> None:
    streamkit.stream("openai/m", "Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.stream("openai/m", "Hi", timout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.stream("openai/m", "Hi", max_tokens="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    streamkit.stream("openai/m", [{"role": "usr"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    streamkit.stream("openai/m", "Hi", stream=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.stream("openai/m", "Hi", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    streamkit.complete("openai/m", "Hi", temprature=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.complete("openai/m", "Hi", timout=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.complete("openai/m", "Hi", max_tokens="a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    streamkit.complete("openai/m", [{"role": "usr"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    streamkit.complete("openai/m", "Hi", system="Be brief")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    streamkit.complete("openai/m", "Hi", timeout="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def attributes_of_other_libraries(client: Client, stream: Stream, completion: Completion) -> None:
    """Names that get a hint at run time are errors for a checker."""
    chunk = next(stream)
    chunk.choices  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    completion.content  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    completion.usage.prompt_tokens  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    completion.choices[0].message  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    client.chat  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    streamkit.completion  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
