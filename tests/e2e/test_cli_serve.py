"""``streamkit serve`` as processes of their own: start, check, reload, drain, end, and what clients may do to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.gateway.stand_in import TOKEN
from tests.e2e.gateway.support import GOOD, SECONDS, Serve, Serving, run_process, serving
from tests.e2e.servers.support import Browser, free_port, raw_connection
from tests.e2e.test_cli import STREAMKIT, Terminal, clean
from tests.processes import ROOT, Process

__all__ = ["run_process", "serving"]  # fixtures

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")
pytest.importorskip("gunicorn", reason="needs gunicorn")
pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")

MODELS = '[models]\n{} = "demo/assistant"\n'
PARTIAL_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-A: "


def command(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*STREAMKIT, "serve", *arguments],
        cwd=cwd,
        env=clean({"STREAMKIT_DATA": str(cwd), **environment}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    return False


def wait_until_refused(server: Serving) -> None:
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while not refused(server.port):
        assert time.monotonic() < deadline, server.process.output
        never.wait(0.01)


# The start.


def test_the_printed_line_works(serving: Serve) -> None:
    """Without a configuration the line that is printed gets a streamed reply; Ctrl-C ends all with 0."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    server = serving()
    line = server.process.wait_for(r"\n(curl .*)\n")
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=clean({}), timeout=SECONDS, check=False
    )
    assert 0 == done.returncode, done.stderr
    assert "data: first\n\ndata: [DONE]\n\n" == done.stdout
    assert f"a token for it: {TOKEN}\n" in server.process.output
    assert f"a chat page for whoever has a token: http://127.0.0.1:{server.port}/\n" in server.process.output
    assert ["demo/storyteller", "demo/assistant"] == server.health()["models"]
    server.process.kill(signal.SIGINT)
    assert 0 == server.process.wait()
    assert refused(server.port)
    assert server.is_gone()
    assert server.process.output.endswith("Ctrl-C ends it\n"), "something was logged"


def test_time_to_the_first_reply(serving: Serve) -> None:
    """The time from the command to the first streamed reply is printed, for whoever looks at it."""
    before = time.monotonic()
    server = serving("--workers", "1")
    started = time.monotonic()
    with server.stream():
        print(f"\nlistening after {started - before:.2f} s, first reply after {time.monotonic() - before:.2f} s")


