"""Get whole replies by ``complete()`` and ``collect()``, and continue the conversation with them.

Run it as it is, or with the name of another model: ``python collecting.py openai/gpt-4o-mini``.
"""

import sys
import textwrap

from streamkit import Client, Completion, Message

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"


def show(completion: Completion) -> None:
    text = " ".join(completion.text.split())
    print(textwrap.fill(text, width=80, initial_indent="  ", subsequent_indent="  "))
    print(f"  [{completion.finish_reason}, {completion.usage.total_tokens} tokens]\n")


history = [Message("user", "Tell me a story about a lighthouse")]
with Client() as client:
    print("complete() waits for the whole reply; max_tokens ends this one early:")
    completion = client.complete(model, history, max_tokens=50)
    show(completion)

    print("collect() reads the rest and returns the whole reply; five words were read before:")
    history += [completion.message, Message("user", "And one about the moon")]
    stream = client.stream(model, history, max_tokens=50)
    print("  " + "".join(next(stream).text for _ in range(5)), "...")
    show(stream.collect())
