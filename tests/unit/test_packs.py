"""Packs beyond the shared cases: templates, values, lenient loads, what is offered, choosing a model."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

import streamkit
from streamkit import ConfigError, PackError
from streamkit.errors import RenderError
from streamkit.packs import Prompt, TestedModel, ToolPolicy, Validation, Variable, load_pack, validate_pack
from streamkit.packs.choosing import DEFAULT_MODELS, choose_model
from streamkit.packs.problems import json_path
from streamkit.providers import registry
from streamkit.validators.shapes import NOT_RUN, TYPES
from streamkit.values import template as templates
from streamkit.values.template import Kind, pieces_of

FOLDER = Path(__file__).parents[1] / "promptpack"


def pack_text(prompt: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a pack that is valid but for what is given, with one prompt, ``p``."""
    shape = {
        "id": "a",
        "name": "A",
        "version": "1.0.0",
        "template_engine": {"version": "v1", "syntax": "{{variable}}"},
        "prompts": {"p": {"id": "p", "name": "P", "version": "1.0.0", "system_template": "Hi.", **(prompt or {})}},
    }
    return json.dumps({**shape, **more})


def rules(text: str, *, strict: bool = True, severity: str = "error") -> list[tuple[str, str]]:
    return [(each.path, each.rule) for each in validate_pack(text, strict=strict) if each.severity == severity]


def code_of(prompt: Prompt, **values: Any) -> tuple[str, tuple[str, ...]]:
    with pytest.raises(RenderError) as caught:
        prompt.render(values)
    return caught.value.code, caught.value.names


class TestTemplates:
    @hypothesis.given(st.text(alphabet="{} ab\n.:1", max_size=60))
    def test_pieces_are_the_whole_text(self, source: str) -> None:
        """The pieces, written as they stood, are the text again; none of the text pieces has a pair of braces."""
        pieces = pieces_of(source)
        written = "".join(f"{{{{{text}}}}}" if kind is Kind.NAME else text for kind, text in pieces)
        assert "".join(source.split()) == "".join(written.split())
        assert [] == [text for kind, text in pieces if kind is Kind.TEXT and "}}" in text.partition("{{")[2]]

    @hypothesis.given(st.dictionaries(st.sampled_from("abc"), st.text(alphabet="{}abc", max_size=20), min_size=3))
    def test_values_stay(self, values: dict[str, str]) -> None:
        """Whatever a value is, it is inserted as it is."""
        prompt = Prompt(key="p", system_template="<{{a}}|{{ b }}|{{{c}}}>")
        assert f"<{values['a']}|{values['b']}|{{{values['c']}}}>" == prompt.render(values)

    def test_many_uses_of_many_fragments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fragments that double each other end in an error, not in all of the memory; if empty, in no time."""
        names = [f"f{number}" for number in range(61)]
        fragments = {name: f"{{{{{after}}}}}" * 2 for name, after in pairwise(names)}
        assert "" == Prompt(key="p", system_template="{{f0}}", fragments={**fragments, "f60": ""}).render()
        monkeypatch.setattr(templates, "MAX_EXPANDED", 10_000)
        prompt = Prompt(key="p", system_template="{{f0}}", fragments={**fragments, "f60": "x"})
        assert "too_long" == code_of(prompt)[0]

    def test_a_chain_that_is_longer_than_the_stack(self) -> None:
        """The depth of fragments is not bounded by Python's stack, in a pack and when it is rendered."""
        fragments = {f"f{number}": f"{{{{f{number + 1}}}}}" for number in range(3000)} | {"f3000": "end"}
        pack = load_pack(pack_text({"system_template": "{{f0}}"}, fragments=fragments), strict=True)
        assert "end" == pack.prompts["p"].render()

    def test_errors_name_no_value(self) -> None:
        """The text of an error has the names of variables, and nothing of what was given for them."""
        prompt = Prompt(key="p", system_template="{{n}}", variables=(Variable("n", "number"),))
        with pytest.raises(RenderError) as caught:
            prompt.render({"n": "sk-secret"})
        assert "secret" not in str(caught.value)
        (problem,) = caught.value.problems
        assert ("$.prompts.p", "type", "n") == (problem.path, problem.rule, problem.name)

    def test_types_come_before_validation_and_missing(self) -> None:
        """Of several kinds of mistakes the first kind is told, with all its names."""
        variables = (
            Variable("gone"),
            Variable("low", "number", validation=Validation(minimum=1)),
            Variable("x", "number"),
            Variable("y", "boolean"),
        )
        prompt = Prompt(key="p", system_template="", variables=variables)
        assert ("type", ("x", "y")) == code_of(prompt, low=0, x="a", y=1)
        assert ("validation", ("low",)) == code_of(prompt, low="0", x=1, y="true")
        assert ("missing", ("gone",)) == code_of(prompt, low="1", x=1, y="true")

    def test_a_value_that_json_has_not(self) -> None:
        """What cannot be written as JSON is of the wrong type, whether it is declared or not."""
        prompt = Prompt(key="p", system_template="{{a}}{{b}}", variables=(Variable("a"),))
        assert ("type", ("a",)) == code_of(prompt, a=float("nan"), b="")
        assert ("type", ("b",)) == code_of(prompt, a="x", b={1, 2})

    def test_a_text_variable_is_judged_by_its_text(self) -> None:
        """A list for a text variable does not get past the pattern that the text has to match."""
        rule = Validation(pattern="^[a-z]+$", max_length=3)
        prompt = Prompt(key="p", system_template="{{a}}", variables=(Variable("a", validation=rule),))
        assert "abc" == prompt.render({"a": "abc"})
        assert ("validation", ("a",)) == code_of(prompt, a=["IGNORE", "ALL"])

    @pytest.mark.parametrize(
        ("type_", "enum", "value", "fits"),
        [
            ("number", (1, 2), "2", True),
            ("number", (1, 2), 1.0, True),
            ("number", (True, 2), 1, False),
            ("boolean", (True,), "true", True),
            ("array", ([1],), [1.0], True),
            ("object", ({"a": 1},), {"a": True}, False),
            ("string", ("a",), "b", False),
        ],
    )
    def test_enums(self, type_: str, enum: tuple[Any, ...], value: Any, fits: bool) -> None:
        """Values are compared as JSON does: 1 is 1.0 and not true; a number may be given as text."""
        variable = Variable("a", type_, validation=Validation(enum=enum))
        prompt = Prompt(key="p", system_template="x", variables=(variable,))
        if fits:
            assert "x" == prompt.render({"a": value})
        else:
            assert ("validation", ("a",)) == code_of(prompt, a=value)


