"""The worker on one machine, the web app on another, and the cable between them is pulled for some seconds.

The machines are network namespaces.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import attrs
import pytest

from tests.processes import Process, run_process
from tests.redis_server import RedisServer, redis_server

__all__ = ["redis_server", "run_process"]  # fixtures

pytestmark = pytest.mark.slow
pytest.importorskip("celery")
pytest.importorskip("flask")
pytest.importorskip("gunicorn")


@attrs.frozen
class Machine:
    """A network namespace.

    Attributes:
        name: of the namespace.
        cable: the name of the network interface to the other machine.
        address: of that interface.
    """

    name: str
    cable: str
    address: str

    @property
    def within(self) -> list[str]:
        """The beginning of a command that runs there."""
        return ["ip", "netns", "exec", self.name]

    def plug(self, up: bool) -> None:
        """Pull the cable to the other machine, or put it back."""
        subprocess.run([*self.within, "ip", "link", "set", self.cable, "up" if up else "down"], check=True)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable between them."""
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed: apt-get install iproute2")
    if not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip("network namespaces need root")
    made = [
        Machine(f"streamkit-{os.getpid()}-{side}", f"sk{os.getpid()}{side}", f"10.213.7.{number}")
        for number, side in ((1, "a"), (2, "b"))
    ]
    with ExitStack() as stack:
        for machine in made:
            added = subprocess.run(["ip", "netns", "add", machine.name], capture_output=True, text=True, check=False)
            if added.returncode:
                pytest.skip(f"no network namespaces here: {added.stderr.strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "delete", machine.name], check=False)
        one, other = made
        subprocess.run(
            [
                *("ip", "link", "add", one.cable, "netns", one.name, "type", "veth"),
                *("peer", "name", other.cable, "netns", other.name),
            ],
            check=True,
        )
        for machine in made:
            inside = [*machine.within, "ip"]
            subprocess.run([*inside, "address", "add", f"{machine.address}/24", "dev", machine.cable], check=True)
            subprocess.run([*inside, "link", "set", "lo", "up"], check=True)
            machine.plug(True)
        yield one, other


def events(browser: Process) -> list[tuple[str, int, dict[str, object]]]:
    found = re.findall(r"^(message|done|error) (\d+) (.*)$", browser.output, re.MULTILINE)
    return [(kind, int(id), json.loads(data)) for kind, id, data in found]


@pytest.mark.parametrize("redis_is_with", ["worker", "web"])
@pytest.mark.parametrize("seconds", [4.0, 10.0])
def test_a_cable_is_pulled(
    machines: tuple[Machine, Machine],
    redis_server: Callable[..., RedisServer],
    run_process: Callable[..., Process],
    redis_is_with: str,
    seconds: float,
) -> None:
    """The page gets the whole reply, each piece once and in order; nobody sends it anew."""
    at_work, at_the_web = machines
    home = at_work if redis_is_with == "worker" else at_the_web
    redis_server(address=home.address, within=home.within)
    model = run_process("tests.fault.model_program", within=at_work.within)
    url = f"redis://{home.address}:6379/0"
    environment = {"BROKER": url, "LOG": url, "MODEL": model.wait_for(r"serving (\S+)")}
    worker = run_process(
        *("celery", "-A", "tests.e2e.celery_app", "worker", "--concurrency", "1", "--loglevel", "INFO"),
        *("--without-mingle", "--without-gossip"),
        within=at_work.within,
        **environment,
    )
    worker.wait_for(r"@\S+ ready")
    gunicorn = run_process(
        *("gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "8"),
        "tests.e2e.celery_app:web",
        within=at_the_web.within,
        **environment,
    )
    site = gunicorn.wait_for(r"Listening at: (http://\S+)")
    browser = run_process("tests.fault.browser_program", site, within=at_the_web.within)
    browser.wait_for(r"w20\b")
    at_work.plug(False)
    before = len(events(browser))
    threading.Event().wait(seconds)  # the outage
    assert len(events(browser)) <= before + 5, "the cable was not pulled"
    at_work.plug(True)
    browser.wait_for(r"(?m)^over$")
    found = events(browser)
    assert ("done", "complete") == (found[-1][0], found[-1][2]["status"]), found[-1]
    assert " ".join(f"w{number}" for number in range(240)) == "".join(str(data["content"]) for _, _, data in found[:-1])
    ids = [id for _, id, _ in found[:-1]]
    assert sorted(set(ids)) == ids
