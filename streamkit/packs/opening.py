"""Talk to a model by a prompt of a pack: ``open_pack``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from streamkit.client import Client, default_client
from streamkit.conversation.conversation import Conversation, check_places
from streamkit.conversation.stores.store import Store
from streamkit.conversation.turns import ConversationState
from streamkit.conversation.window import Window
from streamkit.errors import ConfigError, OwnerError
from streamkit.packs.choosing import choose_model
from streamkit.packs.loading import load_pack
from streamkit.packs.values import Pack, PackTool, Prompt
from streamkit.settings import shown
from streamkit.tools.tool import Tool
from streamkit.validators.shapes import validator_of
from streamkit.validators.validator import Validator

__all__ = ["PackConversation", "open_pack"]


class PackConversation(Conversation):
    """A conversation by a prompt of a pack; made by ``open_pack``.

    Attributes:
        prompt: the prompt.
    """

    prompt: Prompt
    _has_prompt = True

    def _system_prompt(self) -> str:
        return self.prompt.render(self.variables, model=self.model)

    def _like_this(self, state: ConversationState) -> PackConversation:
        made = PackConversation(
            self._client,
            state,
            options=self._options,
            window=self._window,
            store=self._store,
            on_failure=self._on_failure,
        )
        made.prompt = self.prompt
        return made


def open_pack(
    pack: str | os.PathLike[str] | Pack,
    prompt: str,
    *,
    model: str | None = None,
    client: Client | None = None,
    variables: Mapping[str, Any] | None = None,
    tools: Mapping[str, Callable[..., Any]] | None = None,
    strict: bool = False,
    tested: bool = False,
    validators: Mapping[str, Callable[..., Validator]] | None = None,
    window: Window | None = None,
    store: Store | None = None,
    id: str | None = None,
    owner: str = "",
    load: str | os.PathLike[str] | None = None,
    **options: Any,
) -> PackConversation:
    """Return a conversation by a prompt of a pack.

    ::

        chat = streamkit.open_pack("streaming.pack.json", "storyteller", variables={"genre": "a fairy tale"})
        for chunk in chat.stream("Tell me about a lighthouse"):
            print(chunk.text, end="", flush=True)

    The prompt's template is the system prompt, filled in anew for each turn from ``conversation.variables``. Its
    parameters, tools, limits of tools and validators hold for each turn.

    Args:
        pack: the path of a file, its text, or what ``load_pack`` returned, to parse a file once for many conversations.
        prompt: the key of the prompt in the pack.
        model: to ask. By default that of the environment variable ``STREAMKIT_MODEL``, or else the default model of the
            first provider whose key is in the environment.
        client: asks; by default the module's own.
        variables: of the template.
        tools: functions by the names that the pack gives the tools; of a ``Tool`` its function, and whether it needs
            approval. Of a tool without a function each call waits: see
            ``conversation.resume``. ``conversation.on_tool(name, function)`` binds one later.
        strict: refuse a pack with anything that the schema does not allow; otherwise it is read as well as can be, and
            ``load_pack(...).warnings`` says what is wrong.
        tested: take the first model of the prompt's ``tested_models`` whose provider can be asked.
        validators: by type, what makes a validator of a type of your own.
        window: as in ``client.conversation``.
        store: as in ``client.conversation``.
        id: as in ``client.conversation``.
        owner: as in ``client.conversation``.
        load: a file that ``conversation.save`` wrote, to go on with that one.
        options: further arguments of ``client.conversation``; they replace the prompt's parameters.

    Raises:
        PackError: the pack is refused; ``error.problems`` has all that is wrong.
        ConfigError: there is no such prompt or tool, nothing names a model, or the conversation is another owner's.
        OSError: the file cannot be read.
    """
    check_places(store, variables)
    found = pack if isinstance(pack, Pack) else load_pack(pack, strict=strict, validators=validators or ())
    chosen = found.prompt(prompt)
    asked = choose_model(model, environ=os.environ, tested=chosen.tested_models if tested else None)
    given = {**chosen.parameters(asked), **_tools(chosen, tools or {}, options), **options}
    rules = [validator_of(shape, own=validators or {}) for shape in chosen.validators]
    if rules:
        given["validators"] = [*rules, *(options.get("validators") or ())]
    state = store.load(id) if store is not None and id is not None else None
    if load is not None:
        if store is not None:
            raise ConfigError("a conversation is kept in a file or in a store: leave out load= or store=")
        state = ConversationState.from_json(Path(load).read_bytes(), where=str(load))
    if state is None:
        state = ConversationState(id or uuid.uuid4().hex, [], asked, variables=dict(variables or {}), owner=owner)
    elif owner and state.owner and owner != state.owner:
        raise OwnerError(f"the conversation {state.id!r} is another owner's")
    else:
        state = attrs.evolve(state, model=asked, variables={**state.variables, **(variables or {})})
    state = attrs.evolve(state, origin=state.origin or f"{found.source or found.id or 'a pack'}#{prompt}")
    on_failure = given.pop("on_failure", "keep")
    conversation = PackConversation(
        client or default_client(), state, options=given, window=window, store=store, on_failure=on_failure
    )
    conversation.prompt = chosen
    return conversation


def _tools(prompt: Prompt, functions: Mapping[str, Callable[..., Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of runs with the prompt's tools; none where it offers no tools."""
    if not isinstance(functions, Mapping):
        raise ConfigError(f"tools is a dict of functions by name, not {shown(functions)}")
    known = {tool.name: tool for tool in prompt.tools}
    unknown = [name for name in functions if name not in known and name not in prompt.host_tools]
    if unknown:
        offered = ", ".join([*known, *prompt.host_tools]) or "it has none"
        raise ConfigError(f"the prompt {prompt.key!r} has no tool {unknown[0]!r}; its tools are: {offered}")
    offered_tools = [_tool(tool, functions.get(tool.name)) for tool in prompt.tools]
    offered_tools += [_host_tool(name, functions[name]) for name in prompt.host_tools if name in functions]
    if not offered_tools:
        return {}
    policy = prompt.tool_policy
    made: dict[str, Any] = {"tools": offered_tools, "limits": policy.limits()}
    if policy.tool_choice != "auto":
        made["tool_choice"] = policy.tool_choice
    return made


def _host_tool(name: str, function: Callable[..., Any]) -> Tool:
    return function if isinstance(function, Tool) and function.name == name else Tool.of(function, name=name)


def _tool(declared: PackTool, function: Callable[..., Any] | None) -> Tool:
    """Return a tool as the pack declares it. Of a ``Tool`` the function counts, and when it may be called."""
    schema = declared.parameters or _NO_ARGUMENTS
    if not isinstance(function, Tool):
        return Tool(declared.name, declared.description, schema, function)
    return Tool(
        declared.name,
        declared.description,
        schema,
        function.function,
        needs_approval=function.needs_approval,
        idempotent=function.idempotent,
    )


_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}
