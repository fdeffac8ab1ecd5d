"""The prompt of a pack that ``--pack`` names, and the values of its variables."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from streamkit.cli import typed_input
from streamkit.cli.failures import tell
from streamkit.cli.output import one_line, to_json
from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError, RenderError
from streamkit.wire.loose_json import as_word

if TYPE_CHECKING:
    from streamkit.packs import Pack, Prompt, Validation, Variable

__all__ = ["PackPrompt", "about_variable", "prompt_named", "values_of"]


@attrs.frozen
class PackPrompt:
    """A prompt in a file.

    Attributes:
        pack: what the file has.
        prompt: the one that is meant.
        origin: ``FILE#PROMPT`` with the whole path, to find it again.
    """

    pack: Pack
    prompt: Prompt
    origin: str

    def model(self, named: str | None) -> str:
        """Return the model to ask: the one that is named, else by the environment.

        Raises:
            ConfigError: nothing names one; the text lists the choices.
        """
        choose = late_import("streamkit.packs.choosing").choose_model
        try:
            model: str = choose(named, environ=os.environ)
        except ConfigError as error:
            raise ConfigError(error.message.replace("pass model=", "name one with -m")) from None
        return model


def prompt_named(text: str) -> PackPrompt:
    """Return the prompt that ``FILE#PROMPT`` means; of a file with one prompt ``FILE`` is enough.

    Raises:
        click.UsageError: the file cannot be read, or it has several prompts and none is named.
        PackError: the file is refused as a pack.
        ConfigError: it has no such prompt.
    """
    file, mark, key = text.rpartition("#")
    if not mark or Path(text).is_file():
        file, key = text, ""
    try:
        # An absolute path is never taken for the text of a pack.
        pack: Pack = late_import("streamkit.packs").load_pack(os.path.abspath(os.path.expanduser(file)))
    except OSError as error:
        raise click.UsageError(f"--pack: cannot read {one_line(file)!r}: {error.strerror or error}") from None
    if not key:
        if len(pack.prompts) != 1:
            names = ", ".join(f"{one_line(file)}#{one_line(name)}" for name in pack.prompts)
            raise click.UsageError(f"--pack {one_line(file)}: name one of its prompts: {names}")
        (key,) = pack.prompts
    return PackPrompt(pack, pack.prompt(key), f"{os.path.abspath(os.path.expanduser(file))}#{key}")


def values_of(prompt: Prompt, pairs: Iterable[str], kept: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the values of a prompt's variables; on a terminal those that are missing are asked for.

    Args:
        prompt: which has the variables.
        pairs: ``name=value`` each, of ``--var``.
        kept: the values that a conversation had before.
        model: that is asked.

    Raises:
        click.UsageError: a value is not allowed, is of no variable, or is missing where nobody can be asked.
        RenderError: the template itself is wrong.
    """
    values = {**kept, **_given(prompt, pairs)}
    while True:
        try:
            prompt.render(values, model=model)
            return values
        except RenderError as error:
            if error.code in ("type", "validation"):
                told = "; ".join(f"--var {name}: {_expected(prompt, name)}" for name in error.names)
                raise click.UsageError(told) from None
            if error.code not in ("missing", "unknown_variable"):
                raise
            missing = error.names
        if not _can_ask():
            wanted = " ".join(f"--var {one_line(name)}=VALUE" for name in missing)
            raise click.UsageError(f"the prompt {one_line(prompt.key)} needs {wanted}")
        values |= {name: _asked(_variable(prompt, name)) for name in missing}


