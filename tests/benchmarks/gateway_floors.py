"""The bare relays that `gateways.py` compares with: what comes is passed on as bytes, and nothing else is done.

UPSTREAM has the address of the provider.
"""

from __future__ import annotations

import os
from typing import Any


def flask_app() -> Any:
    import flask
    import requests

    app = flask.Flask("floor")
    upstream = f"{os.environ['UPSTREAM']}/v1/chat/completions"

    @app.post("/v1/chat/completions")
    def relay() -> Any:
        reply = requests.post(
            upstream,
            data=flask.request.get_data(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer k"},
            stream=True,
            timeout=(10, 600),
        )
        return flask.Response(
            reply.iter_content(chunk_size=None), status=reply.status_code, content_type=reply.headers["Content-Type"]
        )

    return app


def starlette_app() -> Any:
    import httpx
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    client = httpx.AsyncClient(base_url=os.environ["UPSTREAM"], timeout=600, limits=limits)

    async def relay(request: Any) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer k"}
        sent = client.build_request("POST", "/v1/chat/completions", content=await request.body(), headers=headers)
        reply = await client.send(sent, stream=True)
        return StreamingResponse(
            reply.aiter_raw(),
            status_code=reply.status_code,
            media_type=reply.headers["Content-Type"],
            background=BackgroundTask(reply.aclose),
        )

    return Starlette(routes=[Route("/v1/chat/completions", relay, methods=["POST"])])
