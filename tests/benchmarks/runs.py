"""What a run with tools costs over the same loop by hand, and beside other clients where they are installed.

python tests/benchmarks/runs.py [--loops 30] [--passes 3]

Three rounds of two calls, then 100 tokens: four requests, to a server in a process of its own that writes each reply
at once. Each client is a process of its own and does the loop again and again; the clients take turns. `floor` reads
with http.client and json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
QUESTION = "Look up six words."
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}, "language": {"type": "string"}},
    "required": ["word"],
}
DECLARED = [{"type": "function", "function": {"name": "look_up", "description": "Look up.", "parameters": SCHEMA}}]


def look_up(word: str, language: str = "English") -> dict[str, Any]:
    """Look up a word.

    Args:
        word: the word.
        language: its language.
    """
    return {"word": word, "language": language, "meaning": "unknown"}


def floor(url: str) -> Callable[[], int]:
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def reply(messages: list[dict[str, Any]]) -> tuple[str, dict[int, dict[str, str]]]:
        body = json.dumps({"model": "m", "messages": messages, "tools": DECLARED, "stream": True})
        connection.request("POST", "/tools/chat/completions", body, {"Content-Type": "application/json"})
        text, calls = "", {}
        for line in connection.getresponse().read().decode().splitlines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
                for call in choice["delta"].get("tool_calls") or ():
                    kept = calls.setdefault(call["index"], {"id": call.get("id", ""), "arguments": ""})
                    kept["arguments"] += call["function"]["arguments"]
        return text, calls

    return by_hand(reply)


def by_hand(reply: Callable[[list[dict[str, Any]]], tuple[str, dict[int, dict[str, str]]]]) -> Callable[[], int]:
    def loop() -> int:
        messages: list[dict[str, Any]] = [{"role": "user", "content": QUESTION}]
        while True:
            text, calls = reply(messages)
            if not calls:
                return len(text)
            made = [
                {"id": c["id"], "type": "function", "function": {"name": "look_up", "arguments": c["arguments"]}}
                for c in calls.values()
            ]
            messages.append({"role": "assistant", "content": text or None, "tool_calls": made})
            for call in calls.values():
                result = json.dumps(look_up(**json.loads(call["arguments"])))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    return loop


def streamkit_by_hand(url: str) -> Callable[[], int]:
    from streamkit import Client, Message, providers

    client = Client([providers.OpenAI(api_key="k", base_url=f"{url}/tools")])

    def loop() -> int:
        messages: list[Any] = [{"role": "user", "content": QUESTION}]
        while True:
            with client.stream("openai/m", messages, tools=DECLARED) as stream:
                for _ in stream:
                    pass
            reply = stream.completion
            if not reply.tool_calls:
                return len(reply.text)
            messages.append(reply.message)
            for call in reply.tool_calls:
                result = json.dumps(look_up(**call.arguments))
                messages.append(Message("tool", result, tool_call_id=call.id))

    return loop


def streamkit_run(url: str) -> Callable[[], int]:
    from streamkit import Client, providers

    client = Client([providers.OpenAI(api_key="k", base_url=f"{url}/tools")])

    def loop() -> int:
        with client.run("openai/m", QUESTION, tools=[look_up]) as run:
            for _ in run:
                pass
        return len(run.completion.text)

    return loop


def openai_by_hand(url: str) -> Callable[[], int]:
    import openai

    client = openai.OpenAI(api_key="k", base_url=f"{url}/tools")

    def reply(messages: list[Any]) -> tuple[str, dict[int, dict[str, str]]]:
        text, calls = "", {}
        declared: Any = DECLARED
        for chunk in client.chat.completions.create(model="m", messages=messages, tools=declared, stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    kept = calls.setdefault(call.index, {"id": call.id or "", "arguments": ""})
                    kept["arguments"] += (call.function and call.function.arguments) or ""
        return text, calls

    return by_hand(reply)


def openai_agents(url: str) -> Callable[[], int]:
    import asyncio

    import agents
    import openai

    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(api_key="k", base_url=f"{url}/tools")
    model = agents.OpenAIChatCompletionsModel("m", client)
    agent = agents.Agent(name="a", model=model, tools=[agents.function_tool(look_up)])
    events = asyncio.new_event_loop()

    async def once() -> int:
        run = agents.Runner.run_streamed(agent, QUESTION)
        async for _ in run.stream_events():
            pass
        return len(run.final_output)

    return lambda: events.run_until_complete(once())


def pydantic_ai(url: str) -> Callable[[], int]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{url}/tools", api_key="k"))
    agent = Agent(model, tools=[look_up])

    def loop() -> int:
        run = agent.run_stream_sync(QUESTION)
        return len("".join(run.stream_text(delta=True)))

    return loop


CLIENTS = {
    "floor": floor,
    "streamkit, loop by hand": streamkit_by_hand,
    "streamkit, client.run": streamkit_run,
    "openai, loop by hand": openai_by_hand,
    "openai-agents": openai_agents,
    "pydantic-ai": pydantic_ai,
}


def measure(name: str, url: str, loops: int) -> None:
    try:
        loop = CLIENTS[name](url)
    except ImportError:
        print("null")
        return
    for _ in range(3):
        assert loop() > 100
    walls, cpu = [], time.process_time()
    for _ in range(loops):
        began = time.perf_counter()
        loop()
        walls.append(time.perf_counter() - began)
    print(json.dumps([statistics.median(walls), min(walls), (time.process_time() - cpu) / loops]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--loops", type=int, default=30)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--measure", nargs=2)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options.loops)
        return
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    command = [sys.executable, str(HERE / "server.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            results: dict[str, list[list[float]]] = {name: [] for name in CLIENTS}
            for _ in range(options.passes):
                for name in CLIENTS:
                    own = [sys.executable, __file__, "--loops", str(options.loops), "--measure", name, url]
                    done = subprocess.run(own, capture_output=True, text=True, env=environment, check=False)
                    found = json.loads(done.stdout or "null") if done.returncode == 0 else None
                    if found is not None:
                        results[name].append(found)
            show(results)
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.kill()


def show(results: dict[str, list[list[float]]]) -> None:
    middle = {
        name: [statistics.median(column) * 1000 for column in zip(*rows, strict=True)]
        for name, rows in results.items()
        if rows
    }
    base = middle["streamkit, loop by hand"]
    print(f"{'3 rounds of 2 calls, 100 tokens':32} {'wall ms':>9} {'(min)':>8} {'cpu ms':>8} {'wall, ratio':>12}")
    for name, (wall, least, cpu) in middle.items():
        print(f"{name:32} {wall:9.1f} {least:8.1f} {cpu:8.1f} {wall / base[0]:12.2f}")
    over = [(mine - hand) / 4 for mine, hand in zip(middle["streamkit, client.run"], base, strict=True)]
    wall, least, cpu = over
    print(f"client.run over the loop by hand, ms a round: wall {wall:.2f}, least wall {least:.2f}, cpu {cpu:.2f}")


if __name__ == "__main__":
    main()
