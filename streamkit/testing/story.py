"""What `demo/storyteller` says: a small model that needs no key, for first tries, examples and tests.

It answers `POST .../chat/completions`, streamed or whole, and `GET .../models`, in OpenAI's formats, and
always with the same story. Nothing is kept between requests.
"""

from __future__ import annotations

from streamkit.testing.chat_order import Order
from streamkit.testing.chat_reply import Choice, serve, text_choice
from streamkit.testing.openai_events import split_tokens
from streamkit.testing.reply import Reply
from streamkit.testing.request import Request

MODEL = "storyteller"

STORY = """\
At the end of a long grey pier stood a lighthouse, and in the lighthouse lived a robot no taller \
than a teapot. Its name was Pip. Every evening Pip climbed the ninety-nine steps, polished the great \
lamp with a corner of its scarf, and counted the ships as they came home.

One night the fog was so thick that the light went no further than the window. Far below, a fishing \
boat was calling, and nobody could see it. So Pip took the smallest thing it owned, a brass whistle, \
and played the only tune it knew, one note at a time. The boat heard the first note and slowed down. \
It heard the second and turned. By the last one it was safe beside the pier.

"How did you find us?" asked the captain. "I did not," said Pip. "You found me. I only kept talking \
until you were here."
"""

_OPENINGS = (
    "A story, then, for “{}”.",
    "“{}”? That reminds me of a story.",
    "Here is the story that “{}” brings to mind.",
)
_OPENING_WITHOUT_TOPIC = "Here is a story."
_TOPIC_CHARACTERS = 60


def tell(request: Request, *, tokens_per_second: float = 50.0) -> Reply:
    """Return the answer of the storyteller to a request.

    Args:
        request: the fields `messages`, `model`, `stream`, `stream_options`, `max_tokens`,
            `max_completion_tokens`, `n` and `stop` of its body are honoured, and `tokens_per_second`, which
            sets the pace of this one reply.
        tokens_per_second: the pace otherwise; 0 sends all at once.
    """
    return serve(request, {MODEL: story}, tokens_per_second=tokens_per_second)


def story(order: Order) -> list[Choice]:
    """Return the story, opened in another way in each choice."""
    topic = _topic(order.prompt)
    texts = (f"{_opening(topic, index)}\n\n{STORY.strip()}" for index in range(order.choices))
    return [text_choice(order, split_tokens(text)) for text in texts]


def _topic(prompt: str) -> str:
    """Return what a prompt is about, on one line and clipped at a word."""
    line = " ".join(prompt.split())
    _, about, rest = line.partition(" about ")
    wanted = (rest if about else line).strip(" .!?\"'")
    if len(wanted) <= _TOPIC_CHARACTERS:
        return wanted
    return (wanted[:_TOPIC_CHARACTERS].rpartition(" ")[0] or wanted[:_TOPIC_CHARACTERS]) + "…"


def _opening(topic: str, index: int) -> str:
    if not topic:
        return _OPENING_WITHOUT_TOPIC
    return _OPENINGS[index % len(_OPENINGS)].format(topic)
