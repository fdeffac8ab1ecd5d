"""README.md and the pages beside it are correct: every Python block runs and prints the text block that follows it."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The pages with programs in them; the outputs in the others of examples/ are tested with the programs there.
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "examples/coming_from/README.md",
        "examples/recipes/README.md",
        "examples/testing/README.md",
    )
}
SECONDS = 120  # for one block; the longest takes about three

# Warnings are errors, but for Python's own about forking a process with threads, which is what that block does.
FLAGS = ("-X", "dev", "-W", "error", "-W", "ignore::DeprecationWarning:multiprocessing.popen_fork")

_BLOCK = re.compile(
    r"(?:<!-- test: (?P<mark>[^>]*) -->\n)?```python\n(?P<code>.*?)^```\n(?:\n+```text\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


@attrs.frozen
class Block:
    """A Python block of a page.

    Attributes:
        name: its heading and its number under it.
        code: its lines.
        mark: of the comment above it: "skip, REASON", "needs MODULE", "raises ERROR, REASON", or "".
        output: of the text block right below it, or None.
    """

    name: str
    code: str
    mark: str
    output: str | None

    @property
    def is_test(self) -> bool:
        return re.search(r"^def test_", self.code, re.MULTILINE) is not None


def read_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page, each named after the heading above it."""
    seen: dict[str, int] = {}
    for match in _BLOCK.finditer(text):
        heading = re.findall(r"^#+ (.*)$", text[: match.start()], re.MULTILINE)[-1].replace(" ", "-")
        seen[heading] = seen.get(heading, 0) + 1
        yield Block(f"{heading}-{seen[heading]}", match["code"], match["mark"] or "", match["output"])


BLOCKS = [block for page in PAGES.values() for block in read_blocks(page)]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python without keys, proxies or anything else of this environment."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
    return subprocess.run(
        [sys.executable, *FLAGS, *arguments],
        cwd=cwd,
        env={**kept, "HOME": str(cwd), "PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
    )


def without_chance(text: str) -> str:
    """Return an output without the ports of servers and the measured times, which differ from run to run."""
    return re.sub(r"\bafter \d+\.\d s\b", "after N s", re.sub(r"\b127\.0\.0\.1:\d+", "127.0.0.1:PORT", text))


def skip_unless_possible(block: Block) -> None:
    kind, _, rest = block.mark.partition(" ")
    if kind == "skip,":
        compile(block.code, block.name, "exec")
        pytest.skip(rest)
    if kind == "needs" and not (hasattr(os, "fork") if rest == "fork" else find_spec(rest)):
        pytest.skip(f"needs {rest}")


@pytest.mark.parametrize("block", [block for block in BLOCKS if not block.is_test], ids=lambda block: block.name)
def test_a_block_runs_as_it_stands(block: Block, tmp_path: Path) -> None:
    """It ends well, says nothing on stderr, and prints what the page says; or fails as its comment says."""
    skip_unless_possible(block)
    script = tmp_path / "block.py"
    script.write_text(block.code, encoding="utf-8")

    result = run(str(script), cwd=tmp_path)

    if raised := re.match(r"raises (\w+)", block.mark):
        assert result.returncode == 1
        assert re.match(rf"(\w+\.)*{raised[1]}: ", result.stderr.splitlines()[-1]), result.stderr
        return
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip(), "a block that prints nothing shows nothing"
    if block.output is not None:
        assert without_chance(result.stdout) == without_chance(block.output)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.is_test], ids=lambda block: block.name)
def test_a_block_of_tests_passes(block: Block, tmp_path: Path) -> None:
    """pytest finds the tests and the fixtures, without any configuration of ours."""
    script = tmp_path / "test_block.py"
    script.write_text(block.code, encoding="utf-8")

    result = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(script), cwd=tmp_path)

    written = len(re.findall(r"^def test_", block.code, re.MULTILINE))
    assert re.search(rf"^{written} passed in ", result.stdout, re.MULTILINE), result.stdout + result.stderr


def test_every_python_block_is_among_the_blocks() -> None:
    """None escapes by the way it is written, nearly all run, and each comment is one that is understood."""
    text = "\n".join(PAGES.values())
    assert len(BLOCKS) == len(re.findall(r"^\s*(?:```|~~~)\s*(?:python|py)\b", text, re.MULTILINE))
    assert len(BLOCKS) >= 15
    assert sum(block.mark.startswith(("skip", "raises")) for block in BLOCKS) <= 2
    marks = re.compile(r"skip, .+|needs \w+|raises \w+, .+|")
    assert [block.mark for block in BLOCKS if not marks.fullmatch(block.mark)] == []
    assert text.count("<!-- test:") == sum(bool(block.mark) for block in BLOCKS)


def test_every_text_block_is_the_output_of_a_block() -> None:
    """An output that is shown is an output that is checked."""
    assert sum(page.count("```text\n") for page in PAGES.values()) == sum(block.output is not None for block in BLOCKS)


def test_the_extras_to_install_exist() -> None:
    """``pip install ".[name]"`` warns about an unknown extra and goes on without it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = set(re.findall(r'pip install (?:-e )?"\.\[(\w+)\]"', README))

    assert named == {"cli", "dev", "prices", "serve", "sql"}
    assert named <= set(setup["options.extras_require"])


def test_the_commands_it_shows_exist(tmp_path: Path) -> None:
    """Each command is one, and has the options that are given to it."""
    pytest.importorskip("click")
    shell = "\n".join(re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE))
    commands = re.findall(r"\bstreamkit (\w+)([^|#\n]*)", shell)

    assert {name for name, _ in commands} >= {"demo", "chat"}
    for name, arguments in commands:
        result = run("-m", "streamkit", name, "--help", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        known = re.findall(r"(?<![\w-])--?\w[\w-]*", result.stdout)
        assert set(re.findall(r"(?<!\S)--?\w[\w-]*", arguments)) <= set(known)


def test_the_files_it_links_to_exist() -> None:
    """On the page itself and on the pages beside it."""
    for name, page in PAGES.items():
        linked = re.findall(r"\]\(([^)#:]+)\)", page)
        assert [path for path in linked if not (ROOT / name).parent.joinpath(path).exists()] == []
    assert "](examples/" in README
