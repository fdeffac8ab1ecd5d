"""A whole chat, with tools and the page that ships with it. Serve it: flask --app examples/web/chat_app.py run."""

import os

from flask import Flask

from streamkit import Client, MemoryLog, MemoryStore, RedisLog, SQLStore, tool
from streamkit.web.flask import chat_blueprint


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Rain in {city}, 11 degrees."


@tool(needs_approval=True)
def buy_umbrella(colour: str) -> str:
    """Buy an umbrella."""
    return f"A {colour} umbrella is on its way."


# With these two, any number of processes on any number of machines serve the same chats.
database, redis = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")

app = Flask(__name__)
app.register_blueprint(
    chat_blueprint(
        Client(),
        model=os.environ.get("STREAMKIT_MODEL", "demo/assistant"),
        system="You help people to go out in any weather.",
        tools=[weather, buy_umbrella],
        store=SQLStore(database) if database else MemoryStore(),
        log=RedisLog(redis) if redis else MemoryLog(),
        authorize=lambda request: request.headers.get("X-User", "me"),  # the id of who is signed in
        page=True,
    )
)


if __name__ == "__main__":  # ask once, as the page does
    browser = app.test_client()
    question = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Buy an umbrella, colour: red"}]}
    browser.post("/api/chat", json={"id": "c1", "messages": [question]}).get_data()
    chat = browser.get("/api/chat/c1").get_json()
    print(chat["status"])
    for part in chat["messages"][1]["parts"]:
        print(part["type"], *[part[name] for name in ("state", "input") if name in part])
    print(browser.get("/").status)
