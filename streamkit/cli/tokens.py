"""``streamkit token``: make, show, change and end the tokens of the gateway."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import click

from streamkit.cli.failures import tell
from streamkit.cli.gateway_database import Gateway, Place, opened, who, with_database
from streamkit.cli.gateway_options import (
    NONE,
    Duration,
    Moment,
    Usd,
    changed_limits,
    labels_of,
    with_limits,
)
from streamkit.cli.gateway_shown import (
    balance_json,
    balance_text,
    change_json,
    change_lines,
    fields,
    holder_json,
    limits_text,
    models_text,
    state_of,
    table,
)
from streamkit.cli.naming import when
from streamkit.cli.output import one_line, put, to_json
from streamkit.errors import ConfigError, RequestError, StreamkitError
from streamkit.gateway.core.holders import Limits
from streamkit.gateway.core.money import usd_of

if TYPE_CHECKING:
    from streamkit.gateway.core.token_values import Token

__all__ = ["add_money", "create", "list_", "revoke", "rotate", "set_", "show", "token", "topup"]

_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_models = click.option(
    "-m",
    "--model",
    "models",
    metavar="PATTERN",
    multiple=True,
    help="A model that it may use, * for anything, such as openai/*; may be given more than once. Without it all.",
)
_labels = click.option(
    "--label", "labels", metavar="NAME=TEXT", multiple=True, help="A label; may be given repeatedly."
)
_BALANCES = ["own", "team", "unlimited"]


@click.group(
    short_help="Make, show, change and end tokens of the gateway.",
    epilog="""\b
Examples:
  streamkit token create ann --topup 5
  streamkit token create ci --team backend --model "openai/*" --usd-per-day 2
  streamkit token list
  streamkit token topup ann 10
  streamkit token rotate ann --grace 1h
  streamkit token revoke ann

\b
Amounts are in USD, such as 5, 5.00 or 0.000001. A token is named by its name or
its id, never by its text.
""",
)
def token() -> None:
    """Make, show, change and end the tokens that streamkit serve takes."""


@token.command(
    short_help="Make a token, and show its text once.",
    epilog="""\b
Examples:
  streamkit token create ann --topup 5 --usd-per-day 1
  streamkit token create ci --team backend --expires 90d --label repo=web
  TOKEN=$(streamkit token create notebook --topup 2)
