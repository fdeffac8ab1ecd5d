"""Fill in a template: the values of variables, then one pass over the source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streamkit.errors import ConfigError, RenderError
from streamkit.packs.problems import Path, json_path
from streamkit.packs.values import Variable
from streamkit.packs.variables import NotOfTypeError, is_allowed, text_of, value_of
from streamkit.values.problems import PackProblem as Problem
from streamkit.values.template import Survey, TooLongError, expanded, survey

__all__ = ["render"]

_MOST_SHOWN = 100  # characters of a name; what stands between braces may be of any length

_REASONS = {
    "type": "of the wrong type: {}",
    "validation": "not allowed: {}",
    "missing": "missing: {}",
    "fragment_cycle": "fragments that contain themselves: {}",
    "placeholder": "no placeholders: {}",
    "unknown_fragment": "unknown fragments: {}",
    "unknown_variable": "neither given nor declared, and no fragments: {}",
    "too_long": "too long: {}",
}


class _Unfit(Exception):
    """Values and a template that do not fit: the code, and the names that have it."""

    def __init__(self, code: str, names: list[str]) -> None:
        super().__init__(code, names)
        self.code = code
        self.names = names


def render(
    template: str,
    fragments: Mapping[str, str],
    variables: Iterable[Variable],
    values: Mapping[str, Any],
    *,
    path: Path = (),
) -> str:
    """Return the text of a template.

    Args:
        template: the source.
        fragments: by key.
        variables: that are declared.
        values: by name.
        path: of the prompt in the pack, for errors.

    Raises:
        RenderError: of the first kind of error there is, with all names that have it: types, validation, missing
            values, a cycle of fragments, placeholders that are none, unknown fragments, unknown names.
    """
    try:
        return _rendered(template, fragments, variables, values)
    except _Unfit as unfit:
        raise _error(unfit, path) from None


def _rendered(
    template: str, fragments: Mapping[str, str], variables: Iterable[Variable], values: Mapping[str, Any]
) -> str:
    declared = {variable.name: variable for variable in variables}
    given = {name: value for name, value in values.items() if value is not None}
    texts = _texts_of(declared, given)
    found = survey(template, fragments, declared.keys() | given.keys())
    _refuse("fragment_cycle", found.cycle)
    _refuse("placeholder", found.wrong)
    _refuse("unknown_fragment", found.unknown_fragments)
    _refuse("unknown_variable", found.unknown_names)
    texts |= _written({name: given[name] for name in found.used if name not in declared})
    return _expanded(found, texts)


def _texts_of(declared: Mapping[str, Variable], given: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each declared variable."""
    present = {
        name: given[name]
        for name, variable in declared.items()
        if name in given and not (variable.required and _is_empty(given[name]))
    }
    texts = _written(present, declared)
    _refuse("validation", [name for name in present if not _is_allowed(declared[name], present[name], texts[name])])
    absent = {name: variable for name, variable in declared.items() if name not in present}
    _refuse("missing", [name for name, variable in absent.items() if variable.required])
    defaults = {name: "" if variable.default is None else variable.default for name, variable in absent.items()}
    return texts | _written(defaults)


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not value


def _written(values: Mapping[str, Any], declared: Mapping[str, Variable] | None = None) -> dict[str, str]:
    """Return values as text, those of declared variables only if they are of their types."""
    texts: dict[str, str] = {}
    wrong: list[str] = []
    for name, value in values.items():
        try:
            if declared is not None:
                value_of(declared[name].type, value)
            texts[name] = text_of(value)
        except NotOfTypeError:
            wrong.append(name)
    _refuse("type", wrong)
    return texts


def _is_allowed(variable: Variable, value: Any, text: str) -> bool:
    try:
        return is_allowed(variable, value, text)
    except ConfigError as error:  # such a pack is not loaded, but a Prompt can be made by hand
        raise ConfigError(f"the variable {variable.name}: {error}") from None


def _expanded(found: Survey, texts: Mapping[str, str]) -> str:
    try:
        return expanded(found, texts)
    except TooLongError as error:
        raise _Unfit("too_long", [str(error)]) from None


def _refuse(code: str, names: Iterable[str]) -> None:
    if listed := list(names):
        raise _Unfit(code, listed)


def _error(unfit: _Unfit, path: Path) -> RenderError:
    separator = " -> " if unfit.code == "fragment_cycle" else ", "
    listed = separator.join(name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}…" for name in unfit.names)
    reason = _REASONS[unfit.code].format(listed)
    problems = [Problem(json_path(path), unfit.code, reason, name=name) for name in unfit.names]
    return RenderError(
        f"the prompt cannot be rendered; {reason}", code=unfit.code, names=unfit.names, problems=problems
    )
