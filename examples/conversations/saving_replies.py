"""Save a reply and a conversation as JSON, and read both back.

``to_dict()`` gives values that ``json.dumps`` takes, so a reply can go into a file, a database or a task queue.
``from_dict()`` gives an equal value. Keys that it does not know are ignored, such as those of a newer version.

Run it as it is, or with the name of another model: ``python saving_replies.py openai/gpt-4o-mini``.
"""

import json
import sys
import tempfile
from pathlib import Path

from streamkit import Completion, Message, complete

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

with tempfile.TemporaryDirectory() as folder:
    reply, conversation = Path(folder, "reply.json"), Path(folder, "conversation.json")

    history = [Message("user", "Tell me a story about a fox")]
    completion = complete(model, history, max_tokens=20)
    history.append(completion.message)
    reply.write_text(json.dumps(completion.to_dict(), indent=2), encoding="utf-8")
    conversation.write_text(json.dumps([message.to_dict() for message in history], indent=2), encoding="utf-8")

    # Another process, another day.
    read = Completion.from_dict(json.loads(reply.read_text(encoding="utf-8")))
    print(f"equal: {read == completion}, whole: {read.complete}, {read.usage.total_tokens} tokens")
    history = [Message.from_dict(shape) for shape in json.loads(conversation.read_text(encoding="utf-8"))]
    history.append(Message("user", "And one about an owl"))
    print(f"{len(history)} messages: {', '.join(message.role for message in history)}")
    print(complete(model, history, max_tokens=7))
