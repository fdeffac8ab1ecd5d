"""Replies that are kept for an ``Idempotency-Key``, so that a request that is sent again is not charged again."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import exc

from streamkit.errors import RequestError
from streamkit.gateway.core import tables
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.policies.checks import renew_after_fork
from streamkit.values.json_text import decode_strict
from streamkit.wire.json import write_json

__all__ = ["Kept", "Replies", "digest_of"]

_KEPT = 24 * 3600.0  # seconds
_MOST_BYTES = 1024 * 1024  # of a reply
_CLEAN_EVERY = 300.0  # seconds
_SETTLING = 30.0  # seconds after a charge in which its reply may still be on its way into the table
_BEGINNING = 60.0  # seconds after the first sign of a request, in which its reservation may still be on its way
_KEY = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?", re.ASCII)

_OPEN, _DONE, _LOST = "open", "done", "lost"

_replies = tables.replies
_c = _replies.c


@attrs.frozen
class Kept:
    """A reply as it was sent the first time.

    Attributes:
        request_id: of the first request, which was charged.
        status: of HTTP.
        headers: of the response.
        body: of the response, whole; that of a stream has all its events.
    """

    request_id: str
    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


def digest_of(endpoint: str, body: bytes) -> str:
    """Return what tells a request from others: the digest of its endpoint and its body."""
    return hashlib.sha256(f"{endpoint}\n".encode() + body).hexdigest()


class Replies:
    """Keeps the replies to requests with an ``Idempotency-Key`` for 24 hours, in the gateway's database.

    A key is the token's own: two tokens may use the same one. For each request, ``begin`` comes before anything is
    reserved, and then ``finish`` or ``forget``, after the charge was settled or released. Who comes with the same key
    gets the kept reply; or an error while the first request is under way. Where a reply was charged and is not kept,
    because it is too large, it broke off or its process died, the error says so, and nothing is charged again.

    Threads: any, at the same time. Any number of processes.

    Owner of the fields: ``_lock`` guards ``_clean_at``.

    Args:
        database: the gateway's, with its ledger.
        clock: the time in seconds since 1970.
        most: bytes of one body; of a larger one only its charge is remembered.
    """

    def __init__(
        self, database: GatewayDatabase, *, clock: Callable[[], float] = time.time, most: int = _MOST_BYTES
    ) -> None:
        self.most = most
        self._database = database
        self._clock = clock
        self._clean_at = -_CLEAN_EVERY
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def begin(self, token: str, key: str, digest: str, request_id: str) -> Kept | None:
        """Begin a request, or return the reply of the one that came before.

        Args:
            token: the id.
            key: the client's.
            digest: of the request, see ``digest_of``.
            request_id: of this request, in the ledger.

        Returns:
            ``None`` where the request is to be done; then ``finish`` or ``forget`` has to follow.

        Raises:
            RequestError: 400, the key is none; 422 ``idempotency_key_reused``, it was used for another request; 409
                ``idempotency_key_in_use``, the first request is under way; 409 ``idempotent_reply_lost``, it was
                charged, and its reply was not kept.
            StoreError: the database cannot be read or written; then the request must not be done.
        """
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise RequestError("the Idempotency-Key has to be 1 to 255 printable characters of ASCII", param="")
        now = self._clock()

        def work(connection: sa.Connection) -> Kept | None:
            return self._begin(connection, token, key, digest, request_id, now)

        try:
            kept = self._database.write(work)
        except exc.IntegrityError:  # another process has begun it at this moment, and its row is there now
            kept = self._database.write(work)
        self._clean(now)
        return kept

    def _begin(
        self, connection: sa.Connection, token: str, key: str, digest: str, request_id: str, now: float
    ) -> Kept | None:
        wanted = sa.select(_replies).where(_c.token == token, _c.key == key).with_for_update()
        row = connection.execute(wanted).mappings().first()
        fresh = {"digest": digest, "request_id": request_id, "state": _OPEN, "made_at": now}
        if row is None:
            connection.execute(_replies.insert().values(token=token, key=key, **fresh))
            return None
        if row["made_at"] > now - _KEPT and row["request_id"] != request_id:  # its own: the commit had come through
            if row["digest"] != digest:
                raise RequestError(
                    "this Idempotency-Key was used for another request: take a new one for each request",
                    status=422,
                    code="idempotency_key_reused",
                )
            if row["state"] == _DONE:
                return Kept(row["request_id"], row["status"], decode_strict(row["headers"]), row["body"])
            _check_gone(connection, row, now)
        empty = {"status": None, "headers": None, "body": None}
        connection.execute(_replies.update().where(_c.token == token, _c.key == key).values(**fresh, **empty))
        return None

    def finish(
        self, token: str, key: str, request_id: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Keep the reply of a request; return whether it was kept.

        A reply of more than ``most`` bytes is not kept: who sends the request again is told that it was charged.

        Args:
            token: the id.
            key: the client's.
            request_id: of the request, as for ``begin``.
            status: of HTTP.
            headers: of the response, those that a repeat is to have as well.
            body: of the response.

        Raises:
            StoreError: the database cannot be written.
        """
        values: dict[str, Any] = {"state": _LOST}
        if len(body) <= self.most:
            text = write_json(dict(headers)).decode()
            values = {"state": _DONE, "status": status, "headers": text, "body": bytes(body)}
        where = (_c.token == token, _c.key == key, _c.request_id == request_id)
        changed = self._database.write(
            lambda connection: connection.execute(_replies.update().where(*where).values(**values)).rowcount
        )
        return bool(changed) and values["state"] == _DONE

    def forget(self, token: str, key: str, request_id: str) -> None:
        """End a request whose reply is not to be kept, such as one that was refused or broke off.

        It can be sent again with the same key if it was charged nothing.

        Args:
            token: the id.
            key: the client's.
            request_id: of the request, as for ``begin``. It has ended in the ledger, or was never reserved.

        Raises:
            StoreError: the database cannot be written.
        """
        where = (_c.token == token, _c.key == key, _c.request_id == request_id, _c.state == _OPEN)
        charges = tables.charges.c

        def work(connection: sa.Connection) -> None:
            charged = sa.select(charges.amount).where(charges.request_id == request_id)
            if connection.execute(charged).scalar():
                connection.execute(_replies.update().where(*where).values(state=_LOST))
            else:
                connection.execute(_replies.delete().where(*where))

        self._database.write(work)

    def _clean(self, now: float) -> None:
        """Delete what is too old, from time to time."""
        with self._lock:
            if 0 <= now - self._clean_at < _CLEAN_EVERY:
                return
            self._clean_at = now
        self._database.write(
            lambda connection: connection.execute(_replies.delete().where(_c.made_at <= now - _KEPT)).rowcount
        )

    def __repr__(self) -> str:
        return f"<Replies in {self._database.name}>"


