"""The files of examples/gateway and examples/deployment/gateway: nginx with TLS, systemd, a read-only file system."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from streamkit.gateway.config import read_config
from tests.e2e.gateway.stand_in import TOKEN
from tests.e2e.gateway.support import GOOD, SECONDS, Serve, run_process, serving
from tests.e2e.servers.support import DEPLOYMENT, ROOT, free_port, nginx
from tests.fault.conftest import Certificate, certificate

__all__ = ["certificate", "run_process", "serving"]  # fixtures

pytest.importorskip("gunicorn", reason="needs gunicorn")
pytest.importorskip("sqlalchemy", reason="needs SQLAlchemy")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")

EXAMPLE = ROOT / "examples" / "gateway"
OURS = DEPLOYMENT / "gateway"


# The configuration.


def test_the_example_has_no_mistakes(tmp_path: Path) -> None:
    """The commented configuration is right, as it stands and with what is commented out."""
    pytest.importorskip("genai_prices", reason="needs the extra prices")
    keys = {"OPENAI_API_KEY": "k" * 20, "ANTHROPIC_API_KEY": "k" * 20, "STREAMKIT_SECRET": "s" * 20}
    config = read_config(EXAMPLE / "gateway.toml", keys)
    names = ["gpt-4o-mini", "claude-*", "default", "practice", "careful", "cheap"]
    assert names == [model.name for model in config.models]
    assert 2 == len(config.notes), config.notes

    (tmp_path / "my_company").mkdir()
    text = (EXAMPLE / "gateway.toml").read_text().replace("/var/log/streamkit/", "")
    whole = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert whole.count("\n#") < text.count("\n#") - 10
    (tmp_path / "gateway.toml").write_text(whole.replace("my_company.gateway:who", "os.path:basename"))
    assert "os.path:basename" == read_config(tmp_path / "gateway.toml", keys).authorize


def test_the_readme_has_no_mistakes(tmp_path: Path) -> None:
    """The short configuration of the page is right, and its commands and options exist."""
    pytest.importorskip("genai_prices", reason="needs the extra prices")
    page = (EXAMPLE / "README.md").read_text()
    (short,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "gateway.toml").write_text(short)
    read_config(tmp_path / "gateway.toml", {"OPENAI_API_KEY": "k" * 20, "ANTHROPIC_API_KEY": "k" * 20})
    done = subprocess.run(
        [sys.executable, "-m", "streamkit", "serve", "--help"], capture_output=True, text=True, check=True
    )
    shown = page + (OURS / "Dockerfile").read_text() + (OURS / "streamkit.service").read_text()
    lines = [line for line in shown.splitlines() if re.search(r"streamkit serve |^CMD", line)]
    options = set(re.findall(r"(?<![\w-])--[a-z]+", "\n".join(lines)))
    assert {"--check", "--config", "--host"} <= options
    for option in options:
        assert option in done.stdout


# nginx with TLS.


def test_behind_nginx_with_tls(serving: Serve, certificate: Certificate, tmp_path: Path) -> None:
    """Through TLS each event comes while the reply goes on, plain HTTP is sent on, and metrics are for this machine."""
    server = serving(config=GOOD)
    key, tls = certificate.path.with_name("key.pem"), free_port()
    before, _, site = (OURS / "nginx.conf").read_text().partition("\nupstream")
    site = f"upstream{site}"
    for ours, theirs in {
        "listen 443 ssl": f"listen 127.0.0.1:{tls} ssl",
        "/etc/ssl/llm.example.com.pem": str(certificate.path),
        "/etc/ssl/private/llm.example.com.key": str(key),
    }.items():
        assert ours in site
        site = site.replace(ours, theirs)
    trusted = ssl.create_default_context(cafile=str(certificate.path))
    body = json.dumps({"wait": True}).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    with nginx(server.port, tmp_path / "nginx", site, before) as plain:
        connection = http.client.HTTPSConnection("127.0.0.1", tls, timeout=SECONDS, context=trusted)
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        assert 200 == response.status
        seen = b""
        while seen.count(b"data: more") < 3:  # the reply never ends: nothing waits for its end
            more = response.read1(65536)
            assert more
            seen += more
        response.close()
        connection.close()
        server.workers(1, lambda health: health["open"] == 0)  # whoever leaves is noticed through nginx

        redirect = http.client.HTTPConnection("127.0.0.1", plain, timeout=SECONDS)
        redirect.request("GET", "/v1/models", headers={"Host": "llm.example.com"})
        answer = redirect.getresponse()
        assert (301, "https://llm.example.com/v1/models") == (answer.status, answer.headers["Location"])
        redirect.close()


def test_connections_of_nginx_outlive_its_own(serving: Serve) -> None:
    """The gateway keeps an idle connection: a proxy that keeps it as well asks again without a new one."""
    server = serving(config=GOOD)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    connection.connect()
    first = connection.sock
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
        assert connection.sock is first
    connection.close()


# systemd.


def test_the_unit(tmp_path: Path) -> None:
    """systemd finds nothing wrong with the unit, and its commands are those of the command line."""
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("systemd is not installed")
    unit = (OURS / "streamkit.service").read_text()
    (tmp_path / "streamkit.service").write_text(
        unit.replace("/opt/streamkit/bin/streamkit", shutil.which("true") or "")
    )
    done = subprocess.run(
        [command, "verify", "--man=no", str(tmp_path / "streamkit.service")], capture_output=True, text=True
    )
    assert (0, "") == (done.returncode, done.stderr)
    grace = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert grace
    assert int(grace[1]) > 30 + 11, "systemd would kill it while it settles"


def test_systemd_is_told(serving: Serve, tmp_path: Path) -> None:
    """``Type=notify``: systemd is told when the gateway listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(SECONDS)
        serving(config=GOOD, NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert b"READY=1" in told.recv(4096)


# The container.


READ_ONLY = """
mount --make-rprivate / && mount -t tmpfs -o mode=1777 tmpfs {data} && mount -o remount,ro,bind / && cd {cwd} &&
exec env -u HOME setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps +dac_read_search \
    --ambient-caps +dac_read_search "$@"
"""


def test_a_file_system_to_read_only(serving: Serve, tmp_path: Path) -> None:
    """It runs as a user without a name or a home, and writes to nothing but the folder of its database."""
    data = tmp_path / "data"
    data.mkdir()
    probe = ["unshare", "-m", "sh", "-c", READ_ONLY.format(data=data, cwd=tmp_path), "sh"]
    if shutil.which("unshare") is None or subprocess.run([*probe, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    done = subprocess.run([*probe, "touch", str(tmp_path / "x")], capture_output=True, text=True)
    assert "Read-only file system" in done.stderr
    server = serving(within=probe, STAND_IN_LOG=str(data / "log"), STREAMKIT_DATA=str(data / "gateway"), TMPDIR="/none")
    with server.stream() as stream:
        assert stream.read() == b"data: [DONE]\n\n"
    server.process.kill(signal.SIGTERM)
    assert 0 == server.process.wait()
