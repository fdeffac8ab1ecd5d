"""What is particular about asking Anthropic."""

from __future__ import annotations

import attrs
import pytest

from streamkit import ConfigError
from streamkit.providers import Anthropic
from tests.unit.calls import CALLS


@pytest.mark.parametrize(("params", "version"), [({}, "2026-10-21"), ({"temperature": 0}, "2023-06-01")])
def test_the_version_is_one_that_knows_the_parameters(params: dict[str, float], version: str) -> None:
    """The newest version of the API refuses to be told a temperature, so such a call goes out as the one before."""
    request = Anthropic(api_key="k").request(attrs.evolve(CALLS["effort"], params=params))
    assert version == request.headers["anthropic-version"]


def test_a_version_that_was_given_stays() -> None:
    """A version of one's own is sent whatever the call has."""
    request = Anthropic(api_key="k", version="2023-06-01", betas=["a", "b"]).request(CALLS["effort"])
    assert ("2023-06-01", "a,b") == (request.headers["anthropic-version"], request.headers["anthropic-beta"])


def test_the_key_may_go_in_a_header_of_its_own() -> None:
    """Servers that read `x-api-key` get the key there, and there alone."""
    request = Anthropic(api_key="k", key_header="x-api-key").request(CALLS["effort"])
    assert ("k", None) == (request.headers["x-api-key"], request.headers.get("Authorization"))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_max_tokens_is_at_least_one(limit: object) -> None:
    """The API demands a limit of at least one token; anything else is refused before it is sent."""
    with pytest.raises(ConfigError, match="max_tokens of 1 or more"):
        Anthropic(api_key="k").request(attrs.evolve(CALLS["effort"], params={"max_tokens": limit}))


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://host:1", "http://host:1/v1"), ("http://host/v1/", "http://host/v1")],
)
def test_the_environment_may_leave_the_version_out_of_the_url(
    url: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ANTHROPIC_BASE_URL` is written with and without `/v1`."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
    assert expected == Anthropic(api_key="k").base_url
