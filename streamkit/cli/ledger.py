"""``streamkit ledger``: prove the sums, and export the charges."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
import click

from streamkit.cli.failures import tell
from streamkit.cli.gateway_database import Place, opened, with_database
from streamkit.cli.gateway_options import Moment
from streamkit.cli.gateway_shown import moment_json
from streamkit.cli.naming import counted
from streamkit.cli.output import one_line, put, to_json
from streamkit.cli.usage import holder_of
from streamkit.concurrency.late_import import late_import
from streamkit.gateway.core.money import usd_of

if TYPE_CHECKING:
    from streamkit.gateway.core.records import Charge

__all__ = ["check", "export", "ledger"]

_AMOUNTS = {"reserved": "reserved_usd", "amount": "usd", "shortfall": "shortfall_usd"}
_MOMENTS = ("started_at", "at")
_FORMULA = ("=", "+", "-", "@")
_KINDS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@click.group(
    short_help="Prove the sums of the gateway, and export its charges.",
    epilog="""\b
Examples:
  streamkit ledger check
  streamkit ledger export -o january.csv --since 2027-01-01 --until 2027-02-01
  streamkit ledger export --token ann | jq -s 'map(.usd | tonumber) | add'
""",
)
def ledger() -> None:
    """Prove the sums of the gateway's ledger, and export its charges."""


@ledger.command(short_help="Prove the sums.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@with_database
def check(place: Place, as_json: bool) -> int:
    """Prove the sums, also while gateways are running; whatever is wrong is listed, and the exit code is 1 then.

    The sum of all entries is zero, and so is that of each movement. Each balance is the sum of its entries, and none is
    below zero. Each reservation is open or has one charge.
    """
    with opened(place, without_tokens=True) as gateway:
        problems = gateway.ledger.check()
    if as_json:
        shape = {"right": not problems, "problems": [attrs.asdict(problem) for problem in problems]}
        put(to_json(shape), encoding="utf-8")
    else:
        for problem in problems:
            put(one_line(str(problem)))
        put("all sums are right" if not problems else f"{counted(len(problems), 'problem')} found")
    return 1 if problems else 0


@ledger.command(short_help="Write the charges as CSV or JSON lines.")
@click.option(
    "-o", "--output", "target", metavar="FILE", type=click.Path(dir_okay=False), help="By default standard output."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "jsonl"]),
    help="By default the name of FILE says it, and standard output is jsonl.",
)
@click.option("--token", metavar="NAME", help="Of this token alone.")
@click.option("--team", metavar="NAME", help="Of this team alone.")
@click.option("--since", metavar="WHEN", type=Moment(past=True), help="From when: 7d, 2027-01-01; by default all.")
@click.option("--until", metavar="WHEN", type=Moment(past=True), help="Until when; by default all.")
@with_database
def export(
    place: Place,
    target: str | None,
    kind: str | None,
    token: str | None,
    team: str | None,
    since: float | None,
    until: float | None,
) -> int:
    """Write each charge on a line, the oldest first: amounts in USD as exact decimals, moments in UTC.

    No prompt and no reply is in it, as the ledger has none.
    """
    kind = kind or (_KINDS.get(Path(target).suffix.lower()) if target else "jsonl")
    if kind is None:
        raise click.UsageError("say with --format whether FILE is csv or jsonl")
    with opened(place, without_tokens=token is None and team is None) as gateway, ExitStack() as ending:
        charges = gateway.ledger.charges(holder_of(gateway, token, team), since=since or 0.0, until=until)
        lines = _csv(charges) if kind == "csv" else (to_json(_fields(charge)) for charge in charges)
        if target is None:
            for line in lines:
                put(line, encoding="utf-8")
            return 0
        count = _written(ending.enter_context(_file(target)), lines, kind)
    tell(f"{counted(count, 'charge')} written to {target}")
    return 0


def _file(target: str) -> BinaryIO:
    return open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _written(file: BinaryIO, lines: Iterable[str], kind: str) -> int:
    count = 0
    for line in lines:
        file.write(line.encode() + b"\n")
        count += 1
    return count - 1 if kind == "csv" else count


def _fields(charge: Charge) -> dict[str, Any]:
    """Return a charge as JSON: amounts in dollars, moments in UTC."""
    shape: dict[str, Any] = {}
    for name, value in attrs.asdict(charge).items():
        if name in _AMOUNTS:
            shape[_AMOUNTS[name]] = usd_of(value)
        else:
            shape[name] = moment_json(value) if name in _MOMENTS else value
    return shape


def _csv(charges: Iterable[Charge]) -> Iterator[str]:
    """Yield the lines of a CSV, with the names first."""
    names = [field.name for field in attrs.fields(late_import("streamkit.gateway.core.records").Charge)]
    yield _line([_AMOUNTS.get(name, name) for name in names])
    for charge in charges:
        yield _line([_cell(value) for value in _fields(charge).values()])


def _cell(value: Any) -> str:
    """Return a value for a table, in which no text is a formula: clients name models."""
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    text = one_line(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
