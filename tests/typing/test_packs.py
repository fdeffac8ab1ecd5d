"""The types of prompt packs; this file is only type-checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamkit
from streamkit import PackError
from streamkit.packs import Pack, PackTool, Problem, Prompt, ToolPolicy, Variable
from streamkit.tools.limits import RunLimits
from tests.typing.support import assert_type


def packs() -> None:
    pack = streamkit.load_pack(Path("a.json"), strict=True)
    assert_type(pack, Pack)
    assert_type(pack.prompts, Mapping[str, Prompt])
    assert_type(pack.warnings, tuple[Problem, ...])
    prompt = pack.prompt("p")
    assert_type(prompt.render({"a": 1}, model="openai/m"), str)
    assert_type(prompt.parameters("m"), dict[str, Any])
    assert_type(prompt.tools, tuple[PackTool, ...])
    assert_type(prompt.variables, tuple[Variable, ...])
    assert_type(prompt.tool_policy, ToolPolicy)
    assert_type(prompt.tool_policy.limits(), RunLimits)
    assert_type(streamkit.validate_pack("a.json"), list[Problem])


def errors(error: PackError) -> None:
    assert_type(error.problems, tuple[Problem, ...])
