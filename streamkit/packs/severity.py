"""Which findings refuse a pack, and which are warnings: strictly as the schema has it, or leniently.

A lenient load takes what it can fill in or pass over. It refuses whatever would be sent to a model and cannot be, and
whatever would leave out a guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any

from streamkit.packs.problems import Finding, Path
from streamkit.packs.schema import PUBLISHED, schema_findings
from streamkit.values.problems import PackProblem as Problem
from streamkit.values.problems import Severity

__all__ = ["judged"]

# Warnings of any load.
_ALWAYS = frozenset({"bom", "format", "ignored", "tool.agent", "validator.unsupported"})
# Of what the schema cannot say, and of keys that are ignored.
_LENIENT = _ALWAYS | {
    "additionalProperties",
    "override.empty",
    "template.undeclared",
    "tool.unknown",
    "variable.required_default",
}
_LABELS = frozenset({"id", "name", "version", "description"})
# Sections of a pack, and of a prompt, that nothing is done with.
_UNUSED = frozenset("$schema agents compilation compositions evals metadata skills workflow".split())
_UNUSED_IN_PROMPT = frozenset({"evals", "pipeline", "tested_models"})
_MEDIA = frozenset({"enabled", "supported_types", "image", "audio", "video", "document", "examples"})

_Place = tuple[Path, str, str | None]  # path, rule, property


def judged(findings: Iterable[Finding], value: Any, *, strict: bool) -> list[Problem]:
    """Return findings as problems.

    Args:
        findings: of all kinds.
        value: the decoded pack.
        strict: whether the pack has to be as the newest schema has it.
    """
    findings = list(findings)
    if strict:
        return [each.problem(_severity(each.rule in _ALWAYS)) for each in findings]
    harmless = [_is_harmless(each) for each in findings]
    refused: set[_Place] = set()  # by the published schema, which need not be asked where all is harmless
    if not all(harmless):
        refused = {(each.path, each.rule, each.property) for each in schema_findings(value, PUBLISHED)}
    return [
        each.problem(_severity(mild or _is_published(each, refused)))
        for each, mild in zip(findings, harmless, strict=True)
    ]


def _severity(is_mild: bool) -> Severity:
    return "warning" if is_mild else "error"


def _is_published(finding: Finding, refused: Set[_Place]) -> bool:
    """Return whether the published schema, an older one, accepts what the newest refuses."""
    is_of_schema = "." not in finding.rule and finding.rule not in ("file", "json")
    return is_of_schema and (finding.path, finding.rule, finding.property) not in refused


def _is_harmless(finding: Finding) -> bool:
    path, rule = finding.path, finding.rule
    if rule in _LENIENT:
        return True
    if rule != "required" and not path:
        return False
    if not path:
        return finding.property in (*_LABELS, "template_engine")
    head, rest = path[0], path[1:]
    if head in _UNUSED or head in _LABELS:
        return True
    if head == "template_engine":
        return rule == "required" or rest[:1] in (("version",), ("features",))
    if head == "tools" and rest:
        return _is_harmless_in_tool(rest[1:], rule, finding.property)
    if head == "prompts" and rest:
        return _is_harmless_in_prompt(rest[1:], rule, finding.property)
    return False


def _is_harmless_in_tool(path: Path, rule: str, key: str | None) -> bool:
    if rule == "required":
        return (not path and key in _LABELS) or path == ("parameters",)
    return path == ("name",)  # a tool is known by its key


def _is_harmless_in_prompt(path: Path, rule: str, key: str | None) -> bool:
    if not path:
        return rule == "required" and key in _LABELS
    head, place = path[0], path[2:]
    if head in _LABELS or head in _UNUSED_IN_PROMPT:
        return True
    if head == "variables" and len(path) > 1:
        if rule == "required":
            return not place and key in ("type", "required")
        return place[:1] in (("description",), ("example",)) or (place == ("name",) and rule == "pattern")
    if head == "validators":
        return rule == "required" and len(path) == 2 and key == "enabled"
    if head == "media" and len(path) == 1:
        return rule == "required"  # of "enabled" alone
    # The schema allows several forms for types of media that it does not know, and most values fit more than one.
    return head == "media" and len(path) == 2 and path[1] not in _MEDIA and rule == "oneOf"
