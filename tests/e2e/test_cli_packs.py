"""`streamkit pack validate` and `streamkit pack show` as processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "promptpack" / "packs"
SECONDS = 60.0


def pack(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "streamkit", "pack", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        cwd=cwd,
    )


class TestValidate:
    def test_a_valid_pack(self) -> None:
        """A file in which nothing is wrong is a line that says so, and the exit code is 0."""
        file = str(FOLDER / "valid" / "full.json")
        done = pack("validate", file)
        assert (0, f"{file}: nothing is wrong\n", "") == (done.returncode, done.stdout, done.stderr)

    def test_each_problem_is_a_line(self) -> None:
        """Each problem has a line with file, severity, path, text and rule; an error makes the exit code 1."""
        bad, fine = str(FOLDER / "invalid" / "id_empty.json"), str(FOLDER / "valid" / "ignored_sections.json")
        done = pack("validate", fine, bad)
        assert (1, "") == (done.returncode, done.stderr)
        lines = done.stdout.splitlines()
        assert f"{fine}: warning: $.evals: evals is read and ignored (ignored)" in lines
        assert f'{bad}: error: $.id: "" is shorter than 1 (minLength)' in lines
        assert f"{bad}: 2 errors" == lines[-1]

    def test_lenient(self) -> None:
        """With --lenient only what refuses a lenient load is an error."""
        file = str(FOLDER / "lenient" / "seed_snippet.json")
        strict, lenient = pack("validate", file), pack("validate", "--lenient", file)
        assert (1, 0) == (strict.returncode, lenient.returncode)
        assert "7 errors" in strict.stdout
        assert "7 warnings" in lenient.stdout

    def test_json(self) -> None:
        """With --json each problem is an object for a program."""
        file = str(FOLDER / "invalid" / "sem_fragment_unknown.json")
        done = pack("validate", "--json", file)
        (line,) = done.stdout.splitlines()
        assert {
            "file": file,
            "severity": "error",
            "path": "$.prompts.storyteller.system_template",
            "rule": "fragment.unknown",
            "name": "tonne",
            "text": '"tonne" is not defined in fragments',
        } == json.loads(line)
        assert 1 == done.returncode

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        """A file that cannot be read is a problem as any other, also one whose name begins as JSON does."""
        done = pack("validate", "{none}.json", cwd=tmp_path)
        assert 1 == done.returncode
        assert "{none}.json: error: $: cannot be read: No such file or directory (file)" in done.stdout

    def test_nothing_to_validate(self) -> None:
        """Without a file it is wrong usage."""
        assert 2 == pack("validate").returncode


class TestShow:
    def test_what_is_in_a_pack(self) -> None:
        """Prompts, variables, parameters, tools, validators, overrides and the template are shown."""
        done = pack("show", str(FOLDER / "valid" / "full.json"))
        assert (0, "") == (done.returncode, done.stderr)
        for line in (
            "Shop help 2.1.0: Order questions",
            "prompt orders: Orders 1.3.0",
            "    company     string, required, 2 to 60 characters",
            '    lang        string, default "en", one of "en", "de", "fr"',
            "    temperature        0.4",
            "    find_order  Look an order up by its number",
            "    choice auto, 4 rounds, 6 calls a turn",
            '    banned_words  fails: words=["password"]',
            '    gpt-4o  suffix " Use lists.", temperature 0.2',
            "    openai/gpt-4o-mini  2025-06-01",
            "    You work for {{company}}. {{tone}} Reply in {{lang}}. {{sign_off}}",
        ):
            assert line in done.stdout.splitlines()

    def test_warnings(self) -> None:
        """What a lenient load filled in or ignored stands at the end."""
        done = pack("show", str(FOLDER / "lenient" / "seed_with_provider.json"))
        assert 0 == done.returncode
        assert '  $: "model" is not a known key (additionalProperties)' in done.stdout.split("warnings\n")[1]

    def test_a_pack_that_is_refused(self) -> None:
        """A pack that no load takes is an error of one line, with the first reasons."""
        done = pack("show", str(FOLDER / "lenient" / "refuse_no_template.json"))
        assert (1, "") == (done.returncode, done.stdout)
        assert 1 == len(done.stderr.splitlines())
        assert '$.prompts.a: "system_template" is missing (required)' in done.stderr

    def test_control_characters(self, tmp_path: Path) -> None:
        """A pack cannot send commands to the terminal."""
        file = tmp_path / "a.json"
        file.write_text(json.dumps({"prompts": {"a\x1b[2J": {"system_template": "Hi\x1b[2J\nthere", "b\x07": 1}}}))
        for command in ("show", "validate"):
            done = pack(command, str(file))
            assert {"\n"} >= {char for char in done.stdout if not char.isprintable()}
