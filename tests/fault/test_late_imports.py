"""Nothing is imported by a reader, nor while a stream is open: a fork in the middle of an import hangs its child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter

import pytest

from streamkit.providers import registry
from streamkit.testing import (
    FORMATS,
    Cut,
    Reply,
    Request,
    Reset,
    Server,
    Wait,
    error_in,
    error_reply,
    html_reply,
    redirect_reply,
    reply_in,
    text_reply,
    whole_reply,
)
from tests.e2e.test_environment import Tunnel, tunnel
from tests.fault.conftest import Certificate

__all__ = ["tunnel"]  # a fixture

TOOL = ("weather", {"city": "Paris", "days": 2})
LATER = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}

ODD_TEXT = r'data: {"choices": [{"delta": {"content": "\ud83d\ude00 \ud83d"}}]}'

#: What the server answers to the requests of each case, the last one again and again.
REPLIES: dict[str, list[Reply]] = {
    **{f"{each}: whole": [reply_in(each, "Hello world.")] for each in FORMATS},
    **{
        f"{each}: tools": [reply_in(each, "Hello", reasoning="Hm", tool_calls=[TOOL])]
        for each in FORMATS
        if each != "openai-completions"
    },
    **{f"{each}: error inside": [reply_in(each, "Hello", error="It broke")] for each in FORMATS},
    **{f"{each}: refused": [error_in(each, "No", status=401)] for each in FORMATS},
    **{f"{each}: torn": [reply_in(each, "Hello world.").first(2).then(Cut())] for each in FORMATS},
    **{f"{each}: retried": [error_reply(503, headers=LATER), reply_in(each, "Hello")] for each in FORMATS},
    "openai: gzip": [text_reply("Hello").but(encoding="gzip")],
    "openai: an encoding that nobody reads": [text_reply("Hello").but(headers={"Content-Encoding": "br"})],
    "openai: not chunked": [text_reply("Hello").but(framing="close")],
    "openai: no stream": [whole_reply("Hello")],
    "openai: HTML": [html_reply()],
    "openai: HTML refused": [html_reply(502)],
    "openai: redirected": [redirect_reply("http://127.0.0.1:9/")],
    "openai: no JSON": [Reply(["data: {no\n\n"])],
    "openai: no UTF-8": [Reply([b"data: \xff\xfe\n\n"])],
    "openai: half a character": [Reply([f"{ODD_TEXT}\n\n"])],
    "openai: AWS frames": [reply_in("bedrock", "Hello")],
    "openai: reset": [Reply(before_head=[Reset()])],
    "openai: limited": [error_reply(429, headers={"retry-after-ms": "1"}), text_reply("Hello")],
    "openai: in silence": [Reply([Wait(None)])],
    "openai: in a back-off": [error_reply(503, headers={"Retry-After": "30"})],
    "demo: whole": [Reply()],
}

#: How a case differs from a plain loop over a plain connection to an address of four numbers.
WAYS = {
    "openai: in silence": ["cancel", "stop", "plain stop", "drop", "timeout", "leave", "first"],
    "openai: in a back-off": ["cancel", "stop", "plain stop", "drop", "total"],
    "openai: whole": [
        *("", "tls", "untrusted", "proxy", "tls by proxy", "no proxy", "socks", "named", "international", "no name"),
        *(
            "six",
            "observed",
            "tracked",
            "priced",
            "logged",
            "merge",
            "words",
            "sentences",
            "lines",
            "refused",
            "text",
            "all models",
        ),
    ],
    "openai: gzip": ["", "tls"],
    "bedrock: whole": ["", "signed", "tracked", "models", "signed models"],
    "anthropic: whole": ["", "tracked"],
    "gemini: whole": [""],
    "demo: whole": ["", "models"],
}

PROGRAM = r"""
import json, os, sys, threading
import streamkit

given = json.loads(sys.argv[1])
late = []
streaming = False


class Watch:
    # Asked for each module that is not there yet, found or not, in the thread that imports it.
    def find_spec(self, name, path=None, target=None):
        thread = threading.current_thread().name
        if streaming or thread.startswith(("streamkit-", "demo-server-")):
            late.append(f"{name} in {thread}")


def provider_of(format, base_url, way):
    from streamkit import providers
    name = {"openai": "OpenAI", "openai-responses": "OpenAIResponses", "openai-completions": "OpenAICompletions",
            "anthropic": "Anthropic", "bedrock": "Bedrock", "gemini": "Gemini", "cohere": "Cohere",
            "gemini-interactions": "GeminiInteractions", "mistral": "Mistral", "ollama": "Ollama"}[format]
    options = {"region": "us-east-1"} if format == "bedrock" else {}
    if way.startswith("signed"):
        options.update(access_key="a", secret_key="s")
    elif format != "ollama":
        options["api_key"] = "k"
    return getattr(providers, name)(base_url=base_url, **options)


class Failing(streamkit.Observer):
    def stream_started(self, report): raise ZeroDivisionError
    def stream_ended(self, report): raise ZeroDivisionError


class Priced(streamkit.Observer):
    def stream_ended(self, report): report.completion.cost


