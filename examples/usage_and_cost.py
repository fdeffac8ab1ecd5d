"""Add up what streams used and cost, by provider and model.

The server stands in the place of two real providers, so that this runs without a key. Against the real ones it is
`Client(observers=[tracker])`, with their keys in the environment.
"""

from streamkit import Client, UsageTracker, providers
from streamkit.testing import Server, reply_in

with (
    Server(reply_in("anthropic", "The tide comes in.", usage=(1200, 300))) as anthropic,
    Server(reply_in("openai", "The tide goes out.", usage=(900, 250))) as openai,
):
    tracker = UsageTracker()
    known: list[providers.Provider] = [
        providers.Anthropic(api_key="", base_url=anthropic.url),
        providers.OpenAI(api_key="", base_url=openai.url),
    ]
    with Client(known, observers=[tracker]) as client:
        for model in ("anthropic/claude-sonnet-4-5", "openai/gpt-4o-mini", "openai/gpt-4o-mini"):
            completion = client.complete(model, "Write a line about the tide")
            print(f"{model}: {completion}")

for (provider, model), totals in tracker.by_model().items():
    print(f"{provider}/{model}: {totals.streams} replies, {totals.total_tokens} tokens")
print(f"in all {tracker.totals().total_tokens} tokens")
