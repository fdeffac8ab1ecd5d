"""Drive clients of the AI SDK: ``useChat`` in tabs of headless Chromium, or its ``Chat`` in Node."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.web.browser import Outcome
from tests.unit.support import SOON, Task

__all__ = ["ChatClients", "add_page", "chat_clients", "texts"]


class ChatClients:
    """The tabs of a browser, or clients in Node, by their names.

    Each method waits until it was done; nothing waits for a reply but ``until``.
    """

    def __init__(self, run: Callable[..., Outcome], address: str) -> None:
        self._commands: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._results: queue.Queue[Any] = queue.Queue()
        self._failed: BaseException | None = None
        self._task = Task(lambda: self._run(run, address))
        self._results.get(timeout=SOON)  # it asks for its first command

    def _run(self, run: Callable[..., Outcome], address: str) -> Outcome | None:
        try:
            return run("remote_chat.mjs", address, calls={"next": self._next})
        except BaseException as error:
            self._failed = error
            self._results.put(error)
            return None

    def _next(self, result: Any) -> Any:
        self._results.put(result)
        return self._commands.get(timeout=2 * SOON)

    def _do(self, tab: str, what: str, value: Any) -> Any:
        self._commands.put({"tab": tab, "what": what, "value": value})
        result = self._results.get(timeout=2 * SOON)
        if self._failed is not None:
            raise self._failed
        return result

    def open(self, tab: str = "one", *, id: str = "chat-1", **options: Any) -> None:
        """Open a tab with a chat.

        ``history`` asks for its messages first, ``resume`` for the reply that is on its way, ``address`` is another
        server's; for the others see ``chat_options.mjs``.
        """
        self._do(tab, "open", {"id": id, **options})

    def call(self, name: str, *arguments: Any, tab: str = "one") -> None:
        """Call one of the functions that ``useChat`` returns."""
        self._do(tab, "call", [name, arguments])

    def send(self, text: str, tab: str = "one", **message: Any) -> None:
        """Send a message."""
        self.call("sendMessage", {"text": text, **message}, tab=tab)

    def over(self, replies: int = 1, tab: str = "one") -> dict[str, Any]:
        """Wait until so many replies have ended, and return what is rendered."""
        return self.until(f"s.finished.length === {replies} && s.status === (s.error ? 'error' : 'ready')", tab)

    def until(self, condition: str, tab: str = "one") -> dict[str, Any]:
        """Wait for a condition on what is rendered, ``s``, and return it: messages, status, error, what was told."""
        found: dict[str, Any] = self._do(tab, "until", [condition])
        return found

    def fetch(self, path: str, method: str = "GET", tab: str = "one") -> tuple[int, str]:
        """Ask the server as the page's own scripts do; return the status and the text."""
        status, text = self._do(tab, "fetch", [path, {"method": method}])
        return status, text

    def history(self, id: str = "chat-1", tab: str = "one") -> dict[str, Any]:
        """Return a chat as the server has it."""
        found: dict[str, Any] = json.loads(self.fetch(f"/api/chat/{id}", tab=tab)[1])
        return found

    def text(self, tab: str = "one") -> str:
        """Return the text that the page shows."""
        return str(self._do(tab, "text", []))

    def reload(self, tab: str = "one") -> None:
        """Load the page again."""
        self._do(tab, "reload", [])

    def close(self, tab: str = "one") -> None:
        """Close the tab."""
        self._do(tab, "close", [])

    def end(self) -> Outcome | None:
        """End all of it."""
        self._commands.put(None)
        return self._task.result()


@contextmanager
def chat_clients(run: Callable[..., Outcome], address: str) -> Iterator[ChatClients]:
    """Give clients of ``run_node`` or ``run_browser``; in a browser no error may stay uncaught."""
    clients = ChatClients(run, address)
    try:
        yield clients
    finally:
        outcome = clients.end()
    assert outcome is None or [] == outcome.errors


def add_page(app: Any, bundle: Path) -> None:
    """Give a Flask app the page of the tabs, on its ``/client``."""
    page = "<!doctype html><title>Chat</title><body><script type=module src=/client.js></script>"
    app.add_url_rule("/client", "client", lambda: page)
    script = bundle.read_text("utf-8")
    app.add_url_rule("/client.js", "client_js", lambda: (script, {"content-type": "text/javascript; charset=utf-8"}))


def texts(snapshot: dict[str, Any]) -> list[str]:
    """Return the text of each message."""
    return [
        "".join(part["text"] for part in message["parts"] if part["type"] == "text") for message in snapshot["messages"]
    ]
