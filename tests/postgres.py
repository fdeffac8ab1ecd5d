"""A PostgreSQL of the tests' own: Debian's, on a socket in a temporary folder, and on no port."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

__all__ = ["make_postgres"]


def program(name: str) -> str | None:
    """Return the path of one of PostgreSQL's programs; Debian keeps them out of PATH."""
    found = shutil.which(name)
    if found is None:
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
        found = str(versions[-1]) if versions else None
    return found


def account() -> str:
    """Return who runs the server, which refuses to be run by root."""
    if os.geteuid() != 0:
        return getpass.getuser()
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


@contextmanager
def running(initdb: str, pg_ctl: str) -> Iterator[str]:
    """Run a server; gives the query of a URL that leads to it."""
    user = account()
    folder = tempfile.mkdtemp(prefix="streamkit-pg-", dir="/tmp")  # a socket's path may have 107 characters
    shutil.chown(folder, user)
    data = f"{folder}/data"
    # It is thrown away, so it need not outlast a power cut.
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=100"

    def run(*command: str) -> None:
        # Without pipes, which the server would keep open.
        log = Path(folder, "log")
        with log.open("ab") as out:
            done = subprocess.run(
                command, stdout=out, stderr=out, user=user if os.geteuid() == 0 else None, cwd=folder, timeout=120
            )
        assert done.returncode == 0, log.read_text("utf-8", "replace")

    try:
        run(initdb, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=tests", "-D", data)
        run(pg_ctl, "-D", data, "-w", "-o", options, "start")
        try:
            yield f"host={folder}&user=tests"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def kill(query: str) -> None:
    """Kill -9 the server that ``running`` has started."""
    os.kill(int(Path(_folder(query), "data", "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def start_again(query: str, pg_ctl: str) -> None:
    """Start a server that was killed; its children have to end first."""
    folder = _folder(query)
    log = Path(folder, "log")
    command = [pg_ctl, "-D", f"{folder}/data", "-w", "start", "-o", f"-k {folder} -c listen_addresses=''"]
    for _ in range(30):
        with log.open("ab") as out:
            user = account() if os.geteuid() == 0 else None
            done = subprocess.run(command, stdout=out, stderr=out, user=user, cwd=folder, timeout=120, check=False)
        if done.returncode == 0:
            return
    raise AssertionError(log.read_text("utf-8", "replace"))


def _folder(query: str) -> str:
    return query.partition("&")[0].removeprefix("host=")


@pytest.fixture(scope="session")
def make_postgres() -> Iterator[Callable[[], str]]:
    """Give the URL of a new database at each call."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    psycopg = pytest.importorskip("psycopg")
    with running(initdb, pg_ctl) as query:

        def make() -> str:
            name = f"t{uuid.uuid4().hex}"
            with psycopg.connect(f"{query.replace('&', ' ')} dbname=postgres", autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            return f"postgresql:///{name}?{query}"

        yield make
