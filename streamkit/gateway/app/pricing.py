"""What a request may cost at most, and what a reply has cost: ``Prices`` and ``Quote``. Amounts are nano-USD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.errors import RequestError
from streamkit.gateway.config.values import ModelConfig
from streamkit.models import prices
from streamkit.values.chunks import Usage
from streamkit.values.messages import Message
from streamkit.web.formats.requests.request import WebRequest
from streamkit.wire.json import write_json

__all__ = ["Counted", "Quote", "cost_of", "count_input", "quote"]

_NANO = 10**9
_MILLION = 10**6
_A_MESSAGE = 16  # tokens around the text of one
_A_FILE = 4096  # tokens of a picture or a page of a document, about the most that providers count for one picture
_MOST_OUTPUT = 10_000_000  # tokens; more is no number of tokens
_MOST_CHOICES = 128
_FREE = ("demo",)  # kinds of provider that cost nothing
_LIMITS = ("max_tokens", "max_completion_tokens")


@attrs.frozen
class Counted:
    """The input of a request, in tokens.

    Attributes:
        most: that a tokenizer can make of it: none makes more tokens than there are bytes.
        likely: a token for four bytes.
    """

    most: int
    likely: int


def count_input(request: WebRequest) -> Counted:
    """Count the tokens that a request sends."""
    size, files = 0, 0
    for message in request.messages:
        text, inside = _sizes(message)
        size, files = size + text, files + inside
    for name in ("tools", "response_format", "extra_body"):
        if name in request.params:
            size += len(write_json(request.params[name]))
    around = _A_MESSAGE * (len(request.messages) + 1) + _A_FILE * files
    return Counted(size + around, -(-size // 4) + around // 2)


def _sizes(message: Message) -> tuple[int, int]:
    """Return the bytes of a message's text, and the number of files in it."""
    shape = message.to_dict()
    size, files = 0, 0
    content = shape.pop("content", None)
    if isinstance(content, str):
        size += len(content.encode("utf-8", "replace"))
    else:
        for part in content or ():
            if part.get("type") == "text":
                size += len(part["text"].encode("utf-8", "replace"))
            else:
                files += 1
    return size + len(write_json(shape)), files


@attrs.frozen
class Quote:
    """What a request may cost.

    Attributes:
        input: tokens that it sends.
        output: tokens that each choice may have at most, unless ``amount`` allows fewer.
        choices: how many replies are asked for.
        asked: whether the client has said how long the reply may be: then a shorter one is not what it asked for.
        input_amount: what the input costs at most.
        token_amount: what a token of output costs at most, of all choices together, in nano-USD; a fraction.
    """

    input: Counted
    output: int
    choices: int
    asked: bool
    input_amount: int
    token_amount: float

    @property
    def wanted(self) -> int:
        """What to reserve."""
        return self.input_amount + math.ceil(self.token_amount * self.output)

    @property
    def least(self) -> int:
        """What has to be reserved, or the request is refused."""
        return self.wanted if self.asked else self.input_amount + math.ceil(self.token_amount)

    def output_for(self, amount: int) -> int:
        """Return how many tokens of output an amount pays."""
        if amount >= self.wanted or not self.token_amount:
            return self.output
        return max(1, int((amount - self.input_amount) / self.token_amount))


def quote(model: ModelConfig, routes: Sequence[tuple[str, str]], request: WebRequest) -> Quote:
    """Return what a request may cost, by the dearest of its routes.

    Args:
        model: as it is configured.
        routes: kinds of provider and names of model.
        request: as it came.

    Raises:
        RequestError: it asks for an impossible number, or for a model whose price nobody knows.
    """
    if not all(_has_price(model, *route) for route in routes):
        raise RequestError(
            f"the model {request.model!r:.128} cannot be paid for, as its price is not known",
            status=404,
            param="model",
            code="model_not_priced",
        )
    asked = [_count(request.params, name, _MOST_OUTPUT) for name in _LIMITS if name in request.params]
    choices = _count(request.params, "n", _MOST_CHOICES) if "n" in request.params else 1
    counted = count_input(request)
    output = min(asked, default=model.max_output)
    base = max(cost_of(model, *route, Usage(counted.most, 0)) for route in routes)
    long = max(cost_of(model, *route, Usage(counted.most, _MILLION)) for route in routes)
    return Quote(counted, output, choices, bool(asked), base, (long - base) / _MILLION * choices)


def _count(params: Mapping[str, Any], name: str, most: int) -> int:
    value = params[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RequestError(f"{name} is a whole number from 1 to {most}", param=name, code="invalid_value")
    return value


def _has_price(model: ModelConfig, kind: str, name: str) -> bool:
    """Return whether a reply has a price; a name that a pattern lets through may be one that no list has."""
    return model.input_price is not None or kind in _FREE or prices.cost_of(kind, name, Usage(1, 1)) is not None


def cost_of(model: ModelConfig, kind: str, name: str, usage: Usage) -> int:
    """Return the cost of a usage, rounded up to a whole nano-USD; by list price where the configuration has none.

    Args:
        model: as it is configured.
        kind: of the provider that answered, by which price lists know it.
        name: of the model.
        usage: with ``input_tokens`` and ``output_tokens``.
    """
    if model.input_price is None and model.output_price is None:
        listed = prices.cost_of(kind, name, attrs.evolve(usage, cost=None))
        if listed is None:
            listed = usage.cost or 0.0
        return math.ceil(round(listed * _NANO, 3))
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    cached = usage.cached_tokens or 0
    if usage.cached_apart:
        given += usage.cache_write_tokens or 0
    else:
        cached = min(cached, given)
        given -= cached
    input_price, output_price = model.input_price or 0, model.output_price or 0
    cached_price = input_price if model.cached_price is None else model.cached_price
    total = given * input_price + cached * cached_price + made * output_price
    return -(-total // _MILLION)
