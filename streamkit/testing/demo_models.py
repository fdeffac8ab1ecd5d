"""The models of the demo server, by name."""

from __future__ import annotations

from streamkit.testing import story
from streamkit.testing.assistant import model as assistant
from streamkit.testing.chat_reply import serve
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request

MODELS = {story.MODEL: story.story, assistant.MODEL: assistant.assist}


def answer(request: Request, *, tokens_per_second: float = 50.0) -> Reply:
    """Return the reply of the model that a request names; of the storyteller if it names none of them.

    Args:
        request: as for `tell`; the assistant also honours `tools`, `tool_choice`, `parallel_tool_calls` and
            `response_format`.
        tokens_per_second: the pace, where the request has none; 0 sends all at once.
    """
    return serve(request, MODELS, tokens_per_second=tokens_per_second)
