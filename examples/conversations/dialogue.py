"""Talk to a model on the terminal, and go on tomorrow where you stopped today.

The conversation is kept in a file, ``dialogue.json`` unless you name another, and saved after each turn. ``save``
replaces the file as a whole, so a crash leaves the old one or the new one. Ctrl-C stops a reply; what was printed of it
stays in the conversation.

Run it as it is, or with the names of a file and a model: ``python dialogue.py chat.json openai/gpt-4o-mini``. An empty
line ends it. Without a terminal it reads standard input.
"""

import sys
from pathlib import Path

from streamkit import ChunkStream, Client, Conversation, StreamError, Window

path = Path(sys.argv[1] if len(sys.argv) > 1 else "dialogue.json")
model = sys.argv[2] if len(sys.argv) > 2 else "demo/storyteller"
max_tokens = 9 if model == "demo/storyteller" else 500  # its story is long, and always the same


def show(reply: ChunkStream) -> None:
    try:
        with reply:
            for chunk in reply:
                print(chunk.text, end="", flush=True)
    except StreamError as error:
        print(f"\n[{error}]", end="")
    except KeyboardInterrupt:
        print("\n[stopped]", end="")
    print()


def ask() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def answer(chat: Conversation, line: str) -> None:
    if line == "/retry" and chat.turns:
        show(chat.retry())
    elif line == "/undo" and chat.messages:
        print(f"[taken back: {chat.undo().asked.content}]")
    elif line == "/history":
        for message in chat.messages:
            print(f"  {message.role}: {' '.join(str(message.content).split())}")
    elif line.startswith("/"):
        print("[/retry, /undo or /history; an empty line ends the program]")
    else:
        show(chat.stream(line))


with Client() as client:
    window = Window(turns=20)  # how many earlier turns are sent; all of them are kept
    if path.exists():
        chat = Conversation.load(path, client=client, model=model, window=window, max_tokens=max_tokens)
        print(f"[{path}: {chat.title}, turns: {len(chat.turns)}]")
    else:
        chat = client.conversation(model, system="Tell short stories.", window=window, max_tokens=max_tokens)
        print(f"[a new conversation, kept in {path}]")

    while line := ask():
        answer(chat, line)
        chat.save(path)

    print(f"[turns: {len(chat.turns)}, tokens: {chat.usage.total_tokens or 'unknown'}]")
