"""A route for useChat of the AI SDK. Serve it: flask --app examples/web/minimal_flask.py run."""

from flask import Flask, Response, request

from streamkit import Client
from streamkit.errors import RequestError
from streamkit.web.flask import stream_response
from streamkit.web.formats import messages_in

app, client = Flask(__name__), Client()


@app.post("/api/chat")
def chat() -> Response:
    return stream_response(client.stream("demo/storyteller", messages_in(request.get_data()), max_tokens=3))


@app.errorhandler(RequestError)
def wrong_request(error: RequestError) -> tuple[str, int]:
    return str(error), error.status


if __name__ == "__main__":  # ask once, as useChat does
    question = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Tell me a story"}]}
    print(app.test_client().post("/api/chat", json={"id": "c1", "messages": [question]}).text.strip())
    print(app.test_client().post("/api/chat", json={"id": "c1", "messages": 3}).text)
