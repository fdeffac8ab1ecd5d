"""The steps by which the tables of the gateway came to be: ``STEPS``.

A step that was released never changes: a later one changes its tables. Each is one transaction; see ``Steps``.
"""

from __future__ import annotations

import sqlalchemy as sa

from streamkit.gateway.core import tables
from streamkit.sql.versions import Steps

__all__ = ["STEPS"]


def _make_tables(connection: sa.Connection) -> None:
    tables.metadata.create_all(connection)


STEPS = Steps(tables.schema, [_make_tables])
