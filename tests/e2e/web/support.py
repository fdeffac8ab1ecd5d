"""Run the clients of npm that are in this folder."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

needs_npm = pytest.mark.skipif(
    shutil.which("node") is None or not (HERE / "node_modules" / "ai").is_dir(),
    reason="needs node, and `npm install --no-package-lock` in tests/e2e/web",
)


def run_client(script: str, cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give bodies to a script of this folder; return what its client makes of each, by name."""
    given = [{**case, "body": base64.b64encode(case["body"]).decode()} for case in cases]
    done = subprocess.run(
        ["node", script], cwd=HERE, input=json.dumps(given), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [case["name"] for case in cases] == [result["name"] for result in results]
    return {result["name"]: result for result in results}
