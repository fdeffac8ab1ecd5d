"""Let a call wait for approval in a stored conversation, and approve it from another process.

``SQLStore`` keeps the conversation in a file of SQLite, and the states of its calls as well: however many processes
resume it, no call runs twice. It needs the extra ``sql``: ``python -m pip install ".[sql]"``.

Without arguments the program starts itself three times: ``ask`` asks and ends while a call waits, ``approve`` approves
it and asks one thing more, and a second ``approve`` finds nothing that waits.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import streamkit
from streamkit import Client, Conversation, SQLStore


@streamkit.tool
def stock(order: str) -> int:
    """How many pieces of an order are in stock."""
    return 3


@streamkit.tool(needs_approval=True)
def refund(order: str, amount: float) -> str:
    """Refund an order."""
    return f"{amount} EUR were paid back"


def conversation(client: Client, folder: Path) -> Conversation:
    """Return the conversation as it stands in the store; a new one at first."""
    return client.conversation(
        "demo/assistant", tools=[stock, refund], store=SQLStore(folder / "shop.db"), id="customer-7"
    )


def ask(folder: Path) -> None:
    with Client() as client:
        chat = conversation(client, folder)
        for chunk in chat.stream("Look at the stock of order A17, and refund 30 EUR for order A17."):
            if chunk.tool_result is not None:
                print(f"  {chunk.tool_result.name} has run: {chunk.tool_result.content}")
        waiting = chat.suspension.waiting if chat.suspension else ()
        print(f"  {chat.status}, waiting: {[call.name for call in waiting]}")


def approve(folder: Path) -> None:
    with Client() as client:
        chat = conversation(client, folder)
        if chat.suspension is None:
            print(f"  {chat.status}, nothing waits; the last message is: {chat.messages[-1].content}")
            return
        for line in chat.resume({call.id: True for call in chat.suspension.waiting}).iter_lines():
            print(f"  {line}")
        print(f"  {chat.status}, {len(chat.messages)} messages")
        print(f"  {chat.send('How is the stock of order B2?').text}")


if len(sys.argv) == 3:
    {"ask": ask, "approve": approve}[sys.argv[1]](Path(sys.argv[2]))
else:
    with tempfile.TemporaryDirectory() as name:
        for command in ("ask", "approve", "approve"):
            print(f"a process that is to {command}:", flush=True)
            if subprocess.run([sys.executable, __file__, command, name]).returncode:  # noqa: S603
                sys.exit(1)
