"""`streamkit models` and `streamkit doctor` as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from streamkit.testing import (
    Cut,
    Reply,
    Send,
    Server,
    Wait,
    chunk_event,
    error_in_stream_reply,
    error_reply,
    html_reply,
    json_reply,
    redirect_reply,
    text_reply,
)

KEY = "sk-secret-of-the-doctor"
SECONDS = 60.0
ASKED = {"role": "user", "content": "Count from 1 to 30."}
MODELS = {
    "data": [
        {
            "id": "small",
            "context_length": 128000,
            "pricing": {"prompt": "0.0000001", "completion": "0.0000004"},
            "supported_parameters": ["tools"],
        },
        {"id": "plain"},
    ]
}


def streamkit(*arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the keys given, and none of this machine's."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "streamkit", *arguments],
        env={**os.environ, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def openai_at(server: Server) -> dict[str, str]:
    return {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}


def json_event(shape: object) -> str:
    return f"data: {json.dumps(shape)}\n\n"


class TestModels:
    def test_columns(self) -> None:
        """Each model is a line with its full name, window, prices and capabilities, aligned."""
        with Server(json_reply(MODELS)) as server:
            done = streamkit("models", "--provider", "openai", **openai_at(server))
        assert (0, "") == (done.returncode, done.stderr)
        assert ["openai/small    128k      $0.1 / $0.4  tools", "openai/plain       -                -"] == [
            line.rstrip() for line in done.stdout.splitlines()
        ]

    def test_json(self) -> None:
        """With --json each line is an object for a program."""
        with Server(json_reply(MODELS)) as server:
            done = streamkit("models", "-p", "openai", "-c", "tools", "--json", **openai_at(server))
        (line,) = done.stdout.splitlines()
        shown = json.loads(line)
        assert ("openai/small", 128000, 0.1, ["tools"]) == (
            shown["model"],
            shown["context_window"],
            shown["input_price"],
            shown["capabilities"],
        )

    def test_without_any_key(self) -> None:
        """If no provider has a key, the message says so and names the remedy."""
        done = streamkit("models")
        assert (1, "") == (done.returncode, done.stdout)
        assert "no provider has a key" in done.stderr
        assert "streamkit doctor --all" in done.stderr

    def test_a_provider_that_fails(self) -> None:
        """A provider that rejects the key is named on stderr, in one line, without the key."""
        with Server(error_reply(401)) as server:
            done = streamkit("models", **openai_at(server))
        assert (1, "", True) == (done.returncode, done.stdout, "streamkit: openai at " in done.stderr)
        assert KEY not in done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (error_reply(401, "Who?"), "401: Who?; check the key in LITELLM_API_KEY"),
            (
                html_reply(),
                "text/html ('Hello'), not a list of models in JSON; a web site or a proxy answered, not the API: check",
            ),
        ],
    )
    def test_a_server_here_that_somebody_set_up(self, reply: Reply, told: str) -> None:
        """A server on this machine whose address or key is set is not passed over, whatever it answers."""
        with Server(reply) as server:
            for variables in ({}, {"LITELLM_API_KEY": KEY}):
                done = streamkit("models", LITELLM_BASE_URL=server.url, **variables)
                assert (1, True) == (done.returncode, "streamkit: litellm at 127.0.0.1:" in done.stderr)
                assert told in done.stderr
                assert "no provider has a key" not in done.stderr

    @pytest.mark.parametrize(
        ("variable", "value", "told"),
        [
            ("OLLAMA_HOST", "127.0.0.1:2", "ollama: no connection to 127.0.0.1:2"),
            ("VLLM_BASE_URL", "http://127.0.0.1:2/v1", "vllm: no connection to 127.0.0.1:2"),
            ("VLLM_BASE_URL", "nonsense", "vllm: VLLM_BASE_URL is an absolute"),
        ],
    )
    def test_a_server_here_that_somebody_set_up_and_does_not_run(self, variable: str, value: str, told: str) -> None:
        """A provider that cannot be reached is named too, by the list and by the survey."""
        done = streamkit("models", **{variable: value})
        assert (1, 1, True) == (done.returncode, len(done.stderr.splitlines()), told in done.stderr)
        assert any(line.startswith(told[:4]) for line in streamkit("doctor", **{variable: value}).stdout.splitlines())

    def test_a_base_url_that_lacks_its_path(self) -> None:
        """A list that is not found is put down to the address, and not to the name of a model."""
        with Server(error_reply(404, "Nope.")) as server:
            for arguments in ([], ["-p", "openai"]):
                done = streamkit("models", *arguments, **openai_at(server))
                assert done.stderr.endswith("404: Nope; check the provider's base URL, such as for a missing /v1\n")

    def test_no_model_is_able(self) -> None:
        """If no model has a capability, the message says so, and the exit code is 1."""
        with Server(json_reply(MODELS)) as server:
            done = streamkit("models", "-p", "openai", "-c", "tools", "-c", "images", **openai_at(server))
        assert (1, "") == (done.returncode, done.stdout)
        assert "none of the 2 models is known to have tools and images" in done.stderr

    def test_nothing_to_list(self) -> None:
        """A provider that lists nothing is said to, whether it was asked alone or with all."""
        with Server(json_reply({"data": []})) as server:
            for arguments in (["-p", "openai"], []):
                done = streamkit("models", *arguments, **openai_at(server))
                assert (1, "", True) == (done.returncode, done.stdout, "openai lists no models" in done.stderr)
                assert "no provider has a key" not in done.stderr

    def test_a_key_that_cannot_be_one(self) -> None:
        """A key that is there and wrong is not reported as missing."""
        done = streamkit("models", OPENAI_API_KEY="sk-\x01")
        assert (1, True) == (done.returncode, "openai: the API key for OPENAI_API_KEY holds" in done.stderr)
        assert "no provider has a key" not in done.stderr
        assert "cannot be asked: the API key for" in streamkit("doctor", OPENAI_API_KEY="sk-\x01").stdout

    def test_a_server_that_repeats_the_key(self) -> None:
        """The key is in nothing that is written, whatever the server makes of it."""
        for reply in (error_reply(400, f"bad key {KEY}"), html_reply(200, f"<p>{KEY}")):
            with Server(reply) as server:
                for arguments in (["models"], ["models", "-p", "openai"], ["doctor"]):
                    done = streamkit(*arguments, **openai_at(server))
                    assert KEY not in done.stdout + done.stderr

    def test_names_that_would_command_a_terminal(self) -> None:
        """Control characters in a model's name do not reach a terminal, as text or as JSON."""
        with Server(json_reply({"data": [{"id": "a\x1b[2J\x9b2Jb\nc", "name": "\x9b"}]})) as server:
            assert "openai/a[2J2Jb c " in streamkit("models", "-p", "openai", **openai_at(server)).stdout
            done = streamkit("models", "-p", "openai", "--json", **openai_at(server))
        assert "\x9b" == json.loads(done.stdout)["name"]
        assert not {"\x1b", "\x9b"} & set(done.stdout)

    def test_letters_that_the_locale_has_not(self) -> None:
        """A name in another script is written as well as the locale can, and as it is into JSON."""
        with Server(json_reply({"data": [{"id": "größe"}]})) as server:
            environment = {**openai_at(server), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
            assert "openai/gr??e" in streamkit("models", "-p", "openai", **environment).stdout
            assert "openai/größe" in streamkit("models", "-p", "openai", "--json", **environment).stdout

    def test_an_unknown_capability(self) -> None:
        """A word that stands for no capability is bad usage, and those that do are named."""
        done = streamkit("models", "-c", "vision")
        assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert "images" in done.stderr

    def test_the_demo(self) -> None:
        """The model that is always there can be asked for."""
        done = streamkit("models", "-p", "demo")
        assert (0, True) == (done.returncode, done.stdout.startswith("demo/storyteller"))

    @pytest.mark.parametrize("command", ["models", "doctor"])
    def test_a_reader_that_has_had_enough(self, command: str) -> None:
        """A pipe that closes after the first line is no error."""
        many = json_reply({"data": [{"id": f"model-{number}" * 10} for number in range(3000)]})
        with Server(many) as server:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamkit", command],
                env={**os.environ, "NO_PROXY": "127.0.0.1", **openai_at(server)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert process.stdout is not None
            assert process.stderr is not None
            with process.stdout, process.stderr:
                if command == "models":
                    process.stdout.readline()
                process.stdout.close()
                assert (0, b"") == (process.wait(SECONDS), process.stderr.read())

    @pytest.mark.parametrize("command", ["models", "doctor"])
    def test_an_interrupt(self, command: str) -> None:
        """Ctrl-C waits for no provider that does not answer, however long it may take."""
        patient = f"""if True:
            import sys
            from streamkit.__main__ import main
            from streamkit.models.catalog import Catalog

            Catalog.__init__.__kwdefaults__["timeout"] = {SECONDS * 5}
            sys.argv = ["streamkit", "{command}"]
            main()
        """
        with Server(Reply(before_head=[Wait(None)])) as server:
            process = subprocess.Popen(
                [sys.executable, "-c", patient],
                env={**os.environ, "NO_PROXY": "127.0.0.1", **openai_at(server)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            server.wait_for_requests(1, SECONDS)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=SECONDS)
            assert (130, (b"", b"")) == (process.returncode, said)

    def test_an_unknown_provider(self) -> None:
        """A name that nobody has is an error that names those there are."""
        done = streamkit("models", "-p", "nobody")
        assert (1, True) == (done.returncode, "anthropic" in done.stderr)


class TestDoctor:
    def test_what_is_set_up(self) -> None:
        """Versions, extras, and who answers are said; keys never are, nor passwords of proxies."""
        with Server(json_reply(MODELS)) as server:
            proxy = "http://me:pa55word@127.0.0.1:1"
            done = streamkit("doctor", FTP_PROXY="x", ALL_PROXY=proxy, **openai_at(server))
        assert (0, "") == (done.returncode, done.stderr)
        assert "answers, 2 models" in done.stdout
        assert "ALL_PROXY             http://***@127.0.0.1:1" in done.stdout
        assert "--all" in done.stdout
        assert KEY not in done.stdout
        assert "pa55word" not in done.stdout

    @pytest.mark.parametrize("start", ["me:pa55word@", "http://me:pa55@word@", "http://me:pa55/word@"])
    def test_a_password_of_any_proxy(self, start: str) -> None:
        """A proxy's password is not shown, with or without a scheme, whatever is in it, nor in errors about it."""
        for arguments in ([], ["http://far.example/v1"]):
            done = streamkit("doctor", *arguments, HTTP_PROXY=f"{start}127.0.0.1:1", OPENAI_BASE_URL="http://x.example")
            assert "pa55" not in done.stdout + done.stderr
            assert "word@" not in done.stdout + done.stderr

    def test_a_dead_proxy_is_named(self) -> None:
        """If the proxy is dead, the message names the proxy too."""
        done = streamkit("doctor", "http://far.example/v1", HTTP_PROXY="http://me:pa55word@127.0.0.1:1")
        assert (1, True) == (done.returncode, "through the proxy http://***@127.0.0.1:1" in done.stderr)

    def test_secrets_of_a_url(self) -> None:
        """Name, password and the values of the query of a URL are not shown."""
        with Server(redirect_reply("http://127.0.0.1:1/?key=sk-query-secret")) as server:
            url = f"{server.url.replace('//', '//me:pa55word@')}?key=sk-query-secret"
            for arguments in ([], ["--json"]):
                done = streamkit("doctor", url, *arguments)
                assert (1, True) == (done.returncode, "redirects" in done.stderr + done.stdout)
                assert "pa55word" not in done.stdout + done.stderr
                assert "sk-query-secret" not in done.stdout + done.stderr

    def test_an_empty_list_and_a_page(self) -> None:
        """A provider that lists nothing answers, and so does one that sends a page."""
        for reply, said in [
            (json_reply({"data": []}), "answers, 0 models"),
            (html_reply(), "the server sent text/html ('Hello'), not a list of models in JSON"),
        ]:
            with Server(reply) as server:
                assert said in streamkit("doctor", **openai_at(server)).stdout

    def test_a_stream_that_is_cut(self) -> None:
        """The events before the cut are judged, and the verdict reports the cut."""
        words = text_reply("one two three four five six seven eight", pause=0.02)
        with Server(words.first(len(words.steps) // 2).then(Cut())) as server:
            done = streamkit("doctor", server.url)
            shown = json.loads(streamkit("doctor", server.url, "--json").stdout)
        assert (1, True) == (done.returncode, "closed before the reply was over" in done.stderr)
        assert shown["verdict"].startswith("failed: the connection was closed before the reply was over. Until then:")

    def test_a_stream_without_a_length_that_is_cut(self) -> None:
        """A cut that only shows in the last event is reported."""
        words = text_reply("one two three four five six seven eight", pause=0.02)
        with Server(words.but(framing="close"), words.first(9).then("data: {").but(framing="close")) as server:
            assert "cut off" not in streamkit("doctor", server.url).stdout
            assert "it may have been cut off" in streamkit("doctor", server.url).stdout

    def test_all(self) -> None:
        """With --all every provider is there, with the variable that its key goes in."""
        done = streamkit("doctor", "--all")
        for variable in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "AWS_REGION"):
            assert variable in done.stdout

    def test_a_key_that_is_refused(self) -> None:
        """A provider that answers and refuses the key is told apart from one that does not answer."""
        with Server(error_reply(401)) as server:
            done = streamkit("doctor", "--json", **openai_at(server))
        assert "answers, refuses the key (401)" == json.loads(done.stdout)["providers"]["openai"]

    def test_a_stream_that_flows(self) -> None:
        """Events with time between them are a stream."""
        reply = text_reply("one two three four five six seven eight", pause=0.15)
        with Server(reply) as server:
            done = streamkit("doctor", server.url, "--key-from", "MY_KEY", MY_KEY=KEY)
            (request,) = server.requests
        assert (0, "") == (done.returncode, done.stderr)
        assert "streamed: events come one by one" in done.stdout
        assert ("POST", "/v1/chat/completions", f"Bearer {KEY}") == (
            request.method,
            request.path,
            request.headers["authorization"],
        )
        assert KEY not in done.stdout

    @pytest.mark.parametrize("framing", ["chunked", "close"])
    def test_a_stream_that_is_held_back(self, framing: str) -> None:
        """All events at once after a long wait are what a buffer makes, and the remedy is named."""
        burst = b"".join(chunk_event(word) for word in "a b c d e f g h".split())
        reply = Reply([Wait(1.5), Send(burst)], framing=framing)  # type: ignore[arg-type]
        with Server(reply) as server:
            done = streamkit("doctor", f"{server.url}/chat/completions")
        assert (0, True) == (done.returncode, "buffered: nothing for a long time" in done.stdout)
        assert "X-Accel-Buffering" in done.stdout

    def test_a_page(self) -> None:
        """A response that is not a stream is reported as such."""
        with Server(html_reply().but(status=200)) as server:
            done = streamkit("doctor", f"{server.url}/page", "--method", "GET")
        assert (0, True) == (done.returncode, "not a stream: the server sends text/html" in done.stdout)

    def test_a_server_that_falls_silent(self) -> None:
        """The events before the limit are shown, and the error names the limit."""
        reply = text_reply("one two three").first(3).then(Wait(None))
        with Server(reply) as server:
            done = streamkit("doctor", server.url, "--timeout", "3")
            shown = json.loads(streamkit("doctor", server.url, "--timeout", "3", "--json").stdout)
        assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert "not complete within 3 s" in done.stderr
        assert "3 events" in done.stdout
        assert (3, True, True) == (shown["events"], shown["first_event"] > 0, shown["connected"] > 0)

    def test_a_server_that_never_answers(self) -> None:
        """A server that accepts the request and stays silent counts as connected."""
        with Server(Reply(before_head=[Wait(None)])) as server:
            done = streamkit("doctor", server.url, "--timeout", "3", "--json")
        shown = json.loads(done.stdout)
        assert (1, True, None) == (done.returncode, shown["connected"] > 0, shown["headers"])
        assert "no answer within 3 s" in shown["error"]

    @pytest.mark.parametrize(
        ("reply", "arguments", "told"),
        [
            (error_reply(401, "Who?"), [], "401: Who?; send a key with --key-from VARIABLE, or with -H 'NAME: VALUE'"),
            (error_reply(403, "No."), [], "403: No; send a key with --key-from VARIABLE, or with -H 'NAME: VALUE'"),
            (error_reply(401, f"{KEY}?"), ["--key-from", "K"], "401: ***?; check the key in K"),
            (error_reply(401, "Who?"), ["-H", "X-Api-Key: 12345678"], "401: Who?; check the key in -H"),
            (error_reply(403, "No."), ["--key-from", "K"], "403: No; check what the key may use"),
            (error_reply(404, "No gpt."), [], "404: No gpt; check the URL and the model's name"),
            (error_reply(400, "Odd."), [], "400: Odd; change what is asked with --model or --data"),
            (error_reply(429, "Slow.", headers={"Retry-After": "9"}), [], "429: Slow; wait 9 s and ask again"),
            (html_reply(502, "Bad Gateway"), [], "502: Bad Gateway; ask again in a while"),
            (error_reply(500, "x" * 500_000), [], "x…"),
            (error_reply(500, "Oh.").but(content_length=999), [], "500: "),
            (error_in_stream_reply("Full.", code=529, after="one two"), [], "529: Full; ask again in a while"),
            (json_reply({"error": {"message": "Full.", "code": 529}}), [], "529: Full; ask again in a while"),
            (Reply(["event: error\ndata: Full.\n\n"]), [], "the server answered with an error: Full."),
            (
                Reply([json_event({"type": "response.failed", "response": {"error": {"message": "Full."}}})]),
                *([], "the server answered with an error: Full."),
            ),
        ],
    )
    def test_a_reason_of_the_server(self, reply: Reply, arguments: list[str], told: str) -> None:
        """A server's error message and the remedy are shown, also for an error inside a 200."""
        with Server(reply) as server:
            done = streamkit("doctor", server.url, *arguments, K=KEY)
        assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
        assert told in done.stderr
        assert "failed: the server answered" in done.stdout

    def test_events_that_are_about_no_model(self) -> None:
        """A stream of somebody's own is not taken for a refusal, only because it tells of a status."""
        with Server(Reply([json_event({"message": "half done", "status": "running"})])) as server:
            assert 0 == streamkit("doctor", f"{server.origin}/jobs").returncode

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1", {"messages": [ASKED]}),
            ("/openai/v1/chat/completions", {"messages": [ASKED]}),
            ("/v2/chat", {"messages": [ASKED]}),
            ("/v1/messages", {"messages": [ASKED], "max_tokens": 1024}),
            ("/v1/responses/", {"input": ASKED["content"]}),
            ("/v1/completions", {"prompt": ASKED["content"], "max_tokens": 1024}),
        ],
    )
    def test_a_body_for_each_api(self, path: str, body: dict[str, object]) -> None:
        """The request has the wire format of the API that the URL's path names."""
        with Server(text_reply("one")) as server:
            streamkit("doctor", f"{server.origin}{path}", "-m", "m")
            (request,) = server.requests
        assert {"model": "m", **body, "stream": True} == request.json()
        assert ("2023-06-01" if path.endswith("/messages") else None) == request.headers.get("anthropic-version")

    def test_columns(self) -> None:
        """The name of a header and its value do not run into each other."""
        with Server(text_reply("one two").but(framing="chunked")) as server:
            assert "transfer-encoding chunked" in streamkit("doctor", server.url).stdout

    def test_json_of_a_probe(self) -> None:
        """The figures of a probe are there for a program as well."""
        with Server(text_reply("one two three")) as server:
            shown = json.loads(streamkit("doctor", server.url, "--json").stdout)
        assert (200, "text/event-stream", None) == (shown["status"], shown["content_type"], shown["error"])
        assert (
            0 <= shown["connected"] <= shown["headers"] <= shown["first_byte"] <= shown["first_event"] <= shown["ended"]
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["http://127.0.0.1:1/v1"], 1, "no connection"),
            (["not-a-url"], 2, "absolute"),
            (["http://[::1"], 2, "absolute"),
            (["http://me:hun/ter2@127.0.0.1:1"], 2, "not 'http://***@127.0.0.1:1'"),
            (["http://127.0.0.1:1/v1", "-H", "nonsense"], 2, "NAME: VALUE"),
            (["http://127.0.0.1:1/v1", "-H", ": x"], 2, "NAME: VALUE"),
            (["http://127.0.0.1:1/v1", "-H", "X-Key: schlüssel€"], 2, "no header can carry"),
            (["http://127.0.0.1:1/v1", "-H", "X-Key: a\nb"], 2, "no header can carry"),
            (["http://127.0.0.1:1/v1", "-d", b"\xff"], 2, "UTF-8"),
            (["http://127.0.0.1:1/v1", "--timeout", "nan"], 2, "finite"),
            (["http://127.0.0.1:1/v1", "--timeout", "-1"], 2, "range"),
            (["http://127.0.0.1:1/v1", "--timeout", "0"], 2, "range"),
            (["http://127.0.0.1:1/v1", "--key-from", "NOT_SET"], 1, "NOT_SET is not set"),
            (["http://127.0.0.1:1/v1", "--key-from", "NO_KEY"], 2, "NO_KEY has characters"),
            (["http://127.0.0.1:1/v1", "--key-from", KEY], 2, "--key-from takes the name of a variable, not a key"),
            (["http://127.0.0.1:1/v1", "--method", "GET", "-d", "{}"], 2, "a GET has no body"),
            (["http://127.0.0.1:1/v1", "--method", "GET", "-m", "x"], 2, "a GET names no model"),
            (["http://127.0.0.1:1/stream", "-m", "x"], 2, "a GET names no model"),
            (["http://127.0.0.1:1/v1", "-d", "{}", "-m", "x"], 2, "--model has no place beside --data"),
            (["http://127.0.0.1:1/v1", "--all"], 2, "--all is about the providers"),
            (["--timeout", "3"], 2, "--timeout is about a URL"),
            (["-m", "x"], 2, "--model is about a URL"),
        ],
    )
    def test_errors(self, arguments: list[str | bytes], code: int, said: str) -> None:
        """An unusable URL gives one line on stderr."""
        done = streamkit("doctor", *arguments, NO_KEY="ключ", PYTHONUTF8="1")
        assert (code, 1, True) == (done.returncode, len(done.stderr.splitlines()), said in done.stderr)
        assert KEY not in done.stderr
