"""Add up the tokens and the cost of streams, by provider and model.

Test servers take the place of two gateways that report the cost of each reply, so no key is needed. With the real
ones, set their keys in the environment and pass ``observers=[tracker]`` to the client. Where a provider reports no
cost, the extra ``prices`` estimates it from list prices.
"""

from streamkit import Client, UsageTracker, providers
from streamkit.testing import Server, text_reply

LARGE = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500, "cost": 0.0081}
SMALL = {"prompt_tokens": 900, "completion_tokens": 250, "total_tokens": 1150, "cost": 0.0013}

with (
    Server(text_reply("The tide comes in.", usage=LARGE)) as agnic,
    Server(text_reply("The tide goes out.", usage=SMALL)) as openrouter,
):
    tracker = UsageTracker()
    known: list[providers.Provider] = [
        providers.Agnic(api_key="", base_url=agnic.url),
        providers.OpenAICompatible("openrouter", openrouter.url, api_key=""),
    ]
    with Client(known, observers=[tracker]) as client:
        for model in ("agnic/acme/large", "openrouter/acme/small", "openrouter/acme/small"):
            completion = client.complete(model, "Write a line about the tide")
            print(f"{model}: {completion}")

for (provider, model), totals in tracker.by_model().items():
    replies = "1 reply" if totals.streams == 1 else f"{totals.streams} replies"
    print(f"{provider}/{model}: {replies}, {totals.total_tokens} tokens, ${totals.cost:.4f}")
print(f"total: {tracker.totals().total_tokens} tokens, ${tracker.totals().cost:.4f}")
