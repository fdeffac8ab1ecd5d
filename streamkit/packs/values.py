"""What is in a pack: ``Pack``, ``Prompt`` and their parts.

Mappings and lists in them are the decoded JSON of the file. Do not change them: the values of a pack share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.packs.problems import shown
from streamkit.providers.request.hints import closest
from streamkit.tools.limits import RunLimits
from streamkit.values.problems import PackProblem as Problem

__all__ = [
    "Media",
    "ModelOverride",
    "Pack",
    "PackTool",
    "Prompt",
    "TestedModel",
    "ToolPolicy",
    "Validation",
    "Variable",
]


@attrs.frozen(kw_only=True)
class Validation:
    """What a value of a variable has to keep to; ``None`` is no rule.

    Attributes:
        pattern: a regular expression that has to be found in a text.
        min_length, max_length: of a text, in characters.
        minimum, maximum: of a number.
        enum: the values that are allowed.
    """

    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] | None = None


@attrs.frozen
class Variable:
    """A variable of a prompt.

    Attributes:
        name: as in ``{{name}}``.
        type: ``string``, ``number``, ``boolean``, ``object`` or ``array``; any other takes what ``string`` takes.
        required: whether a value has to be given.
        default: the value of an optional one that is not given; ``None`` for nothing.
        description: for a person.
        example: a value, for a person.
        validation: what a given value has to keep to.
    """

    name: str
    type: str = "string"
    required: bool = True
    default: Any = None
    description: str = ""
    example: Any = None
    validation: Validation | None = None


@attrs.frozen
class PackTool:
    """A tool as a pack declares it; the program that opens the pack has the function.

    Attributes:
        name: its key in the pack's ``tools``.
        description: for the model.
        parameters: the JSON schema of its arguments; ``None`` where it takes none.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class ToolPolicy:
    """How a prompt may use its tools.

    Attributes:
        tool_choice: what is sent with the tools: ``none`` declares them, and the model may not call them.
        max_rounds: how often in a turn the model may ask for tools and get their results.
        max_tool_calls_per_turn: calls of tools in a turn.
        blocklist: tools that are not offered, although the prompt lists them.
    """

    tool_choice: Literal["auto", "required", "none"] = "auto"
    max_rounds: int = 5
    max_tool_calls_per_turn: int = 10
    blocklist: tuple[str, ...] = ()

    def limits(self) -> RunLimits:
        """Return the limits of a turn. Its last request is the one whose reply asks for no more tools."""
        return RunLimits(rounds=self.max_rounds + 1, calls=self.max_tool_calls_per_turn)


