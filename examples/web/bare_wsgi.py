"""A WSGI application without a framework, for an EventSource. Serve it: gunicorn -k gthread bare_wsgi:application."""

import threading
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

from streamkit import Client
from streamkit.web.relay import relay

client = Client()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    prompt = parse_qs(environ["QUERY_STRING"]).get("prompt", [""])[0]
    if not prompt:
        start_response("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"?prompt= is missing"]
    return relay(client.stream("demo/storyteller", prompt, max_tokens=3), "events")(environ, start_response)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


if __name__ == "__main__":  # serve one request, and send it
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/?prompt=Tell+me+a+story") as response:
            print(response.status, response.headers["Content-Type"])
            print(response.read().decode().strip())
        thread.join()
