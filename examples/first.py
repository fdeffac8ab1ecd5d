"""Ask three models the same and keep the one that answers first; the others are cancelled at once.

Here all three are the demo model at different paces. With real ones it hedges against a slow day.
"""

from streamkit import Client, first

PACES = {"the tortoise": 2, "the hare": 60, "the hedgehog": 4}  # tokens a second

with Client() as client:
    runners = {
        name: client.stream(
            "demo/storyteller", "Tell me a story about a race", extra_body={"tokens_per_second": pace}, max_tokens=100
        )
        for name, pace in PACES.items()
    }
    winner = first(runners.values())
    for name, stream in runners.items():
        print(f"{name:>12}: {'first' if stream is winner else stream.status}")

    print()
    for chunk in winner:  # its first chunk is still in it
        print(chunk.text, end="", flush=True)
    print(" ...")
