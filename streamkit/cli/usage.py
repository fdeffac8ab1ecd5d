"""``streamkit usage``: what was spent, by day, model, token or team."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from streamkit.cli.failures import tell
from streamkit.cli.gateway_database import Gateway, Place, opened, with_database
from streamkit.cli.gateway_options import Moment
from streamkit.cli.gateway_shown import table
from streamkit.cli.output import put, to_json
from streamkit.gateway.core.money import usd_of

if TYPE_CHECKING:
    from streamkit.gateway.core.records import Usage

__all__ = ["holder_of", "usage"]

_MONTH = 30 * 86400.0
_NUMBERS = ("REQUESTS", "FAILED", "ESTIMATED", "USD", "INPUT", "CACHED", "OUTPUT", "REASONING")


def holder_of(gateway: Gateway, token: str | None, team: str | None) -> str | None:
    """Return whose requests are meant; ``None`` for all.

    Raises:
        click.UsageError: both are given.
        ConfigError: there is no such token or team.
    """
    if token is not None and team is not None:
        raise click.UsageError("give --token or --team")
    if token is not None:
        return gateway.tokens.show(token).holder.name
    return None if team is None else gateway.tokens.team(team).holder.name


@click.command(
    short_help="Show what was spent.",
    epilog="""\b
Examples:
  streamkit usage
  streamkit usage --by token --since 7d
  streamkit usage --by model --team backend --since 2027-01-01 --until 2027-02-01
""",
)
@click.option(
    "--by",
    type=click.Choice(["day", "model", "token", "team", "provider", "label"]),
    default="day",
    show_default=True,
    help="What is added up.",
)
@click.option("--token", metavar="NAME", help="Of this token alone.")
@click.option("--team", metavar="NAME", help="Of this team alone.")
@click.option("--since", metavar="WHEN", type=Moment(past=True), help="From when: 7d, 2027-01-01; by default 30 days.")
@click.option("--until", metavar="WHEN", type=Moment(past=True), help="Until when; by default now.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line of the table.")
@with_database
def usage(
    place: Place,
    by: Any,
    token: str | None,
    team: str | None,
    since: float | None,
    until: float | None,
    as_json: bool,
) -> int:
    """Show what was spent, with requests and tokens of models; days are those of UTC.

    Requests that failed are those without success, whether they were charged or not. Estimated amounts are those of
    replies that broke off, so that no provider said what they used.
    """
    until = time.time() + 1 if until is None else until
    since = until - _MONTH if since is None else since
    with opened(place) as gateway:
        found = gateway.ledger.usage(holder_of(gateway, token, team), since=since, until=until, by=by)
        names = {each.id: each.name for each in gateway.tokens.list(revoked=True)} if by == "token" else {}
    if as_json:
        for each in found:
            shape = {by: each.key, **attrs.asdict(each), "usd": usd_of(each.amount)}
            for name in ("key", "amount"):
                del shape[name]
            put(to_json({**shape, "name": names[each.key]} if each.key in names else shape), encoding="utf-8")
        return 0
    if not found:
        tell("nothing was asked in that time")
        return 0
    rows = [(names.get(each.key, each.key) or "-", *_numbers([each])) for each in found]
    if len(found) > 1:
        rows.append(("all", *_numbers(found)))
    for line in table((by.upper(), *_NUMBERS), rows, right=_NUMBERS):
        put(line)
    return 0


def _numbers(found: Sequence[Usage]) -> tuple[str, ...]:
    def total(name: str) -> int:
        return sum(getattr(each, name) for each in found)

    return (
        f"{total('requests'):,}",
        f"{total('failed'):,}",
        f"{total('estimated'):,}",
        usd_of(total("amount")),
        f"{total('input_tokens'):,}",
        f"{total('cached_tokens'):,}",
        f"{total('output_tokens'):,}",
        f"{total('reasoning_tokens'):,}",
    )