class TestSense:
    def test_a_variable_hides_a_fragment_of_its_name(self) -> None:
        """A fragment that names a declared variable of its own name is no cycle."""
        prompt = {
            "system_template": "{{fragments.name}}",
            "variables": [{"name": "name", "type": "string", "required": True}],
        }
        text = pack_text(prompt, fragments={"name": "Name: {{name}}"})
        assert [] == rules(text)
        assert "Name: Bo" == load_pack(text, strict=True).prompts["p"].render({"name": "Bo"})

    def test_each_cycle_once(self) -> None:
        """Cycles that share fragments are told at the first fragment of each."""
        fragments = {"x": "{{a}}", "a": "{{b}}", "b": "{{c}}{{a}}", "c": "{{b}}", "d": "{{d}}"}
        found = [path for path, rule in rules(pack_text(fragments=fragments)) if rule == "fragment.cycle"]
        assert ["$.fragments.a", "$.fragments.b", "$.fragments.d"] == found

    def test_unused_fragments(self) -> None:
        """A fragment that no prompt reaches is judged for what can never be right, and not for its variables."""
        fragments = {"f": "{{who}} {{fragments.none}} {{#if}}"}
        assert [("$.fragments.f", "fragment.unknown"), ("$.fragments.f", "template.placeholder")] == rules(
            pack_text(fragments=fragments)
        )

    def test_a_fragment_that_only_an_override_reaches(self) -> None:
        """What an override reaches is judged as what the template reaches."""
        prompt = {"model_overrides": {"m": {"system_template_prefix": "{{f}}"}}}
        text = pack_text(prompt, fragments={"f": "{{who}}"})
        assert [("$.fragments.f", "template.undeclared")] == rules(text)
        assert () == load_pack(text).prompts["p"].variables

    def test_syntax(self) -> None:
        """A syntax other than {{word}} is refused in any load, as it would be ignored."""
        text = pack_text(template_engine={"version": "v1", "syntax": "${variable}"})
        for strict in (True, False):
            assert [("$.template_engine.syntax", "template_engine.syntax")] == rules(text, strict=strict)

    def test_defaults(self) -> None:
        """A default keeps to pattern, lengths and range; to the enum by the rules of JSON."""
        variables = [
            {"name": "a", "type": "string", "required": False, "default": "x", "validation": {"min_length": 2}},
            {"name": "b", "type": "number", "required": False, "default": 9, "validation": {"maximum": 5}},
            {"name": "c", "type": "string", "required": False, "default": "x\n", "validation": {"pattern": "^x$"}},
            {"name": "d", "type": "number", "required": False, "default": 2.0, "validation": {"enum": [2]}},
        ]
        found = rules(pack_text({"variables": variables}))
        paths = [f"$.prompts.p.variables[{index}].default" for index in range(3)]
        assert [(path, "variable.default_invalid") for path in paths] == found

    def test_ecma_patterns_in_the_schema(self) -> None:
        """A version with a line end, or with digits of another script, is no version."""
        for version in ("1.0.0\n", "1.0.٠"):
            assert [("$.version", "pattern")] == rules(pack_text(version=version))

    def test_validators_of_the_program(self) -> None:
        """A type that the program registers is known, whatever its name; without, the pack is refused."""
        shape = {"type": "house_rule", "enabled": True, "params": {"any": 1}}
        text = pack_text({"validators": [shape, {"type": "pii_detection", "enabled": True}]})
        assert ["validator.unknown_type"] == [rule for _, rule in rules(text)]
        pack = load_pack(text, strict=True, validators={"house_rule", "pii_detection"})
        assert () == pack.warnings
        assert ["house_rule", "pii_detection"] == [each["type"] for each in pack.prompts["p"].validators]
        assert [] == [each.rule for each in validate_pack(text, validators={"house_rule": None, "pii_detection": None})]

    def test_the_types_of_validators(self) -> None:
        """The types that run here, and those that are known, are the format's."""
        known = json.loads((FOLDER / "validator_types.json").read_text("utf-8"))
        names = {each for name, about in known["types"].items() for each in (name, *about["aliases"])}
        assert (names, set(known["known_but_not_run"])) == (set(TYPES), set(NOT_RUN))

    def test_paths(self) -> None:
        """A key that is no identifier is written in brackets."""
        assert '$.prompts["gpt-4o"].variables[0]["a\\"b"]' == json_path(("prompts", "gpt-4o", "variables", 0, 'a"b'))

    @pytest.mark.parametrize("depth", [500, 100_000])
    def test_nested_too_deep(self, depth: int) -> None:
        """A file that is nested without end is refused, not a crash."""
        text = pack_text(metadata={"x": 0}).replace('"x": 0', f'"x": {"[" * depth}{"]" * depth}')
        assert rules(text) in ([], [("$", "json")])

    @hypothesis.given(st.data())
    @hypothesis.settings(max_examples=200)
    def test_any_damage_is_a_problem(self, data: st.DataObject) -> None:
        """A value of another type anywhere in a pack never breaks the check, and what loads can be used."""
        shape = json.loads((FOLDER / "packs" / "valid" / "full.json").read_text("utf-8"))
        for _ in range(data.draw(st.integers(1, 3))):
            place: Any = shape
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = data.draw(st.sampled_from(keys))
                if isinstance(place[key], (dict, list)) and place[key] and data.draw(st.booleans()):
                    place = place[key]
                    continue
                if data.draw(st.booleans()) and isinstance(place, dict):
                    del place[key]
                else:
                    place[key] = data.draw(st.sampled_from([None, 0, -1.5, True, "", "{{x}}", [], [0], {}, {"a": 1}]))
                break
        text = json.dumps(shape)
        validate_pack(text)
        with contextlib.suppress(PackError):
            for prompt in load_pack(text).prompts.values():
                prompt.parameters("gpt-4o")
                prompt.tool_policy.limits()
                with contextlib.suppress(RenderError):
                    prompt.render({"company": "Acme"}, model="gpt-4o")


