"""Read three replies at once in one loop, and print each in its own column.

Chunks come in the order of their arrival; a slow stream does not delay the others.
"""

from streamkit import Client, merge

WIDTH = 26  # characters
PACES = {"the sea": 48, "a fox": 32, "the moon": 16}  # tokens a second; a parameter of the demo model only

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
    column = {stream: " " * WIDTH * number for number, stream in enumerate(streams)}
    line = dict.fromkeys(streams, "")

    print("".join(f"{topic.upper():<{WIDTH}}" for topic in streams.values()))
    for stream, chunk in merge(streams):
        line[stream] += chunk.text
        if len(line[stream]) > WIDTH - 10 or chunk.finished:
            print(column[stream] + " ".join(line[stream].split()), flush=True)
            line[stream] = ""
        if chunk.finished:
            print(f"{column[stream]}({chunk.usage.output_tokens if chunk.usage else '?'} words)", flush=True)