@pytest.mark.parametrize("host", ["::1", "::", "localhost"])
def test_addresses(host: str, serving: Serve) -> None:
    """It listens where it is told to, on IPv6 as well; ``::`` means both."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    server = serving("--host", host)
    shown = server.process.wait_for(r"the gateway is at http://(\S+):\d+/v1")
    assert {"::1": "[::1]", "::": "[::1]", "localhost": "localhost"}[host] == shown
    for reached in {"::1": ["::1"], "::": ["::1", "127.0.0.1"], "localhost": ["localhost"]}[host]:
        assert server.health(reached)["pid"]


def test_several_workers(serving: Serve) -> None:
    """As many processes serve as were asked for, none of them the master; the address is printed once."""
    server = serving("--workers", "3", config=GOOD)
    assert server.process.pid not in server.workers(3)
    assert 1 == server.process.output.count("the gateway is at")
    assert "a token for it: streamkit token create NAME\n" in server.process.output


# What cannot be.


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system keeps no process to a processor")
@pytest.mark.parametrize("kept", [True, False])
def test_processors(kept: bool, serving: Serve) -> None:
    """Each process keeps to a processor that no other one has, as far as there are enough; or to none."""
    allowed = os.sched_getaffinity(0)
    workers = min(len(allowed), 4)
    server = serving("--workers", str(workers), config=("" if kept else "[server]\none_processor = false\n") + GOOD)
    assert os.sched_getaffinity(server.process.pid) == allowed
    if not kept or len(allowed) == 1:
        assert all(allowed == os.sched_getaffinity(each) for each in server.workers(workers))
        return
    for _ in range(2):
        processors: set[int] = set()
        for pid in (pids := server.workers(workers)):
            (processor,) = os.sched_getaffinity(pid)
            processors.add(processor)
            tasks = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
            assert all({processor} == os.sched_getaffinity(task) for task in tasks if Path(f"/proc/{task}").exists())
        assert workers == len(processors)
        os.kill(pids.pop(), signal.SIGKILL)  # the one in its place takes the processor that is free then


def test_check(tmp_path: Path) -> None:
    """``--check`` names each mistake by its line and exits with 1, or says in a line what is served, with 0."""
    path = tmp_path / "gateway.toml"
    path.write_text('[server]\nprot = 1\n[models]\nfast = "smal"\n')
    code, out, err = command("--config", "gateway.toml", "--check", cwd=tmp_path)
    assert (1, "") == (code, out)
    first, second = err.splitlines()
    assert "streamkit: gateway.toml:2: server.prot: unknown key; did you mean port?" == first
    assert second.startswith("streamkit: gateway.toml:4: models.fast: no model of this file is called smal; write ")
    path.write_text("[server]\nworkers = 2\n" + GOOD)
    code, out, err = command("--config", "gateway.toml", "--check", cwd=tmp_path)
    assert (0, "") == (code, err)
    assert out.startswith(
        "gateway.toml: no mistakes; 1 model, 0 providers, 2 workers for 1000 streams at once, at 127.0.0.1:8000\nnote: "
    )
    assert ["gateway.toml"] == [each.name for each in tmp_path.iterdir()], "a check has written something"


def test_mistakes_keep_it_from_starting(tmp_path: Path) -> None:
    """With mistakes nothing is served."""
    (tmp_path / "gateway.toml").write_text("[server]\nprot = 1\n" + GOOD)
    port = free_port()
    code, out, err = command("--config", "gateway.toml", "--port", str(port), cwd=tmp_path)
    assert (1, "", 1) == (code, out, err.count("\n"))
    assert refused(port)


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["--port", "USED"], {}, 1, "Address already in use; give another one with --port, 0 for any"),
        (["--host", "no.such.host.invalid"], {}, 1, "check --host"),
        (["--host", "192.0.2.1"], {}, 1, "Cannot assign requested address"),
        (["--config", "none.toml"], {}, 1, "none.toml: cannot be read: No such file"),
        (["--database", "postgresql://u:pass@h/n"], {}, 2, "a password in --database can be read by everybody"),
        (["--database", "$NOPE"], {}, 2, "the environment variable NOPE of --database is not set"),
        (["--database", "$URL"], {"URL": "mysql://h/n"}, 1, "--database: has to be a file of SQLite"),
        (["--database", "/no-such-folder/a.db"], {}, 1, "there is no folder /no-such-folder"),
        (["--database", "postgresql://u@h/n"], {}, 1, "needs a secret"),
        ([], {"STREAMKIT_DATA": "/proc/none"}, 1, "/proc/none/gateway.db cannot be made"),
        (["--workers", "0"], {}, 2, "--workers"),
    ],
)
def test_what_cannot_be(
    arguments: list[str], environment: dict[str, str], code: int, told: str, tmp_path: Path
) -> None:
    """One line says what is wrong and what to do, before anything is served."""
    with socket.create_server(("127.0.0.1", 0)) as used:
        given = [each.replace("USED", str(used.getsockname()[1])) for each in arguments]
        found, out, err = command(*given, cwd=tmp_path, **environment)
    assert (code, "", 1) == (found, out, err.count("\n")), err
    assert told in err


def test_a_worker_that_cannot_start(serving: Serve, tmp_path: Path) -> None:
    """Where the database does not answer, one line says so, and the command ends with 1."""
    (tmp_path / "fails").touch()
    # gunicorn leaves a file of a worker open that could not start, for which Python warns.
    process: Process = serving("--workers", "1", ready=False, PYTHONWARNINGS="")  # type: ignore[assignment]
    assert 1 == process.wait()
    assert "streamkit: the database does not answer\n" == process.output


def test_what_is_kept_is_private(serving: Serve, tmp_path: Path) -> None:
    """The database and its folder are for this user alone, whatever the umask."""
    before = os.umask(0)
    try:
        serving()
    finally:
        os.umask(before)
    assert 0o700 == (tmp_path / "data").stat().st_mode & 0o777
    assert 0o600 == (tmp_path / "data" / "gateway.db").stat().st_mode & 0o777


# A new configuration.


def reload(server: Serving, text: str, told: str) -> None:
    server.configure(text)
    server.process.kill(signal.SIGHUP)
    server.process.wait_for(told)


def test_a_new_configuration(serving: Serve) -> None:
    """SIGHUP changes what the same processes serve, and an open stream goes on through it."""
    server = serving("--workers", "2", config=MODELS.format("one"))
    before = server.workers(2)
    with server.stream(wait=True) as stream:
        server.configure(MODELS.format("two"))
        os.killpg(server.process.pid, signal.SIGHUP)  # as some do, and as a terminal does
        server.process.wait_for(r"gateway\.toml was read again: 1 models")
        assert before == server.workers(2, lambda health: health["models"] == ["two"])
        stream.read_until(b"data: more\n\n")


def test_a_broken_configuration(serving: Serve) -> None:
    """On SIGHUP each mistake is logged by its line, the old configuration goes on, and so do streams."""
    server = serving(config=MODELS.format("one"))
    with server.stream(wait=True) as stream:
        reload(server, "[server]\nprot = 1\nport = true\n" + GOOD, r"the configuration from before goes on")
        for line in (
            "streamkit: gateway.toml:2: server.prot: unknown key; did you mean port?\n",
            "streamkit: gateway.toml:3: server.port: has to be a whole number, not true or false\n",
        ):
            assert line in server.process.output
        assert ["one"] == server.health()["models"]
        stream.read_until(b"data: more\n\n")
        reload(server, MODELS.format("two"), r"was read again")
        server.workers(1, lambda health: health["models"] == ["two"])
        stream.read_until(b"data: more\n\n")


def test_what_takes_a_restart(serving: Serve) -> None:
    """A new port or database is told to need a restart, and the rest of the file takes effect."""
    server = serving(config="[server]\nstreams = 10\n" + MODELS.format("one"))
    text = "[server]\nstreams = 20\n[storage]\ndatabase = 'other.db'\n" + MODELS.format("two")
    reload(server, text, r"a new value of streams, threads, database, secret takes effect after a restart")
    server.workers(1, lambda health: health["models"] == ["two"])


def test_a_configuration_that_the_application_refuses(serving: Serve) -> None:
    """Where a worker cannot take a new configuration it says so, and goes on with its own."""
    server = serving(config=MODELS.format("one"))
    reload(server, MODELS.format("refused"), r"goes on with the configuration that it had: the application refuses it")
    assert ["one"] == server.health()["models"]


def test_a_key_of_a_file_is_read_again(serving: Serve, tmp_path: Path) -> None:
    """SIGHUP reads the files of keys as well: a key can be changed without a restart."""
    (tmp_path / "key").write_text("first-key-of-a-test")
    provider = '[providers.openai]\nkey_file = "key"\n[models]\nmini = "openai/gpt-4o-mini"\n'
    server = serving(config=provider)
    (tmp_path / "key").unlink()
    server.process.kill(signal.SIGHUP)
    server.process.wait_for(r"gateway\.toml:2: providers\.openai\.key_file: the file cannot be read")


# The end.


def test_sigterm_lets_replies_end(serving: Serve) -> None:
    """After SIGTERM nobody new is let in, an open reply comes to its end, and then the processes end with 0."""
    server = serving("--workers", "2", config=GOOD)
    with server.stream(wait=True, seconds=1.5) as stream:
        server.process.kill(signal.SIGTERM)
        wait_until_refused(server)
        assert stream.read().endswith(b"data: more\n\ndata: [DONE]\n\n")
    assert 0 == server.process.wait()
    assert server.is_gone()
    assert 2 == server.log.read_text().count("0 open\n")


def test_sigterm_waits_for_no_idle_connection(serving: Serve) -> None:
    """Connections that are kept for a next request, or have never had one, do not hold the end up."""
    server = serving(config="[server]\ngrace_seconds = 3600\n" + GOOD)
    with raw_connection(server.port) as kept, raw_connection(server.port):
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in kept.recv(4096)
        server.process.kill(signal.SIGTERM)
        assert 0 == server.process.wait()


def test_sigterm_while_a_worker_starts(serving: Serve, tmp_path: Path) -> None:
    """A SIGTERM that comes to a worker before it has handlers is not lost: nobody waits for that worker."""
    text = "[server]\ngrace_seconds = 3600\n" + GOOD
    server = serving("--workers", "2", config=text, STAND_IN_SLOW=str(tmp_path))
    wait_for_file(tmp_path / "forked")
    server.process.kill(signal.SIGTERM)
    wait_for_file(server.log)  # the other worker has ended: both were told
    (tmp_path / "go").touch()
    assert 0 == server.process.wait()
    assert server.is_gone()


def wait_for_file(path: Path) -> None:
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while not path.exists():
        assert time.monotonic() < deadline
        never.wait(0.01)


def test_sigterm_cancels_in_the_end(serving: Serve) -> None:
    """What is still open after the time that replies have is cancelled and settled, and the client gets its end."""
    server = serving(config="[server]\ngrace_seconds = 0.5\n" + GOOD)
    with server.stream(wait=True) as stream:
        server.process.kill(signal.SIGTERM)
        assert stream.read().endswith(b"data: cancelled\n\n")
    assert 0 == server.process.wait()
    assert re.fullmatch(r"ended\nclosed \d+: 1 settled, 0 open\n", server.log.read_text())
    assert server.process.output.endswith("Ctrl-C ends it\n"), "something was logged"


def test_a_client_that_takes_nothing_does_not_hold_the_end_up(serving: Serve) -> None:
    """A client that stops reading is cut some seconds after its reply was cancelled."""
    server = serving(config="[server]\ngrace_seconds = 0\n" + GOOD)
    body = json.dumps({"wait": True, "bytes": 100_000_000}).encode()
    with raw_connection(server.port, receive_buffer=4096) as client:
        head = f"POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        assert client.recv(4096)
        server.workers(1, lambda health: health["begun"] == 1)
        server.process.kill(signal.SIGTERM)
        assert 0 == server.process.wait()
    assert server.is_gone()
    assert server.log.read_text().endswith("ended\n"), "its thread was killed"


def test_ctrl_c_at_a_terminal(serving: Serve, tmp_path: Path) -> None:
    """Ctrl-C at a terminal, which all processes get, ends open streams at once, settles them, and exits with 0."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "gateway"), str(ROOT)]),
        "STAND_IN_LOG": str(tmp_path / "stand-in.log"),
        "STREAMKIT_DATA": str(tmp_path / "data"),
    }
    with Terminal("serve", "--port", "0", "--workers", "2", cwd=tmp_path, **environment) as terminal:
        terminal.expect("Ctrl-C ends it\n")
        found = re.search(r":(\d+)/v1 with", terminal.shown)
        assert found
        body = json.dumps({"wait": True}).encode()
        with ExitStack() as streams:
            for _ in range(4):
                stream = streams.enter_context(
                    Browser(int(found[1]), "/v1/chat/completions", body, Authorization=f"Bearer {TOKEN}")
                )
                stream.head()
                stream.read_until(b"data: first\n\n")
            terminal.type("\x03")
            assert 0 == terminal.wait()
    log = (tmp_path / "stand-in.log").read_text()
    assert 4 == sum(map(int, re.findall(r"(\d+) settled, 0 open", log))), log
    assert terminal.shown.endswith("Ctrl-C ends it\n^C"), terminal.shown