def play(format, case, way):
    global streaming
    origin = given["tls"] if way in ("tls", "untrusted", "tls by proxy") else given["plain"]
    origin = {
        "refused": "http://127.0.0.1:9",
        "no name": "http://nobody.invalid",
        "named": origin.replace("127.0.0.1", "localhost"),
        "international": origin.replace("127.0.0.1", "b\u00fccher.invalid"),
        "six": "http://[::1]:9",
    }.get(way, origin)
    if way in ("tls", "tls by proxy"):
        os.environ["REQUESTS_CA_BUNDLE"] = given["certificate"]
    if way in ("proxy", "tls by proxy"):
        os.environ["http_proxy"] = os.environ["https_proxy"] = given["proxy"]
    elif way == "no proxy":
        os.environ.update(http_proxy=given["proxy"], no_proxy="127.0.0.1,localhost")
    elif way == "socks":
        os.environ["http_proxy"] = "socks5://127.0.0.1:9"
    observers = {"observed": [Failing()], "priced": [Priced()], "logged": [Failing()]}.get(way, [])
    if way == "tracked":
        observers = [streamkit.UsageTracker()]
    if way == "logged":
        import logging
        logging.basicConfig(level=logging.DEBUG, stream=open(os.devnull, "w"))
    registered = format == "demo" or way == "all models"
    known = None if registered else [provider_of(format, f"{origin}/{case}", way)]
    client = streamkit.Client(known, observers=observers,
                              retry=streamkit.Retry(2, backoff=0.001))
    options = {"extra_body": {"tokens_per_second": 0}} if format == "demo" else {"temperature": 0.5}
    stop = streamkit.StopEvent() if way == "stop" else threading.Event() if way == "plain stop" else None
    limits = {"timeout": streamkit.Timeout(first=0.2), "total": 0.2}
    if way in limits:
        options["timeout"] = limits[way]
    model = "demo/storyteller" if format == "demo" else f"{format}/gpt-4o"
    start = lambda: client.stream(model, "Hi", stop=stop, **options)
    if way == "all models":
        for name in given["names"]:
            os.environ.update({f"{name.upper()}_API_KEY": "k", f"{name.upper()}_BASE_URL": origin})
        os.environ.update(AWS_REGION="us-east-1", AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s")
        os.environ.update(http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9")
        client.models.list()
    if way.endswith("models"):
        try:
            client.models.list(format)
        except streamkit.StreamkitError:
            pass
        return
    stream = start()
    streaming = True
    try:
        if way == "merge":
            other = start()
            for each, chunk in streamkit.merge([stream, other]): pass
        elif way == "first":
            stream.cancel()
            streamkit.first([stream])
        elif way in ("words", "sentences", "lines", "text"):
            for each in getattr(stream, f"iter_{way}")(): pass
        elif way == "drop":
            stream = None
        elif way == "leave":
            with stream: pass
        else:
            if way in ("cancel", "stop", "plain stop"):
                end = stop.set if stop else stream.cancel
                threading.Timer(0.1, end).start()
            for chunk in stream: repr(chunk), chunk.text
            stream.completion, stream.stats, repr(stream), stream.completion.message, stream.response
    except (streamkit.StreamError, ValueError) as error:
        str(error), repr(error), error.__class__.__name__
    for thread in threading.enumerate():
        if thread.name.startswith("streamkit-"):
            thread.join(10)
    streaming = False
    client.close()


sys.meta_path.insert(0, Watch())
for format, case, way in given["cases"]:
    child = os.fork()
    if not child:  # which has imported nothing but the package
        try:
            play(format, case, way)
        except BaseException as error:
            late.append(f"failed: {error!r}")
        print(json.dumps([format, case, way, late]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each case begins in a fork of a process that did nothing yet")
def test_nothing_is_imported_while_streams_run(certificate: Certificate, tunnel: Tunnel) -> None:
    """Whatever the format and the end, readers import nothing, and so does who consumes."""
    names = list(REPLIES)
    cases = [
        (name.partition(":")[0], str(number), way) for number, name in enumerate(names) for way in WAYS.get(name, [""])
    ]
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(request: Request) -> Reply:
        path = request.path.partition("://")[2].partition("/")[2] or request.path[1:]  # whole, where a proxy is asked
        number = path.partition("/")[0]
        replies = REPLIES[names[int(number)]]
        with lock:
            asked[number] += 1
            return replies[(asked[number] - 1) % len(replies)]

    with Server(answer) as plain, Server(answer, tls=certificate.context) as tls:
        given = {
            "plain": plain.origin,
            "tls": tls.origin,
            "certificate": str(certificate.path),
            "cases": cases,
            "proxy": tunnel.url,
            "names": registry.names(),
        }
        command = [sys.executable, "-c", PROGRAM, json.dumps(given)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    played = [json.loads(line) for line in run.stdout.splitlines()]
    assert [list(case) for case in cases] == [[*row[:3]] for row in played], run.stderr
    late = {f"{names[int(number)]} {way}".strip(): modules for _, number, way, modules in played if modules}
    assert {} == late


FORK = """
import os, sys, threading, time
import streamkit

importing, go_on = threading.Event(), threading.Event()


class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            importing.set()
            go_on.wait(60)


def ask():
    tracker = streamkit.UsageTracker()
    with streamkit.Client([streamkit.providers.OpenAI("k")], observers=[tracker]) as client:
        client.models


sys.meta_path.insert(0, Slow())
threading.Thread(target=ask, daemon=True).start()
importing.wait(60)
threading.Timer(0.2, go_on.set).start()
child = os.fork()
if not child:
    ask()
    os._exit(0)
until = time.monotonic() + 30
while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
    go_on.wait(0.01) and time.sleep(0.01)
if not ended[0]:
    os.kill(child, 9)
    os.waitpid(child, 0)
print("hangs" if not ended[0] else ended[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize(
    "module", ["genai_prices", "streamkit.providers.openai_chat.openai", "streamkit.models.catalog"]
)
def test_a_fork_while_another_thread_imports(module: str) -> None:
    """A fork waits for an import that another thread makes for the package, so that the child can import the same."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore:This process", "-c", FORK, module], capture_output=True, text=True, timeout=90
    )
    assert ("0\n", "") == (run.stdout, run.stderr)
