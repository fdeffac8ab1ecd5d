"""Ask another provider where the first one fails before its first word, and a second one at once where it is late.

Three test servers stand for three providers: one that is down, one that says nothing for a long time, and a good one.
"""

from streamkit import Client, Retry, Route, providers
from streamkit.testing import Reply, Server, Wait, error_reply, text_reply

silent = Reply([Wait(60)], framing="chunked")

with Server(error_reply(503)) as down, Server(silent) as slow, Server(text_reply("Good morning.")) as good:
    client = Client(
        [
            providers.OpenAICompatible(name, server.url, "key")
            for name, server in (("down", down), ("slow", slow), ("good", good))
        ],
        retry=Retry(attempts=1),
    )

    print("In order:")
    stream = client.stream(["down/model", "good/model"], "Say hello")
    print(stream.collect().text)
    for route in stream.stats.routes:
        print(f"  {route.model}: {route.why or 'answered'}")

    print("With a hedge:")
    stream = client.stream(Route(["slow/model", "good/model"], hedge=0.2), "Say hello")
    print(stream.collect().text)
    for route in stream.stats.routes:
        print(f"  {route.model}: {route.why or 'answered'}")
