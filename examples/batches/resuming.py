"""Stop a batch in the middle, and have the next run do only what is missing.

With ``save=`` each result is written to a file of JSON lines as it ends. A second run with the same file gives the
replies in it again, without asking, and asks the rest. It is the same after Ctrl-C, and after ``kill -9``.

Run it as it is: ``python resuming.py``; or keep the file, and run it twice: ``python resuming.py stories.jsonl``.
"""

import sys
import tempfile
from pathlib import Path

from streamkit import Client

topics = ["a fox", "an owl", "a lighthouse", "the moon", "the sea", "a robot"]

with Client() as client, tempfile.TemporaryDirectory() as folder:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder, "stories.jsonl")

    print("The first run, which stops at its second result:")
    batch = client.map("demo/storyteller", topics, concurrency=1, save=path, max_tokens=40)
    for number, result in enumerate(batch, start=1):
        print(f"  {result.prompt}: {'saved before' if result.saved else 'asked'}")
        if number == 2:
            break
    print("The second run:")
    for result in client.map("demo/storyteller", topics, ordered=True, save=path, max_tokens=40):
        if result.index < 2 or not result.saved:  # a third one may have ended while the loop was left
            print(f"  {result.prompt}: {'saved before' if result.saved else 'asked'}")
    print(f"{len(path.read_text('utf-8').splitlines())} lines in the file")
