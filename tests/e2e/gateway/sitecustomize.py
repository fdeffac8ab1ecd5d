"""Puts the stand-in where the gateway's application is, in a process that has this folder in its PYTHONPATH.

With ``STAND_IN_SLOW``, a folder, the second worker waits before it has handlers of its own for signals: it makes a file
``forked`` there, and goes on once there is a file ``go``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

NAME = "streamkit.gateway.app.application"


class Finder:
    """Finds one module."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return (
            importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("stand_in.py"))
            if name == NAME
            else None
        )


sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]


def slow_down(folder: Path) -> None:
    from gunicorn.workers.base import Worker

    begin = Worker.init_process

    def init_process(worker: Any) -> None:
        if worker.age == 2:
            (folder / "forked").touch()
            while not (folder / "go").exists():
                time.sleep(0.01)
        begin(worker)

    Worker.init_process = init_process


if "STAND_IN_SLOW" in os.environ:
    slow_down(Path(os.environ["STAND_IN_SLOW"]))
