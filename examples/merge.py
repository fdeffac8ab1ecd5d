"""Read three replies at once in one loop, each in its own column.

Chunks come in the order of their arrival; a slow stream holds up no other one.
"""

from streamkit import Client, merge

WIDTH = 22
PACES = {"the sea": 30, "a fox": 20, "the moon": 10}  # tokens a second, which only the demo model lets you choose

with Client() as client:
    streams = {
        client.stream(
            "demo/storyteller",
            f"Tell me a story about {topic}",
            max_tokens=pace,
            extra_body={"tokens_per_second": pace},
        ): topic
        for topic, pace in PACES.items()
    }
    topics = list(streams.values())
    print("".join(f"{topic.upper():<{WIDTH}}" for topic in topics))
    for stream, chunk in merge(streams):
        column = topics.index(streams[stream])
        if chunk.text:
            print(" " * WIDTH * column + chunk.text.strip(), flush=True)
        elif chunk.finished:
            print(" " * WIDTH * column + f"({stream.completion.usage.output_tokens} words)", flush=True)
