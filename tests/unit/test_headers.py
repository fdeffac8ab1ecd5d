"""Headers that a request can carry, and headers that are rejected before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from streamkit import ConfigError
from streamkit.providers import ChatRequest, OpenAI, OpenAICompatible, OpenAIResponses
from streamkit.wire.secrets import Masked

HELLO = [{"role": "user", "content": "Hi"}]


def sent(headers: Any) -> Any:
    return OpenAI("k").request(ChatRequest("m", HELLO, extra_headers=headers)).headers


@pytest.mark.parametrize("name", ["X\r\nInj", "", "X Y", "X:", "Xä", 1, None, b"X"])
def test_a_name_that_is_none(name: Any) -> None:
    """A header's name consists of the characters that HTTP allows."""
    with pytest.raises(ConfigError, match="is no name of a header"):
        sent({name: "v"})


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\0b", "\x7f", "\u20ac", 5, None, b"v"])
def test_a_value_that_is_none(value: Any) -> None:
    """A header's value is text without line breaks and other control characters."""
    with pytest.raises(ConfigError, match="the header X "):
        sent({"X": value})


def test_blanks_around_a_value() -> None:
    """Blanks around a value are no part of it; a secret stays masked without them."""
    headers = sent({"X": " \tlead and trail ", "Y": "a\tb"})
    assert ("lead and trail", "a\tb") == (headers["X"], headers["Y"])
    assert isinstance(headers["X"], Masked)


@pytest.mark.parametrize("made", [OpenAICompatible, OpenAIResponses])
def test_a_providers_own_headers_do_not_show(made: Any) -> None:
    """Whatever a user has a provider send along may be secret: it is not printed, and kept out of errors."""
    options = {"name": "mine", "base_url": "http://host/v1", "headers": {"X-Secret": "hush-hush"}}
    provider = made(api_key="k", **options)
    request = provider.request(ChatRequest("m", HELLO))
    assert "hush-hush" == request.headers["X-Secret"]
    assert "hush-hush" not in f"{vars(provider)}{dict(request.headers)}{request!r}"
    assert "hush-hush" in request.secrets
    with pytest.raises(ConfigError, match="headers is a dict, not list"):
        made(api_key="k", **{**options, "headers": [("X", "v")]})