def _check_gone(connection: sa.Connection, row: Mapping[Any, Any], now: float) -> None:
    """Check that the first request has ended and was charged nothing, so that it may be done again.

    Raises:
        RequestError: 409, it has not ended, or was charged.
    """
    first = row["request_id"]
    charges, reservations = tables.charges.c, tables.reservations.c
    wanted = sa.select(charges.amount, charges.at, charges.state).where(charges.request_id == first)
    charge = connection.execute(wanted).first()
    if row["state"] == _LOST:
        raise _lost(first)
    if charge is None:
        is_open = sa.select(reservations.request_id).where(reservations.request_id == first)
        if connection.execute(is_open).first() is not None or now - row["made_at"] < _BEGINNING:
            raise _in_use()
    elif charge.state == "settled" and now - charge.at < _SETTLING:
        raise _in_use()
    elif charge.amount > 0:
        raise _lost(first)


def _in_use() -> RequestError:
    return RequestError(
        "a request with this Idempotency-Key is under way: send it again in a moment to get its reply",
        status=409,
        code="idempotency_key_in_use",
        headers={"retry-after": "1"},
    )


def _lost(request_id: str) -> RequestError:
    return RequestError(
        "the reply to this Idempotency-Key is not there any more: it was too large to be kept, or it broke off; it was "
        f"charged once, as request {request_id}, and is not charged again: take a new key to ask anew",
        status=409,
        code="idempotent_reply_lost",
        headers={"x-should-retry": "false"},  # to the clients of OpenAI and Anthropic, which try a 409 again
        details={"request_id": request_id},
    )
