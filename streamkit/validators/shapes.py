"""Validators as prompt packs write them: ``validator_of``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.validators.containing import Contains, ContainsAny, RequiredFields
from streamkit.validators.dialect import compiled
from streamkit.validators.json_text import JsonSchema, JsonValid
from streamkit.validators.lengths import MaxLength, MaxSentences, MinLength
from streamkit.validators.options import number_of, texts_of
from streamkit.validators.patterns import Regex
from streamkit.validators.validator import REPLACEMENT, Validator
from streamkit.validators.words import BannedWords

__all__ = ["NOT_RUN", "TYPES", "validator_of"]

_Params = Mapping[str, Any]

_ALIASES = {
    "content_not_includes": "content_excludes",
    "length": "max_length",
    "regex_match": "regex",
    "content_matches": "regex",
    "content_includes": "contains",
    "content_includes_any": "contains_any",
    "is_valid_json": "json_valid",
    "valid_json": "json_valid",
    "field_presence": "required_fields",
}

#: Types of validators that PromptKit knows, and that cannot be run here.
NOT_RUN = frozenset(
    "sentiment text_sentiment toxicity text_toxicity pii_detection pii_leakage bias role_violation llm_judge "
    "hallucination faithfulness answer_relevancy custom cost_budget latency_budget sentence_count".split()
)


def validator_of(
    shape: Mapping[str, Any], *, own: Mapping[str, Callable[[_Params], Validator]] | None = None
) -> Validator:
    """Return the validator of a prompt pack's ``{"type": ..., "fail_on_violation": ..., "params": {...}}``.

    ``fail_on_violation`` makes it raise; without, a ``message`` replaces the rest of the reply; with neither it only
    reports. ``enabled`` is for the caller to look at. In a pattern ``$`` is the very end and ``\\d`` is ASCII, as in
    PromptKit.

    Args:
        shape: what the pack says.
        own: further types: for each name a function that gets ``params`` and returns a ``Validator``. The pack decides
            on its ``on_violation``, ``replacement`` and ``direction``. They come first.

    Raises:
        ConfigError: the type is unknown, or a parameter cannot work; the text names it as ``params.words[0]``.
    """
    if not isinstance(shape, Mapping):
        raise ConfigError(f"a validator is a dict with a type, not {type(shape).__name__}")
    name = shape.get("type")
    if not isinstance(name, str) or not name:
        raise ConfigError(f"a validator has a type, which is a text, not {name!r}")
    params = shape.get("params")
    params = {} if params is None else params
    if not isinstance(params, Mapping):
        raise ConfigError(f"{name}: params is a dict, not {type(params).__name__}")
    options = _options(name, shape, params)
    if own is not None and name in own:
        validator = own[name](params)
        if not isinstance(validator, Validator):
            raise ConfigError(f"{name}: its function returned {type(validator).__name__}, not a Validator")
        for option, value in options.items():
            setattr(validator, option, value)
        return validator
    make = TYPES.get(name)
    if make is None:
        if name in NOT_RUN:
            raise ConfigError(
                f"{name}: this type of validator cannot be run here; pass own={{{name!r}: ...}} with yours"
            )
        raise ConfigError(f"{name}: there is no such type of validator; there are {', '.join(sorted(TYPES))}")
    return make(name, params, options)


def _options(name: str, shape: _Params, params: _Params) -> dict[str, Any]:
    fails = shape.get("fail_on_violation")
    if fails is not None and not isinstance(fails, bool):
        raise ConfigError(f"{name}: fail_on_violation is true or false, not {fails!r}")
    message = shape.get("message")
    where = "message"
    if message is None:
        message, where = params.get("message"), "params.message"
    if message is not None and not isinstance(message, str):
        raise ConfigError(f"{name}: {where} is a text, not {type(message).__name__}")
    direction = params.get("direction")
    if direction not in (None, "output", "input", "both"):
        raise ConfigError(f"{name}: params.direction is 'output', 'input' or 'both', not {direction!r}")
    return {
        "name": name,
        "on_violation": "raise" if fails else "replace" if message else "report",
        "replacement": message or REPLACEMENT,
        "direction": direction or "output",
    }


def _words(match: str) -> Callable[[str, _Params, dict[str, Any]], Validator]:
    def make(name: str, params: _Params, options: dict[str, Any]) -> Validator:
        modes = {"word_boundary": "word", "substring": "substring"}
        mode = params.get("match_mode", match)
        if mode not in ("word_boundary", "substring"):
            raise ConfigError(f"{name}: params.match_mode is 'word_boundary' or 'substring', not {mode!r}")
        words = _texts(name, params, "patterns", "words")
        return BannedWords(words, match=modes[mode], **options)  # type: ignore[arg-type]

    return make


def _texts(name: str, params: _Params, *keys: str) -> tuple[str, ...]:
    """Return the list under the first of some keys that there is; those under the others are checked too."""
    found = [texts_of(params[key], name, f"params.{key}") for key in keys if params.get(key) is not None]
    if not found:
        raise ConfigError(f"{name}: params.{keys[0]} is missing; it is a list of texts")
    return found[0]


def _numbers(name: str, params: _Params, *keys: str) -> list[int]:
    return [number_of(params[key], name, f"params.{key}") for key in keys if params.get(key) is not None]


def _number(name: str, params: _Params, *keys: str) -> int:
    found = _numbers(name, params, *keys)
    if not found:
        raise ConfigError(f"{name}: params.{keys[0]} is missing; it is a number from 1")
    return found[0]


def _flags(name: str, params: _Params, **keys: str) -> dict[str, bool]:
    """Return those of some parameters that are given, under our names."""
    found = {}
    for key, ours in keys.items():
        value = params.get(key)
        if value is not None:
            if not isinstance(value, bool):
                raise ConfigError(f"{name}: params.{key} is true or false, not {value!r}")
            found[ours] = value
    return found


def _max_length(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    characters = _numbers(name, params, "max", "max_characters", "max_chars")
    words, tokens = _numbers(name, params, "max_words"), _numbers(name, params, "max_tokens")
    if not characters and not words and not tokens:
        raise ConfigError(f"{name}: there is no limit; params has max, max_words or max_tokens")
    first = [found[0] if found else None for found in (characters, words, tokens)]
    return MaxLength(first[0], words=first[1], tokens=first[2], **options)


def _min_length(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return MinLength(_number(name, params, "min", "min_characters", "min_chars"), **options)


def _max_sentences(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return MaxSentences(_number(name, params, "max", "max_sentences"), **options)


def _regex(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    pattern = params.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        raise ConfigError(f"{name}: params.pattern is a regular expression, not {pattern!r}")
    flags = _flags(name, params, expect_match="expect_match")
    try:
        return Regex(compiled(pattern), **flags, **options)
    except ConfigError as error:
        raise ConfigError(f"{name}: params.pattern {pattern!r} is wrong: {error.__context__ or error}") from None


def _contains(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return Contains(_texts(name, params, "patterns"), **options)


def _contains_any(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return ContainsAny(_texts(name, params, "patterns"), **options)


def _required_fields(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return RequiredFields(_texts(name, params, "fields", "required_fields"), **options)


def _json_valid(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    return JsonValid(**_flags(name, params, allow_wrapped="allow_wrapped", extract_json="extract"), **options)


def _json_schema(name: str, params: _Params, options: dict[str, Any]) -> Validator:
    if not isinstance(params.get("schema"), Mapping):
        raise ConfigError(
            f"{name}: params.schema is a JSON schema as a dict, not {type(params.get('schema')).__name__}"
        )
    flags = _flags(name, params, allow_wrapped="allow_wrapped", extract_json="extract")
    return JsonSchema(params["schema"], **flags, **options)


_MADE: dict[str, Callable[[str, _Params, dict[str, Any]], Validator]] = {
    "banned_words": _words("word_boundary"),
    "content_excludes": _words("substring"),
    "max_length": _max_length,
    "min_length": _min_length,
    "max_sentences": _max_sentences,
    "regex": _regex,
    "contains": _contains,
    "contains_any": _contains_any,
    "json_valid": _json_valid,
    "json_schema": _json_schema,
    "required_fields": _required_fields,
}

#: The types of validators in prompt packs that can be run, other names of them included.
TYPES = {**_MADE, **{alias: _MADE[name] for alias, name in _ALIASES.items()}}
