"""Handle a connection that is lost midway, a retry, and a refusal.

A test server fails in three ways: with status 503, which is retried; with a connection closed midway, which is not
retried because chunks were delivered; and with status 400, which is never retried.
"""

from streamkit import APIError, Client, StreamError, providers
from streamkit.testing import STORY, Cut, Server, error_reply, text_reply

whole = text_reply(STORY.partition("\n\n")[0], pause=0.02)
cut_midway = whole.first(60).then(Cut())
busy, refusal = error_reply(503, "Too many stories at once."), error_reply(400, "No stories before noon.")

with Server(busy, cut_midway, refusal) as server:
    client = Client([providers.OpenAI(api_key="", base_url=server.url, name="local")])

    for question in ("Tell me a story about a lighthouse", "Tell me another one"):
        print(f"> {question}")
        stream = client.stream("local/storyteller", question)
        try:
            for chunk in stream:
                print(chunk.text, end="", flush=True)
        except APIError as error:
            print(f"refused with status {error.status}: {error}")
        except StreamError as error:
            kept = error.partial.text if error.partial else ""
            print(f"\n\n{type(error).__name__}: {error}")
            print(f"requests: {stream.stats.attempts}, status: {stream.status}, kept: {len(kept)} characters\n")
