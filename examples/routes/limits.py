"""Keep to a provider's limits, and leave a provider alone that is down.

A test server stands for a provider that breaks after two requests.
"""

import time

from streamkit import Breaker, CircuitOpenError, Client, RateLimit, Retry, ServerError, providers
from streamkit.testing import Server, error_reply, text_reply

limit = RateLimit(requests=2, per=1)  # waits in line; wait=False refuses
breaker = Breaker(failures=2, within=60, pause=30)

with Server(text_reply("Hello."), text_reply("Hello again."), error_reply(500)) as server:
    client = Client(
        [providers.OpenAICompatible("local", server.url, "key")], retry=Retry(attempts=1), policies=[breaker, limit]
    )
    started = time.monotonic()
    for _ in range(6):
        try:
            said = client.complete("local/model", "Say hello").text
        except ServerError as error:
            said = f"status {error.status}"
        except CircuitOpenError as error:
            said = f"not asked, as the circuit is open; again in {error.retry_after:.0f} s"
        print(f"after {time.monotonic() - started:.0f} s: {said}")
    print(f"{len(server.requests)} requests were sent, and the circuit is {breaker.state('local')}")
