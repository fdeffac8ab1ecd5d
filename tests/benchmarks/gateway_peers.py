"""The gateways that `gateways.py` compares: how each is installed, configured and started.

Each is one process, or one worker process, with what it needs to hold 300 streams.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from configparser import ConfigParser
from contextlib import suppress
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from importlib.util import find_spec
from pathlib import Path
from urllib.request import Request, urlopen

from gateway_tree import prefer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
THREADS = 320  # streams that a server with threads is to hold, and some more
LONGEST_START = 120.0  # seconds

# What is installed for each environment of --install; the peers are the releases that were measured.
PYTHON_PACKAGES = {
    "starlette": ["starlette", "httpx", "uvicorn"],
    "litellm": ["litellm[proxy]==1.108.*"],
    "any-llm": ["any-llm-sdk[gateway]==1.14.*"],
}
NODE_PACKAGES = {"portkey": "@portkey-ai/gateway@1.15"}
# On Node 20 the headers of a reply of fetch cannot be changed, and Portkey answers 500 to each stream.
PORTKEY_FILE = "node_modules/@portkey-ai/gateway/build/start-server.js"
PORTKEY_LINE = "this.updateHeaders(i,n.cacheStatus,o)"
PORTKEY_MENDED = (
    "i=new Response(i.body,{status:i.status,statusText:i.statusText,headers:new Headers(i.headers)})," + PORTKEY_LINE
)
# Prints how much of the disk, in MB, is taken by all packages of an environment but those that come with it.
SIZES = """
from importlib.metadata import distributions
files = {str(file.locate()) for each in distributions() if each.name not in ("pip", "setuptools")
         for file in each.files or ()}
