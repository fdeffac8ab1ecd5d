"""Ctrl-C at each line of a turn: the conversation goes on, and its store has what it has."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from streamkit import Client, Conversation, MemoryStore, Retry, providers
from streamkit.testing import Server, text_reply

_FILES = ("conversation/conversation.py", "conversation/turn_stream.py")


def interrupted(act: Callable[[], object], number: int) -> bool:
    """Do something, with a Ctrl-C at a line of ours; return whether it got so far."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.replace("\\", "/").endswith(_FILES):
            return None
        lines += event == "line"
        if event == "line" and lines == number:
            raise KeyboardInterrupt  # which ends the tracing, too
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    gc.collect()
    return lines >= number


@pytest.mark.parametrize("again", [False, True], ids=["send", "retry"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt in a finalizer
def test_ctrl_c_anywhere_in_a_turn(again: bool) -> None:
    """Wherever Ctrl-C comes in a turn, the next one can be asked, and the store has the same turns."""

    def act(chat: Conversation) -> object:
        return chat.retry().collect() if again else chat.send("Second?")

    with Server(lambda _: text_reply("One two.")) as server:
        number, came = 0, True
        with Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(attempts=1)) as client:
            while came:
                number += 4 - number % 2  # a part of the lines, odd and even ones
                store = MemoryStore()
                chat = client.conversation("openai/m", store=store)
                chat.send("First?")
                came = interrupted(lambda chat=chat: act(chat), number)  # type: ignore[misc]
                assert "One two." == chat.send("Third?").text, number
                kept = store.load(chat.id)
                assert kept is not None
                assert [(turn.asked, turn.state, turn.answer) for turn in kept.turns] == [
                    (turn.asked, turn.state, turn.answer) for turn in chat.turns
                ], number
    assert number > 50
