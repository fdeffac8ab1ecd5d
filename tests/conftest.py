"""Fixtures of every test: an environment without keys and proxies, and a check for leftover threads."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from streamkit.streaming.stream import _open as open_streams
from tests.secrets_written import ALLOWED, forget_keys, keys_written, texts_of, watch_for_keys

LEAK_SECONDS = 20.0  # that a thread has to end after its test, all of a test's threads together
REPAIR_SECONDS = 10.0  # that it has once its stream was cancelled
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}

# A deadline would be an assertion about time, and machines that run tests are busy.
hypothesis.settings.register_profile("streamkit", deadline=None)
hypothesis.settings.load_profile("streamkit")


# What providers look at: names of keys and addresses, and whatever a cloud's own tools read.
PROVIDERS = re.compile(r".*_(API_KEY|TOKEN|BASE_URL|ENDPOINT)|(AWS|AZURE_OPENAI|GOOGLE|OLLAMA)_.*")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the data that the command line keeps, in place of that of whoever runs the tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, data_folder: Path) -> None:
    """Take away what would let a test reach a provider, a proxy, or the data of whoever runs it."""
    monkeypatch.setenv("STREAMKIT_DATA", str(data_folder))
    for name in list(os.environ):
        if PROVIDERS.fullmatch(name) or name.lower() in PROXIES:
            monkeypatch.delenv(name)
    for name in ("PYTEST_ADDOPTS", "STREAMKIT_FAILED_TESTS"):  # meant for this run of pytest, not for one inside a test
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


watch_for_keys()

# Ignored where a shell without job control runs the suite in its background; tests and their programs interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each worker of pytest-xdist begin with its share of the slow tests: at the end one would run them alone."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    others = [item for item in items if not item.get_closest_marker("slow")]
    # Each worker gets an equal part of the list; one that is out of tests takes over some from the end of another's..
    parts = [len(items) * (number + 1) // workers - len(items) * number // workers for number in range(workers)]
    ordered: list[pytest.Item] = []
    for number, size in enumerate(parts):
        ordered += (first := slow[number::workers])
        ordered += others[: size - len(first)]
        del others[: size - len(first)]
    items[:] = [*ordered, *others]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the names of the tests that failed into the file that the environment names, for a second run of these."""
    path = os.environ.get("STREAMKIT_FAILED_TESTS")
    if path:
        reports = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
        Path(path).write_text("".join(f"{name}\n" for name in sorted({report.nodeid for report in reports})), "utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Begin each test without the keys of the one before."""
    forget_keys()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that wrote a key: to the terminal, to a log, or into a file."""
    report = yield
    if report.when == "call" and report.passed and not item.get_closest_marker(ALLOWED):
        places = keys_written(texts_of(item, report.sections))
        if places:
            report.outcome = "failed"
            report.longrepr = f"a key was written: {', '.join(places)}"
    return report


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test whose `streamkit-` threads outlive it, and cancel their streams so that the next one is not hurt."""
    threads, streams = set(threading.enumerate()), set(open_streams)
    yield
    ours = [t for t in threading.enumerate() if t.name.startswith("streamkit-") and t not in threads]
    if not ours:
        return
    left = still_alive(ours, LEAK_SECONDS)
    if left:
        for number in set(open_streams) - streams:
            reference = open_streams.get(number)
            stream = reference() if reference else None
            if stream is not None:
                stream.cancel()
        stuck = [thread.name for thread in still_alive(left, REPAIR_SECONDS)]
        names = ", ".join(thread.name for thread in left)
        pytest.fail(f"alive {LEAK_SECONDS:g} s after the test: {names}; still so after a cancel: {stuck or 'none'}")


def still_alive(threads: list[threading.Thread], seconds: float) -> list[threading.Thread]:
    """Return those that do not end in time."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread for thread in threads if thread.is_alive()]
