"""``streamkit pack``: check PromptPack files, and show what is in one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.output import one_line, put, to_json
from streamkit.cli.prompts import about_variable
from streamkit.concurrency.late_import import late_import

if TYPE_CHECKING:
    from streamkit.packs import Media, ModelOverride, Pack, Problem, Prompt

__all__ = ["pack", "show", "validate"]

_WIDEST = 24  # characters of a name for which the columns make room


@click.group(short_help="Check files of prompts, and show what is in them.")
def pack() -> None:
    """Check PromptPack files, and show what is in one."""


@pack.command(
    short_help="List all that is wrong with files of prompts.",
    epilog="""\b
Examples:
  streamkit pack validate shop.pack.json
  streamkit pack validate --lenient packs/*.json
  streamkit pack validate --json shop.pack.json | jq -r 'select(.severity == "error") | .path'
""",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--strict/--lenient",
    default=True,
    help="Strictly, as the newest schema has it (the default), or as programs load it that do not ask for more.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a problem, a line each.")
def validate(files: tuple[str, ...], strict: bool, as_json: bool) -> int:
    """List all that is wrong with PromptPack files, by the schema and by sense.

    Each problem is a line with the file, the JSON path, what is wrong and the rule. The exit code is 1 if there
    is an error; a warning alone is none.
    """
    packs, failed = late_import("streamkit.packs"), False  # no other command needs it
    for file in files:
        problems = packs.validate_pack(_path(file), strict=strict)
        failed = failed or any(problem.severity == "error" for problem in problems)
        for problem in problems:
            put(to_json(_object(file, problem)) if as_json else _line(file, problem), encoding=_encoding(as_json))
        if not as_json:
            put(f"{one_line(file)}: {_summary(problems)}")
    return 1 if failed else 0


def _path(file: str) -> str:
    """Return a path that is never taken for the text of a pack."""
    return f"./{file}" if file.lstrip()[:1] in ("{", "[") else file


def _encoding(as_json: bool) -> str | None:
    return "utf-8" if as_json else None


def _line(file: str, problem: Problem) -> str:
    return one_line(f"{file}: {problem.severity}: {problem}")


def _object(file: str, problem: Problem) -> dict[str, Any]:
    shape = {
        "file": file,
        "severity": problem.severity,
        "path": problem.path,
        "rule": problem.rule,
        "property": problem.property,
        "name": problem.name,
        "text": problem.text,
    }
    return {name: value for name, value in shape.items() if value is not None}


def _summary(problems: list[Problem]) -> str:
    errors = sum(problem.severity == "error" for problem in problems)
    counts = [(errors, "error"), (len(problems) - errors, "warning")]
    told = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count]
    return ", ".join(told) or "nothing is wrong"


@pack.command(
    short_help="Show what is in a file of prompts.",
    epilog="""\b
Example:
  streamkit pack show shop.pack.json
""",
)
@click.argument("file", metavar="FILE")
def show(file: str) -> int:
    """Show the prompts of a PromptPack file: variables, parameters, tools, validators, templates; and its warnings.

    The file is read as leniently as programs do that do not ask for more.
    """
    for line in _pack_lines(late_import("streamkit.packs").load_pack(_path(file)), file):
        put(line)
    return 0


def _pack_lines(found: Pack, file: str) -> Iterator[str]:
    yield _title(found.name or found.id or found.source, found.version, found.description)
    for prompt in found.prompts.values():
        yield ""
        name = "" if prompt.name == prompt.key else f": {prompt.name}"
        yield one_line(f"prompt {prompt.key}{name} {prompt.version}")
        yield from (f"  {line}".rstrip() for line in _prompt_lines(prompt))
        yield "  chat"
        yield f"    {one_line(_chat_line(prompt, file))}"
    if found.warnings:
        yield ""
        yield "warnings"
        yield from (f"  {one_line(str(problem))}" for problem in found.warnings)


def _title(name: str, version: str, description: str) -> str:
    title = one_line(f"{name} {version}")
    return f"{title}: {one_line(description)}" if description else title


def _prompt_lines(prompt: Prompt) -> Iterator[str]:
    if prompt.description:
        yield one_line(prompt.description)
    yield from _section("variables", [(each.name, about_variable(each)) for each in prompt.variables])
    yield from _section("parameters", [(name, to_json(value)) for name, value in prompt.parameters().items()])
    tools = [(each.name, each.description) for each in prompt.tools]
    yield from _section(
        "tools", tools + [(name, "not in the pack; the program may have it") for name in prompt.host_tools]
    )
    if tools or prompt.host_tools:
        policy = prompt.tool_policy
        limits = f"{_counted(policy.max_rounds, 'round')}, {_counted(policy.max_tool_calls_per_turn, 'call')} a turn"
        blocked = f"; blocked: {', '.join(policy.blocklist)}" if policy.blocklist else ""
        yield f"  {one_line(f'choice {policy.tool_choice}, {limits}{blocked}')}"
    yield from _section("validators", [(each["type"], _about_validator(each)) for each in prompt.validators])
    yield from _section("overrides", [(model, _about_override(each)) for model, each in prompt.model_overrides.items()])
    yield from _section("tested", [(f"{each.provider}/{each.model}", each.date) for each in prompt.tested_models])
    if prompt.media is not None:
        yield from _section("media", [("", _about_media(prompt.media))])
    yield "template"
    yield from (f"  {one_line(line)}" for line in prompt.system_template.splitlines())


def _chat_line(prompt: Prompt, file: str) -> str:
    """Return the command that talks to a model by a prompt."""
    words = ["streamkit", "chat", "--pack", shlex.quote(f"{file}#{prompt.key}")]
    words += [f"--var {shlex.quote(each.name)}=VALUE" for each in prompt.variables if each.required]
    words += [f"--tool MODULE:{name}" for name in (*(tool.name for tool in prompt.tools), *prompt.host_tools)]
    return " ".join(words)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _section(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    """Yield a heading and rows of two columns; nothing if there are no rows."""
    if rows:
        yield title
    width = min(max((len(one_line(name)) for name, _ in rows), default=0), _WIDEST)
    for name, about in rows:
        yield f"  {one_line(name):<{width}}  {one_line(about)}".rstrip() if name else f"  {one_line(about)}"


def _about_validator(shape: Any) -> str:
    params = " ".join(f"{name}={to_json(value)}" for name, value in shape["params"].items())
    return f"{'fails' if shape['fail_on_violation'] else 'reports'}{f': {params}' if params else ''}"


def _about_override(override: ModelOverride) -> str:
    parts = {
        "another template": override.system_template,
        f"prefix {to_json(override.prefix)}": override.prefix,
        f"suffix {to_json(override.suffix)}": override.suffix,
    }
    told = [text for text, given in parts.items() if given]
    told += [f"{name} {to_json(value)}" for name, value in override.parameters.items()]
    return ", ".join(told) or "nothing"


def _about_media(media: Media) -> str:
    if not media.enabled:
        return "text alone"
    return ", ".join(media.supported_types) or "of any type"