def test_a_terminal_that_is_closed(tmp_path: Path) -> None:
    """The SIGHUP of a terminal that was closed ends it, as nobody could by Ctrl-C any more."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "gateway"), str(ROOT)]),
        "STAND_IN_LOG": str(tmp_path / "stand-in.log"),
        "STREAMKIT_DATA": str(tmp_path / "data"),
    }
    terminal = Terminal("serve", "--port", "0", cwd=tmp_path, **environment)
    terminal.expect("Ctrl-C ends it\n")
    found = re.search(r":(\d+)/v1 with", terminal.shown)
    assert found
    body = json.dumps({"wait": True, "seconds": 1}).encode()
    with Browser(int(found[1]), "/v1/chat/completions", body, Authorization=f"Bearer {TOKEN}") as stream:
        stream.head()
        stream.read_until(b"data: first\n\n")
        os.close(terminal._master)
        assert stream.read().endswith(b"data: [DONE]\n\n")
    assert terminal.process.wait(SECONDS) is not None
    assert "1 settled, 0 open" in (tmp_path / "stand-in.log").read_text()


def test_a_master_that_is_killed(serving: Serve) -> None:
    """Workers whose master was killed end as after SIGTERM, and leave no socket that nobody serves."""
    server = serving("--workers", "2", config="[server]\ngrace_seconds = 1\n" + GOOD)
    with server.stream(wait=True) as stream:
        server.process.kill(signal.SIGKILL)
        server.process.wait()
        assert stream.read().endswith(b"data: cancelled\n\n")
    deadline, never = time.monotonic() + SECONDS, threading.Event()
    while not (server.is_gone() and refused(server.port)):
        assert time.monotonic() < deadline
        never.wait(0.02)


def test_a_worker_that_is_killed(serving: Serve, tmp_path: Path) -> None:
    """A worker that dies is replaced, with the configuration of now; also where its start fails for a while."""
    server = serving("--workers", "2", config=MODELS.format("one"))
    before = server.workers(2)
    reload(server, MODELS.format("two"), r"was read again")
    server.workers(2, lambda health: health["models"] == ["two"])
    with server.stream(wait=True) as stream:
        holder = {pid for pid in before if holds(pid, stream)}
        (tmp_path / "fails").touch()
        for pid in before - holder:
            os.kill(pid, signal.SIGKILL)
        server.process.wait_for(r"the database does not answer")
        assert {*holder} == {server.health()["pid"]}
        (tmp_path / "fails").unlink()
        after = server.workers(2, lambda health: health["models"] == ["two"])
        assert holder < after
        stream.read_until(b"data: more\n\n")


def holds(pid: int, stream: Browser) -> bool:
    """Return whether a process has the other end of a connection."""
    port = f"{stream.connection.sock.getsockname()[1]:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(line[9] for line in lines if line[2].endswith(f":{port}"))
    links = (os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir())
    return f"socket:[{inode}]" in links


# What clients may do.


def test_silent_connections_hold_no_thread(serving: Serve) -> None:
    """More connections that send nothing than there are threads keep nobody from being served."""
    server = serving("--threads", "1", config=GOOD)
    with ExitStack() as silent:
        for _ in range(300):
            silent.enter_context(raw_connection(server.port))
        for _ in range(5):
            with server.stream() as stream:
                stream.read()
            assert server.health()


def test_clients_that_do_not_close_hold_nobody_up(serving: Serve) -> None:
    """Clients that leave their side open after a connection's end keep no other from being served, not for a moment."""
    server = serving(config=GOOD)
    with ExitStack() as clients:
        for _ in range(60):
            client = clients.enter_context(raw_connection(server.port))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert server.health()  # long before two seconds for each of them are over
    with server.stream() as stream:
        stream.read()