import os
print(sum(os.stat(file).st_blocks * 512 for file in files if os.path.isfile(file)) / 1e6)
"""


def install(folder: Path) -> None:
    """Install the peers into environments of their own below a folder, but those that are there."""
    if ROOT in [folder.resolve(), *folder.resolve().parents]:
        raise SystemExit("--install: name a folder outside of the checkout")
    folder.mkdir(parents=True, exist_ok=True)
    for name, packages in PYTHON_PACKAGES.items():
        if not (folder / name / "installed").exists():
            print(f"installs {' '.join(packages)}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", folder / name], check=True)
            subprocess.run([folder / name / "bin/python", "-m", "pip", "install", "--quiet", *packages], check=True)
            (folder / name / "installed").touch()
    for name, package in NODE_PACKAGES.items():
        if not (folder / name / "installed").exists():
            if shutil.which("npm") is None:
                print(f"npm is not installed: no {name}")
                continue
            print(f"installs {package}", flush=True)
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "package.json").write_text("{}")
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", package], cwd=folder / name, check=True)
            mend(folder / name / PORTKEY_FILE)
            (folder / name / "installed").touch()


def mend(file: Path) -> None:
    text = file.read_text()
    if PORTKEY_MENDED not in text:
        assert text.count(PORTKEY_LINE) == 1, f"{file} is not as it was when the mending was written"
        file.write_text(text.replace(PORTKEY_LINE, PORTKEY_MENDED))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Gateway:
    """A gateway as it is measured.

    `command` starts it on a port; `headers`, `model` and `more` are what a request to it has.
    """

    name = ""
    model = "m"

    def __init__(self, upstream: int, folder: Path, peers: Path | None, nice: int) -> None:
        self.upstream = upstream  # the provider's port
        self.folder = folder / self.name.replace(" ", "-")  # for its files, new for each run
        self.peers = peers  # where --install put them
        self.nice = nice
        self.headers = {"Authorization": "Bearer k"}
        self.environment: dict[str, str] = {}

    def missing(self) -> str:
        """Return why it cannot be measured; empty if it can."""
        return ""

    def version(self) -> str:
        return ""

    def prepare(self) -> None:
        """Write its configuration, and make the token that requests have."""

    def command(self, port: int) -> list[str]:
        raise NotImplementedError

    def installed_mb(self) -> float | None:
        return None

    def target(self, port: int) -> dict[str, object]:
        """Return how the load client asks it."""
        fields = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **self.headers}
        body = {
            "model": self.model,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "PROMPT"}],
            "stream": "STREAM",
            "max_tokens": 1000,
        }
        head = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(f"{key}: {fields[key]}\r\n" for key in fields)
        return {"port": port, "head": head, "body": json.dumps(body)}


class Nginx(Gateway):
    name = "nginx"

    def missing(self) -> str:
        return "" if shutil.which("nginx") else "nginx is not installed"

    def command(self, port: int) -> list[str]:
        text = f"""
            daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr error;
            {"user root;" if os.getuid() == 0 else ""}
            events {{ worker_connections 4096; }}
            http {{
                access_log off; client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
                fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
                upstream model {{ server 127.0.0.1:{self.upstream}; keepalive 64; }}
                server {{
                    listen 127.0.0.1:{port} backlog=4096;
                    location / {{
                        proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection "";
                        proxy_buffering off; proxy_read_timeout 600s;
                    }}
                }}
            }}"""
        (self.folder / "nginx.conf").write_text(text)
        return ["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")]

    def installed_mb(self) -> float | None:
        return on_disk_mb([Path(str(shutil.which("nginx")))])


class BareFlask(Gateway):
    name = "bare Flask"

    def missing(self) -> str:
        absent = [name for name in ("flask", "gunicorn") if find_spec(name) is None]
        return f"{' and '.join(absent)} not installed" if absent else ""

    def command(self, port: int) -> list[str]:
        self.environment = {"UPSTREAM": f"http://127.0.0.1:{self.upstream}", "PYTHONPATH": str(HERE)}
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--worker-class", "gthread", "--threads", str(THREADS)]
        command += ["--log-level", "error"]
        if int(version("gunicorn").partition(".")[0]) >= 25:
            command.append("--no-control-socket")
        return [sys.executable, "-m", *command, "gateway_floors:flask_app()"]

    def installed_mb(self) -> float | None:
        return size_mb(needed("flask") | needed("gunicorn") | needed("requests"))


class BareStarlette(Gateway):
    name = "bare Starlette"

    def missing(self) -> str:
        return _absent(self.peers, "starlette")

    def command(self, port: int) -> list[str]:
        assert self.peers is not None
        self.environment = {"UPSTREAM": f"http://127.0.0.1:{self.upstream}", "PYTHONPATH": str(HERE)}
        command = ["uvicorn", "--factory", "gateway_floors:starlette_app", "--port", str(port), "--no-access-log"]
        return [str(self.peers / "starlette/bin/python"), "-m", *command, "--log-level", "error"]

    def installed_mb(self) -> float | None:
        return environment_mb(self.peers, "starlette")


class Streamkit(Gateway):
    """Our own, with tokens and the ledger on SQLite."""

    name = "streamkit"

    def missing(self) -> str:
        found = self._run("serve", "--help")
        return "" if found.returncode == 0 else "there is no `streamkit serve` in this checkout"

    def version(self) -> str:
        found = re.search(r'__version__ = "(.+)"', (ROOT / "streamkit/version.py").read_text())
        return found[1] if found else ""

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streamkit", *words]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "STREAMKIT_DATA": str(self.folder)}

    def prepare(self) -> None:
        self.environment = {"PYTHONPATH": str(ROOT), "STREAMKIT_DATA": str(self.folder)}
        (self.folder / "gateway.toml").write_text(f"""
            [server]
            streams = {THREADS}
            [storage]
            database = "gateway.db"
            [log]
            file = "requests.log"
            [providers.openai]
            key = "k"
            base_url = "http://127.0.0.1:{self.upstream}/v1"
            [models.m]
            routes = ["openai/m"]
            input_price = "1"
            output_price = "4"
            """)
        config = str(self.folder / "gateway.toml")
        made = self._run("token", "create", "bench", "--topup", "1000000", "--config", config)
        token = re.search(r"sk-\S+", made.stdout)
        if made.returncode or not token:
            raise RuntimeError(f"no token: {made.stderr.strip()}")
        self.headers = {"Authorization": f"Bearer {token[0]}"}

    def command(self, port: int) -> list[str]:
        config = str(self.folder / "gateway.toml")
        words = ["serve", "--config", config, "--port", str(port), "--workers", "1"]
        return [sys.executable, "-m", "streamkit", *words]

    def installed_mb(self) -> float | None:
        core, more = declared(""), declared("serve")
        return size_mb((more | core) - core) if more else None


class LiteLLM(Gateway):
    name = "LiteLLM"

    def missing(self) -> str:
        return _absent(self.peers, "litellm")

    def version(self) -> str:
        return environment_version(self.peers, "litellm", "litellm")

    def prepare(self) -> None:
        self.headers = {"Authorization": "Bearer sk-master"}
        # Without the first it looks for prices in the network before it serves.
        self.environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        parameters = {"model": "openai/m", "api_base": f"http://127.0.0.1:{self.upstream}/v1", "api_key": "k"}
        config = {
            "model_list": [{"model_name": "m", "litellm_params": parameters}],
            "litellm_settings": {"num_retries": 0, "telemetry": False},
            "general_settings": {"master_key": "sk-master"},
        }
        (self.folder / "config.yaml").write_text(json.dumps(config))  # JSON is YAML

    def command(self, port: int) -> list[str]:
        words = ["--config", str(self.folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        return [f"{self.peers}/litellm/bin/litellm", *words, "--num_workers", "1"]

    def installed_mb(self) -> float | None:
        return environment_mb(self.peers, "litellm")


class Portkey(Gateway):
    name = "Portkey"

    def missing(self) -> str:
        return _absent(self.peers, "portkey") or ("" if shutil.which("node") else "node is not installed")

    def version(self) -> str:
        package = Path(f"{self.peers}/portkey/node_modules/@portkey-ai/gateway/package.json")
        found: str = json.loads(package.read_text())["version"]
        return found

    def prepare(self) -> None:
        host = f"http://127.0.0.1:{self.upstream}/v1"
        self.headers = {
            "Authorization": "Bearer k",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": host,
        }

    def command(self, port: int) -> list[str]:
        self.environment = {"NODE_ENV": "production"}
        return ["node", f"{self.peers}/portkey/{PORTKEY_FILE}", f"--port={port}", "--headless"]

    def installed_mb(self) -> float | None:
        files = Path(f"{self.peers}/portkey/node_modules").rglob("*")
        return on_disk_mb(files)


class AnyLLM(Gateway):
    name = "any-llm"
    model = "openai:m"

    def missing(self) -> str:
        return _absent(self.peers, "any-llm")

    def version(self) -> str:
        return environment_version(self.peers, "any-llm", "any-llm-sdk")

    def prepare(self) -> None:
        config = {
            "database_url": f"sqlite:///{self.folder}/gateway.db",
            "master_key": "master",
            "providers": {"openai": {"api_key": "k", "api_base": f"http://127.0.0.1:{self.upstream}/v1"}},
            "pricing": {"openai:m": {"input_price_per_million": 1, "output_price_per_million": 4}},
        }
        (self.folder / "config.yml").write_text(json.dumps(config))
        port = free_port()
        with Running(self, port) as running:
            running.wait()
            sent = Request(
                f"http://127.0.0.1:{port}/v1/keys",
                data=b'{"user_id": "bench"}',
                headers={"Content-Type": "application/json", "X-AnyLLM-Key": "Bearer master"},
            )
            with urlopen(sent) as reply:
                key = json.load(reply)["key"]
        self.headers = {"X-AnyLLM-Key": f"Bearer {key}"}

    def command(self, port: int) -> list[str]:
        words = ["serve", "--config", str(self.folder / "config.yml"), "--host", "127.0.0.1", "--port", str(port)]
        return [f"{self.peers}/any-llm/bin/any-llm-gateway", *words, "--workers", "1", "--log-level", "40"]

    def installed_mb(self) -> float | None:
        return environment_mb(self.peers, "any-llm")


#: In the order in which they take turns; what is compared closely stands side by side.
GATEWAYS = (Nginx, BareFlask, Streamkit, BareStarlette, LiteLLM, Portkey, AnyLLM)


class Running:
    """A gateway that runs for the block; what it prints is in a file of its folder."""

    def __init__(self, gateway: Gateway, port: int) -> None:
        self.gateway = gateway
        self.port = port

    def __enter__(self) -> Running:
        self.gateway.folder.mkdir(exist_ok=True)
        self.begun = time.monotonic()
        with open(self.gateway.folder / "output.txt", "ab") as output:
            self.process = subprocess.Popen(
                self.gateway.command(self.port),
                env={**os.environ, **self.gateway.environment},
                cwd=self.gateway.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        prefer(self.process.pid, self.gateway.nice)
        return self

    def wait(self) -> None:
        """Wait until it listens."""
        deadline = self.begun + LONGEST_START
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                time.sleep(0.01)
        raise TimeoutError("it does not listen")

    def __exit__(self, *_: object) -> None:
        # The group has this gateway's processes alone. Half-dead ones would disturb the next one's figures.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _absent(peers: Path | None, name: str) -> str:
    if peers is not None and (peers / name / "installed").exists():
        return ""
    return "not installed: --install DIR installs it, --peers DIR says where it is"


def declared(extra: str) -> frozenset[str]:
    """Return the names of the distributions that an extra of this checkout needs, or without a name its core."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.extras_require"].get(extra, "") if extra else setup["options"]["install_requires"]
    found: dict[str, None] = {}
    for line in filter(None, lines.splitlines()):
        requirement = Requirement(line)
        if requirement.name == "streamkit":
            for other in requirement.extras:
                found.update(dict.fromkeys(declared(other)))
        elif requirement.marker is None or requirement.marker.evaluate():
            _add(found, requirement.name, requirement.extras)
    return frozenset(found)


def needed(name: str) -> frozenset[str]:
    """Return the names of the distributions that a distribution of this environment needs, its own included."""
    found: dict[str, None] = {}
    _add(found, name, ())
    return frozenset(found)


def _add(found: dict[str, None], name: str, extras: Iterable[str]) -> None:
    name = canonicalize_name(name)
    if name in found and not extras:
        return
    try:
        has: Distribution = distribution(name)
    except PackageNotFoundError:  # not for this platform
        return
    found[name] = None
    for text in has.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            _add(found, requirement.name, requirement.extras)


def size_mb(names: Iterable[str]) -> float:
    """Return the size of distributions of this environment, their compiled files included."""
    files = (Path(str(file.locate())) for name in names for file in distribution(name).files or ())
    return on_disk_mb(files)


def on_disk_mb(files: Iterable[Path]) -> float:
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file()) / 1e6


def environment_mb(peers: Path | None, name: str) -> float:
    command = [f"{peers}/{name}/bin/python", "-c", SIZES]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def environment_version(peers: Path | None, name: str, package: str) -> str:
    command = [f"{peers}/{name}/bin/python", "-c", f"import importlib.metadata as m; print(m.version({package!r}))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
