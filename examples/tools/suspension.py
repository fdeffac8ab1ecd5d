"""Let a call wait for a decision that comes later, in another process, and make it once.

Without ``approve=``, and with nobody who decides in the loop, a run with a call that needs approval is suspended.
``run.suspension`` is JSON: keep it in a file, a database or a queue. ``client.resume`` goes on.

Without arguments the program starts itself three times: ``ask`` suspends and writes the JSON, ``approve`` resumes it,
and a second ``approve`` is refused, because ``FileClaims`` keeps in a folder which calls were made.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import streamkit
from streamkit import Approved, Client, FileClaims, StoreConflictError, Suspension


@streamkit.tool
def stock(order: str) -> int:
    """How many pieces of an order are in stock."""
    return 3


@streamkit.tool(needs_approval=True)
def refund(order: str, amount: float) -> str:
    """Refund an order."""
    return f"{amount} EUR were paid back"


TOOLS = [stock, refund]


def ask(folder: Path) -> None:
    with Client() as client:
        question = "Look at the stock of order A17, and refund 30 EUR for order A17."
        run = client.run("demo/assistant", question, tools=TOOLS, claims=FileClaims(folder / "claims"))
        for chunk in run:
            if chunk.tool_result is not None:
                print(f"  {chunk.tool_result.name} has run: {chunk.tool_result.content}")
        print(f"  {run.status}, waiting: {[call.name for call in run.suspension.waiting] if run.suspension else []}")
        if run.suspension is not None:
            (folder / "suspension.json").write_text(run.suspension.to_json(), encoding="utf-8")


def approve(folder: Path) -> None:
    suspension = Suspension.from_json((folder / "suspension.json").read_text(encoding="utf-8"))
    decisions = {call.id: Approved() for call in suspension.waiting}
    with Client() as client:
        try:
            run = client.resume(suspension, decisions, tools=TOOLS, claims=FileClaims(folder / "claims"))
        except StoreConflictError as error:
            print(f"  refused: {error}")
            return
        print(f"  {run.collect().text}")


if len(sys.argv) == 3:
    {"ask": ask, "approve": approve}[sys.argv[1]](Path(sys.argv[2]))
else:
    with tempfile.TemporaryDirectory() as name:
        for command in ("ask", "approve", "approve"):
            print(f"a process that is to {command}:", flush=True)
            subprocess.run([sys.executable, __file__, command, name], check=True)  # noqa: S603
