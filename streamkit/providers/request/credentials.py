"""Read API keys from arguments and the environment, and say how to set a missing one."""

from __future__ import annotations

import inspect
import os
from typing import Any

from streamkit.errors import ConfigError
from streamkit.wire.secrets import Masked, WrongType, place_of

__all__ = [
    "hidden",
    "is_not_set_up",
    "key_of",
    "made_with",
    "missing_key",
    "name_of",
    "not_set_up",
    "repr_of",
    "secret_of",
]


def hidden(value: Any) -> Masked | None:
    """Return an argument so that it does not show, such as a key; whether it can be one, ``key_of`` judges."""
    if value is None or isinstance(value, Masked):
        return value
    return Masked(value) if isinstance(value, str) else WrongType.of(value)


def key_of(api_key: str | None, variable: str) -> Masked | None:
    """Return the key that was passed, or else the environment's, or ``None``.

    Raises:
        ConfigError: it is no text, or holds a character that no header can carry; a line break is the common one.
    """
    given = hidden(api_key)
    del api_key  # or it would stand in the clear among the locals of the traceback
    return secret_of(hidden(os.environ.get(variable)) if given is None else given, f"the API key for {variable}")


def secret_of(given: Masked | None, what: str) -> Masked | None:
    """Return what ``hidden`` hid, without blanks around it; ``None`` where there is nothing.

    Raises:
        ConfigError: it is no text, or holds a character that no header can carry; ``what`` says which it is.
    """
    if isinstance(given, WrongType):
        raise ConfigError(f"{what} is text, not {given}")
    key = Masked((given or "").strip())
    if not key:
        return None
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"{what} holds a line break or another character no key has")
    return key


def name_of(name: str) -> str:
    """Return the name of a provider.

    Raises:
        ConfigError: no model's name can begin with it.
    """
    if not isinstance(name, str) or not name.strip() or "/" in name:
        raise ConfigError(f"the name of a provider is text without a slash, such as 'openai', not {name!r}")
    return name


def made_with(kind: type, name: str, *arguments: str) -> str:
    """Return where an argument of a provider goes: ``pass providers.OpenAI(api_key=...) to a Client``.

    Args:
        kind: the provider's class.
        name: the provider's name.
        arguments: the names that the argument may have; the first that the class takes counts.
    """
    own = inspect.signature(kind).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in own.values())
    argument = next((argument for argument in arguments if argument in own), arguments[0] if takes_any else None)
    if argument is None:
        return f"{kind.__name__} takes none; leave it out"
    given = f"{argument}=..."
    if "name" in own and own["name"].default != name:
        given = f"name={name!r}, {given}"
    place = "providers." if kind.__module__.startswith("streamkit.providers.") else ""
    return f"pass {place}{kind.__name__}({given}) to a Client"


def repr_of(provider: Any, *, nowhere: str = "no address") -> str:
    """Return a provider's ``repr``, also of one whose constructor raised: debuggers print such ones."""
    known = vars(provider)
    name, address = known.get("name", "without a name"), known.get("base_url", "") or nowhere
    return f"<{type(provider).__name__} {name} at {place_of(str(address))}>"


def missing_key(kind: type, name: str, variable: str, argument: str = "api_key") -> ConfigError:
    """Return the error of a provider that needs a key and has none.

    Args:
        kind: its class.
        name: its name.
        variable: the environment variable that may have the key.
        argument: of the class, for the key.
    """
    passing = made_with(kind, name, argument)
    return not_set_up(f"{name} needs an API key: set the environment variable {variable}, or {passing}")


def not_set_up(message: str) -> ConfigError:
    """Return the error of a provider that nobody has set up here: it has no key, and nothing it was given is wrong."""
    error = ConfigError(message)
    vars(error)["not_set_up"] = True
    return error


def is_not_set_up(error: BaseException) -> bool:
    """Say whether an error is one of ``not_set_up``."""
    return "not_set_up" in vars(error)
