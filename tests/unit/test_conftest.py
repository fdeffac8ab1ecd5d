"""The suite's own fixtures."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    source = CONFTEST.read_text(encoding="utf-8")
    pytester.makeconftest(source.replace("LEAK_SECONDS = 20.0", "LEAK_SECONDS = 0.2"))
    return pytester


def streamkit_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streamkit-")]


def test_a_stream_left_open_fails_its_test_and_is_cancelled(suite: pytest.Pytester) -> None:
    """A test that leaves a stream running is failed, and the reader is gone before the next test begins."""
    suite.makepyfile(
        """
        import threading
        from streamkit import Client, Timeout, providers
        from streamkit.testing import Reply, Server, Wait

        kept = []

        def test_leaks():
            server = Server(Reply([Wait(None)]))
            client = Client([providers.OpenAI(base_url=server.url)], timeout=None, retry=1)
            kept.extend([client, client.stream("openai/m", "hi"), server])
            server.wait_for_requests(1)

        def test_next():
            assert [] == [t.name for t in threading.enumerate() if t.name.startswith("streamkit-")]
            kept[-1].close()
        """
    )
    result = suite.runpytest_inprocess("-p", "no:cacheprovider", "--tb=short")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*alive 0.2 s after the test: streamkit-*still so after a cancel: none*"])
    assert [] == streamkit_threads()


def test_a_thread_that_no_cancel_ends_is_named(suite: pytest.Pytester) -> None:
    """A thread that is nobody's stream is reported by its name."""
    suite.makeconftest(
        (suite.path / "conftest.py").read_text().replace("REPAIR_SECONDS = 10.0", "REPAIR_SECONDS = 0.2")
    )
    suite.makepyfile(
        """
        import threading

        release = threading.Event()

        def test_leaks():
            threading.Thread(target=release.wait, args=(60,), name="streamkit-stuck", daemon=True).start()

        def test_repaired():
            release.set()
        """
    )
    result = suite.runpytest_inprocess("-p", "no:cacheprovider", "--tb=short")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*alive 0.2 s after the test: streamkit-stuck; still so*'streamkit-stuck'*"])


def test_the_environment_is_clean(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, base URL or proxy of the outside is seen by a test, in whichever case it is written."""
    secret = {"OPENAI_API_KEY", "MISTRAL_API_KEY", "OPENAI_BASE_URL", "HTTPS_PROXY", "all_proxy", "NO_PROXY"}
    for name in secret:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    suite.makepyfile(f"import os\n\ndef test_clean():\n    assert set() == {secret!r} & set(os.environ)")
    suite.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
    assert secret <= set(os.environ)
