"""Packs: every shared case, valid, invalid, lenient and of rendering."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from streamkit.errors import PackError, RenderError
from streamkit.packs import ModelOverride, Problem, Prompt, load_pack, validate_pack
from streamkit.packs.building import variable_of

FOLDER = Path(__file__).parents[1] / "promptpack"
Key = tuple[str, str, str | None, str | None]


def cases(name: str) -> list[dict[str, Any]]:
    # Not by splitlines(), which divides at the line separators in the cases too.
    return [json.loads(line) for line in (FOLDER / name).read_text("utf-8").split("\n") if line]


def by_file(case: dict[str, Any]) -> str:
    return Path(case["file"]).stem


def keys(problems: Iterable[Problem], severity: str) -> set[Key]:
    return {(each.path, each.rule, each.property, each.name) for each in problems if each.severity == severity}


def expected(problems: Iterable[dict[str, Any]]) -> set[Key]:
    return {(each["path"], each["rule"], each.get("property"), each.get("name")) for each in problems}


def check_expectations(case: dict[str, Any], *, strict: bool) -> None:
    """Compare what a pack gives with what a case expects of it."""
    pack = load_pack(FOLDER / case["file"], strict=strict)
    wanted = case.get("expect", {})
    names = case.get("prompts") or wanted.get("prompts")
    if names is not None:
        assert names == list(pack.prompts)
    prompt = next(iter(pack.prompts.values()))
    model = wanted.get("model")
    if "system" in wanted:
        assert wanted["system"] == prompt.render(wanted["values"], model=model)
    if "parameters" in wanted:
        assert wanted["parameters"] == prompt.parameters(model)
    if "tools" in wanted:
        assert wanted["tools"] == [tool.name for tool in prompt.tools]
    if "tool_policy" in wanted:
        policy = prompt.tool_policy
        found = {name: getattr(policy, name) for name in wanted["tool_policy"]}
        assert wanted["tool_policy"] == {**found, "blocklist": list(policy.blocklist)}


@pytest.mark.parametrize("case", cases("packs/valid/expected.jsonl"), ids=by_file)
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
def test_valid(case: dict[str, Any], strict: bool) -> None:
    """A valid pack has no problems but its warnings, and gives what it says."""
    problems = validate_pack(FOLDER / case["file"], strict=strict)
    assert set() == keys(problems, "error")
    assert expected(case["warnings"]) == keys(problems, "warning")
    check_expectations(case, strict=strict)


@pytest.mark.parametrize("case", cases("packs/invalid/expected.jsonl"), ids=by_file)
def test_invalid(case: dict[str, Any]) -> None:
    """An invalid pack is refused for all that is wrong with it, each with path, rule, property and name."""
    with pytest.raises(PackError) as caught:
        load_pack(FOLDER / case["file"], strict=True)
    assert expected(case["errors"]) == keys(caught.value.problems, "error")
    assert set(caught.value.problems) <= set(validate_pack(FOLDER / case["file"]))


@pytest.mark.parametrize("case", cases("packs/lenient/expected.jsonl"), ids=by_file)
def test_lenient(case: dict[str, Any]) -> None:
    """A lenient load accepts what it can fill in, and says what was wrong."""
    problems = validate_pack(FOLDER / case["file"], strict=False)
    assert expected(case["errors"]) == keys(problems, "error")
    assert expected(case["warnings"]) == keys(problems, "warning")
    if case["accepted"]:
        assert tuple(problems) == load_pack(FOLDER / case["file"]).warnings
        check_expectations(case, strict=False)
    else:
        with pytest.raises(PackError):
            load_pack(FOLDER / case["file"])


def prompt_of(case: dict[str, Any]) -> Prompt:
    """Return a prompt as it stands, without a pack whose loader would refuse it."""
    return Prompt(
        key="p",
        system_template=case["template"],
        fragments=case.get("fragments", {}),
        variables=tuple(variable_of(shape) for shape in case["variables"]),
        model_overrides={
            model: ModelOverride(
                system_template=shape.get("system_template", ""),
                prefix=shape.get("system_template_prefix", ""),
                suffix=shape.get("system_template_suffix", ""),
            )
            for model, shape in case.get("model_overrides", {}).items()
        },
    )


@pytest.mark.parametrize("case", cases("render.jsonl"), ids=lambda case: str(case["id"]))
def test_render(case: dict[str, Any]) -> None:
    """A template gives its text, or the error with its code and all its names."""
    prompt = prompt_of(case)
    if "error" not in case:
        assert case["text"] == prompt.render(case["values"], model=case.get("model"))
        return
    with pytest.raises(RenderError) as caught:
        prompt.render(case["values"], model=case.get("model"))
    assert (case["error"]["code"], case["error"]["names"]) == (caught.value.code, list(caught.value.names))
