"""Recording traffic to a file and replaying it loses nothing and stores no key."""

from __future__ import annotations

import gzip
import json
import stat
from pathlib import Path

import pytest
import requests

from streamkit import BrokenStreamError, Client, StreamError, TruncatedStreamError, providers
from streamkit.testing import (
    CassetteWriter,
    Cut,
    Recorder,
    Reply,
    Reset,
    Server,
    Wait,
    cassette_replies,
    error_reply,
    json_reply,
    reply_in,
    text_reply,
)

KEY = "sk-secret-on-the-tape"


def client_at(url: str) -> Client:
    return Client([providers.OpenAI(api_key=KEY, base_url=url)], retry=1)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_recording_plays_again(tmp_path: Path) -> None:
    """What a cassette plays gives the completion that was recorded, without the real server."""
    path = tmp_path / "tape.jsonl"
    with Server(text_reply("Hello wörld"), text_reply("Bye")) as server, Recorder(server.url, path) as recorder:
        with client_at(recorder.url) as client:
            told = [client.complete("openai/m", "Hi") for _ in range(2)]
    with Server(*cassette_replies(path)) as server, client_at(server.url) as client:
        assert told == [client.complete("openai/m", "Hi") for _ in range(2)]


def test_every_write_is_a_line_with_its_time(tmp_path: Path) -> None:
    """Reads are kept apart, their times grow, and with timing the pauses are played as well."""
    path = tmp_path / "tape.jsonl"
    with Server(text_reply("one two three", pause=0.02)) as server, Recorder(server.url, path) as recorder:
        with client_at(recorder.url) as client:
            client.complete("openai/m", "Hi")
    head, *reads, end = lines(path)
    times = [line["at"] for line in [*reads, end]]
    assert ("complete", True, sorted(times)) == (end["end"], len(reads) >= 4, times)  # type: ignore[type-var]
    assert "Hi" in json.dumps(head["request"])
    assert "Hello" not in json.dumps(head)
    (plain,), (timed,) = cassette_replies(path), cassette_replies(path, timing=True)
    assert (False, True) == (
        any(isinstance(step, Wait) for step in plain.steps),
        any(isinstance(step, Wait) for step in timed.steps),
    )


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "api-key", "x-goog-api-key", "X-Agnic-Token"])
def test_no_key_is_written(header: str, tmp_path: Path) -> None:
    """Whichever header has the key, and although the server repeats it cut in two, it is not in the file."""
    path = tmp_path / "tape.jsonl"
    half = len(KEY) // 2
    echo = [f"data: you sent {KEY[:half]}", f"{KEY[half:]} twice {KEY}\n\n", "data: [DONE]\n\n"]
    reply = Reply(echo, headers={"Set-Cookie": "session=abcdefghij", "X-Echo": KEY})
    with Server(reply) as server, Recorder(server.url, path) as recorder:
        provider = providers.OpenAI(api_key="", base_url=recorder.url)
        with Client([provider], retry=1) as client, pytest.raises(StreamError):
            client.complete("openai/m", "Hi", extra_headers={header: KEY}, extra_body={"user": KEY})
        assert KEY in server.requests[0].headers[header.lower()]
    written = path.read_text("utf-8")
    assert (False, False, True) == (KEY in written, "abcdefghij" in written, "*** twice" in written)


def test_a_key_in_the_address_is_not_written(tmp_path: Path) -> None:
    """Parameters that carry keys are hidden, the others stay."""
    path = tmp_path / "tape.jsonl"
    with Server(json_reply({"data": []})) as server, Recorder(server.url, path) as recorder:
        requests.get(f"{recorder.url}/models?key={KEY}&page=2", timeout=30)
    assert "/models?key=***&page=2" == lines(path)[0]["request"]["target"]  # type: ignore[index]


def test_a_body_that_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    """In a compressed request a key could not be found, so that its body goes upstream only."""
    path = tmp_path / "tape.jsonl"
    body = gzip.compress(b'{"user": "somebody"}')
    with Server(json_reply({})) as server, Recorder(server.url, path) as recorder:
        requests.post(recorder.url, data=body, headers={"Content-Encoding": "gzip"}, timeout=30)
        assert ("gzip", body) == (server.requests[0].headers["content-encoding"], server.requests[0].body)
    assert "***" == lines(path)[0]["request"]["text"]  # type: ignore[index]


