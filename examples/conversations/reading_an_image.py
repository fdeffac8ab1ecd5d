"""Send an image from a file, and the same message to two providers.

``ImagePart.read(path)`` reads the file; ``ImagePart("https://...")`` sends an address instead. Documents are
``FilePart``. Test servers take the place of the providers, so no key is needed.
"""

import base64
import tempfile
from pathlib import Path

from streamkit import Client, ImagePart, Message, TextPart, providers
from streamkit.testing import Server, reply_in

RED_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "pixel.png")
    path.write_bytes(RED_PIXEL)
    question = Message("user", [TextPart("Which colour is this?"), ImagePart.read(path)])

with Server(reply_in("openai", "Red.")) as openai, Server(reply_in("anthropic", "It is red.")) as anthropic:
    known: list[providers.Provider] = [
        providers.OpenAI(api_key="", base_url=openai.url),
        providers.Anthropic(api_key="", base_url=anthropic.url),
    ]
    with Client(known) as client:
        for model in ("openai/some-model", "anthropic/some-model"):
            print(f"{model}: {client.complete(model, [question])}")

    print("\nEach server got the image in its own format:")
    for server in (openai, anthropic):
        print(server.requests[0].json()["messages"][0]["content"][1])
