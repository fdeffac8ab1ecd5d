"""A page with React and useChat. Build it, see the README; serve it: flask --app examples/web/react_usechat.py run."""

from pathlib import Path

from flask import Flask, Response, send_from_directory

import streamkit
from streamkit import Client
from streamkit.web.flask import chat_blueprint

FILES = Path(__file__).with_name("react_usechat")


def weather(city: str) -> dict[str, object]:
    """Look the weather up.

    Args:
        city: Its name.
    """
    return {"city": city, "degrees": 3}


@streamkit.tool(needs_approval=True)
def refund(order: str, amount: float) -> str:
    """Refund an order.

    Args:
        order: The number of the order.
        amount: In EUR.
    """
    return f"{amount} EUR were paid back"


app = Flask(__name__)
app.register_blueprint(chat_blueprint(Client(), model="demo/assistant", tools=[weather, refund]))


@app.get("/")
def page() -> Response:
    return send_from_directory(FILES, "index.html")


@app.get("/dist/<path:name>")
def built(name: str) -> Response:
    return send_from_directory(FILES / "dist", name)


if __name__ == "__main__":  # ask once, as useChat does, and load the chat as a page does that is opened again
    browser = app.test_client()
    question = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "What is the weather in Oslo?"}]}
    assert "[DONE]" in browser.post("/api/chat", json={"id": "c1", "messages": [question]}).text
    for message in browser.get("/api/chat/c1").get_json()["messages"]:
        for part in message["parts"]:
            print(message["role"], part)