def test_an_answer_before_the_body_was_read(serving: Serve) -> None:
    """A client that sends a large body to a refusal gets the refusal, and not a reset."""
    server = serving(config=GOOD)
    for _ in range(5):
        with raw_connection(server.port) as client:
            client.sendall(b"POST /v1/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2000000\r\n\r\n")
            client.sendall(b"x" * 1_000_000)
            assert b"401 Unauthorized" in client.recv(4096)


def test_too_many_streams(serving: Serve) -> None:
    """Who comes when all threads but a few are taken gets 503 at once, and others are not held up by it."""
    server = serving("--threads", "4", config=GOOD)
    body = json.dumps({"wait": True}).encode()
    statuses = []
    with ExitStack() as open_streams:
        for _ in range(60):  # more than there are threads
            browser = Browser(server.port, "/v1/chat/completions", body, Authorization=f"Bearer {TOKEN}")
            open_streams.enter_context(browser)
            statuses.append(browser.head().status)
            if statuses[-1] == 503:
                assert "1" == browser.response.headers["Retry-After"]
                assert "service_unavailable" == json.loads(browser.read())["error"]["code"]
        served = statuses.count(200)
        assert 4 <= served < 36
        assert [200] * served + [503] * (60 - served) == statuses
        assert served == server.health()["open"]
    server.workers(1, lambda health: health["open"] == 0)
    with server.stream() as stream:
        stream.read()


