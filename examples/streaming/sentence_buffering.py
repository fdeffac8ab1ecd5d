"""Read a reply sentence by sentence, for example for a speech synthesizer or a translator.

Each sentence is yielded when the next one begins. ``iter_words()`` and ``iter_lines()`` do the same for words and
lines.

Run it as it is, or with the name of another model: ``python sentence_buffering.py openai/gpt-4o-mini``.
"""

import sys
import textwrap
import time

import streamkit

model = sys.argv[1] if len(sys.argv) > 1 else "demo/storyteller"

started = time.monotonic()
with streamkit.stream(model, "Tell me a story about a lighthouse") as stream:
    for number, sentence in enumerate(stream.iter_sentences(), start=1):
        label = f"{number:>2}. {time.monotonic() - started:4.1f} s  "
        print(textwrap.fill(sentence, width=88, initial_indent=label, subsequent_indent=" " * len(label)))
