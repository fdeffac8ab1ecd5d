"""A client of the UI message stream, as small as can be: it makes the message that ``useChat`` makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["UiClient", "message_of", "parts_in"]


def parts_in(body: bytes) -> list[dict[str, Any]]:
    """Return the parts of a response."""
    lines = [line for line in body.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


def message_of(  # noqa: C901  # one branch a part
    parts: Iterable[Mapping[str, Any]], message: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the message that a stream makes, or that it makes of a message of the same id."""
    made: dict[str, Any] = {"id": "", "role": "assistant", "metadata": {}, "parts": []}
    if message is not None:
        made = json.loads(json.dumps(message))
    open_blocks: dict[str, dict[str, Any]] = {}
    inputs: dict[str, str] = {}

    def call(part: Mapping[str, Any]) -> dict[str, Any]:
        found = [each for each in made["parts"] if each.get("toolCallId") == part["toolCallId"]]
        if not found:
            found = [{"type": f"tool-{part['toolName']}", "toolCallId": part["toolCallId"]}]
            made["parts"] += found
        return found[0]

    for part in parts:
        kind = part["type"]
        made["metadata"] = {**made.get("metadata", {}), **part.get("messageMetadata", {})}
        if kind == "start":
            assert message is None or part["messageId"] == message["id"]
            made["id"] = part["messageId"]
        elif kind == "start-step":
            made["parts"].append({"type": "step-start"})
        elif kind in ("text-start", "reasoning-start"):
            block = {"type": kind.partition("-")[0], "text": "", "state": "streaming"}
            if kind == "reasoning-start":
                block["id"] = part["id"]
            open_blocks[part["id"]] = block
            made["parts"].append(block)
        elif kind in ("text-delta", "reasoning-delta"):
            open_blocks[part["id"]]["text"] += part["delta"]
        elif kind in ("text-end", "reasoning-end"):
            open_blocks.pop(part["id"])["state"] = "done"
        elif kind == "tool-input-start":
            call(part)["state"] = "input-streaming"
            inputs[part["toolCallId"]] = ""
        elif kind == "tool-input-delta":
            inputs[part["toolCallId"]] += part["inputTextDelta"]
        elif kind == "tool-input-available":
            call(part).update(state="input-available", input=part["input"])
        elif kind == "tool-approval-request":
            call(part).update(state="approval-requested", approval={"id": part["approvalId"]})
        elif kind == "tool-output-available":
            call(part).update(state="output-available", output=part["output"])
        elif kind == "tool-output-error":
            call(part).update(state="output-error", errorText=part["errorText"])
        elif kind == "tool-output-denied":
            call(part).update(state="output-denied")
    return made


class UiClient:
    """What ``useChat`` keeps and sends, over Flask's test client."""

    def __init__(self, http: Any, id: str = "chat-1", api: str = "/api/chat", **headers: str) -> None:
        self.http = http
        self.id = id
        self.api = api
        self.headers = headers
        self.messages: list[dict[str, Any]] = []

    def send(self, text: str, message_id: str = "") -> dict[str, Any]:
        """Ask, and return the reply."""
        id = message_id or f"u{len(self.messages)}"
        self.messages.append({"id": id, "role": "user", "parts": [{"type": "text", "text": text}]})
        return self.post()

    def edit(self, message_id: str, text: str) -> dict[str, Any]:
        """Ask something else in place of an earlier question."""
        at = next(at for at, each in enumerate(self.messages) if each["id"] == message_id)
        self.messages[at:] = [{"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}]
        return self.post(messageId=message_id)

    def regenerate(self, message_id: str = "") -> dict[str, Any]:
        """Ask for a reply once more."""
        ids = [each["id"] for each in self.messages]
        at = ids.index(message_id) if message_id else len(ids) - (self.messages[-1]["role"] == "assistant")
        del self.messages[at:]
        return self.post(trigger="regenerate-message", **({"messageId": message_id} if message_id else {}))

    def body(self, **more: Any) -> dict[str, Any]:
        """Return the body of a request."""
        return {"id": self.id, "messages": self.messages, "trigger": "submit-message", **more}

    def post(self, **more: Any) -> dict[str, Any]:
        """Send the messages, and take the reply in."""
        response = self.http.post(self.api, json=self.body(**more), headers=self.headers)
        assert response.status_code == 200, (response.status_code, response.text)
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        last = self.messages[-1]
        going_on = last if last["role"] == "assistant" else None
        reply = message_of(parts_in(response.data), going_on)
        self.messages[len(self.messages) - (going_on is not None) :] = [reply]
        return reply

    def history(self) -> dict[str, Any]:
        """Return what the server has kept."""
        response = self.http.get(f"{self.api}/{self.id}", headers=self.headers)
        assert response.status_code == 200
        return response.json
