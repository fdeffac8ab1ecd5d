"""Load a pack, or list all that is wrong with one: ``load_pack`` and ``validate_pack``."""

from __future__ import annotations

import os
from collections.abc import Collection

from streamkit.errors import ConfigError, PackError
from streamkit.packs.building import pack_of
from streamkit.packs.json_file import Document, read
from streamkit.packs.problems import Finding
from streamkit.packs.schema import schema_findings
from streamkit.packs.sense import mapping, sense_findings
from streamkit.packs.severity import judged
from streamkit.packs.values import Pack
from streamkit.values.problems import PackProblem as Problem

__all__ = ["load_pack", "validate_pack"]

_MOST_TOLD = 3  # problems in the text of an error


def load_pack(source: str | os.PathLike[str], *, strict: bool = False, validators: Collection[str] = ()) -> Pack:
    """Read a PromptPack file, once for any number of prompts and conversations.

    Args:
        source: the path of the file, or its text: JSON that begins with ``{``.
        strict: whether the file has to be as schema 1.5.0 has it. By default what is missing and can be filled in is,
            what is unknown is ignored, and both are warnings: ids, names, versions, ``template_engine``, types of
            variables, keys of schema 1.4.0.
        validators: types of validators that your program has, besides those of the library.

    Returns:
        The pack; ``pack.warnings`` has what was filled in or ignored.

    Raises:
        PackError: the file cannot be read, is no JSON, or is refused; ``problems`` has each reason. What would be sent
            to a model and cannot be, and what would leave a guard out, is refused in any load.
    """
    document = _document(source)
    problems = _problems(document, strict=strict, registered=validators)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise PackError(_message(document, errors), problems=errors)
    return pack_of(
        mapping(document.value), source=document.source, warnings=tuple(problems), registered=frozenset(validators)
    )


def validate_pack(
    source: str | os.PathLike[str], *, strict: bool = True, validators: Collection[str] = ()
) -> list[Problem]:
    """Return all that is wrong with a PromptPack file, by its schema and by sense; an empty list if nothing is.

    Args:
        source: as for ``load_pack``.
        strict: which load the severities are those of. A problem with ``severity`` ``error`` would refuse the pack.
        validators: as for ``load_pack``.
    """
    return _problems(_document(source), strict=strict, registered=validators)


def _document(source: str | os.PathLike[str]) -> Document:
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigError(
            f"a pack is given by its path or its text, not by a value of the type {type(source).__name__}"
        )
    return read(source)


def _problems(document: Document, *, strict: bool, registered: Collection[str]) -> list[Problem]:
    findings = list(document.findings)
    if any(finding.rule in ("file", "json") for finding in findings):
        return judged(findings, None, strict=True)
    try:
        findings += schema_findings(document.value)
        findings += sense_findings(mapping(document.value), frozenset(registered))
        return judged(findings, document.value, strict=strict)
    except RecursionError:
        return judged([Finding((), "json", "the JSON is nested too deep")], None, strict=True)


def _message(document: Document, errors: list[Problem]) -> str:
    told = "; ".join(map(str, errors[:_MOST_TOLD]))
    rest = f"; and {len(errors) - _MOST_TOLD} more in error.problems" if len(errors) > _MOST_TOLD else ""
    return f"the pack {document.source or 'given as text'} is refused: {told}{rest}"
