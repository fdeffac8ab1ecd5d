"""Add up what streams used and cost, by provider and model.

The servers stand in the place of two gateways that say what a reply cost, so that this runs without a key. Against
the real ones it is `Client(observers=[tracker])`, with their keys in the environment. For providers that do not say
it, the extra "prices" makes an estimate by list prices.
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
print(f"in all {tracker.totals().total_tokens} tokens, ${tracker.totals().cost:.4f}")