def test_a_silent_connection_is_closed(serving: Serve) -> None:
    """A connection that sends nothing is closed after the time that a request may take."""
    server = serving(config="[server]\nbody_seconds = 0.3\n" + GOOD)
    with raw_connection(server.port) as client:
        assert b"" == client.recv(1)


def test_a_head_that_never_ends(serving: Serve) -> None:
    """A head that comes a byte at a time is answered with 408 in time, also where such heads hold every thread."""
    server = serving("--threads", "1", config="[server]\nbody_seconds = 1\n" + GOOD)
    with ExitStack() as slow:
        clients = [slow.enter_context(raw_connection(server.port)) for _ in range(60)]
        for client in clients:
            client.sendall(PARTIAL_HEAD)
        stop = threading.Event()
        trickling = threading.Thread(target=trickle, args=(clients, stop))
        trickling.start()
        try:
            answers = [read_all(client) for client in clients]
            assert server.health()
        finally:
            stop.set()
            trickling.join()
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n"), answer
        assert "request_timeout" == json.loads(body)["error"]["code"]


def trickle(clients: list[socket.socket], stop: threading.Event) -> None:
    while not stop.wait(0.1):
        for client in clients:
            with suppress(OSError):
                client.send(b"a")


def read_all(client: socket.socket) -> bytes:
    data = b""
    try:
        while more := client.recv(65536):
            data += more
    except ConnectionResetError:
        pass
    return data


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer sk-my\x00key\r\n\r\n", 400),
        (b"GET /?key=sk-mykey" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nAuthorization: sk-mykey" + b"a" * 70000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", 431),
        (b"GET /fail HTTP/1.1\r\nHost: h\r\n\r\n", 500),
    ],
)
def test_what_is_no_request(sent: bytes, status: int, serving: Serve) -> None:
    """What never reaches the application is refused in OpenAI's shape, and nothing of it is repeated or logged."""
    server = serving(config=GOOD)
    with raw_connection(server.port) as client:
        client.sendall(sent)
        answer = read_all(client)
    head, _, body = answer.partition(b"\r\n\r\n")
    # gunicorn before 27 has no status of its own for a line that is too long.
    assert int(head.split()[1]) in (status, 400 if status == 414 else status), answer
    error = json.loads(body)["error"]
    assert {"message", "type", "param", "code"} == set(error)
    assert b"mykey" not in answer
    assert server.health()
    assert "key" not in server.process.output
    assert "a secret of the request" not in server.process.output
    if status == 500:
        server.process.wait_for("ValueError in stand_in.py, line")
    else:
        assert "ValueError" not in server.process.output


