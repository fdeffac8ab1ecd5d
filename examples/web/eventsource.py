"""A page with an EventSource and no library. Serve it: flask --app examples/web/eventsource.py run."""

from pathlib import Path

from flask import Flask, Response, request, send_file

from streamkit import Client
from streamkit.web.flask import stream_response

app, client = Flask(__name__), Client()


@app.get("/")
def page() -> Response:
    return send_file(Path(__file__).with_name("eventsource") / "index.html")


@app.get("/ask")
def ask() -> Response:
    return stream_response(client.stream("demo/storyteller", request.args["prompt"], max_tokens=60), "events")


if __name__ == "__main__":  # ask once, as the page does
    events = app.test_client().get("/ask?prompt=Tell+me+about+a+fox").text.strip().split("\n\n")
    print(*events[:2], f"({len(events) - 3} more events)", events[-1], sep="\n\n")
