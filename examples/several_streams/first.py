"""Ask three models the same question and keep the first to answer; the others are cancelled.

Here all three are the demo model at different speeds. With real models this shortens the wait for the first chunk.
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
    for chunk in winner:  # first() has not taken its first chunk
        print(chunk.text, end="", flush=True)
    print(" ...")
