"""Ask a turn again, take it back, and let a conversation go on in two ways.

Run it as it is, or with the name of another model: ``python undo_retry_fork.py openai/gpt-4o-mini``.
"""

import sys

from streamkit import Client, Conversation

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"


def show(title: str, chat: Conversation) -> None:
    questions = [str(message.content) for message in chat.messages if message.role == "user"]
    print(f"{title}: {', '.join(questions) or 'nothing'}; {chat.usage.total_tokens} tokens")


with Client() as client:
    chat = client.conversation(model, system="Tell stories in one sentence.", max_tokens=12)
    chat.send("About a fox")
    chat.send("About an owl")
    show("two turns", chat)

    print(f"asked again: {' '.join(chat.retry().collect().text.split())}")
    show("after retry", chat)  # the tokens of both answers count: they are billed

    print(f"taken back: {chat.undo().asked.content}")
    show("after undo", chat)

    other = chat.fork()
    other.send("About the sea")
    chat.send("About the moon")
    show("the fork", other)
    show("the original", chat)

    # A turn that is cancelled keeps what was delivered. With on_failure="rollback" it would be as if never asked.
    with chat.stream("About a robot") as reply:
        for _ in range(4):
            next(reply)
        reply.cancel()
    print(f"{chat.turns[-1].state}: {chat.messages[-1].content!r}")
    for chunk in chat.retry():
        print(chunk.text, end="", flush=True)
    print(f"\n{chat.turns[-1].state}, {len(chat.turns)} turns")

    chat.clear()
    show("after clear", chat)
