"""kill -9 of workers of the gateway, of all of it, or of its database, while replies are under way: its ledger then."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamkit.testing import DONE, Paced, Reply, Request, Server, chunk_event
from tests import postgres
from tests.processes import Process, run_process

__all__ = ["run_process"]  # a fixture

pytest.importorskip("gunicorn", reason="needs gunicorn")
pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")
pytest.importorskip("flask", reason="needs flask")
pytest.importorskip("prometheus_client", reason="needs prometheus-client")

SECONDS = 60.0
KILLS = int(os.environ.get("STREAMKIT_GATEWAY_KILLS", "2"))  # 50 for a long run
STREAMS = int(os.environ.get("STREAMKIT_GATEWAY_STREAMS", "20"))  # 100 for a long run
PIECES = 200
EVERY = 0.02 if STREAMS <= 20 else 0.05  # seconds between two pieces
LATE = round(2 / EVERY)  # pieces of two seconds, as a busy machine may be late
USAGE = {"prompt_tokens": 10, "completion_tokens": PIECES, "total_tokens": PIECES + 10}
INPUT, OUTPUT = 1000, 10_000  # nano a token, as configured
CONFIG = """
[server]
port = 0
workers = {workers}
page = false
[storage]
database = "{database}"
secret = "0123456789abcdef0123456789abcdef"
[log]
file = "requests.log"
[providers.up]
base_url = "{url}"
key = "provider-key"
[models.fast]
routes = ["up/m"]
input_price = 1
output_price = 10
"""


@attrs.define(eq=False)
class Asked:
    """One request, and what its client has seen.

    Attributes:
        id: of the request.
        pieces: of text.
        done: whether [DONE] has come.
    """

    id: str = ""
    pieces: int = 0
    done: bool = False


@pytest.fixture
def upstream() -> Iterator[Server]:
    """A provider whose replies take four seconds."""

    def answer(request: Request) -> Reply:
        pieces = [chunk_event(f" {number}") for number in range(PIECES)]
        usage = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": USAGE}
        end = chunk_event(finish_reason="stop") + f"data: {json.dumps(usage)}\n\n".encode() + DONE
        return Reply([Paced([*pieces, end], every=EVERY)])

    with Server(answer) as server:
        yield server


def start(run_process: Callable[..., Process], folder: Path) -> tuple[Process, int]:
    """Start the gateway; return it with its port, which each start chooses: an earlier one may be in use by now."""
    process = run_process("streamkit", "serve", "--config", "gateway.toml", cwd=folder)
    process.wait_for("Ctrl-C ends it")
    return process, int(process.wait_for(r"http://127\.0\.0\.1:(\d+)"))


def workers_of(process: Process) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(each) for each in text.split()]


def ask(port: int, token: str, asked: Asked) -> None:
    body = json.dumps({"model": "fast", "stream": True, "messages": [{"role": "user", "content": "count"}]})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {token}"})
        response = connection.getresponse()
        asked.id = response.headers["x-request-id"]
        for line in response:
            asked.pieces += b'"content":"' in line.replace(b'": "', b'":"')
            asked.done = asked.done or line == b"data: [DONE]\n"
    except (OSError, http.client.HTTPException):
        pass  # it was killed
    finally:
        connection.close()


def ledger_of(url: str) -> tuple[Any, Any]:
    from streamkit.gateway.core.database import GatewayDatabase
    from streamkit.gateway.core.ledger import Ledger

    database = GatewayDatabase(url)
    return database, Ledger(database)


@pytest.mark.parametrize("whom", ["a worker", "all"])
def test_a_kill_in_the_middle(whom: str, upstream: Server, run_process: Callable[..., Process], tmp_path: Path) -> None:
    """Afterwards each reply has one charge: whole ones their price, torn ones about what was delivered; sums hold."""
    kill_in_the_middle(whom, f"sqlite:///{tmp_path}/gateway.db", KILLS, upstream, run_process, tmp_path)


@pytest.mark.parametrize("whom", ["a worker", "all", "the database"])
def test_a_kill_with_postgresql(
    whom: str, upstream: Server, run_process: Callable[..., Process], tmp_path: Path
) -> None:
    """The same; a database that is killed and comes back gets the ends that it has missed."""
    initdb, pg_ctl = postgres.program("initdb"), postgres.program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    pytest.importorskip("psycopg")
    with postgres.running(initdb, pg_ctl) as query:

        def kill_database() -> None:
            postgres.kill(query)
            threading.Event().wait(PIECES // 4 * EVERY + 0.5)  # so that replies end meanwhile
            postgres.start_again(query, pg_ctl)

        url = f"postgresql:///postgres?{query}"
        kill_in_the_middle(whom, url, max(1, KILLS // 2), upstream, run_process, tmp_path, kill_database)


def kill_in_the_middle(
    whom: str,
    url: str,
    kills: int,
    upstream: Server,
    run_process: Callable[..., Process],
    tmp_path: Path,
    kill_database: Callable[[], None] | None = None,
) -> None:
    from streamkit.gateway.core.tokens import Tokens

    (tmp_path / "gateway.toml").write_text(CONFIG.format(workers=2, url=upstream.url, database=url))
    database, ledger = ledger_of(url)
    made, text = Tokens(database, b"0123456789abcdef0123456789abcdef").create("test", by="test", balance="own")
    ledger.top_up(f"token:{made.id}", 1000 * 10**9, id="first", by="test")
    chance = random.Random(5)
    everything: list[Asked] = []
    process, port = start(run_process, tmp_path)
    for _ in range(kills):
        round_ = [Asked() for _ in range(STREAMS)]
        threads = [threading.Thread(target=ask, args=(port, str.__str__(text), each)) for each in round_]
        for thread in threads:
            thread.start()
        never = threading.Event()
        deadline = time.monotonic() + SECONDS
        begun = PIECES * 3 // 4 if whom == "the database" else 1
        while sum(each.pieces >= begun for each in round_) < STREAMS:
            assert time.monotonic() < deadline, process.output
            never.wait(0.01)
        if whom != "the database":
            never.wait(chance.uniform(0.0, 1.5))
        if whom == "all":
            os.killpg(process.pid, signal.SIGKILL)
        elif whom == "the database":
            assert kill_database is not None
            kill_database()
        else:
            os.kill(chance.choice(workers_of(process)), signal.SIGKILL)
        for thread in threads:
            thread.join(SECONDS)
        everything += round_
        if whom == "all":
            with suppress(Exception):
                process.popen.wait(SECONDS)
            process, port = start(run_process, tmp_path)
    until_ended(ledger, made.id)
    torn = check(everything, ledger, made.id)
    assert torn or whom == "a worker"  # which may have had no reply
    process.kill(signal.SIGTERM)
    database.close()


def check(everything: list[Asked], ledger: Any, id: str) -> int:
    """Compare the ledger with what the clients have seen; return how many replies were torn."""
    charges = {charge.request_id: charge for charge in ledger.charges()}
    assert {each.id for each in everything} == set(charges)
    less = []
    for each in everything:
        charge = charges[each.id]
        if each.done:
            assert ("settled", 10 * INPUT + PIECES * OUTPUT) == (charge.state, charge.amount)
            continue
        less.append(round(each.pieces - charge.amount / OUTPUT))
        # What is delivered is written twice a second: a reply that was killed at its beginning may cost nothing.
        assert max(0, each.pieces - LATE) * OUTPUT <= charge.amount
        # What the provider has sent bounds what can be charged; nobody pays for what came after the kill.
        assert charge.amount <= (each.pieces + PIECES // 4) * OUTPUT + 100 * INPUT
        assert charge.estimated or charge.amount in (0, 10 * INPUT + PIECES * OUTPUT)
    print(f"{len(everything)} replies, {len(less)} torn, charged for fewer pieces than came: {sorted(less)}")
    balance = ledger.balance(f"token:{id}")
    assert (0, sum(charge.amount for charge in charges.values())) == (balance.reserved, balance.spent)
    assert [] == ledger.check()
    assert [] == ledger.recover()
    return len(less)


def test_workers_share_their_figures(upstream: Server, run_process: Callable[..., Process], tmp_path: Path) -> None:
    """Whichever worker is asked, the figures are those of all, also of one that was killed; no file is left."""
    from streamkit.gateway.core.tokens import Tokens

    url = f"sqlite:///{tmp_path}/gateway.db"
    (tmp_path / "gateway.toml").write_text(CONFIG.format(workers=2, url=upstream.url, database=url))
    database, _ = ledger_of(url)
    _, text = Tokens(database, b"0123456789abcdef0123456789abcdef").create("poor", by="test", balance="own")
    database.close()
    process, port = start(run_process, tmp_path)
    for _ in range(40):
        asked = Asked()
        ask(port, str.__str__(text), asked)  # refused, as it has no money
        assert asked.id
    os.kill(workers_of(process)[0], signal.SIGKILL)
    never, deadline = threading.Event(), time.monotonic() + SECONDS
    wanted = 'streamkit_requests_total{endpoint="/v1/chat/completions",model="fast",status="402"} 40.0'
    for _ in range(10):
        while wanted not in (found := figures(port)):
            assert time.monotonic() < deadline, found
            never.wait(0.05)
    folders = set(Path("/dev/shm").glob("streamkit-figures-*"))
    process.kill(signal.SIGTERM)
    process.popen.wait(SECONDS)
    assert len(folders) > len(set(Path("/dev/shm").glob("streamkit-figures-*")))


def figures(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics", headers={"connection": "close"})
        return connection.getresponse().read().decode()
    except OSError:  # its worker was killed
        return ""
    finally:
        connection.close()


def until_ended(ledger: Any, id: str) -> None:
    """Wait until nothing is reserved any more: the processes that live recover what the dead ones have left."""
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while ledger.balance(f"token:{id}").reserved:
        assert time.monotonic() < deadline
        never.wait(0.1)
