"""Limits and breakers as a type checker sees them."""

from __future__ import annotations

from typing import Literal

from streamkit import Breaker, CircuitOpenError, Client, LocalLimitError, RateLimit
from tests.typing.support import assert_type


def made() -> Client:
    breaker = Breaker(failures=5, within=60, pause=30)
    limit = RateLimit(requests=500, tokens=200_000, streams=8, per=60, by="model", of="openai", wait=False)
    shared = RateLimit(requests=500, storage="redis://localhost:6379/0")
    assert_type(breaker.state("openai"), Literal["closed", "open", "half-open"])
    return Client(policies=[breaker, limit, shared])


def told(circuit: CircuitOpenError, refused: LocalLimitError) -> None:
    assert_type(circuit.provider, str)
    assert_type(circuit.retry_after, float | None)
    assert_type(refused.limit, str)
    assert_type(refused.retry_after, float | None)


def wrong() -> None:
    RateLimit(by="user")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    RateLimit(requests="many")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Breaker("openai")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
