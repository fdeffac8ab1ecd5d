"""A run that waits for decisions: ``Suspension``, as JSON to be kept anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.tools.limits import Spent
from streamkit.values.chunks import ToolResult
from streamkit.values.messages import Message, ToolCall

__all__ = ["Suspension", "kept_parameters"]

_VERSION = 1
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

# The parameters of the request that a suspension keeps. Others may hold a key, such as those of MCP servers; they are
# given anew to ``resume``.
_KEPT = frozenset(
    "enable_thinking frequency_penalty include logit_bias max_completion_tokens max_tokens min_p n parallel_tool_calls "
    "presence_penalty reasoning reasoning_effort repetition_penalty response_format seed service_tier stop_sequences "
    "store temperature think thinking thinking_budget thinking_config tool_choice top_k top_p truncation "
    "verbosity".split()
)


def kept_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that a suspension keeps: those that shape a reply, hold no key, and are JSON."""
    kept = {}
    for name in _KEPT & params.keys():
        try:
            kept[name] = json.loads(json.dumps(params[name]))
        except (TypeError, ValueError):
            continue
    return kept


@attrs.frozen
class Suspension:
    """All that a suspended run needs to go on, in another process a day later. It holds no key and no code.

    Attributes:
        id: unique; a ``Claims`` knows by it which calls ran.
        model: as it was passed to ``client.run``.
        messages: the conversation so far, in OpenAI's shape. The last one is the assistant's, with the calls.
        done: the results of the other calls of that message.
        waiting: the calls that wait: for a decision, or for a result that a browser or a person brings.
        round: the number of the request whose reply has the calls, from 0.
        added: how many of the messages, from the end, are the run's own.
        spent: what the run has used up of its limits.
        params: parameters of the request that go on to count, such as ``max_tokens``. Those that may hold a key are
            not kept: pass them to ``resume`` again.
        version: of this format.
    """

    id: str
    model: str
    messages: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    done: tuple[ToolResult, ...]
    waiting: tuple[ToolCall, ...]
    round: int = 0
    added: int = 1
    spent: Spent = attrs.field(factory=Spent, repr=False)
    params: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    version: int = _VERSION

    def to_json(self) -> str:
        """Return it as JSON text.

        Raises:
            ConfigError: a message has something that is no JSON, such as bytes.
        """
        shape = {
            "version": self.version,
            "id": self.id,
            "model": self.model,
            "round": self.round,
            "added": self.added,
            "messages": list(self.messages),
            "done": [result.to_dict() for result in self.done],
            "waiting": [call.to_dict() for call in self.waiting],
            "spent": attrs.asdict(self.spent),
            "params": dict(self.params),
        }
        try:
            return json.dumps(shape, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"the messages of the run cannot be written as JSON: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Suspension:
        """Read what ``to_json`` returned.

        Raises:
            ConfigError: it is something else, or was written by a newer version of streamkit.
        """
        try:
            shape = json.loads(text)
            version = shape["version"]
            if isinstance(version, int) and version > _VERSION:
                raise ConfigError(
                    f"this suspension has version {version}, and this streamkit reads up to {_VERSION}: upgrade it"
                )
            return _read(shape)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            what = f"{type(error).__name__}: {error}"
            raise ConfigError(f"this is no suspension as to_json() writes it: {what}") from None


def _read(shape: Mapping[str, Any]) -> Suspension:
    spent = shape["spent"]
    suspension = Suspension(
        _text(shape["id"]),
        _text(shape["model"]),
        [dict(message) for message in shape["messages"]],
        tuple(ToolResult.from_dict(result) for result in shape["done"]),
        tuple(ToolCall.from_dict(call) for call in shape["waiting"]),
        _count(shape["round"]),
        _count(shape["added"]),
        Spent(
            _count(spent["rounds"]),
            _count(spent["calls"]),
            _count(spent["tokens"]),
            float(spent["cost"]),
            {_text(key): _count(count) for key, count in spent["repeats"].items()},
        ),
        kept_parameters(shape["params"]),
        _count(shape["version"]),
    )
    if not _fits_together(suspension):
        raise ValueError("its parts do not fit together")
    return suspension


def _fits_together(suspension: Suspension) -> bool:
    """Return whether the calls are those of the last message: a person decides on ``waiting``, and those run."""
    if not 0 < suspension.added <= len(suspension.messages) or not _ID.match(suspension.id) or not suspension.model:
        return False
    own = [Message.from_dict(message) for message in suspension.messages[-suspension.added :]]
    done = [result.call_id for result in suspension.done]
    calls = own[-1].tool_calls
    return (
        own[-1].role == "assistant"
        and suspension.waiting == tuple(call for call in calls if call.id not in done)
        and sorted([*done, *(call.id for call in suspension.waiting)]) == sorted({call.id for call in calls})
        and len({call.id for call in calls}) == len(calls)
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is wanted, not {type(value).__name__}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"a number from 0 is wanted, not {value!r}")
    return value
