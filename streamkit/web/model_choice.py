"""The models that the user of a chat may choose from: ``ModelChoice``, and ``Offer`` for one request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError, RequestError
from streamkit.settings import shown

__all__ = ["ModelChoice", "Offer"]

_FORM = "chat_blueprint(models=...) takes a list of names of models, or a function that returns one"


@attrs.frozen
class Offer:
    """The models that one user may choose from now.

    Attributes:
        names: of the models; there may be none.
        preferred: the model to ask without a choice, where it is among them.
    """

    names: tuple[str, ...]
    preferred: Any = None

    @property
    def default(self) -> str:
        """The model that is asked without a choice.

        Raises:
            RequestError: 403 ``model_not_allowed``, there is no model.
        """
        if not self.names:
            raise RequestError("there is no model that you may ask", status=403, code="model_not_allowed")
        return self.preferred if self.preferred in self.names else self.names[0]

    def chosen(self, name: object) -> str:
        """Return the model that is asked.

        Args:
            name: as the client sent it; ``None`` or "" for no choice.

        Raises:
            RequestError: 403 ``model_not_allowed``, it is not among the models; 400 ``invalid_value``, it is no text.
        """
        if name is None or name == "":
            return self.default
        if not isinstance(name, str):
            raise RequestError("model is no text", param="model", code="invalid_value")
        if name not in self.names:
            raise RequestError(
                "this model may not be asked; GET /api/models lists those that may",
                status=403,
                param="model",
                code="model_not_allowed",
            )
        return name


class ModelChoice:
    """The models of a chat among which its users choose.

    Threads: any; nothing changes.

    Args:
        models: names, or a function of the request and the owner that returns them.
        default: the model to ask without a choice; ``None`` for the first one. Where a function names the models, it
            is asked only if it is among them.

    Raises:
        ConfigError: an argument is wrong.
    """

    def __init__(self, models: Sequence[str] | Callable[[Any, str], Sequence[str]], default: str | None) -> None:
        self._function = models if callable(models) else None
        self._names = () if callable(models) else _checked(models, _FORM)
        self._default = default
        if self._function is None and not self._names:
            raise ConfigError(f"{_FORM}, and the list is empty")
        if self._function is None and default is not None and default not in self._names:
            raise ConfigError(f"chat_blueprint(model=...) is not among models=...: {shown(default)}; add it there")

    def offer(self, request: Any, owner: str, preferred: Any = None) -> Offer:
        """Return the models for a request.

        Args:
            request: of the framework.
            owner: of the chats.
            preferred: the model to ask without a choice, in place of ``default``; ``None`` for that one.

        Raises:
            ConfigError: the function has returned something else.
        """
        names = self._names
        if self._function is not None:
            names = _checked(self._function(request, owner), "models(request, owner) must return a list of names")
        return Offer(names, self._default if preferred is None else preferred)


def _checked(names: Any, form: str) -> tuple[str, ...]:
    """Return the names, each once.

    Raises:
        ConfigError: they are no names.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ConfigError(f"{form}, not {shown(names)}")
    for name in names:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{form}; {shown(name)} is no name")
    return tuple(dict.fromkeys(names))