class TestLenient:
    def test_what_the_published_schema_accepts(self) -> None:
        """What the newest schema closes, and the published one leaves open, is a warning."""
        variables = [{"name": "n", "type": "integer", "required": False, "default": 3}]
        media = {"image": {"allowed_formats": ["tiff"], "default_detail": "medium"}}
        text = pack_text({"system_template": "{{n}}", "variables": variables, "media": media})
        assert 4 == len(rules(text))
        assert [] == rules(text, strict=False)
        prompt = load_pack(text).prompts["p"]
        assert ("3", True) == (prompt.render(), prompt.media is not None and prompt.media.enabled)

    def test_sections_that_are_not_used(self) -> None:
        """Mistakes in sections that nothing is done with are warnings."""
        text = pack_text({"pipeline": {}}, skills=[{"name": "n"}], workflow=5, metadata=[], compilation="x")
        assert 5 <= len(rules(text))
        assert [] == rules(text, strict=False)

    @pytest.mark.parametrize(
        ("prompt", "path"),
        [
            ({"parameters": {"top_p": 2}}, "$.prompts.p.parameters.top_p"),
            ({"tool_policy": {"max_rounds": 0}}, "$.prompts.p.tool_policy.max_rounds"),
            ({"tool_policy": {"tool_choice": "always"}}, "$.prompts.p.tool_policy.tool_choice"),
            ({"validators": [{"type": "max_length", "enabled": "no"}]}, "$.prompts.p.validators[0].enabled"),
            ({"variables": [{"type": "string", "required": True}]}, "$.prompts.p.variables[0]"),
            ({"system_template": ""}, "$.prompts.p.system_template"),
            (
                {"model_overrides": {"m": {"parameters": {"max_tokens": 0}}}},
                "$.prompts.p.model_overrides.m.parameters.max_tokens",
            ),
        ],
    )
    def test_what_is_refused_in_any_load(self, prompt: dict[str, Any], path: str) -> None:
        """What is sent to a model, and what guards it, has to be right."""
        text = pack_text(prompt)
        assert path in [found for found, _ in rules(text, strict=False)]

    def test_a_message_beside_the_parameters(self) -> None:
        """The message of an older schema is where the newest has it."""
        shape = {"type": "max_length", "params": {"max": 5}, "message": "Too long."}
        (validator,) = load_pack(pack_text({"validators": [shape]})).prompts["p"].validators
        assert {"max": 5, "message": "Too long."} == validator["params"]
        assert (True, False) == (validator["enabled"], validator["fail_on_violation"])


