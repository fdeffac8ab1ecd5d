"""Public names are listed, and importing the package loads no optional library."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import streamkit
from streamkit import testing

PACKAGE = Path(streamkit.__file__).parent
# Of the embedded server it is the folder's __init__ that says what is public.
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py" and (path.parent.name != "testing" or path.name == "__init__.py")
)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def declared(tree: ast.Module) -> list[str] | None:
    """Return the names in `__all__`, or None if the module has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


def top_level(tree: ast.Module) -> tuple[set[str], set[str], set[str]]:
    """The functions and classes, the other names that are assigned, and those that are imported."""
    defined, assigned, imported = set(), set(), set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            assigned |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            assigned.add(node.target.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If):  # if TYPE_CHECKING
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom):
                    imported |= {alias.asname or alias.name for alias in inner.names}
    return defined, assigned, imported


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_all_is_what_a_module_defines(path: Path) -> None:
    """`__all__` has every public function and class of its module, each once, and nothing that is not there."""
    tree = ast.parse(path.read_text("utf-8"))
    names = declared(tree)
    defined, assigned, imported = top_level(tree)
    public = {name for name in defined if not name.startswith("_")}
    if names is None:
        assert set() == public
        return
    assert len(set(names)) == len(names)
    assert public <= set(names)
    here = defined | assigned | (imported if path.name == "__init__.py" else set())
    assert set() == set(names) - here
    assert [] == [name for name in names if name.startswith("_") and name != "__version__"]


def test_the_packages_face() -> None:
    """`streamkit.__all__` has all that its `__init__` imports, sorted, and each can be had."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text("utf-8"))
    imported = top_level(tree)[2]
    private = {name for name in imported if name.startswith("_") and not name.endswith("__")}
    assert imported - private - {"import_module", "TYPE_CHECKING"} == set(streamkit.__all__)
    assert sorted(streamkit.__all__) == streamkit.__all__
    assert [] == [name for name in streamkit.__all__ if not hasattr(streamkit, name)]
    namespace: dict[str, object] = {}
    exec("from streamkit import *", namespace)
    assert set(streamkit.__all__) <= set(namespace)


def test_the_embedded_servers_face() -> None:
    """`streamkit.testing` hands out each of its names, and nothing else by accident."""
    assert sorted(set(testing.__all__)) == sorted(testing.__all__)
    assert [] == [name for name in testing.__all__ if getattr(testing, name, None) is None]
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        testing.nothing  # noqa: B018


def test_every_public_name_is_documented() -> None:
    """Each public class and function has a docstring."""
    missing = [name for name in streamkit.__all__ if not (getattr(streamkit, name).__doc__ or "").strip()]
    assert [] == [name for name in missing if name != "__version__"]


def test_the_version() -> None:
    """The version is a version, and the one that was installed."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(a|b|rc|dev)\d+)?", streamkit.__version__)
    try:
        installed = metadata.version("streamkit")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert installed == streamkit.__version__


PROBE = """
import sys, threading, json
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith("socket.") else None)
before = set(sys.modules)
import streamkit
import gc, os, socket
print(json.dumps({
    "modules": sorted(set(sys.modules) - before),
    "threads": [thread.name for thread in threading.enumerate()],
    "events": sorted(set(seen)),
    "sockets": sum(isinstance(found, socket.socket) for found in gc.get_objects()),
    "names": sorted(set(dir(streamkit)) & {"testing", "cli"}),
}))
"""
EXTRAS = {"click", "rich", "flask", "redis", "sqlalchemy", "opentelemetry", "IPython", "ipywidgets", "gevent", "tqdm"}
TOOLS = {
    "pytest",
    "_pytest",
    "hypothesis",
    "responses",
    "coverage",
    "mypy",
    "unittest",
    "streamkit.testing",
    "streamkit.cli",
}


def test_import_is_light() -> None:
    """`import streamkit` loads no extra and no test tool, starts no thread, reaches for no host, leaves no socket."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTHONPROFILE"))}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PACKAGE.parent,
        env=environment,
    )
    assert ("", 0) == (run.stderr, run.returncode)
    found = json.loads(run.stdout)
    loaded = set(found["modules"])
    assert {"streamkit", "streamkit.client", "requests"} <= loaded
    assert set() == {name for name in loaded if {name, name.partition(".")[0]} & (EXTRAS | TOOLS)}
    assert ["MainThread"] == found["threads"]
    # urllib3 binds a socket for a moment to see whether there is IPv6.
    assert set(found["events"]) <= {"socket.__new__", "socket.bind"}
    assert (0, []) == (found["sockets"], found["names"])


def test_it_is_typed() -> None:
    """The package has the marker `py.typed`."""
    assert (PACKAGE / "py.typed").is_file()
