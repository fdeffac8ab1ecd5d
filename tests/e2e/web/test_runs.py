"""A run with tools, the client of `useChat`, a person who decides, and the run that goes on: the whole circle."""

from __future__ import annotations

import base64
from typing import Any

from streamkit import Answered, Approved, Rejected, Tool, ToolContext
from streamkit.testing import text_reply, tool_call_reply
from streamkit.web.formats import Format, UiFormat
from streamkit.web.formats.ui import approval_id
from tests.e2e.web.support import needs_npm, run_client
from tests.unit.run_support import MODEL, served

pytestmark = needs_npm


def look(city: str, context: ToolContext) -> dict[str, Any]:
    """Look the weather up."""
    context.report("looking")
    return {"city": city, "degrees": 3}


def pay(to: str) -> str:
    """Pay somebody."""
    return f"paid {to}"


PAY = Tool.of(pay, needs_approval=True)
LOCATE = Tool("locate", "Where the person is", {"type": "object", "properties": {}})
TOOLS = [look, PAY, LOCATE]


def body_of(made: Format, run: Any, id: str) -> bytes:
    data = made.begin(id, model="m") + b"".join(map(made.encode, run))
    return data + made.end(run.status, run.error, run.completion, time_to_first_token=0.1)


def test_the_whole_circle() -> None:
    """An approval, a refusal and a result of the browser come back as decisions; one message has it all."""
    first = tool_call_reply("look", {"city": "Oslo"}, id="a")
    asking = tool_call_reply("pay", {"to": "Ada"}, ("pay", {"to": "Bob"}), ("locate", {}))
    with served(first, asking, text_reply("All done")) as (client, _):
        run = client.run(MODEL, "Pay", tools=TOOLS)
        made = UiFormat(browser_tools=["locate"])
        one = body_of(made, run, "m1")
        assert run.suspension is not None
        ada, bob, here = (call.id for call in run.suspension.waiting)
        decisions = {ada: Approved(), bob: Rejected("too dear"), here: Answered({"at": "home"})}
        again = client.resume(run.suspension, decisions, tools=TOOLS)
        two = body_of(UiFormat(browser_tools=["locate"]), again, "m1")
    second = {
        "body": base64.b64encode(two).decode(),
        "approvals": [
            {"id": approval_id(ada), "approved": True},
            {"id": approval_id(bob), "approved": False, "reason": "too dear"},
        ],
        "outputs": [{"tool": "locate", "toolCallId": here, "output": {"at": "home"}}],
    }
    got = run_client("chat.mjs", [{"name": "it", "body": one, "headers": dict(made.headers), "second": second}])["it"]
    assert (got["status"], got["error"], got["count"]) == ("ready", None, 2)
    asked = UiFormat.decode_request(got["request"])
    assert ("m1", decisions) == (asked.reply_id, asked.decisions)
    message = got["message"]
    parts = {part.get("toolCallId", part["type"]): part for part in message["parts"]}
    assert ("output-available", {"city": "Oslo", "degrees": 3}) == (parts["a"]["state"], parts["a"]["output"])
    assert ("output-available", "paid Ada") == (parts[ada]["state"], parts[ada]["output"])
    assert "output-denied" == parts[bob]["state"]
    assert {"at": "home"} == parts[here]["output"]
    assert "All done" == parts["text"]["text"]
    assert "m1" == message["id"]
    assert {"model", "timeToFirstTokenMs"} <= set(message["metadata"])
