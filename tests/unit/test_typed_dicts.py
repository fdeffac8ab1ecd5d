"""What type checkers and editors know of a call is what a call takes: the same options everywhere, each parameter."""

from __future__ import annotations

import inspect
import pydoc
import typing
from collections.abc import Callable
from typing import Any, get_args

import pytest

import streamkit
from streamkit import Client, ConfigError, MessageDict, RequestParameters
from streamkit.providers import Agnic, AzureOpenAI, ChatRequest, OpenAICompatible, Provider
from streamkit.providers.call import messages_of
from streamkit.providers.openai_chat.provider import _PARAMETERS
from streamkit.providers.openai_chat.services import SERVICES
from streamkit.providers.request.parameters import Parameters
from streamkit.values.messages import Role
from tests.unit.test_golden_requests import PROVIDERS

CALLS: dict[str, Callable[..., Any]] = {
    "Client.stream": Client.stream,
    "Client.complete": Client.complete,
    "stream": streamkit.stream,
    "complete": streamkit.complete,
}
HELLO = [{"role": "user", "content": "Hi"}]


def all_providers() -> list[Provider]:
    made = [make() for make in PROVIDERS.values()]
    made += [OpenAICompatible(name, api_key="k") for name in SERVICES]
    return [*made, Agnic(api_key="k"), AzureOpenAI(api_key="k", endpoint="https://host.example")]


def known_names(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the names of the parameters that a provider has."""
    seen: set[str] = set()
    finish = Parameters.finish

    def spy(parameters: Parameters) -> None:
        seen.update(parameters._known - parameters._refused)
        finish(parameters)

    monkeypatch.setattr(Parameters, "finish", spy)
    provider.request(ChatRequest("m", HELLO))
    quirks: Any = getattr(provider, "_quirks", None)
    return seen or ((_PARAMETERS | quirks.own) - set(quirks.refused))


def test_every_parameter_of_every_provider_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """``RequestParameters`` has the parameters of all providers, and no other."""
    names = {name for provider in all_providers() for name in known_names(provider, monkeypatch)}
    assert names - {"stop"} == set(typing.get_type_hints(RequestParameters))
    assert RequestParameters.__total__ is False


def test_the_roles_and_fields_of_messages() -> None:
    """A message's dict has the roles that ``Message`` has, and only the role is required."""
    hints = typing.get_type_hints(MessageDict)
    assert get_args(Role) == get_args(hints["role"])
    assert frozenset({"role"}) == MessageDict.__required_keys__
    message: MessageDict = {"role": "user", "content": "Hi"}
    assert [message] == messages_of([message])


@pytest.mark.parametrize("name", CALLS)
def test_the_four_calls_take_the_same(name: str) -> None:
    """The options, their defaults and their description are the same for a client and for the module."""

    def options(call: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
        found = inspect.signature(call).parameters.values()
        return [(each.name, each.kind, each.default) for each in found if each.name != "self"]

    def described(call: Callable[..., Any]) -> str:
        text = inspect.getdoc(call) or ""
        return text[text.index("Args:") : text.index("Raises:")]

    assert options(Client.stream) == options(CALLS[name])
    assert described(Client.stream) == described(CALLS[name])


@pytest.mark.parametrize("name", CALLS)
def test_help(name: str) -> None:
    """``help()`` has each option with its default and its meaning, and no object's address."""
    text = pydoc.render_doc(CALLS[name], renderer=pydoc.plaintext)
    assert " object at 0x" not in text
    assert "= <the client's>" in text
    for option in inspect.signature(CALLS[name]).parameters:
        assert option == "self" or f"\n    {option}: " in text or f"\n        {option}: " in text


def test_help_of_a_client() -> None:
    """A client's ``help()`` shows the default limits and retries themselves."""
    text = pydoc.render_doc(Client, renderer=pydoc.plaintext)
    assert " object at 0x" not in text
    assert "= Timeout(connect=10.0, first=60.0, idle=60.0, total=None)" in text
    assert "= Retry(attempts=3" in text


@pytest.mark.parametrize("name", CALLS)
def test_annotations_can_be_evaluated(name: str) -> None:
    """Tools that evaluate annotations can: each names something that there is at run time."""
    hints = typing.get_type_hints(CALLS[name])
    assert {"model", "messages", "timeout", "params", "return"} <= set(hints)


def test_parameters_of_ones_own_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider of another package is handed any parameter, whatever the types say."""
    seen: list[dict[str, Any]] = []

    class Acme(type(PROVIDERS["openai"]())):  # type: ignore[misc]
        def request(self, chat: ChatRequest) -> Any:
            seen.append(dict(chat.params))
            raise ConfigError("enough")

    client = Client([Acme(api_key="k", name="acme")])
    for call in (client.stream, client.complete):
        with pytest.raises(ConfigError, match="enough"):
            call("acme/m", "Hi", warp=9, system="x", headers=1)
    assert [{"warp": 9, "system": "x", "headers": 1}] * 2 == seen


def test_the_four_calls_explain_their_options_alike() -> None:
    """Each has its own docstring, because editors show no other; what they say of the options is the same."""

    def options(call: Any) -> str:
        return (inspect.getdoc(call) or "").partition("Args:")[2].partition("Raises:")[0]

    texts = {options(call) for call in CALLS.values()}
    assert 1 == len(texts)
    assert "buffer_bytes:" in texts.pop()
