"""Fill a class from each row of a table, and write a table.

Each prompt is a dict: ``messages`` is sent, and ``id`` names it, by ``key="id"``, so that with ``save=`` rows may come
and go between two runs. A reply that does not fit the class would be the error of its row.

Run it as it is, or with the name of another model: ``python typed_rows.py openai/gpt-4o-mini``.
"""

import csv
import io
import sys
from dataclasses import asdict, dataclass

from streamkit import Client

model = sys.argv[1] if len(sys.argv) > 1 else "demo/assistant"

TABLE = """\
id,note
a1,customer: Ann; total: 52.50 EUR
b2,customer: Bob; total: 7.25 EUR
c3,customer: Cleo; total: 12.00 EUR
"""


@dataclass
class Invoice:
    customer: str
    total: float


rows = csv.DictReader(io.StringIO(TABLE))
prompts = ({"id": row["id"], "messages": row["note"]} for row in rows)

with Client() as client:
    table = csv.writer(sys.stdout, lineterminator="\n")
    for result in client.map(model, prompts, key="id", ordered=True, response_format=Invoice):
        table.writerow(
            [result.key, *asdict(result.parsed).values()] if result.error is None else [result.key, "failed"]
        )