def _given(prompt: Prompt, pairs: Iterable[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equal, text = pair.partition("=")
        if not equal or not name.strip():
            raise click.UsageError("a variable is written NAME=VALUE, such as --var city=Oslo")
        name = name.strip()
        if name in values:
            raise click.UsageError(f"--var {one_line(name)} is given twice")
        _check_known(prompt, name)
        try:
            values[name] = _value(_variable(prompt, name), as_word(text))
        except ValueError as error:
            raise click.UsageError(f"--var {one_line(name)}: {error}") from None
    return values


def _check_known(prompt: Prompt, name: str) -> None:
    """Raise a UsageError for a name that the prompt neither declares nor has in a template, such as a misspelt one."""
    declared = [variable.name for variable in prompt.variables]
    place = re.compile(r"\{\{\s*" + re.escape(name) + r"\s*\}\}")
    if name in declared or any(place.search(text) for text in (_templates(prompt))):
        return
    near = difflib.get_close_matches(name, declared, 1)
    known = ", ".join(map(one_line, declared)) or "it has none"
    hint = f"did you mean {one_line(near[0])}?" if near else f"its variables are: {known}"
    raise click.UsageError(f"--var {one_line(name)}: the prompt {one_line(prompt.key)} has no such variable; {hint}")


def _templates(prompt: Prompt) -> list[str]:
    overrides = prompt.model_overrides.values()
    own = [prompt.system_template, *(f"{each.prefix}{each.system_template}{each.suffix}" for each in overrides)]
    return [*own, *prompt.fragments.values()]


def _variable(prompt: Prompt, name: str) -> Variable:
    for variable in prompt.variables:
        if variable.name == name:
            return variable
    undeclared: Variable = late_import("streamkit.packs.values").Variable(name)
    return undeclared


def _value(variable: Variable, text: str) -> Any:
    """Return a value that was typed, of the variable's type where text alone would not do.

    Raises:
        ValueError: it is not of this type, or not allowed.
    """
    value: Any = text
    if variable.type in ("object", "array"):
        try:
            value = json.loads(text)
        except ValueError:
            raise ValueError(f"the value is no JSON; it is {_article(variable.type)} {variable.type}") from None
    rules = late_import("streamkit.packs.variables")
    try:
        rules.value_of(variable.type, value)
        fits = rules.is_allowed(variable, value, rules.text_of(value))
    except rules.NotOfTypeError:
        fits = False
    if not fits:
        raise ValueError(f"the value is {_rules(variable)}")
    return value


def _expected(prompt: Prompt, name: str) -> str:
    return f"the value is {_rules(_variable(prompt, name))}"


def _rules(variable: Variable) -> str:
    return ", ".join([f"{_article(variable.type)} {variable.type}", *_about_validation(variable.validation)])


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def _asked(variable: Variable) -> Any:
    """Ask for a value until it is allowed.

    Raises:
        click.Abort: Ctrl-D was typed.
    """
    click.echo(one_line(f"{variable.name}: {about_variable(variable)}"))
    while True:
        try:
            text = as_word(typed_input.ask(f"{one_line(variable.name)}= "))
        except EOFError:
            click.echo()
            raise click.Abort from None
        try:
            if text.strip():
                return _value(variable, text)
        except ValueError as error:
            tell(str(error))


def _can_ask() -> bool:
    return all(file is not None and file.isatty() for file in (sys.stdin, sys.stdout))


def about_variable(variable: Variable) -> str:
    """Return type, rules and description of a variable, as a line."""
    facts = [variable.type]
    if variable.required:
        facts.append("required")
    elif variable.default is not None:
        facts.append(f"default {to_json(variable.default)}")
    facts += _about_validation(variable.validation)
    about = f"{', '.join(facts)}{f': {variable.description}' if variable.description else ''}"
    return one_line(about)


def _about_validation(rules: Validation | None) -> list[str]:
    if rules is None:
        return []
    facts = []
    if rules.enum is not None:
        facts.append(f"one of {', '.join(map(to_json, rules.enum))}")
    if rules.pattern is not None:
        facts.append(f"matches {rules.pattern}")
    for least, most, unit in (
        (rules.min_length, rules.max_length, " characters"),
        (rules.minimum, rules.maximum, ""),
    ):
        if least is not None and most is not None:
            facts.append(f"{least:g} to {most:g}{unit}")
        elif least is not None or most is not None:
            facts.append(f"at least {least:g}{unit}" if least is not None else f"at most {most:g}{unit}")
    return facts