def test_refusals_are_recorded(tmp_path: Path) -> None:
    """A status other than 200 is played again with its body."""
    path = tmp_path / "tape.jsonl"
    with Server(error_reply(429, "slow down")) as server, Recorder(server.url, path) as recorder:
        with client_at(recorder.url) as client, pytest.raises(StreamError, match="slow down"):
            client.complete("openai/m", "Hi")
    with Server(*cassette_replies(path)) as server, client_at(server.url) as client:
        with pytest.raises(StreamError, match="slow down"):
            client.complete("openai/m", "Hi")


@pytest.mark.parametrize("fault", [Cut(), Reset()], ids=["cut", "reset"])
def test_a_broken_connection_stays_broken(fault: Cut | Reset, tmp_path: Path) -> None:
    """A reply that was cut is cut when it is played, and never becomes a whole one."""
    path = tmp_path / "tape.jsonl"
    with Server(text_reply("Hello there").first(2).then(fault)) as server, Recorder(server.url, path) as recorder:
        with client_at(recorder.url) as client, pytest.raises((TruncatedStreamError, BrokenStreamError)):
            client.complete("openai/m", "Hi")
    assert "cut" == lines(path)[-1]["end"]
    with Server(*cassette_replies(path)) as server, client_at(server.url) as client:
        with pytest.raises(TruncatedStreamError):
            client.complete("openai/m", "Hi")


def test_binary_frames(tmp_path: Path) -> None:
    """Bytes that are not text are kept unchanged."""
    path = tmp_path / "tape.jsonl"
    with Server(reply_in("bedrock", "Hello there")) as server, Recorder(server.url, path) as recorder:
        with Client([providers.Bedrock(api_key="k", base_url=recorder.url, region="eu-west-1")]) as client:
            told = client.complete("bedrock/m", "Hi")
    with Server(*cassette_replies(path)) as server:
        with Client([providers.Bedrock(api_key="k", base_url=server.url, region="eu-west-1")]) as client:
            assert told == client.complete("bedrock/m", "Hi")


def test_a_file_that_was_cut_is_good_up_to_there(tmp_path: Path) -> None:
    """A truncated recording replays its whole lines, and the reply is truncated."""
    path = tmp_path / "tape.jsonl"
    with Server(text_reply("one two three")) as server, Recorder(server.url, path) as recorder:
        with client_at(recorder.url) as client:
            client.complete("openai/m", "Hi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with Server(*cassette_replies(path)) as server, client_at(server.url) as client:
        with pytest.raises(TruncatedStreamError):
            client.complete("openai/m", "Hi")


HEAD = '{"exchange": 1, "response": {"status": 200, "headers": {}}}\n'


def head(**response: object) -> str:
    return json.dumps({"exchange": 1, "response": {"status": 200, "headers": {}, **response}}) + "\n"


@pytest.mark.parametrize(
    ("text", "row"),
    [
        *(
            ("no json\n", 1),
            ("hello", 1),
            ("[]\n", 1),
            ("{}\n", 1),
            ('{"exchange": 1}\n', 1),
            (f"{'[' * 100_000}\n", 1),
        ),
        *(('{"exchange": 1, "at": 0}\n', 1), ('{"exchange": 1, "response": {"st', 1)),
        *(('{"exchange": 1, "response": null}\n', 1), ('{"exchange": "1", "response": {"status": 200}}\n', 1)),
        *((head(status="abc"), 1), (head(status=99), 1), (head(headers=["a"]), 1), (head(headers={"a": "€"}), 1)),
        *((head(headers={"a": "b\r\nc: d"}), 1), (head(headers={"a": 1}), 1), (head(headers={"a b": ""}), 1)),
        *((HEAD + HEAD, 2), (f'{HEAD}{{"exchange": 1, "at": 0}}\n', 2), (f'{HEAD}{{"exchange": 1, "text": "a"}}\n', 2)),
        *((f'{HEAD}{{"exchange": 1, "at": 0, "text": null}}\n', 2), (f'{HEAD}\n{{"exchange": 2, "at": 0}}\n', 3)),
        *((f'{HEAD}{{"exchange": 1, "at": 0, "base64": "?"}}\n', 2), (f'{HEAD}{{"exchange": 1, "at": NaN}}\n', 2)),
        (f'{HEAD}{{"exchange": 1, "at": 0, "text": "\\ud800"}}\n', 2),
        (f'{HEAD}{{"exchange": 1, "at": Infinity, "text": "a"}}\n', 2),
        (f'{HEAD}{{"exchange": 1, "at": 0, "end": "well"}}\n', 2),
        (f'{HEAD}{{"exchange": 1, "at": 0, "end": "cut"}}\n{{"exchange": 1, "at": 0, "text": "a"}}\n', 3),
    ],
)
def test_what_is_no_cassette(text: str, row: int, tmp_path: Path) -> None:
    """Another file, and a line that cannot be played, is an error that names the file and the line."""
    path = tmp_path / "notes.txt"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=rf"notes.txt' is no cassette: line {row}: "):
        cassette_replies(path)


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_a_cassette_without_responses(text: str, tmp_path: Path) -> None:
    """A server without replies would tell its story, so that an empty file is an error."""
    path = tmp_path / "tape.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"tape.jsonl' is no cassette: it holds no response"):
        cassette_replies(path)


