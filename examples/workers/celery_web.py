"""A web app that sends tasks to Celery's workers, and relays their replies to browsers.

Start the worker as in celery_tasks.py, then the web app, with a thread for each open reply:

    gunicorn --worker-class gthread --threads 64 celery_web:app

A page asks with fetch() and then opens new EventSource("/replies/" + id). Where the connection breaks, the browser
comes back by itself with the number of the last event, and lacks nothing. Run as a program, this is such a browser.
"""

from celery_tasks import answer, log
from flask import Flask, Response, request

from streamkit import follow
from streamkit.web.flask import stream_response

app = Flask(__name__)


@app.post("/ask")
def ask() -> dict[str, str]:
    task = answer.delay(request.get_json()["question"], 20)  # pyright: ignore[reportFunctionMemberAccess]
    return {"id": task.id}  # a random one: whoever has it may read the reply


@app.get("/replies/<id>")
def reply(id: str) -> Response:
    return stream_response(follow(log, id, request.headers.get("Last-Event-ID", "")), format="events")


@app.post("/replies/<id>/stop")
def stop(id: str) -> dict[str, bool]:
    return {"runs": log.stop(id)}


def main() -> None:
    browser = app.test_client()
    id = browser.post("/ask", json={"question": "Tell me about an owl"}).get_json()["id"]
    with browser.get(f"/replies/{id}") as response:
        first = response.get_data(as_text=True).split("\n\n")
    print(first[0], first[-2], sep="\n\n")
    print("\nAfter a reload that had the first event:\n")
    with browser.get(f"/replies/{id}", headers={"Last-Event-ID": "1"}) as response:
        again = response.get_data(as_text=True).split("\n\n")
    print(again[0])
    print("the rest is the same:", [event for event in again if "content" in event] == first[1 : len(first) - 2])


if __name__ == "__main__":
    main()
