"""Prompts that live in files: PromptPack, the JSON format of promptpack.org.

::

    import streamkit

    pack = streamkit.load_pack("shop.pack.json")
    prompt = pack.prompts["orders"]
    system = prompt.render({"company": "Acme"}, model="openai/gpt-4o")
"""

from streamkit.packs.loading import load_pack, validate_pack
from streamkit.packs.values import (
    Media,
    ModelOverride,
    Pack,
    PackTool,
    Prompt,
    TestedModel,
    ToolPolicy,
    Validation,
    Variable,
)
from streamkit.values.problems import PackProblem as Problem

__all__ = [
    "Media",
    "ModelOverride",
    "Pack",
    "PackTool",
    "Problem",
    "Prompt",
    "TestedModel",
    "ToolPolicy",
    "Validation",
    "Variable",
    "load_pack",
    "validate_pack",
]