@attrs.frozen(kw_only=True)
class ModelOverride:
    """What a prompt has in another way for one model.

    Attributes:
        system_template: in place of the prompt's; empty for the prompt's own.
        prefix, suffix: before and after it.
        parameters: in place of the prompt's, key by key.
    """

    system_template: str = ""
    prefix: str = ""
    suffix: str = ""
    parameters: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class TestedModel:
    """A model that the author of a prompt has tested it with. It never chooses the model by itself.

    Attributes:
        provider, model: their names, as the author writes them.
        date: of the test, as text.
        facts: whatever else the file says of it: ``success_rate``, ``avg_tokens``, ``avg_cost``, ``avg_latency_ms``,
            ``notes``.
    """

    __test__ = False  # not a class of tests, as its name makes pytest believe

    provider: str
    model: str
    date: str = ""
    facts: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Media:
    """What a prompt takes besides text.

    Attributes:
        enabled: whether it takes anything.
        supported_types: such as ``image``.
        limits: by type: ``max_size_mb``, ``allowed_formats``, ``max_images_per_msg`` and so on.
    """

    enabled: bool = False
    supported_types: tuple[str, ...] = ()
    limits: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Prompt:
    """A prompt of a pack.

    Attributes:
        key: by which it is opened; its key in the pack's ``prompts``.
        system_template: the template of the system prompt; ``render`` fills it in.
        variables: in the order of the file.
        fragments: of the pack, which the template may name.
        tools: what may be offered to the model: the tools that the prompt lists and the pack defines, without those
            that the policy blocks.
        host_tools: names of tools that the prompt lists and nobody defines; a program may supply them. None of them is
            blocked. Empty in a pack that was loaded strictly.
        tool_policy: how the tools may be used.
        validators: the rules for the reply that are switched on and can be run, each as a mapping with ``type``,
            ``enabled``, ``fail_on_violation`` and ``params``.
        model_overrides: by the name of the model.
        tested_models: what the author tried.
        media: what it takes besides text; ``None`` where the file does not say.
        id, name, version, description: for a person; ``id`` need not be the key.
    """

    key: str
    system_template: str
    variables: tuple[Variable, ...] = ()
    fragments: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    tools: tuple[PackTool, ...] = ()
    host_tools: tuple[str, ...] = ()
    tool_policy: ToolPolicy = attrs.field(factory=ToolPolicy)
    validators: tuple[Mapping[str, Any], ...] = ()
    model_overrides: Mapping[str, ModelOverride] = attrs.field(factory=dict)
    tested_models: tuple[TestedModel, ...] = ()
    media: Media | None = None
    id: str = ""
    name: str = ""
    version: str = ""
    description: str = ""
    base_parameters: Mapping[str, Any] = attrs.field(factory=dict, alias="parameters")

    def override(self, model: str | None) -> ModelOverride | None:
        """Return what the prompt has in another way for a model: by its whole name, else without its provider."""
        if model is None:
            return None
        return self.model_overrides.get(model) or self.model_overrides.get(model.partition("/")[2])

    def parameters(self, model: str | None = None) -> dict[str, Any]:
        """Return the parameters for requests to a model, such as ``temperature``; ``None`` in them sends nothing."""
        override = self.override(model)
        return {**self.base_parameters, **(override.parameters if override else {})}

    def template(self, model: str | None = None) -> str:
        """Return the template for a model, without values."""
        override = self.override(model)
        if override is None:
            return self.system_template
        return f"{override.prefix}{override.system_template or self.system_template}{override.suffix}"

    def render(self, variables: Mapping[str, Any] | None = None, *, model: str | None = None) -> str:
        """Return the system prompt.

        One pass over the template and the fragments it names. A value is inserted as it is, also where it has braces;
        what is no text is inserted as JSON. Nothing is evaluated. The time is linear in the length of all texts.

        Args:
            variables: the values by name. A number or a boolean may be given as text. Values of names that the prompt
                does not declare are inserted too.
            model: which model gets it, as ``provider/model`` or without the provider; for the model's override.

        Raises:
            RenderError: a value is missing or not allowed, or the template is wrong; with ``code``, ``names`` and
                ``problems``.
        """
        render = late_import("streamkit.packs.rendering").render
        path = ("prompts", self.key)
        text: str = render(self.template(model), self.fragments, self.variables, variables or {}, path=path)
        return text


@attrs.frozen(kw_only=True)
class Pack:
    """A file of prompts.

    Attributes:
        prompts: by key.
        fragments: texts that templates name, by key.
        tools: that prompts may list, by key.
        warnings: what is wrong and does not matter so much that the pack was refused.
        source: the path of the file; empty for a pack that was text.
        syntax: how the author says that a variable is written, such as ``{{variable}}``.
        metadata: what the author says of the pack, of any keys.
        id, name, version, description: for a person.
    """

    prompts: Mapping[str, Prompt]
    fragments: Mapping[str, str] = attrs.field(factory=dict)
    tools: Mapping[str, PackTool] = attrs.field(factory=dict)
    warnings: tuple[Problem, ...] = ()
    source: str = ""
    syntax: str = "{{variable}}"
    metadata: Mapping[str, Any] = attrs.field(factory=dict)
    id: str = ""
    name: str = ""
    version: str = ""
    description: str = ""

    def prompt(self, key: str) -> Prompt:
        """Return a prompt by its key.

        Raises:
            ConfigError: there is none; the text names those there are.
        """
        if key in self.prompts:
            return self.prompts[key]
        near = closest(key, self.prompts) if isinstance(key, str) else None
        hint = f"did you mean {shown(near)}?" if near else f"there are {_listed(self.prompts)}"
        raise ConfigError(f"the pack {self.source or self.id or self.name or 'given'} has no prompt {key!r}; {hint}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(shown(name) for name in names)
