"""End a reply before a word shows that must not: by rules in a pack, and by rules in the program.

A validator judges the text while it arrives. It holds back what may be the beginning of a forbidden word, and when it
is one, the model is cancelled: the reader never sees a character of it.

Run it as it is, or with the name of another model: ``python validators.py openai/gpt-4o-mini``.
"""

import sys
from pathlib import Path

from streamkit import ValidationError, open_pack, stream
from streamkit.validators import BannedWords, MaxLength, MaxSentences

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

print("A pack with fail_on_violation:")
chat = open_pack(
    Path(__file__).with_name("shop.pack.json"), "stories", model=model, variables={"company": "Boots & Co"}
)
try:
    for chunk in chat.stream("Write about a robot no taller than a teapot"):
        print(chunk.text, end="", flush=True)
except ValidationError as error:
    print(f"\n  {error.validator}: {error.reason}")
    print(f"  kept in the conversation: {len(error.partial.text)} characters, the turn is {chat.turns[-1].state}")

print("\nRules of the program, which replace the rest or cut it off:")
for rule in (
    BannedWords(["lighthouse"], on_violation="replace", replacement="[the rest is withheld]"),
    MaxSentences(1, on_violation="replace", replacement=""),
):
    reply = stream(model, "Write about the sea", validators=[rule])
    for chunk in reply:
        print(chunk.text, end="", flush=True)
    print(f"\n  {reply.status}, {reply.completion.finish_reason}: {reply.violations[0].reason}")

print("\nA rule that only reports:")
reply = stream(model, "Write about the sea", validators=[MaxLength(20, on_violation="report")], max_tokens=12)
print(f"  {len(reply.collect().text)} characters, {[found.reason for found in reply.violations]}")