# Secrets.


@pytest.mark.writes_keys  # its own, into the file that is read
def test_no_secret_is_shown(serving: Serve, tmp_path: Path) -> None:
    """No key, token or password stands in the arguments of a process or in what it writes."""
    secret = "sk-the-secret-of-this-test-0123456789"
    text = (
        f'[storage]\nsecret_file = "secret"\nredis = "redis://:{secret}@127.0.0.1:1/0"\n'
        '[providers.openai]\nkey = "$A_KEY"\n[models]\nmini = "openai/gpt-4o-mini"\n'
    )
    (tmp_path / "secret").write_text(secret)
    server = serving("--database", "$DB", config=text, A_KEY=secret, DB=f"sqlite:////{tmp_path}/{secret}.db")
    pids = [server.process.pid, *server.workers(1)]
    reload(server, text.replace("mini =", "mini = 5 #"), "goes on")
    reload(server, text, "was read again")
    for pid in pids:
        assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
    assert secret not in server.process.output


# The gateway's own application.

STORY = {"model": "demo/storyteller", "stream": True, "messages": [{"role": "user", "content": "A story of the sea"}]}


def ask(server: Serving, token: str, body: dict[str, Any]) -> Browser:
    browser = Browser(server.port, "/v1/chat/completions", json.dumps(body).encode(), Authorization=f"Bearer {token}")
    assert 200 == browser.head().status, browser.read()
    return browser


