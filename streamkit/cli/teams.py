"""``streamkit team``: tokens that share models, limits and a balance."""

from __future__ import annotations

from typing import Any

import click

from streamkit.cli.failures import tell
from streamkit.cli.gateway_database import Place, opened, who, with_database
from streamkit.cli.gateway_options import Usd, changed_limits, with_limits
from streamkit.cli.gateway_shown import (
    balance_text,
    change_json,
    change_lines,
    fields,
    holder_json,
    limits_text,
    models_text,
    table,
)
from streamkit.cli.naming import when
from streamkit.cli.output import one_line, put, to_json
from streamkit.cli.tokens import add_money
from streamkit.errors import ConfigError
from streamkit.gateway.core.holders import Limits
from streamkit.gateway.core.money import usd_of

__all__ = ["create", "list_", "set_", "show", "team", "topup"]

_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_balance = click.option("--balance", type=click.Choice(["own", "unlimited"]), help="Its own, or without a limit.")
_models = click.option(
    "-m",
    "--model",
    "models",
    metavar="PATTERN",
    multiple=True,
    help="A model that its tokens may use, * for anything; may be given more than once. Without it all.",
)


@click.group(
    short_help="Make and change teams, which share a balance.",
    epilog="""\b
Examples:
  streamkit team create backend --usd-per-month 200 --model "openai/*"
  streamkit team topup backend 50
  streamkit token create ci --team backend
  streamkit team list
""",
)
def team() -> None:
    """Make and change teams: tokens that share models, limits and a balance.

    No token of a team can do more than its team.
    """


@team.command(short_help="Make a team.")
@click.argument("name")
@_models
@_balance
@click.option("--topup", "amount", metavar="USD", type=Usd(), default=0, help="Money to begin with.")
@with_limits
@_json
@with_database
def create(
    place: Place,
    name: str,
    models: tuple[str, ...],
    balance: str | None,
    amount: int,
    limits: dict[str, Any],
    as_json: bool,
) -> int:
    """Make a team called NAME. Its limits are for all its tokens together."""
    if amount and balance == "unlimited":
        raise click.UsageError("--topup is for a balance of its own")
    with opened(place, makes=True) as gateway:
        made = gateway.tokens.create_team(
            name, by=who(), models=models, limits=changed_limits(Limits(), limits), balance=balance or "own"
        )
        if amount:
            gateway.ledger.top_up(made.holder.name, amount, id=f"create:{name}", by=who(), note="to begin with")
        sums = gateway.ledger.balance(made.holder.name)
    if as_json:
        put(to_json(holder_json(made, sums)), encoding="utf-8")
    else:
        put(f"made: {name}; {balance_text(made, sums)} USD" if made.balance == "own" else f"made: {name}")
    return 0


@team.command(name="list", short_help="List the teams.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a team, a line each.")
@with_database
def list_(place: Place, as_json: bool) -> int:
    """List the teams, with how many tokens each has."""
    with opened(place) as gateway:
        tokens = gateway.tokens.list()
        rows = [(each, gateway.ledger.balance(each.holder.name)) for each in gateway.tokens.teams()]
    counts = {each.name: sum(token.team == each.name for token in tokens) for each, _ in rows}
    if as_json:
        for each, sums in rows:
            put(to_json({**holder_json(each, sums), "tokens": counts[each.name]}), encoding="utf-8")
        return 0
    if not rows:
        tell("there are no teams; streamkit team create makes one")
        return 0
    lines = table(
        ("NAME", "TOKENS", "BALANCE", "SPENT", "MODELS", "LIMITS"),
        (
            (
                each.name,
                str(counts[each.name]),
                balance_text(each, sums),
                usd_of(sums.spent),
                models_text(each),
                limits_text(each.limits) or "-",
            )
            for each, sums in rows
        ),
        right=("TOKENS", "BALANCE", "SPENT"),
    )
    for line in lines:
        put(line)
    return 0


@team.command(short_help="Show a team, its balance, and who changed it.")
@click.argument("name")
@_json
@with_database
def show(place: Place, name: str, as_json: bool) -> int:
    """Show the team NAME, its balance, its tokens, and each change: who, when, what, before and after."""
    with opened(place) as gateway:
        found = gateway.tokens.team(name)
        tokens = gateway.tokens.list(team=name)
        sums = gateway.ledger.balance(found.holder.name)
        changes = gateway.changes(found.holder.name)
    if as_json:
        names = [each.name for each in tokens]
        shape = {**holder_json(found, sums), "tokens": names, "changes": [change_json(each) for each in changes]}
        put(to_json(shape), encoding="utf-8")
        return 0
    shown = {
        "name": found.name,
        "tokens": ", ".join(each.name for each in tokens),
        "models": models_text(found),
        "limits": limits_text(found.limits) or "none",
        "balance": balance_text(found, sums),
        "reserved": usd_of(sums.reserved) if sums.reserved else "",
        "spent": usd_of(sums.spent),
        "made": f"{when(found.created_at)} by {found.by}",
    }
    for line in (*fields(shown), "", *change_lines(changes)):
        put(line)
    return 0


@team.command(name="set", short_help="Change a team.")
@click.argument("name")
@_models
@click.option("--all-models", is_flag=True, help="Let its tokens use all models.")
@_balance
@with_limits
@_json
@with_database
def set_(
    place: Place,
    name: str,
    models: tuple[str, ...],
    all_models: bool,
    balance: str | None,
    limits: dict[str, Any],
    as_json: bool,
) -> int:
    """Change the team NAME: whatever is given, and nothing else; none takes a limit away."""
    if models and all_models:
        raise click.UsageError("--all-models takes the list away, and --model says another one: give one of them")
    changes: dict[str, Any] = {"models": models} if models or all_models else {}
    if balance is not None:
        changes["balance"] = balance
    with opened(place) as gateway:
        if limits:
            changes["limits"] = changed_limits(gateway.tokens.team(name).limits, limits)
        if not changes:
            raise click.UsageError("say what is to change, such as --usd-per-month 100")
        after = gateway.tokens.set_team(name, by=who(), **changes)
        sums = gateway.ledger.balance(after.holder.name)
    if as_json:
        put(to_json(holder_json(after, sums)), encoding="utf-8")
    else:
        said = [after.name, models_text(after), limits_text(after.limits), balance_text(after, sums)]
        put(f"changed: {one_line('; '.join(filter(None, said)))}")
    return 0


@team.command(short_help="Put money into a team's balance.")
@click.argument("name")
@click.argument("amount", metavar="USD", type=Usd())
@click.option("--withdraw", is_flag=True, help="Take it out instead, as far as it is there.")
@click.option("--note", metavar="TEXT", default="", help="Why, for the record.")
@click.option("--id", "id", metavar="ID", help="Of this payment: the same one again changes nothing.")
@_json
@with_database
def topup(place: Place, name: str, amount: int, withdraw: bool, note: str, id: str | None, as_json: bool) -> int:
    """Put USD into the balance of the team NAME."""
    with opened(place) as gateway:
        found = gateway.tokens.team(name)
        if found.balance != "own" and not withdraw:
            raise ConfigError(f"the balance of {found.name} is not limited")
        return add_money(gateway, found.holder.name, found.name, amount, withdraw, note, id, as_json)
