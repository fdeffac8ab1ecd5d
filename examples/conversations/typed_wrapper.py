"""Write a function of your own around ``complete()`` that keeps the types of the options.

``**parameters: Unpack[RequestParameters]`` names all parameters of all built-in providers. An editor completes them in
calls of ``ask``, and mypy and pyright find ``ask("Hi", temprature=0.5)``. While the program runs, the client checks the
names as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamkit

if TYPE_CHECKING:
    from typing_extensions import Unpack  # in the module typing from Python 3.11 on


def ask(question: str, **parameters: Unpack[streamkit.RequestParameters]) -> str:
    """Ask the model of this program, briefly unless the caller wants it otherwise."""
    parameters.setdefault("max_tokens", 7)
    return streamkit.complete("demo/storyteller", question, **parameters).text


print(ask("Tell me a story about a fox"))
print(ask("Tell me a story about a fox", max_tokens=27, temperature=0.5))
try:
    ask("Tell me a story about a fox", temprature=0.5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
except streamkit.ConfigError as error:
    print(f"ConfigError: {error}")
