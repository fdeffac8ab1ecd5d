"""Batches that are killed, interrupted, large, and asked in other processes."""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import streamkit
from streamkit import Batch, BatchResult, Client, Retry, providers
from streamkit.testing import Reply, Request, Server, text_reply
from tests.fault.test_conversation_interrupts import interrupted
from tests.unit.support import bounded

ROOT = Path(streamkit.__file__).parents[1]
SECONDS = 240  # for one program, on a machine however busy

posix = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")


def program(code: str, *arguments: str, stdin: int | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start a program that has the client ``client`` of a server at ``argv[1]``."""
    begin = (
        "import os, sys, streamkit\n"
        "client = streamkit.Client([streamkit.providers.OpenAI(api_key='k', base_url=sys.argv[1])])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", begin + code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
    )


# Kills.

FORKS = """
def batch():
    prompts = map(str, range(int(sys.argv[3])))
    for result in client.map("openai/m", prompts, save=sys.argv[2], concurrency=4):
        pass

for _ in sys.stdin:
    child = os.fork()
    if not child:
        os._exit(batch() or 0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
PROMPTS = 400
KILLS = 50


@posix
@pytest.mark.slow
def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    """However often a batch is killed and run again, its file has each prompt once, and nothing torn."""
    path, asked = tmp_path / "out.jsonl", Counter[str]()
    chance = random.Random(16)
    arrived = threading.Semaphore(0)

    def answer(request: Request) -> Reply:
        text = request.json()["messages"][-1]["content"]
        asked[text] += 1
        arrived.release()
        long = "x" * chance.choice((1, 10, 1000, 50_000))
        return text_reply("", pieces=[f"<{text}>", long])

    torn = 0
    with Server(answer, remember=1) as server:
        parent = program(FORKS, server.url, str(path), str(PROMPTS), stdin=subprocess.PIPE)
        with parent:
            assert parent.stdin is not None
            assert parent.stdout is not None
            for kill in range(KILLS + 1):
                parent.stdin.write("\n")
                parent.stdin.flush()
                child = int(parent.stdout.readline())
                if kill < KILLS:
                    for _ in range(chance.randrange(1, 10)):
                        arrived.acquire(timeout=SECONDS)
                    threading.Event().wait(chance.random() * 0.01)  # the moment, not a wait for anything
                    os.kill(child, 9)
                status = int(parent.stdout.readline())
                assert status == (9 if kill < KILLS else 0)
                whole, _, rest = path.read_bytes().rpartition(b"\n")
                torn += bool(rest)
                indexes = [json.loads(line)["index"] for line in whole.splitlines()]
                assert len(indexes) == len(set(indexes))
            parent.stdin.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert list(range(PROMPTS)) == sorted(line["index"] for line in lines)
    assert all(line["completion"]["text"].startswith(f"<{line['index']}>") for line in lines)
    assert set(map(str, range(PROMPTS))) == set(asked)
    # Those that were running when the batch was killed were asked again, and no others.
    assert sum(asked.values()) - PROMPTS <= 4 * KILLS
    assert [path] == list(tmp_path.iterdir())
    print(f"torn after {torn} of {KILLS} kills")


# Ctrl-C.

_FILES = ("batch/batch.py", "batch/state.py", "batch/pools.py", "batch/saving.py", "batch/requests.py")


@posix
@pytest.mark.slow
@pytest.mark.parametrize("ordered", [False, True], ids=["as they end", "in order"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # an interrupt in a finalizer
def test_ctrl_c_anywhere(ordered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever Ctrl-C comes, what has ended is in the file and to be had, and a second run does the rest."""
    monkeypatch.setattr("tests.fault.test_conversation_interrupts._FILES", _FILES)
    prompts = list("abcdef")
    with Server(lambda request: text_reply(request.json()["messages"][-1]["content"].upper())) as server:
        with Client([providers.OpenAI(api_key="k", base_url=server.url)], retry=Retry(1)) as client:
            number, came = 0, True
            while came:
                number += 31 - number % 2
                path = tmp_path / f"{number}.jsonl"
                taken: list[BatchResult[str]] = []
                made: list[Batch[str]] = []

                def act(path: Path = path, taken: list[Any] = taken, made: list[Any] = made) -> None:
                    made.append(client.map("openai/m", prompts, save=path, concurrency=2, ordered=ordered))
                    for result in made[0]:
                        taken.append(result)

                with bounded():
                    came = interrupted(act, number)
                    last = [made[0].last] if made and made[0].last is not None else []
                    left = list(made[0]) if made else []
                    gc.collect()
                    had = {result.index for result in [*taken, *last, *left]}
                    saved = {json.loads(line)["index"] for line in path.read_text().splitlines()} if made else set()
                    assert saved <= had, number
                    again = list(client.map("openai/m", prompts, save=path))
                    assert list("ABCDEF") == sorted(result.text for result in again)
                    assert saved == {result.index for result in again if result.saved}


# Size.

FLAT = """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

kept = {}
prompts = (f"Prompt {number}" for number in range(5000))
for count, result in enumerate(client.map("openai/m", prompts, concurrency=32, save=sys.argv[2]), 1):
    assert result.text, result.error
    if count in (1000, 5000):
        kept[count] = resident()
print(kept[1000], kept[5000])
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="/proc")
def test_memory_is_flat(tmp_path: Path) -> None:
    """5,000 prompts at 32 at once take no more memory than 1,000."""
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "batches.py"), "--serve"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            with program(FLAT, url, str(tmp_path / "out.jsonl")) as asking:
                out, _ = asking.communicate(timeout=SECONDS)
            assert 0 == asking.returncode
        finally:
            server.kill()
    early, late = map(int, out.split())
    assert late - early < 3 * 1024 * 1024, (early, late)
    assert 5000 == len((tmp_path / "out.jsonl").read_text().splitlines())
    print(f"{early / 1e6:.1f} MB after 1,000, {late / 1e6:.1f} MB after 5,000")


# Other processes. Each is a program of its own: its warnings are those of other libraries, too.

SHOUT = """
import multiprocessing, os, sys
import streamkit

def make():
    return streamkit.Client([streamkit.providers.OpenAI(api_key="made there", base_url=os.environ["SHOUT_URL"])])

def texts(results):
    return sorted(result.text or repr(result.error) for result in results)

def show(client, pool, **options):
    try:
        print(texts(client.map("openai/m", list("abcd"), executor=pool, **options)), flush=True)
    except streamkit.ConfigError as error:
        print("ConfigError:", str(error)[:60], flush=True)
"""
PROCESSES = """
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        with streamkit.Client() as client:
            show(client, pool)
            show(client, pool, extra_headers={"X-Key": "secret"})
        with make() as client:
            show(client, pool)
            show(client, pool, factory=make)
"""
DASK = """
from dask.distributed import Client, LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster) as dask:
        with streamkit.Client() as client:
            show(client, dask.get_executor())
        with make() as client:
            show(client, dask.get_executor(), factory=make)
"""
TEXTS = "['A', 'B', 'C', 'D']"


def shouted(code: str, folder: Path) -> tuple[list[str], set[str]]:
    """Run a program; return what it printed, and the keys that the server got."""
    file = folder / "shout.py"
    file.write_text(SHOUT + code)
    with Server(lambda request: text_reply(request.json()["messages"][-1]["content"].upper())) as server:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "of the environment",
            "OPENAI_BASE_URL": server.url,
            "SHOUT_URL": server.url,
        }
        done = subprocess.run(
            [sys.executable, str(file)], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        keys = {request.headers["authorization"].removeprefix("Bearer ") for request in server.requests}
    assert 0 == done.returncode, done.stderr
    return done.stdout.splitlines(), keys


@pytest.mark.slow
@pytest.mark.writes_keys
def test_a_pool_of_processes(tmp_path: Path) -> None:
    """Processes read keys from their environment or have a factory; a client with keys of its own does not travel."""
    shown, keys = shouted(PROCESSES, tmp_path)
    assert [
        TEXTS,
        "ConfigError: extra_headers may hold keys, which do not travel to other pr",
        "ConfigError: this client has providers of its own, and neither keys nor t",
        TEXTS,
    ] == shown
    assert {"of the environment", "made there"} == keys


@pytest.mark.slow
@pytest.mark.writes_keys
def test_a_cluster_of_dask(tmp_path: Path) -> None:
    """Dask's executor asks on its workers."""
    pytest.importorskip("distributed")
    shown, keys = shouted(DASK, tmp_path)
    assert [TEXTS, TEXTS] == shown
    assert {"of the environment", "made there"} == keys
