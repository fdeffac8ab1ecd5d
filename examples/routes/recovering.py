"""Go on with a reply that broke off: the model is asked to continue, and what it says twice is left out.

A test server stands for a model whose connection is lost in the middle.
"""

from streamkit import Client, Recovery, providers
from streamkit.testing import Cut, Server, text_reply

story = "At the end of a long grey pier stood a lighthouse, and in it lived a robot."
cut_midway = text_reply(story).first(9).then(Cut())
rest = text_reply("grey pier stood a lighthouse, and in it lived a robot.")  # it repeats its last words, as asked

with Server(cut_midway, rest) as server:
    client = Client([providers.OpenAICompatible("local", server.url, "key")], policies=[Recovery("continue")])
    stream = client.stream("local/model", "Tell me a story")
    for chunk in stream:
        print("|" if chunk.type == "recovered" else chunk.text, end="", flush=True)
    print(f"\nthe same text: {stream.completion.text == story}, times gone on with: {stream.stats.recovered}")