def gateway_command(server: Serving, *arguments: str) -> str:
    done = subprocess.run(
        [*STREAMKIT, *arguments],
        env=clean({"STREAMKIT_DATA": str(server.folder / "data")}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_the_printed_line_gets_a_story(serving: Serve) -> None:
    """The line that is printed without a configuration gets a whole reply, the second time it is started as well."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for _ in range(2):
        server = serving(real=True)
        line = server.process.wait_for(r"\n(curl .*)\n")
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, env=clean({}), timeout=SECONDS, check=False
        )
        assert (0, True) == (done.returncode, done.stdout.endswith("data: [DONE]\n\n")), done.stderr
        server.process.kill(signal.SIGINT)
        assert 0 == server.process.wait()


def test_a_token_of_the_command_line(serving: Serve) -> None:
    """A token that the command line makes works at once, across a new configuration, and its reply is charged."""
    server = serving(real=True, config='[models]\nfirst = "demo/storyteller"\n')
    token = gateway_command(server, "token", "create", "ann", "--topup", "1").strip()
    with ask(server, token, {**STORY, "model": "first"}) as stream:
        stream.read_until(b"data: ")
        reload(
            server, '[models]\nsecond = "demo/storyteller"\ninvented = "demo/assistant"\n', "was read again: 2 models"
        )
        assert stream.read().endswith(b"data: [DONE]\n\n")
    with ask(server, token, {**STORY, "model": "second", "max_tokens": 5}) as stream:
        assert stream.read().endswith(b"data: [DONE]\n\n")
    gateway_command(server, "ledger", "check")


def cut_by_sigterm(serving: Serve) -> tuple[Serving, bytes]:
    text = "[server]\ngrace_seconds = 0.3\n[models.m]\nroutes = 'demo/storyteller'\ninput_price = 1\noutput_price = 1\n"
    server = serving(real=True, config=text)
    token = gateway_command(server, "token", "create", "ann", "--topup", "1").strip()
    with ask(server, token, {**STORY, "model": "m"}) as stream:
        stream.read_until(b"data: ")
        server.process.kill(signal.SIGTERM)
        rest = stream.read()
    assert 0 == server.process.wait()
    return server, rest


def test_what_sigterm_cancels_is_paid(serving: Serve) -> None:
    """A reply that SIGTERM cancels is charged by what was delivered, once, and the sums are right."""
    server, _ = cut_by_sigterm(serving)
    gateway_command(server, "ledger", "check")
    (charge,) = map(json.loads, gateway_command(server, "ledger", "export").splitlines())
    assert 0 < float(charge["usd"]) < 0.001


def test_what_sigterm_cancels_does_not_look_whole(serving: Serve) -> None:
    """A reply that SIGTERM cancels ends with an error, and not with ``[DONE]``."""
    _, rest = cut_by_sigterm(serving)
    assert b"[DONE]" not in rest
    assert b'"error"' in rest
