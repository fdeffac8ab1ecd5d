"""The parameters of one call. Each wire format takes those that it can express; the others are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamkit.errors import ConfigError
from streamkit.providers.call import ChatRequest
from streamkit.providers.request.hints import unknown_parameters
from streamkit.providers.request.openai_shape import check_tool_choice, has_tools, stops_of

__all__ = ["Parameters"]


class Parameters:
    """The parameters of one request. Each is taken once; ``finish`` refuses those that were not taken.

    Args:
        provider: its name, for errors.
        chat: the request.

    Attributes:
        has_tools: whether the call may have tools.
    """

    _SAME = (("max_tokens", "max_completion_tokens"), ("stop_sequences", "stop"))

    def __init__(self, provider: str, chat: ChatRequest) -> None:
        check_tool_choice(chat)
        self.has_tools = has_tools(chat)
        self._provider = provider
        self._left = {name: value for name, value in chat.params.items() if value is not None}
        self._known = {"max_completion_tokens"}  # the names that were asked for, for hints
        self._refused: set[str] = set()
        for name, other in self._SAME:
            if other in self._left:
                if name in self._left:
                    raise ConfigError(f"{name} and {other} are the same parameter; give one of them")
                self._left[name] = self._left.pop(other)
        effort = self._left.get("reasoning_effort", "")
        if not isinstance(effort, str):
            raise ConfigError(f"reasoning_effort is a word such as 'low', not {type(effort).__name__}")

    def take(self, name: str, default: Any = None) -> Any:
        """Return a parameter, or the default; ``max_tokens`` and ``stop_sequences`` also cover their aliases."""
        self._known.add(name)
        return self._left.pop(name, default)

    def take_object(self, name: str, *fields: str, **renamed: str) -> dict[str, Any]:
        """Return a parameter that is an object of the provider's own, copied, empty where it was not given.

        Args:
            name: the parameter.
            fields: other parameters that are fields of it, as in ``copy``.
            renamed: those that have another name there: ``field="name"``.

        Raises:
            ConfigError: it is no object, or has a field that was given beside it as well.
        """
        given = self._left.get(name, {})
        if not isinstance(given, Mapping):
            raise ConfigError(f"{name} is a dict, not {type(given).__name__}")
        taken = dict(given)
        for field, other in (*((field, field) for field in fields), *renamed.items()):
            if (value := self.take_one_of(other, f"{name}.{field}")) is not None:
                taken[field] = value
        self.take(name)
        return taken

    def respell(self, name: str, spell: Callable[[str], str]) -> None:
        """Give the fields of an object one spelling, where an API takes two.

        Raises:
            ConfigError: a field was given in both.
        """
        given = self._left.get(name)
        if not isinstance(given, Mapping):
            return
        spelled: dict[Any, Any] = {}
        for field, value in given.items():
            there = spell(field) if isinstance(field, str) else field
            if there in spelled:
                raise ConfigError(f"{name} has {there} in two spellings; give one of them")
            spelled[there] = value
        self._left[name] = spelled

    def take_stop(self, *others: str) -> list[str]:
        """Return the stop sequences as a list, empty where none were given; for ``others`` see ``take_one_of``."""
        return stops_of(self.take_one_of("stop_sequences", *others))

    def take_tool_choice(self, *others: str) -> Any:
        """Return tool_choice, ``None`` if it has no effect; for ``others`` see ``take_one_of``.

        Without tools ``auto`` and ``none`` have no effect, and many servers refuse them.
        """
        choice = self.take_one_of("tool_choice", *others)
        return choice if self.has_tools else None

    def copy(self, body: dict[str, Any], *names: str, **renamed: str) -> None:
        """Copy given parameters into a body, under their own names or, with ``wire_name="name"``, under another."""
        for wire, name in (*((name, name) for name in names), *renamed.items()):
            self._known.add(name)
            if name in self._left:
                body[wire] = self._left.pop(name)

    def take_one_of(self, name: str, *others: str) -> Any:
        """Return a parameter that others are equivalent to; these are not taken.

        Args:
            name: the one.
            others: parameters, or fields of an object, such as ``generation_config.seed``.

        Raises:
            ConfigError: another was given beside it.
        """
        for other in others if name in self._left else ():
            place, _, field = other.partition(".")
            there = self._left.get(place)
            if field:
                there = there.get(field) if isinstance(there, Mapping) else None
            if there is not None:
                raise ConfigError(f"{name} and {other} say the same thing; give one of them")
        return self.take(name)

    def refuse(self, name: str, why: str) -> None:
        """Raise if a parameter was given that cannot be honoured."""
        self._refused.add(name)
        if name in self._left:
            raise ConfigError(f"{self._provider} has no {name}: {why}")

    def finish(self) -> None:
        """Raise a ConfigError if any are left."""
        if self._left:
            raise unknown_parameters(self._provider, self._left, self._known - self._refused)
