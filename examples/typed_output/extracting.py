"""Ask for an instance in one call; a model that gets it wrong is told its mistakes, and tries again.

The first part asks demo/assistant. In the second a server takes the place of a model that makes a mistake.
"""

from typing import Annotated, Literal, TypedDict

from annotated_types import Ge

from streamkit import Client, InvalidOutputError, providers
from streamkit.testing import Server, text_reply


class Review(TypedDict):
    mood: Literal["good", "bad"]
    stars: Annotated[int, Ge(1)]


with Client() as client:
    print(client.extract("demo/assistant", "The mood is good, and the stars are 4.", Review))

wrong, right = text_reply('{"mood": "fine", "stars": 0}'), text_reply('{"mood": "good", "stars": 4}')
with Server(wrong, right, wrong) as server:
    client = Client([providers.OpenAI(api_key="", base_url=server.url, name="local")])
    print(client.extract("local/some-model", "Very nice.", Review))
    print("\nThe model was told:")
    print(server.requests[1].json()["messages"][-1]["content"])

    print("\nWith one attempt:")
    try:
        client.extract("local/some-model", "Very nice.", Review, attempts=1)
    except InvalidOutputError as error:
        for problem in error.problems:
            print(f"  {problem.path}: {problem.text}")
        print(f"  the reply was {error.text}")