class TestFiles:
    def test_a_path_or_a_text(self, tmp_path: Path) -> None:
        """A pack is read from a path, as text or as an object, and from its own text."""
        file = tmp_path / "a.pack.json"
        file.write_text(pack_text(), "utf-8")
        assert [str(file), str(file), ""] == [load_pack(each).source for each in (str(file), file, f"\n {pack_text()}")]

    @pytest.mark.parametrize("data", [b"\xff\xfe{\x00}\x00", b'{"id": "\xe9"}'])
    def test_not_utf8(self, tmp_path: Path, data: bytes) -> None:
        """A file in another encoding is no JSON."""
        (tmp_path / "a.json").write_bytes(data)
        assert [("$", "json")] == rules(str(tmp_path / "a.json"))

    @pytest.mark.parametrize("text", ['{"a": 1e999}', '{"a": "\\ud800"}', '{"a": 01}', "{'a': 1}", '{"a": 1} // b'])
    def test_no_json(self, text: str) -> None:
        """What the standard does not have is refused, in a lenient load too."""
        assert [("$", "json")] == rules(text, strict=False)

    def test_where_the_json_is_wrong(self) -> None:
        """The text says at which line and column."""
        (problem,) = validate_pack('{\n "id": 5,\n}')
        assert re.search(r"at line (3, column 1|2, column 9)$", problem.text)  # the end, or the comma before it

    def test_no_file(self, tmp_path: Path) -> None:
        """A file that is not there is an error with its path, and a problem for those who only look."""
        file = tmp_path / "none.json"
        with pytest.raises(PackError, match=r"none\.json.*No such file"):
            load_pack(file)
        assert [("$", "file")] == rules(str(file))
        with pytest.raises(ConfigError, match="by its path or its text"):
            load_pack(5)  # type: ignore[arg-type]

    def test_the_error(self) -> None:
        """The error's text has the first problems, and says how many there are."""
        with pytest.raises(
            PackError, match=r"given as text is refused: \$: .*; and 2 more in error\.problems"
        ) as caught:
            load_pack("{}", strict=True)
        assert 5 == len(caught.value.problems)


