"""Notebooks in a real kernel: those of examples/ run, and an interrupt gives the prompt back with what came."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit.testing import Reply, Server, Wait, chunk_event

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

# Of the libraries that talk to kernels.
pytestmark = [pytest.mark.filterwarnings("ignore:::(zmq|jupyter|tornado|nbclient|nbformat|traitlets)")]

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))
SECONDS = 120
PROMISED = 0.3  # seconds from an interrupt to the prompt
NOISE = 10.0  # granted on top, as machines are slow at times
SETUP = """%load_ext streamkit.notebook
import streamkit
client = streamkit.Client([streamkit.providers.OpenAI(api_key='k', base_url={url!r})], timeout=None)"""
CODE = {"display": "client.stream('openai/m', 'Hi').display()", "magic": "%%ask openai/m\nHi"}


@pytest.fixture(scope="session")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """matplotlib's list of fonts. Whoever has none waits for it, and where that takes long, is told so in the cell."""
    folder = tmp_path_factory.mktemp("matplotlib")
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, env={**os.environ, "MPLCONFIGDIR": str(folder)}, capture_output=True, check=False)
    return folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of the kernels."""
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(fonts))


def html_in(cell: Any) -> str:
    return "".join(output["data"].get("text/html", "") for output in cell.outputs if "data" in output)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_each_notebook_runs(path: Path) -> None:
    """Each cell runs without an error; replies are whole in what is saved, and figures are pictures."""
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", cwd=str(path.parent)).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        kinds = {output.output_type for output in cell.outputs}
        assert not kinds & {"error", "stream"}, cell.source
        if ".display()" in cell.source or cell.source.startswith("%%ask"):
            assert "<p>" in html_in(cell), cell.source
            assert "first token after" in html_in(cell), cell.source
        if "plot(" in cell.source:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    if "first_steps" in path.name:
        shown = "\n".join(map(html_in, cells))
        for words in ("a lighthouse", "It rains in Oslo", "Be brief.", "the sea", "the moon", "Tool: weather → done"):
            assert words in shown, words


class Kernel:
    """A kernel, and what it has published."""

    def __init__(self, kernel: Any) -> None:
        self._manager = kernel
        self._client = kernel.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=SECONDS)

    def begin(self, code: str) -> str:
        """Run code, and return the id of the request."""
        asked: str = self._client.execute(code)
        return asked

    def outputs(self, asked: str) -> Iterator[tuple[str, Any]]:
        """Iterate what a request publishes, until the kernel is idle."""
        while True:
            message = self._client.get_iopub_msg(timeout=SECONDS)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            yield message["msg_type"], message["content"]

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    manager = jupyter_client.KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(os.environ))
    made = Kernel(manager)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", CODE)
def test_an_interrupt_keeps_what_came(kernel: Kernel, way: str) -> None:
    """The kernel's interrupt ends a reply at once: what came stays shown, the server is left, the next cell runs."""
    with Server(Reply([chunk_event("Once "), chunk_event("upon"), Wait(None)])) as server:
        list(kernel.outputs(kernel.begin(SETUP.format(url=server.url))))
        asked = kernel.begin(CODE[way])
        shown, error, began = "", None, 0.0
        for kind, content in kernel.outputs(asked):
            if kind in ("display_data", "update_display_data"):
                shown = content["data"]["text/html"]
                if "upon" in shown and not began:
                    began = time.monotonic()
                    kernel.interrupt()
            elif kind == "error":
                error = content
        seconds = time.monotonic() - began
        assert "Once upon" in shown
        assert "stopped" in shown
        assert (way == "display") == (error is not None)
        if error is not None:
            assert "KeyboardInterrupt" == error["ename"]
            assert len(error["traceback"]) < 8, "frames of the package are hidden"
        assert server.requests[0].gone.wait(SECONDS)
        print(f"the prompt is back after {seconds * 1e3:.0f} ms")
        assert seconds < PROMISED + NOISE
        told = [content for kind, content in kernel.outputs(kernel.begin("print(6 * 7)")) if kind == "stream"]
        assert "42\n" == told[0]["text"]