""",
)
@click.argument("name")
@click.option("--team", metavar="TEAM", default="", help="The team that it belongs to, whose limits hold as well.")
@_models
@click.option(
    "--balance",
    type=click.Choice(_BALANCES),
    help="What it spends: its own balance, its team's, or without a limit. By default its team's if it has one.",
)
@click.option(
    "--topup", "amount", metavar="USD", type=Usd(), default=0, help="Money to begin with, for its own balance."
)
@with_limits
@click.option("--expires", metavar="WHEN", type=Moment(), help="When it ends: 30d, 2027-01-31 or 2027-01-31T18:00.")
@_labels
@_json
@with_database
def create(
    place: Place,
    name: str,
    team: str,
    models: tuple[str, ...],
    balance: Any,
    amount: int,
    limits: dict[str, Any],
    expires: float | None,
    labels: tuple[str, ...],
    as_json: bool,
) -> int:
    """Make a token called NAME.

    Its text is written to standard output, this once: the database has only a hash of it. Who has it spends from its
    balance.
    """
    kind = balance or ("team" if team else "own")
    if amount and kind != "own":
        raise click.UsageError("--topup is for a balance of its own; streamkit team topup is for that of a team")
    with opened(place, makes=True) as gateway:
        made, text = gateway.tokens.create(
            name,
            by=who(),
            team=team,
            models=models,
            limits=changed_limits(Limits(), limits),
            balance=balance,
            expires_at=expires,
            labels=labels_of(labels),
        )
        failure = _begun(gateway, made, amount)
        _write_text(gateway, made, str(text), as_json)
    if failure is not None:
        tell(f"the token was made, and its balance was not topped up: {failure.message}")
        return 1
    return 0


def _begun(gateway: Gateway, made: Token, amount: int) -> StreamkitError | None:
    """Top up a new token; a failure is returned, as the text of the token has to be shown all the same."""
    if amount:
        try:
            gateway.ledger.top_up(made.holder.name, amount, id=f"create:{made.id}", by=who(), note="to begin with")
        except StreamkitError as error:
            return error
    return None


def _write_text(gateway: Gateway, made: Token, text: str, as_json: bool) -> None:
    if as_json:
        shape = holder_json(made, gateway.ledger.balance(made.holder.name))
        put(to_json({"text": text, **shape}), encoding="utf-8")
        return
    put(text)
    click.echo(f"this is the text of {one_line(made.name)} ({made.id}); it is shown this once: keep it safe", err=True)


@token.command(name="list", short_help="List the tokens.")
@click.option("--team", metavar="TEAM", help="Of this team alone.")
@click.option("--all", "everything", is_flag=True, help="Also those that were revoked.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a token, a line each.")
@with_database
def list_(place: Place, team: str | None, everything: bool, as_json: bool) -> int:
    """List the tokens, the first made first.

    The hint is the end of a token's text.
    """
    with opened(place) as gateway:
        rows = [
            (each, gateway.ledger.balance(each.holder.name))
            for each in gateway.tokens.list(team=team, revoked=everything)
        ]
    if as_json:
        for each, balance in rows:
            put(to_json(holder_json(each, balance)), encoding="utf-8")
        return 0
    if not rows:
        tell("there are no tokens; streamkit token create makes one")
        return 0
    now = time.time()
    head = ("NAME", "ID", "HINT", "TEAM", "BALANCE", "SPENT", "STATE", "MODELS", "LIMITS")
    lines = table(
        head,
        (
            (
                each.name,
                each.id,
                f"…{each.hint}",
                each.team or "-",
                balance_text(each, balance),
                usd_of(balance.spent),
                state_of(each, now),
                models_text(each),
                limits_text(each.limits) or "-",
            )
            for each, balance in rows
        ),
        right=("BALANCE", "SPENT"),
    )
    for line in lines:
        put(line)
    return 0


@token.command(short_help="Show a token, its balance, and who changed it.")
@click.argument("name")
@_json
@with_database
def show(place: Place, name: str, as_json: bool) -> int:
    """Show the token NAME, its balance, and each change of both: who, when, what, before and after.

    NAME is its name or its id. Its text cannot be shown.
    """
    with opened(place) as gateway:
        found = gateway.tokens.show(name)
        balance = gateway.ledger.balance(found.holder.name)
        changes = gateway.changes(found.holder.name)
    if as_json:
        shape = {**holder_json(found, balance), "changes": [change_json(change) for change in changes]}
        put(to_json(shape), encoding="utf-8")
        return 0
    shown = {
        "name": found.name,
        "id": found.id,
        "text": f"sk-…{found.hint}",
        "state": state_of(found, time.time()),
        "team": found.team,
        "models": models_text(found),
        "limits": limits_text(found.limits) or "none",
        "balance": balance_text(found, balance),
        "reserved": usd_of(balance.reserved) if balance.reserved else "",
        "spent": usd_of(balance.spent),
        "labels": ", ".join(f"{label}={text}" for label, text in found.labels.items()),
        "made": f"{when(found.created_at)} by {found.by}",
    }
    for line in (*fields(shown), "", *change_lines(changes)):
        put(line)
    return 0


@token.command(short_help="End a token for ever.")
@click.argument("name")
@_json
@with_database
def revoke(place: Place, name: str, as_json: bool) -> int:
    """End the token NAME for ever; running gateways refuse it within two seconds.

    What is in its balance stays there, and can be taken out with streamkit token topup --withdraw.
    """
    with opened(place) as gateway:
        ended = gateway.tokens.revoke(name, by=who())
        balance = gateway.ledger.balance(ended.holder.name)
    if as_json:
        put(to_json(holder_json(ended, balance)), encoding="utf-8")
    else:
        put(f"revoked: {one_line(ended.name)} ({ended.id})")
    return 0


@token.command(short_help="Give a token a new text.")
@click.argument("name")
@click.option(
    "--grace",
    metavar="TIME",
    type=Duration(),
    default="0",
    show_default=True,
    help="How long the text it had is taken as well, such as 10m or 1h.",
)
@_json
@with_database
def rotate(place: Place, name: str, grace: float, as_json: bool) -> int:
    """Give the token NAME a new text, which is shown once. Id, balance and limits stay."""
    with opened(place) as gateway:
        rotated, text = gateway.tokens.rotate(name, by=who(), grace=grace)
        _write_text(gateway, rotated, str(text), as_json)
    return 0


_amount = click.argument("amount", metavar="USD", type=Usd())
_withdraw = click.option("--withdraw", is_flag=True, help="Take it out instead, as far as it is there.")
_note = click.option("--note", metavar="TEXT", default="", help="Why, for the record.")
_id = click.option("--id", "id", metavar="ID", help="Of this payment: the same one again changes nothing.")


@token.command(
    short_help="Put money into a balance.",
    epilog="""\b
