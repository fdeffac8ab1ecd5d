"""``streamkit demo``: stream a story over real HTTP, and show how fast it arrived."""

from __future__ import annotations

import click

from streamkit.cli.answer import show
from streamkit.cli.options import Number, json_option
from streamkit.cli.sinks import sink
from streamkit.client import Client
from streamkit.observing.observers import Stats
from streamkit.values.completion import Completion

__all__ = ["demo"]

_MODEL = "demo/storyteller"
_PROMPT = "Tell me a story about a robot in a lighthouse."


@click.command(
    short_help="Watch a story arrive; needs no key.",
    epilog="""\b
Examples:
  streamkit demo
  streamkit demo --tokens-per-second 5
  streamkit demo --json | jq -j '.text // empty'
""",
)
@click.option(
    "--tokens-per-second",
    metavar="N",
    type=Number(min=0),
    default=50,
    show_default=True,
    help="The pace; 0 sends all at once.",
)
@json_option
def demo(tokens_per_second: float, as_json: bool) -> int:
    """Stream a story from demo/storyteller, a model that needs no key.

    It runs in this very process, behind a real HTTP server, and its story takes the way that every reply
    takes. At the end stands a line with the number of tokens, the time to the first and the tokens a second,
    on standard error with --json. For tools and JSON there is demo/assistant: try streamkit chat -m demo/assistant.
    """
    to = sink(as_json=as_json)
    # No time limits: the user may choose any pace.
    with Client() as client:
        pace = {"tokens_per_second": tokens_per_second}
        with client.stream(_MODEL, _PROMPT, timeout=None, extra_body=pace) as stream:
            complete = show(stream, to)
    if not complete:
        return 130
    to.note(_summary(stream.completion, stream.stats))
    return 0


def _summary(completion: Completion, stats: Stats) -> str:
    tokens, first = completion.usage.output_tokens, stats.time_to_first_chunk
    parts = ["unknown tokens" if tokens is None else f"{tokens} tokens"]
    if first is not None:
        parts.append(f"first after {first:.2f} s")
        if tokens is not None and tokens > 1 and stats.duration > first:
            parts.append(f"{(tokens - 1) / (stats.duration - first):,.0f} tokens a second")
    return ", ".join(parts)
