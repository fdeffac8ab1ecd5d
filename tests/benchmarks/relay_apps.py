"""The servers that `relay.py` compares: the relay, the same route by hand, and pydantic-ai's adapter.

UPSTREAM has the address of the model; each answers POST / with the AI SDK's stream.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

HEADERS = {"X-Accel-Buffering": "no", "Cache-Control": "no-cache", "x-vercel-ai-ui-message-stream": "v1"}


def flask_app() -> Any:
    """Return the relay at /relay, and at /hand the generator that one would write: no heartbeat, nothing watched."""
    import flask

    from streamkit import Client, Retry, providers
    from streamkit.web.flask import stream_response
    from streamkit.web.formats import messages_in

    client = Client([providers.OpenAI(api_key="k", base_url=os.environ["UPSTREAM"])], retry=Retry(attempts=1))
    app = flask.Flask("benchmark")

    @app.post("/relay")
    def relayed() -> Any:
        return stream_response(client.stream("openai/m", messages_in(flask.request.get_data())))

    @app.post("/hand")
    def by_hand() -> Any:
        messages = messages_in(flask.request.get_data())
        return flask.Response(hand(client.stream("openai/m", messages)), mimetype="text/event-stream", headers=HEADERS)

    return app


def hand(stream: Any) -> Iterator[str]:
    """Write the least that `useChat` takes."""

    def event(**fields: object) -> str:
        return f"data: {json.dumps(fields)}\n\n"

    yield event(type="start", messageId="m1") + event(type="start-step") + event(type="text-start", id="0")
    for chunk in stream:
        if chunk.text:
            yield event(type="text-delta", id="0", delta=chunk.text)
    yield event(type="text-end", id="0") + event(type="finish-step") + event(type="finish") + "data: [DONE]\n\n"


def pydantic_ai_app() -> Any:
    """Return pydantic-ai's own way from a model to `useChat`."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai.ui.vercel_ai import VercelAIAdapter
    from starlette.applications import Starlette
    from starlette.routing import Route

    provider = OpenAIProvider(base_url=os.environ["UPSTREAM"], api_key="k")
    agent = Agent(OpenAIChatModel("m", provider=provider))

    async def chat(request: Any) -> Any:
        return await VercelAIAdapter.dispatch_request(request, agent=agent)

    return Starlette(routes=[Route("/", chat, methods=["POST"])])
