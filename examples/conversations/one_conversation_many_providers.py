"""Ask four providers the same question, with the same messages, tool and code.

Test servers take the place of the providers, so no key is needed.
"""

from contextlib import ExitStack

from streamkit import Client, Message, providers
from streamkit.testing import Server, reply_in

weather = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
kinds = {
    "openai": providers.OpenAI,
    "anthropic": providers.Anthropic,
    "gemini": providers.Gemini,
    "mistral": providers.Mistral,
}

with ExitStack() as stack:
    known = []
    for name, kind in kinds.items():
        replies = (
            reply_in(name, "I will look.", tool_calls=[("get_weather", {"city": "Oslo"})]),
            reply_in(name, "Take a coat."),
        )
        server = stack.enter_context(Server(*replies))
        known.append(kind(api_key="", base_url=server.url))
    client = stack.enter_context(Client(known))

    for name in kinds:
        history = [Message("system", "Be brief."), Message("user", "What shall I wear in Oslo?")]
        asked = client.complete(f"{name}/some-model", history, tools=[weather])
        history.append(asked.message)
        for call in asked.tool_calls:
            history.append(Message("tool", f"3 degrees in {call.arguments['city']}", tool_call_id=call.id))
        print(f"{name}: {asked} {client.complete(f'{name}/some-model', history, tools=[weather])}")
