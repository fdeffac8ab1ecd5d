"""The tables of the gateway, all of them. ``migrations`` makes them and changes them.

Amounts are whole numbers of nano (see ``money``), moments seconds since 1970 unless said otherwise, keys texts of at
most 255 characters.
"""

from __future__ import annotations

import sqlalchemy as sa

from streamkit.sql.versions import version_table

__all__ = [
    "accounts",
    "audit",
    "charges",
    "entries",
    "metadata",
    "replaced",
    "replies",
    "reservations",
    "schema",
    "spending",
    "teams",
    "tokens",
    "topups",
]

metadata = sa.MetaData()

_KEY = sa.String(255)
_AMOUNT = sa.BigInteger()
# SQLite counts up by itself only in a column that is called INTEGER, which has 64 bits there.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

schema = version_table("streamkit_gateway_schema", metadata)

# -- the ledger --------------------------------------------------------------------------------------------

#: A row for each holder (a token, a team): three accounts of the ledger, and what its limits need to know.
accounts = sa.Table(
    "streamkit_gateway_accounts",
    metadata,
    sa.Column("name", _KEY, primary_key=True),  # token:<id> or team:<name>
    sa.Column("available", _AMOUNT, nullable=False),  # the account `<name>`
    sa.Column("reserved", _AMOUNT, nullable=False),  # the account `reserved/<name>`
    sa.Column("spent", _AMOUNT, nullable=False),  # the account `spent/<name>`
    sa.Column("open_amount", _AMOUNT, nullable=False),  # of its open reservations, from whichever account they are
    sa.Column("streams", sa.Integer, nullable=False),  # how many reservations of it are open
)

#: The sides of each movement of money; those of one movement have the sum 0. Rows are added only.
entries = sa.Table(
    "streamkit_gateway_entries",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),  # reserve, settle, release, recover, correct, topup
    sa.Column("id", _KEY, nullable=False),  # of the request or the top-up; with `kind` it is the movement
    sa.Column("account", _KEY, nullable=False),  # as in `accounts`; or world, shortfall
    sa.Column("amount", _AMOUNT, nullable=False),  # what the account gets; negative: gives
    sa.Column("at", sa.Double, nullable=False),
)

#: The requests that are under way. The row goes when the request has its charge.
reservations = sa.Table(
    "streamkit_gateway_reservations",
    metadata,
    sa.Column("request_id", _KEY, primary_key=True),
    sa.Column("account", _KEY, nullable=False),
    sa.Column("token", _KEY, nullable=False),  # the id, without `token:`
    sa.Column("team", _KEY, nullable=False),  # the name; "" for none
    sa.Column("overdraft", sa.Boolean, nullable=False),
    sa.Column("amount", _AMOUNT, nullable=False),
    sa.Column("known", _AMOUNT),  # what it has cost so far; NULL: nothing is known
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("clock", _KEY, nullable=False),  # of the lease, see `leases`
    sa.Column("lease_until", sa.Double, nullable=False),  # by that clock
    sa.Column("lease_wall", sa.Double, nullable=False),  # the same in seconds since 1970, for those of another clock
    sa.Column("model", _KEY, nullable=False),
    sa.Column("endpoint", _KEY, nullable=False),
    sa.Column("label", _KEY, nullable=False),
)

