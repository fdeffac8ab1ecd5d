"""Let the model call a Python function, and print what happens.

The function's name, type hints and docstring are all that the model gets to know of it. A function that raises does not
end the run: the model is told the exception, and answers.

Run it as it is, or with the name of another model: ``python a_tool.py openai/gpt-4o-mini``.
"""

import sys
from typing import Literal

from streamkit import Client, Message

model = sys.argv[1] if len(sys.argv) > 1 else "demo/assistant"
DEGREES = {"Oslo": 3.0, "Rome": 18.0}  # Celsius


def weather(city: str, unit: Literal["C", "F"] = "C") -> dict[str, str | float]:
    """The weather of a city.

    Args:
        city: The name of the city, in English.
        unit: Celsius or Fahrenheit.
    """
    degrees = DEGREES[city]
    return {"city": city, "degrees": degrees if unit == "C" else degrees * 9 / 5 + 32}


with Client() as client:
    history = [Message("user", "What is the weather in Oslo and in Atlantis?")]
    run = client.run(model, history, tools=[weather])
    shown = 0  # the round whose text is being printed
    for chunk in run:
        if chunk.tool_result is not None:
            print(f"\n  {chunk.tool_result.name} -> {chunk.tool_result.content}", end="", flush=True)
        elif chunk.text:
            print("\n" * (chunk.round - shown) + chunk.text, end="", flush=True)
            shown = chunk.round
    print()

    history += run.messages
    print()
    for message in history:
        print(f"{message.role}: {message.content or ''}")
        for call in message.tool_calls:
            print(f"  calls {call.name}({call.raw_arguments})")
    print(f"\n{len(run.rounds)} requests, {run.completion.usage.total_tokens} tokens")
