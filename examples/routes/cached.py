"""Keep whole replies, and give them again to equal questions, at once or at the pace at which they came."""

from streamkit import Client, MemoryCache, providers
from streamkit.testing import Server, text_reply

with Server(text_reply("A lighthouse stood on the pier.", pause=0.05)) as server:
    client = Client([providers.OpenAICompatible("local", server.url, "key")], policies=[MemoryCache(ttl=600)])
    for question in ("Tell me a story", "Tell me a story", "Tell me another story"):
        with client.stream("local/model", question) as stream:
            text = stream.collect().text
        how = "from the cache" if stream.stats.cached else "from the model"
        print(f"{text} ({how}, {stream.completion.usage.total_tokens} tokens, cost {stream.completion.cost})")
    print(f"{len(server.requests)} requests were sent")