class TestValues:
    def test_tools(self) -> None:
        """Offered are the tools that are listed and defined, each once, without those that are blocked."""
        tools = {name: {"name": name, "description": name.upper()} for name in ("a", "b", "c")}
        prompt = {"tools": ["b", "x", "a", "b", "agent"], "tool_policy": {"blocklist": ["a"]}}
        agents = {"entry": "p", "members": {"agent": {}}}
        found = load_pack(pack_text(prompt, tools=tools, agents=agents)).prompts["p"]
        assert (["b"], ("x",)) == ([tool.name for tool in found.tools], found.host_tools)
        assert ("B", None) == (found.tools[0].description, found.tools[0].parameters)

    def test_a_policy_as_limits(self) -> None:
        """A round is a request for tools and their results; the last request of a turn asks for none."""
        limits = ToolPolicy(max_rounds=1, max_tool_calls_per_turn=2).limits()
        assert (2, 2) == (limits.rounds, limits.calls)

    def test_overrides(self) -> None:
        """An override is found by the whole name of a model first, then without its provider."""
        overrides = {"a/m": {"parameters": {"top_k": 3}}, "m": {"parameters": {"top_k": None}}}
        prompt = load_pack(pack_text({"parameters": {"top_k": 9.0}, "model_overrides": overrides})).prompts["p"]
        found = [prompt.parameters(model)["top_k"] for model in (None, "x", "a/m", "m", "b/m")]
        assert [9, 9, 3, None, None] == found
        assert isinstance(found[0], int)

    def test_an_unknown_prompt(self) -> None:
        """An unknown key is an error that names the one that was meant, or all there are."""
        pack = load_pack(FOLDER / "packs" / "valid" / "pk_streaming.json")
        assert pack.prompts["storyteller"] is pack.prompt("storyteller")
        with pytest.raises(ConfigError, match='did you mean "storyteller"'):
            pack.prompt("storyteler")
        with pytest.raises(ConfigError, match='there are "storyteller"'):
            pack.prompt("orders")

    def test_pickles(self) -> None:
        """A pack and its error can go to another process."""
        pack = load_pack(FOLDER / "packs" / "valid" / "full.json")
        assert pack == pickle.loads(pickle.dumps(pack)) == copy.deepcopy(pack)

    def test_lazy(self) -> None:
        """Importing streamkit loads nothing of packs; the names are there all the same."""
        program = (
            "import sys, streamkit; "
            "assert not [name for name in sys.modules if 'packs' in name or name == 'jsonschema']; "
            "streamkit.load_pack, streamkit.validate_pack, streamkit.PackError"
        )
        assert 0 == subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode
        assert streamkit.load_pack is load_pack


class TestChoosing:
    def test_in_order(self) -> None:
        """The argument comes first, then STREAMKIT_MODEL, then the first key in the order of the table."""
        keys = {"MISTRAL_API_KEY": "x", "ANTHROPIC_API_KEY": "y", "OPENAI_API_KEY": " "}
        assert "a/b" == choose_model("a/b", environ={**keys, "STREAMKIT_MODEL": "c/d"})
        assert "c/d" == choose_model(environ={**keys, "STREAMKIT_MODEL": "c/d"})
        assert "anthropic/claude-sonnet-5" == choose_model(environ={**keys, "STREAMKIT_MODEL": ""})

    def test_nothing_to_choose_from(self) -> None:
        """Without any of them the error lists the choices."""
        with pytest.raises(ConfigError, match="STREAMKIT_MODEL or a key: OPENAI_API_KEY for openai/"):
            choose_model(environ={})

    def test_the_providers_of_a_client(self) -> None:
        """A client that was given providers is asked for one of these, whatever keys there are."""
        environ = {"OPENAI_API_KEY": "x"}
        assert "cohere/command-r-08-2024" == choose_model(environ=environ, providers=["mine", "cohere"])
        with pytest.raises(ConfigError, match=r"none of the client's providers has a default one \(mine\)"):
            choose_model(environ=environ, providers=["mine"])

    def test_tested_models_only_when_asked_for(self) -> None:
        """The first tested model whose provider can be asked, by our name for it; if there is none, an error."""
        tested = [TestedModel(provider="google", model="g-1"), TestedModel(provider="openai", model="o-1")]
        both = {"GOOGLE_API_KEY": "x", "OPENAI_API_KEY": "y", "STREAMKIT_MODEL": "c/d"}
        assert "gemini/g-1" == choose_model(environ=both, tested=tested)
        assert "openai/o-1" == choose_model(environ={"OPENAI_API_KEY": "y"}, tested=tested)
        with pytest.raises(ConfigError, match="google/g-1, openai/o-1"):
            choose_model(environ={"STREAMKIT_MODEL": "c/d"}, tested=tested)
        with pytest.raises(ConfigError, match="names no tested model"):
            choose_model(environ=both, tested=[])

    @pytest.mark.parametrize("default", DEFAULT_MODELS, ids=lambda each: each.provider)
    def test_the_table(self, default: Any) -> None:
        """Each provider of the table is registered, and reads its key from just these variables."""
        make = registry.factory(default.provider)
        assert make is not None
        assert default.variables == make().key_variables  # type: ignore[attr-defined]