Examples:
  streamkit token topup ann 5
  streamkit token topup ann 0.50 --note "for the demo" --id invoice-17
  streamkit token topup ann 2 --withdraw
""",
)
@click.argument("name")
@_amount
@_withdraw
@_note
@_id
@_json
@with_database
def topup(place: Place, name: str, amount: int, withdraw: bool, note: str, id: str | None, as_json: bool) -> int:
    """Put USD into the balance of the token NAME."""
    with opened(place) as gateway:
        found = gateway.tokens.show(name)
        if found.balance != "own" and not withdraw:
            whose = f"its team's: streamkit team topup {found.team}" if found.balance == "team" else "not limited"
            raise ConfigError(f"the balance of {found.name} is {whose}")
        if found.revoked_at is not None and not withdraw:
            raise ConfigError(f"the token {found.name} was revoked")
        return add_money(gateway, found.holder.name, found.name, amount, withdraw, note, id, as_json)


def add_money(
    gateway: Gateway, account: str, name: str, amount: int, withdraw: bool, note: str, id: str | None, as_json: bool
) -> int:
    """Put an amount into an account or take it out, and say what is in it then.

    Raises:
        ConfigError: there is less in it than is to be taken out.
    """
    moved = -amount if withdraw else amount
    try:
        gateway.ledger.top_up(account, moved, id=id or f"cli:{secrets.token_hex(16)}", by=who(), note=note)
    except RequestError:  # whose text is for clients
        available = usd_of(gateway.ledger.balance(account).available)
        raise ConfigError(f"{name} has {available} USD, and no more can be taken out") from None
    balance = gateway.ledger.balance(account)
    if as_json:
        put(to_json({"account": account, "money": balance_json(balance)}), encoding="utf-8")
    else:
        put(f"{one_line(name)} has {usd_of(balance.available)} USD")
    return 0


@token.command(
    name="set",
    short_help="Change a token.",
    epilog="""\b
Examples:
  streamkit token set ann --usd-per-day 2 --streams none
  streamkit token set ann --model "openai/*" --model "anthropic/*"
  streamkit token set ann --expires never --label team=
""",
)
@click.argument("name")
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@click.option("--team", metavar="TEAM", help="Another team; none for none.")
@_models
@click.option("--all-models", is_flag=True, help="Let it use all models.")
@click.option("--balance", type=click.Choice(_BALANCES), help="What it spends from now on.")
@with_limits
@click.option("--expires", metavar="WHEN", type=Moment(or_never=True), help="When it ends; never for never.")
@click.option("--label", "labels", metavar="NAME=TEXT", multiple=True, help="A label; without a text it goes.")
@_json
@with_database
def set_(
    place: Place,
    name: str,
    new_name: str | None,
    team: str | None,
    models: tuple[str, ...],
    all_models: bool,
    balance: Any,
    limits: dict[str, Any],
    expires: Any,
    labels: tuple[str, ...],
    as_json: bool,
) -> int:
    """Change the token NAME: whatever is given, and nothing else; none takes a limit away."""
    if models and all_models:
        raise click.UsageError("--all-models takes the list away, and --model says another one: give one of them")
    given = {
        "name": new_name,
        "team": "" if team is not None and team.lower() == "none" else team,
        "models": models if models or all_models else None,
        "balance": balance,
        "expires_at": expires,
    }
    changes: dict[str, Any] = {
        key: None if value is NONE else value for key, value in given.items() if value is not None
    }
    with opened(place) as gateway:
        before = gateway.tokens.show(name)
        if limits:
            changes["limits"] = changed_limits(before.limits, limits)
        if labels:
            changes["labels"] = labels_of(labels, dict(before.labels))
        if not changes:
            raise click.UsageError("say what is to change, such as --usd-per-day 2")
        after = gateway.tokens.set(before.id, by=who(), **changes)
        balance_now = gateway.ledger.balance(after.holder.name)
    if as_json:
        put(to_json(holder_json(after, balance_now)), encoding="utf-8")
    else:
        said = [after.name, models_text(after), limits_text(after.limits), balance_text(after, balance_now)]
        put(f"changed: {one_line('; '.join(filter(None, said)))}")
    return 0