def test_blank_lines_and_a_mark_are_passed_over(tmp_path: Path) -> None:
    """An editor may have left a byte order mark, blank lines and no end to the last one."""
    path = tmp_path / "tape.jsonl"
    path.write_bytes(f'\ufeff\n{HEAD}\r\n{{"exchange": 1, "at": 0, "end": "complete"}}'.encode())
    (reply,) = cassette_replies(path)
    assert (200, ()) == (reply.status, reply.steps)


def test_replies_come_in_the_order_of_requests(tmp_path: Path) -> None:
    """Of two requests at once the first has the first reply, although it is answered later."""
    path = tmp_path / "tape.jsonl"
    writer = CassetteWriter(path)
    first, second = (writer.begin("GET", f"/{number}", [], b"") for number in (1, 2))
    for exchange, status in ((second, 202), (first, 201)):
        exchange.head(status, [])
        exchange.end(0.0, "complete")
    writer.close()
    assert [201, 202] == [reply.status for reply in cassette_replies(path)]


def test_a_cassette_stays_until_there_is_another(tmp_path: Path) -> None:
    """What was recorded before is there as long as no response has come; a new file is its owner's only."""
    path = tmp_path / "tape.jsonl"
    path.write_text("old", "utf-8")
    with Recorder("http://127.0.0.1:1", path) as recorder, client_at(recorder.url) as client:
        with pytest.raises(StreamError, match=r"no answer from http://127.0.0.1:1: Connection refused"):
            client.complete("openai/m", "Hi")
        with pytest.raises(OSError, match="in use"):
            Recorder("http://127.0.0.1:1", path, port=int(recorder.url.rpartition(":")[2]))
    assert "old" == path.read_text("utf-8")
    path.unlink()
    with Server(json_reply({})) as server, Recorder(server.url, path) as recorder:
        assert not path.exists()
        requests.get(recorder.url, timeout=30)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """A file, or a device, that is not of the recorder's making is written to and nothing else."""
    path = tmp_path / "tape.jsonl"
    path.touch()
    path.chmod(0o644)
    with Server(json_reply({})) as server, Recorder(server.url, path) as recorder:
        requests.get(recorder.url, timeout=30)
    assert 0o644 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["", "nodir/tape.jsonl"])
def test_where_nothing_can_be_written(name: str, tmp_path: Path) -> None:
    """A path that is a directory or in none is an error at once, which has the path."""
    with pytest.raises(OSError) as caught:
        CassetteWriter(tmp_path / name)
    assert str(tmp_path / name) == caught.value.filename