#: The end of each request, also where nothing was spent.
charges = sa.Table(
    "streamkit_gateway_charges",
    metadata,
    sa.Column("request_id", _KEY, primary_key=True),
    sa.Column("account", _KEY, nullable=False),
    sa.Column("token", _KEY, nullable=False),
    sa.Column("team", _KEY, nullable=False),
    sa.Column("overdraft", sa.Boolean, nullable=False),
    sa.Column("reserved", _AMOUNT, nullable=False),
    sa.Column("amount", _AMOUNT, nullable=False),
    sa.Column("shortfall", _AMOUNT, nullable=False),  # the part of the amount for which there was no money
    sa.Column("state", sa.String(16), nullable=False),  # settled, released, recovered
    sa.Column("estimated", sa.Boolean, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),  # of HTTP
    sa.Column("model", _KEY, nullable=False),
    sa.Column("endpoint", _KEY, nullable=False),
    sa.Column("label", _KEY, nullable=False),
    sa.Column("provider", _KEY, nullable=False),
    sa.Column("provider_model", _KEY, nullable=False),
    sa.Column("input_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Index("streamkit_gateway_charges_at", "at"),
    sa.Index("streamkit_gateway_charges_token", "token", "at"),
    sa.Index("streamkit_gateway_charges_team", "team", "at"),
)

#: The sums of charges of each holder in a minute, an hour, a day: for limits of any 24 hours and any 30 days.
spending = sa.Table(
    "streamkit_gateway_spending",
    metadata,
    sa.Column("holder", _KEY, primary_key=True),
    sa.Column("width", sa.Integer, primary_key=True, autoincrement=False),  # seconds
    sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("amount", _AMOUNT, nullable=False),
)

#: What was put into an account from outside, or taken out.
topups = sa.Table(
    "streamkit_gateway_topups",
    metadata,
    sa.Column("id", _KEY, primary_key=True),
    sa.Column("account", _KEY, nullable=False, index=True),
    sa.Column("amount", _AMOUNT, nullable=False),
    sa.Column("available", _AMOUNT, nullable=False),  # in the account afterwards
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("by", _KEY, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

# -- tokens and teams --------------------------------------------------------------------------------------

tokens = sa.Table(
    "streamkit_gateway_tokens",
    metadata,
    sa.Column("id", _KEY, primary_key=True),
    sa.Column("name", _KEY, nullable=False, index=True),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),  # HMAC-SHA256 over the whole text, in hex
    sa.Column("hint", sa.String(16), nullable=False),  # the last characters of the text, for lists
    sa.Column("team", _KEY, nullable=False, index=True),  # the name; "" for none
    sa.Column("models", sa.Text, nullable=False),  # a JSON array of patterns
    sa.Column("limits", sa.Text, nullable=False),  # a JSON object
    sa.Column("balance", sa.String(16), nullable=False),  # own, team, unlimited
    sa.Column("labels", sa.Text, nullable=False),  # a JSON object
    sa.Column("by", _KEY, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
)

#: Texts that were replaced by a rotation, and are valid for a while.
replaced = sa.Table(
    "streamkit_gateway_replaced",
    metadata,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("token", _KEY, nullable=False, index=True),  # the id
    sa.Column("until", sa.Double, nullable=False),
)

teams = sa.Table(
    "streamkit_gateway_teams",
    metadata,
    sa.Column("name", _KEY, primary_key=True),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("limits", sa.Text, nullable=False),
    sa.Column("balance", sa.String(16), nullable=False),  # own, unlimited
    sa.Column("by", _KEY, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

# -- audit and kept replies --------------------------------------------------------------------------------

#: Who did what and when, for every change of a token, a team and a balance. Rows are added only.
audit = sa.Table(
    "streamkit_gateway_audit",
    metadata,
    sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
    sa.Column("at", sa.Double, nullable=False, index=True),
    sa.Column("by", _KEY, nullable=False),
    sa.Column("action", sa.String(64), nullable=False),  # such as token.create, balance.topup
    sa.Column("subject", _KEY, nullable=False, index=True),  # token:<id> or team:<name>
    sa.Column("details", sa.Text, nullable=False),  # a JSON object; never a token's text
)

#: Replies that are given again for the same ``Idempotency-Key``.
replies = sa.Table(
    "streamkit_gateway_replies",
    metadata,
    sa.Column("token", _KEY, primary_key=True),  # the id
    sa.Column("key", _KEY, primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),  # of the request
    sa.Column("request_id", _KEY, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # open, done
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.Text),  # a JSON object
    sa.Column("body", sa.LargeBinary),
    sa.Column("made_at", sa.Double, nullable=False, index=True),
)
