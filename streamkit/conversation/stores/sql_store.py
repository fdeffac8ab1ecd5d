"""``SQLStore``: conversations in SQLite, PostgreSQL or another database that SQLAlchemy knows."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.conversation.owners import is_alive, over, this_process
from streamkit.conversation.stores.store import ClaimsOf, Entry, Store, conflict, first_version
from streamkit.conversation.turns import ConversationState, Owner, Turn, read_json, written
from streamkit.errors import ConfigError, MisuseError, StoreConflictError, StoreError
from streamkit.settings import shown
from streamkit.tools.claims import Claim, Claims, ClaimState
from streamkit.values.chunks import ToolResult
from streamkit.wire.secrets import Masked

if TYPE_CHECKING:
    from streamkit.conversation.stores.database import Database

__all__ = ["SQLStore"]

_log = logging.getLogger("streamkit")

_LONGEST_ID = 255  # characters, of ids and owners: what every database can have in a key
_NEEDS_EXTRA = 'SQLStore needs SQLAlchemy: python -m pip install "streamkit[sql]"'


@attrs.frozen
class _Hold:
    """What this process holds: as whom, and the conversation that it belongs to, "" for none."""

    owner: Owner
    conversation: str


class SQLStore(Store):
    """Keeps conversations in a database: for any number of processes, on PostgreSQL of any number of machines.

    ::

        SQLStore("chats.db")
        SQLStore("sqlite:////var/lib/app/chats.db")
        SQLStore("postgresql://app@db.example.com/chats")

    Each turn is a row. A save writes the turns that have changed, in one transaction: so a turn of a long conversation
    costs as much as one of a short one. The tables, whose names begin with ``streamkit_``, are made at the first use.

    A file of SQLite is made readable for its user alone. It is in WAL mode and flushed to the disk at each save: a
    saved turn outlasts a crash of the program, and of the machine. It has to be on a disk of this machine.

    Nothing is connected to before the first use, so a store may be made before a server forks its workers.

    Threads: any, at the same time. After a fork the child makes connections of its own.

    Owner of the fields: ``_held`` changes by single operations on a dict; the others never change.

    Args:
        url: a URL of SQLAlchemy's, or the path of a file of SQLite.
        timeout: seconds to wait for locks of others, and for a free connection.

    Raises:
        ConfigError: the URL is none, or SQLAlchemy or the database's driver is not installed.
    """

    def __init__(self, url: str | os.PathLike[str], *, timeout: float = 30.0) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
            raise ConfigError(f"SQLStore(timeout=...) is a number of seconds above 0, not {shown(timeout)}")
        try:
            database = late_import("streamkit.conversation.stores.database")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "sqlalchemy":
                raise
            raise ConfigError(_NEEDS_EXTRA) from None
        url = Masked(url) if isinstance(url, str) else url  # it may have a password
        self._held: dict[str, _Hold] = {}
        self._name = ""
        self._db: Database = database.Database(url, timeout, self._held.clear)
        self._name = self._db.name

    # -- conversations -----------------------------------------------------------------------------------

    def load(self, id: str) -> ConversationState | None:
        """See ``Store``.

        Raises:
            ConfigError: it was written by a newer version of streamkit, or is damaged.
            StoreError: the database cannot be read.
        """
        if not _fits(id):
            return None
        rows = self._db.read(lambda connection: self._db.rows_of(connection, id))
        if not rows:
            return None
        where = f"the conversation {id!r} in {self}"
        (_, version, count, text), *turns = rows
        if [number for number, *_ in turns] != list(range(count)):
            raise ConfigError(f"{where} is damaged: it has {count} turns, and not all of them are there")
        shapes = [read_json(body, where) for *_, body in turns]
        return ConversationState.of_head(read_json(text, where), shapes, where=where, version=version)

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        """See ``Store``.

        Raises:
            ConfigError: something in it is no JSON, or its id or owner is too long for a key.
            StoreConflictError: the conversation has another version by now; nothing was changed.
            StoreError: the database cannot be written.
        """
        for name, value in (("id", state.id), ("owner", state.owner)):
            if not _fits(value):
                raise ConfigError(
                    f"the {name} of a conversation in a SQLStore is a text of at most {_LONGEST_ID} characters, "
                    f"not {shown(value)}"
                )
        head, first_changed = written(state.head(), state.id), min(first_changed, len(state.turns))
        changed = [_body(state, number) for number in range(first_changed, len(state.turns))]
        token = uuid.uuid4().hex

        def work(connection: Any) -> int:
            found, count, saved_by = self._db.version_of(connection, state.id)
            if saved_by == token:  # the connection was lost after the first try was written
                return found
            if found != expected:
                raise conflict(state.id, expected, found)
            first = min(first_changed, count)  # no gap, whatever the caller believes
            bodies = [*(_body(state, number) for number in range(first, first_changed)), *changed]
            row = {
                "version": expected + 1 if expected else first_version(),
                "token": token,
                "owner": state.owner,
                "title": _cleaned(state.title),
                "model": _cleaned(state.model),
                "changed_at": state.changed_at,
                "turns": len(state.turns),
                "head": head,
            }
            self._db.write_conversation(connection, state.id, row, new=not expected)
            self._db.write_turns(connection, state.id, first, count, bodies)
            return cast("int", row["version"])

        version = self._db.write(work)
        if version is None:  # somebody made it at the same moment
            found, _, _ = self._db.read(lambda connection: self._db.version_of(connection, state.id))
            raise conflict(state.id, expected, found)
        return version

    def list(self, *, owner: str | None = None) -> Sequence[Entry]:
        """See ``Store``.

        Raises:
            StoreError: the database cannot be read.
        """
        if owner is not None and not _fits(owner):
            return []
        return [Entry(*row) for row in self._db.read(lambda connection: self._db.entries(connection, owner))]

    def delete(self, id: str) -> bool:
        """See ``Store``.

        Raises:
            StoreError: the database cannot be written.
        """
        if not id or not _fits(id):
            return False
        found = []  # by each try, as a second one finds nothing where the first one was written

        def work(connection: Any) -> None:
            found.append(self._db.delete(connection, id))

        self._db.write(work)
        return any(found)

    def claims_of(self, id: str) -> Claims:
        """See ``Store``."""
        return ClaimsOf(self, lambda suspension: self._hold(suspension, id))

    def close(self) -> None:
        """Close the connections. The store can be used again, and makes new ones then."""
        self._db.close()

    # -- claims ------------------------------------------------------------------------------------------

    def hold(self, id: str) -> bool:
        """See ``Claims``. What a process held that has ended is taken over.

        Raises:
            StoreError: the database cannot be written.
        """
        return self._hold(id, "")

    def _hold(self, id: str, conversation: str) -> bool:
        _check_suspension(id)
        owner = this_process()
        holder = json.dumps(attrs.asdict(owner))

        def work(connection: Any) -> bool:
            found = self._db.holder_of(connection, id)
            if found is None:
                self._db.add_hold(connection, id, conversation, owner.token, holder)
                return True
            token, text = found
            if token == owner.token:  # as in save()
                return True
            return not is_alive(_owner_of(text, self)) and self._db.take_over(
                connection, id, token, owner.token, holder
            )

        held = False
        try:
            held = bool(self._db.write(work))  # None: somebody else was faster
        finally:
            if not held:
                over(owner)
        if held:
            self._held[id] = _Hold(owner, conversation)
        return held

    def release(self, id: str) -> None:
        """See ``Claims``. It does not fail: where the database cannot be written, the hold ends with this process."""
        hold = self._held.pop(id, None)
        if hold is None:
            return
        over(hold.owner)
        try:
            self._db.write(lambda connection: self._db.drop_hold(connection, id, hold.owner.token))
        except StoreError as error:
            _log.warning("the hold on a suspension could not be released: %s", error)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``.

        Raises:
            ConfigError: a claim is damaged.
            StoreError: the database cannot be read.
        """
        _check_suspension(id)
        where = f"a claim in {self}"
        claims = {}
        for state, body in self._db.read(lambda connection: self._db.claims(connection, id)):
            shape = read_json(body, where)
            try:
                claims[shape["call"]] = _claim_of(state, shape["result"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(f"{where} is damaged: {type(error).__name__}: {error}") from None
        return claims

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``.

        Raises:
            MisuseError: the suspension is not held by this process.
            StoreError: the database cannot be written.
        """
        hold = self._held.get(id)
        if hold is None:
            raise MisuseError("hold a suspension before moving its calls")
        call, token = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest(), uuid.uuid4().hex
        shape = {"call": call_id, "result": None if result is None else result.to_dict()}
        row = {"state": state, "token": token, "body": written(shape, id), "conversation": hold.conversation}

        def work(connection: Any) -> bool:
            holder = self._db.holder_of(connection, id)
            if holder is None or holder[0] != hold.owner.token:
                return False  # another machine has taken it over
            found, moved_by = self._db.claim_of(connection, id, call) or ("waiting", None)
            if moved_by == token:  # as in save()
                return True
            if found != expected:
                return False
            self._db.write_claim(connection, id, call, row, new=moved_by is None)
            if not call_id and state == "done":
                self._db.drop_claims(connection, id, but=call)  # nobody needs the results any more
            return True

        return bool(self._db.write(work))

    def forget(self, id: str) -> None:
        """See ``Claims``.

        Raises:
            StoreConflictError: somebody holds it.
            StoreError: the database cannot be written.
        """
        _check_suspension(id)

        def work(connection: Any) -> None:
            found = self._db.holder_of(connection, id)
            if found is not None:
                if is_alive(_owner_of(found[1], self)):
                    raise StoreConflictError(f"the suspension {id} is being resumed; nothing was deleted")
                self._db.drop_hold(connection, id, found[0])
            self._db.drop_claims(connection, id)

        self._db.write(work)

    def __repr__(self) -> str:
        return f"<SQLStore {self._name}>"


def _fits(text: str) -> bool:
    """Return whether every database can have a text as a key, and gives the same one back."""
    return len(text) <= _LONGEST_ID and "\0" not in text and _cleaned(text) == text


def _cleaned(text: str) -> str:
    """Return what every database can keep of a text: for lists only, as the JSON has the text itself."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _body(state: ConversationState, number: int) -> str:
    turn: Turn = state.turns[number]
    return written(turn.to_dict(), state.id)


def _owner_of(text: str, store: SQLStore) -> Owner:
    try:
        return Owner(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"a hold in {store} is damaged: {type(error).__name__}") from None


def _claim_of(state: str, result: Any) -> Claim:
    if state not in get_args(ClaimState):
        raise ValueError(f"there is no state {state!r}")
    return Claim(cast("ClaimState", state), None if result is None else ToolResult.from_dict(result))


def _check_suspension(id: str) -> None:
    if not id or not _fits(id):
        raise ConfigError(f"the id of a suspension is a text of at most {_LONGEST_ID} characters, not {shown(id)}")
