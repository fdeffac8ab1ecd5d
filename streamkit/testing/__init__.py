"""A real server on loopback that plays scripts of replies and of faults, for tests over real sockets.

    from streamkit.testing import Reset, Server, error_reply, text_reply

    with Server(error_reply(503), text_reply("Hello world").first(2).then(Reset())) as server:
        ...                             # point a client at server.url
        server.requests[0].json()       # what it asked
        server.requests[0].gone.wait(1) # and whether it let go

Without replies a `Server` is the one behind the models `demo/storyteller`, which tells a story, and
`demo/assistant`, which calls tools and fills JSON schemas. Fixtures for pytest are in `streamkit.testing.plugin`.

Nothing in this folder imports the client: the server has to be right about HTTP independently of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamkit.testing.cassette_playback import cassette_replies
    from streamkit.testing.cassette_writer import CassetteWriter
    from streamkit.testing.demo import demo_server
    from streamkit.testing.openai_events import DONE, USAGE, chunk_event, error_body, split_tokens, sse_event
    from streamkit.testing.openai_replies import (
        error_in_stream_reply,
        error_reply,
        html_reply,
        huge_event_reply,
        json_reply,
        recording_reply,
        redirect_reply,
        text_reply,
        tool_call_reply,
        whole_reply,
    )
    from streamkit.testing.output import Output
    from streamkit.testing.provider_replies import FORMATS, aws_frame, error_in, reply_in
    from streamkit.testing.recorder import Recorder
    from streamkit.testing.reply import Reply
    from streamkit.testing.request import Headers, Request
    from streamkit.testing.server import Answer, Server
    from streamkit.testing.steps import Cut, Mark, Paced, Raw, Repeat, Reset, Send, Step, Trickle, Wait, WaitFor
    from streamkit.testing.story import STORY, tell

__all__ = [
    "DONE",
    "FORMATS",
    "STORY",
    "USAGE",
    "Answer",
    "CassetteWriter",
    "Cut",
    "Headers",
    "Mark",
    "Output",
    "Paced",
    "Raw",
    "Recorder",
    "Repeat",
    "Reply",
    "Request",
    "Reset",
    "Send",
    "Server",
    "Step",
    "Trickle",
    "Wait",
    "WaitFor",
    "aws_frame",
    "cassette_replies",
    "chunk_event",
    "demo_server",
    "error_body",
    "error_in",
    "error_in_stream_reply",
    "error_reply",
    "html_reply",
    "huge_event_reply",
    "json_reply",
    "recording_reply",
    "redirect_reply",
    "reply_in",
    "split_tokens",
    "sse_event",
    "tell",
    "text_reply",
    "tool_call_reply",
    "whole_reply",
]

_MODULES = (
    "cassette_playback",
    "cassette_writer",
    "demo",
    "openai_events",
    "openai_replies",
    "output",
    "provider_replies",
    "recorder",
    "reply",
    "request",
    "server",
    "steps",
    "story",
)


def __getattr__(name: str) -> object:
    """Import a name when it is first used.

    pytest loads the plugin, and with it this file, in every project of everybody who has the package
    installed; most of those runs want no server.
    """
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
