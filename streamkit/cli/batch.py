"""``streamkit batch``: ask the same of each row of a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from streamkit.batch.batch import Batch, BatchSettings
from streamkit.batch.saving import Form, ResultFile
from streamkit.batch.values import BatchResult
from streamkit.cli.completing import complete_model
from streamkit.cli.failures import advised, tell
from streamkit.cli.options import Number
from streamkit.cli.question import options_of
from streamkit.cli.result_files import CsvResults, RowLines
from streamkit.cli.rows import Row, Rows, Writer, columns_of, template_in
from streamkit.cli.schemas import output_in
from streamkit.client import Client
from streamkit.errors import StreamkitError

__all__ = ["batch"]

_KINDS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "txt"}
_MOST_TOLD = 5  # failures


@click.command(
    short_help="Ask the same of each row of a file.",
    epilog="""\b
Examples:
  streamkit batch prompts.jsonl -o replies.jsonl -m openai/gpt-4o-mini
  streamkit batch reviews.csv -o judged.csv -m openai/gpt-4o-mini \\
      --template "Is this review kind? {{text}}" --schema kind.json
  streamkit batch tickets.csv -o out.jsonl --template ask.txt --max-cost 5
""",
)
@click.argument("source", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "-o",
    "--output",
    "target",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False),
    help="Where the results go, each as it ends: .csv or .jsonl.",
)
@click.option(
    "-m",
    "--model",
    metavar="MODEL",
    envvar="STREAMKIT_MODEL",
    show_envvar=True,
    default="demo/storyteller",
    show_default=True,
    shell_complete=complete_model,
    help="The model, as provider/model.",
)
@click.option(
    "-t",
    "--template",
    metavar="FILE|TEXT",
    help="The prompt, with {{column}} for the values of a row. Without it a row has a column prompt, or messages.",
)
@click.option("-s", "--system", metavar="FILE|TEXT", help="The system prompt; it may have {{column}} too.")
@click.option(
    "--schema",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON schema that each answer has to fit; in CSV its fields become columns.",
)
@click.option(
    "-n",
    "--concurrency",
    metavar="N",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="How many are asked at once.",
)
@click.option("--key", metavar="COLUMN", help="What names a row, so that rows may come and go between two runs.")
@click.option(
    "--max-cost",
    metavar="USD",
    type=Number(min=0, min_open=True),
    help="From this cost on nothing more is asked; replies that the output has already count.",
)
@click.option(
    "--max-failures",
    metavar="N",
    type=click.IntRange(min=0),
    help="How many rows may fail; after one more nothing more is asked.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "tsv", "jsonl", "txt"]),
    help="What FILE is; by default its name says it, and standard input is jsonl.",
)
@click.option("--timeout", metavar="SECONDS", type=Number(min=0, min_open=True), help="How long one answer may take.")
@click.option("--max-tokens", metavar="N", type=click.IntRange(min=1), help="The longest answer, in tokens.")
@click.option("--temperature", metavar="T", type=Number(min=0), help="0 for the likeliest words, more for others.")
@click.option(
    "--option",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other option of the requests, under the library's name; VALUE is JSON, or else text.",
)
@click.option("--progress/--no-progress", default=None, help="Show a bar; by default on a terminal.")
def batch(
    source: str,
    target: str,
    model: str,
    template: str | None,
    system: str | None,
    schema: str | None,
    concurrency: int,
    key: str | None,
    max_cost: float | None,
    max_failures: int | None,
    kind: str | None,
    timeout: float | None,
    max_tokens: int | None,
    temperature: float | None,
    pairs: tuple[str, ...],
    progress: bool | None,
) -> int:
    """Ask a model about each row of FILE, many at once, and write each result as it ends.

    FILE is CSV with names in its first row, JSON lines (an object, a text, or a list of messages each), or lines of
    text; - is standard input. It is read as far as it is asked, however large it is.

    Run the same command again after Ctrl-C, a crash or failures: rows that the output has a reply to are not asked
    again. The exit code is 0 if all rows have a reply.
    """
    options: dict[str, Any] = options_of(
        pairs, {"max_tokens": max_tokens, "temperature": temperature, "timeout": timeout}
    )
    writer = Writer(template_in(template, "--template"), template_in(system, "--system"))
    if source != "-" and os.path.realpath(source) == os.path.realpath(target):
        raise click.UsageError("the output is the input: name another file with -o")
    output = None if schema is None else output_in(schema)
    if output is not None:
        options["response_format"] = output
    settings = BatchSettings(
        concurrency=concurrency,
        key=None if key is None else lambda row: row.columns.get(key),
        progress=progress,
        max_cost=max_cost,
        max_failures=max_failures,
    )
    with closing(Rows(source, kind or _kind_of(source))) as rows, Client() as client:
        rows.check("--template", columns_of(writer.template))
        rows.check("--system", columns_of(writer.system))
        rows.check("--key", [] if key is None else [key])
        form = _form(target, rows, {} if output is None else output.response_format)
        made = Batch(
            client,
            model,
            rows,
            settings,
            options,
            request=writer,
            file=lambda: ResultFile(target, form, by_key=key is not None),
        )
        return _finished(made)


def _finished(made: Batch[Row]) -> int:
    """Take all results, say what came of them, and return the exit code."""
    failures: list[BatchResult[Row]] = []
    whole = False
    try:
        with made:
            for result in made:
                if result.error is not None and len(failures) < _MOST_TOLD:
                    failures.append(result)
        whole = not made.totals.failed
    finally:
        _tell(made, failures)
    return 0 if whole else 1


def _tell(made: Batch[Row], failures: list[BatchResult[Row]]) -> None:
    totals = made.totals
    for result in failures:
        error = result.error
        said = advised(error) if isinstance(error, StreamkitError) else f"{type(error).__name__}: {error}"
        place = result.prompt.place
        tell(said if said.startswith(place) else f"{place}: {said}")
    if totals.failed > len(failures):
        tell(f"and {totals.failed - len(failures)} more")
    told = f"{totals.answered} answered" + (f", {totals.saved} of them before" if totals.saved else "")
    if totals.failed:
        told += f", {totals.failed} failed"
    if totals.cost is not None:
        told += f", ${totals.cost:.4f}"
    if totals.failed or made.status == "cancelled":
        told += "; run the same command again to ask the others"
    tell(told)


def _kind_of(source: str) -> str:
    ending = Path(source).suffix.lower()
    if source != "-" and ending not in _KINDS:
        raise click.UsageError("FILE ends in .csv, .tsv, .jsonl or .txt; else say with --format what it is")
    return _KINDS.get(ending, "jsonl")


def _form(target: str, rows: Rows, response_format: Mapping[str, Any]) -> Form:
    ending = Path(target).suffix.lower()
    if ending not in (".csv", ".jsonl", ".ndjson"):
        raise click.UsageError("-o takes a file that ends in .csv or .jsonl")
    if ending != ".csv":
        return RowLines()
    schema = response_format.get("json_schema", {}).get("schema", {})
    return CsvResults(rows.names, list(schema.get("properties", {})))
