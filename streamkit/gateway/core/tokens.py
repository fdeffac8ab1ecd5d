"""Tokens and teams in the gateway's database: ``Tokens``."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import sqlalchemy as sa

from streamkit.errors import ConfigError, RequestError
from streamkit.gateway.core import tables
from streamkit.gateway.core.audit import Change, changes, record
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Limits, Payer
from streamkit.gateway.core.keyed_hash import KeyedHash
from streamkit.gateway.core.token_texts import (
    add_replaced,
    forget_replaced,
    is_text,
    new_text,
    replaced_by_hash,
)
from streamkit.gateway.core.token_values import (
    Balance,
    allows,
    checked_by,
    json_of,
    row_of,
    team_in,
    token_in,
)
from streamkit.gateway.core.token_values import Team as Team  # handed on
from streamkit.gateway.core.token_values import Token as Token  # handed on
from streamkit.policies.checks import renew_after_fork
from streamkit.settings import shown
from streamkit.wire.secrets import Masked

__all__ = ["Tokens"]

_T = TypeVar("_T")

_FRESH = 2.0  # seconds that a token which was looked up is taken from memory
_MOST_FRESH = 10_000  # of them
_ID_BYTES = 8
_LONGEST_GRACE = 366 * 86400.0  # seconds
_ONE_AT_A_TIME = 0x73746B67  # the lock of PostgreSQL under which tokens and teams are changed
_TOKEN_FIELDS = ("name", "team", "models", "limits", "balance", "expires_at", "labels")
_TEAM_FIELDS = ("models", "limits", "balance")
_MARK = "secret.first"  # the action of the audit that has the hash of _MARKED by the secret
_MARKED, _GATEWAY = "streamkit gateway", "gateway"


@attrs.frozen
class _Found:
    """A token as it was looked up.

    Attributes:
        token: itself.
        team: its team; ``None`` if it has none.
        until: when its text ends, where that was replaced.
        at: when it was looked up.
    """

    token: Token
    team: Team | None
    until: float | None
    at: float


class Tokens:
    """Makes, finds and changes tokens and teams.

    A text is ``sk-`` and 43 random characters. It is returned once. Its keyed hash (HMAC-SHA256 over the whole text) is
    kept, is found by an index, and is compared in constant time. Each change leaves a row of the audit, in the same
    transaction.

    What another process changes is seen here within two seconds.

    Threads: any, at the same time. Any number of processes.

    Owner of the fields: ``_lock`` guards ``_fresh``, ``_teams`` and ``_ready``; the others never change.

    Args:
        database: the gateway's.
        secret: of at least 16 bytes, the same in all processes.
        clock: the time in seconds since 1970.

    Raises:
        ConfigError: the secret is too short.
    """

    def __init__(self, database: GatewayDatabase, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._keyed = KeyedHash(secret)
        self._clock = clock
        self._renew()
        renew_after_fork(self)

    def _renew(self) -> None:
        """Begin anew in a forked child: another thread may hold the lock, and does not run there."""
        self._lock = threading.Lock()
        self._fresh: dict[str, _Found] = {}
        self._teams: dict[str, tuple[Team | None, float]] = {}
        self._ready = False

    # -- requests ----------------------------------------------------------------------------------------

    def find(self, text: str) -> Token | None:
        """Return the token of a text; ``None`` if there is none.

        Args:
            text: whatever a client sent.

        Raises:
            RequestError: 401, it was revoked, has expired, or was replaced.
            ConfigError: the tokens of this database were made with another secret.
            StoreError: the database cannot be read.
        """
        if not is_text(text):
            return None
        hash, now = self._keyed.of(text), self._clock()
        found = self._fresh.get(hash)
        if found is None or not 0 <= now - found.at < _FRESH:
            self.prepare()
            found = self._database.read(lambda connection: self._look_up(connection, hash))
            if found is None:
                return None
            self._remember(hash, found)
        if found.until is not None and found.until <= now:
            raise _unauthorized("was replaced by a new one", "token_replaced")
        self._check_in_use(found.token, now)
        return found.token

    def identified(self, id: str) -> Token | None:
        """Return the token of an id, for those who know it otherwise than by its text; ``None`` if there is none.

        Args:
            id: never a name, which somebody else may take later.

        Raises:
            RequestError: 401, it was revoked or has expired.
            StoreError: the database cannot be read.
        """
        if not isinstance(id, str) or not id.isprintable():
            return None
        key, now = f"id:{id}", self._clock()  # no hash is like this
        found = self._fresh.get(key)
        if found is None or not 0 <= now - found.at < _FRESH:
            found = self._database.read(lambda connection: self._of_id(connection, id))
            if found is None:
                return None
            self._remember(key, found)
        self._check_in_use(found.token, now)
        return found.token

    def _of_id(self, connection: sa.Connection, id: str) -> _Found | None:
        token = _by_id(connection, id)
        return None if token is None else _Found(token, _team(connection, token.team), None, self._clock())

    def _look_up(self, connection: sa.Connection, hash: str) -> _Found | None:
        columns, until = tables.tokens.c, None
        row = connection.execute(sa.select(tables.tokens).where(columns.hash == hash)).mappings().first()
        kept = None if row is None else row["hash"]
        if row is None:
            replaced = replaced_by_hash(connection, hash)
            if replaced is None:
                return None
            kept, id, until = replaced
            row = connection.execute(sa.select(tables.tokens).where(columns.id == id)).mappings().first()
        if row is None or not hmac.compare_digest(str(kept), hash):
            return None
        token = token_in(row)
        return _Found(token, _team(connection, token.team), until, self._clock())

    def _remember(self, hash: str, found: _Found) -> None:
        with self._lock:
            if len(self._fresh) >= _MOST_FRESH:
                self._fresh.clear()
            self._fresh[hash] = found
            if found.token.team:
                self._teams[found.token.team] = found.team, found.at

    def _forget(self) -> None:
        with self._lock:
            self._fresh.clear()
            self._teams.clear()

    def _check_in_use(self, token: Token, now: float) -> None:
        if token.revoked_at is not None:
            raise _unauthorized("was revoked", "token_revoked")
        if token.expires_at is not None and token.expires_at <= now:
            raise _unauthorized("has expired", "token_expired")

    def check(self, token: Token, model: str) -> None:
        """Check that a token is in use, and that it and its team may use a model.

        Args:
            token: as ``find`` returned it.
            model: as the client named it.

        Raises:
            RequestError: 401, it was revoked or has expired; 403 ``model_not_allowed``.
            StoreError: the database cannot be read.
        """
        self._check_in_use(token, self._clock())
        if not self.allows(token, model):
            raise RequestError("this token may not use this model", status=403, code="model_not_allowed", param="model")

    def allows(self, token: Token, model: str) -> bool:
        """Return whether a token and its team may use a model, such as for a list of models.

        Raises:
            RequestError: 403, its team is gone.
            StoreError: the database cannot be read.
        """
        team = self._team_of(token)
        return allows(token.models, model) and (team is None or allows(team.models, model))

    def payer(self, token: Token) -> Payer:
        """Return what the requests of a token are paid from, and whose limits hold.

        A token with a balance that is not limited pays from its team's where that one is limited.

        Raises:
            RequestError: 403, its team is gone.
            StoreError: the database cannot be read.
        """
        team = self._team_of(token)
        if team is None:
            return Payer(token.holder.name, (token.holder,), token.balance == "unlimited")
        holders = (token.holder, team.holder)
        if token.balance == "own":
            return Payer(token.holder.name, holders)
        if token.balance == "unlimited" and team.balance == "unlimited":
            return Payer(token.holder.name, holders, overdraft=True)
        return Payer(team.holder.name, holders, team.balance == "unlimited")

    def _team_of(self, token: Token) -> Team | None:
        """Return the team of a token; ``None`` if it has none.

        Raises:
            RequestError: 403, it is gone.
        """
        if not token.team:
            return None
        now = self._clock()
        team, at = self._teams.get(token.team, (None, -_FRESH))
        if team is None or not 0 <= now - at < _FRESH:
            team = self._database.read(lambda connection: _team(connection, token.team))
            with self._lock:
                self._teams[token.team] = team, now
        if team is None:
            raise RequestError("the team of this token is gone", status=403, code="team_gone")
        return team

    # -- tokens ------------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        *,
        by: str,
        team: str = "",
        models: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008  # frozen
        balance: Balance | None = None,
        expires_at: float | None = None,
        labels: dict[str, str] | None = None,
    ) -> tuple[Token, Masked]:
        """Make a token.

        Args:
            name: see ``Token``.
            by: who makes it.
            team: see ``Token``.
            models: see ``Token``.
            limits: see ``Token``.
            balance: see ``Token``; by default that of its team, or its own if it has no team.
            expires_at: see ``Token``.
            labels: see ``Token``.

        Returns:
            The token, and its text. Nothing can give the text again.

        Raises:
            ConfigError: an argument cannot be, the name is taken, there is no such team, or the token would have more
                than its team.
            StoreError: the database cannot be written.
        """
        now = self._clock()
        text, kept = new_text(self._keyed)
        token = Token(
            id=secrets.token_hex(_ID_BYTES),
            name=name,
            team=team,
            models=models,
            limits=limits,
            balance=balance or ("team" if team else "own"),
            expires_at=expires_at,
            created_at=now,
            labels=labels or {},
            by=checked_by(by),
            hint=kept["hint"],
        )
        if expires_at is not None and expires_at <= now:
            raise ConfigError("a token cannot expire before it is made")

        def work(connection: sa.Connection) -> None:
            if _by_id(connection, token.id) is None:
                self._check_token(connection, token)
                connection.execute(tables.tokens.insert().values(**row_of(token), hash=kept["hash"]))
                record(connection, Change(now, by, "token.create", token.holder.name, after=_kept(token)))

        self._write(by, work)
        return token, text

    def show(self, id: str) -> Token:
        """Return a token by its id or its name; of those of one name the one in use, or the last one.

        Raises:
            ConfigError: there is none.
            StoreError: the database cannot be read.
        """
        return self._database.read(lambda connection: _named(connection, id))

    def list(self, *, team: str | None = None, revoked: bool = False) -> Sequence[Token]:
        """Return the tokens, the first made first.

        Args:
            team: of this team alone; ``None`` for all.
            revoked: also those that were revoked.

        Raises:
            StoreError: the database cannot be read.
        """
        columns = tables.tokens.c
        wanted = sa.select(tables.tokens).order_by(columns.created_at, columns.id)
        if team is not None:
            wanted = wanted.where(columns.team == team)
        if not revoked:
            wanted = wanted.where(columns.revoked_at.is_(None))
        return self._database.read(lambda connection: [token_in(row) for row in connection.execute(wanted).mappings()])

    def revoke(self, id: str, *, by: str) -> Token:
        """End a token for ever; once more changes nothing.

        Raises:
            ConfigError: there is none of this id or name.
            StoreError: the database cannot be written.
        """
        return self._change(id, by, "token.revoke", {"revoked_at": self._clock()})

    def rotate(self, id: str, *, by: str, grace: float = 0.0) -> tuple[Token, Masked]:
        """Give a token a new text. Id, balance and limits stay.

        Args:
            id: its id or its name.
            by: who does it.
            grace: seconds that the text it had is valid; 0 ends all that it had at once.

        Returns:
            The token, and its new text. Nothing can give the text again.

        Raises:
            ConfigError: there is none of this id or name, or it was revoked.
            StoreError: the database cannot be written.
        """
        checked_by(by)
        if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= _LONGEST_GRACE:
            raise ConfigError(f"grace is a number of seconds, at most a year of them, not {shown(grace)}")
        now = self._clock()
        text, kept = new_text(self._keyed)

        def work(connection: sa.Connection) -> Token:
            before = _named(connection, id)
            old = connection.execute(sa.select(tables.tokens.c.hash).where(tables.tokens.c.id == before.id)).scalar()
            after = attrs.evolve(before, hint=kept["hint"])
            if old == kept["hash"]:  # written already
                return after
            if before.revoked_at is not None:
                raise ConfigError(f"the token {before.name} was revoked; make a new one")
            add_replaced(connection, before.id, str(old), now=now, until=now + grace)
            _update(connection, tables.tokens, tables.tokens.c.id == before.id, **kept)
            change = Change(
                now, by, "token.rotate", before.holder.name, {"hint": before.hint}, {"hint": after.hint, "grace": grace}
            )
            record(connection, change)
            return after

        return self._write(by, work), text

    def set(self, id: str, /, *, by: str, **changes: Any) -> Token:
        """Change a token.

        Args:
            id: its id or its name.
            by: who does it.
            changes: any of ``name``, ``team``, ``models``, ``limits``, ``balance``, ``expires_at`` and ``labels``.

        Raises:
            ConfigError: there is none, a value cannot be, or the token would have more than its team.
            StoreError: the database cannot be written.
        """
        _check_fields(changes, _TOKEN_FIELDS)
        return self._change(id, by, "token.set", changes)

    def _change(self, id: str, by: str, action: str, changes: dict[str, Any]) -> Token:
        checked_by(by)

        def work(connection: sa.Connection) -> Token:
            before = _named(connection, id)
            if before.revoked_at is not None:
                if action == "token.revoke":
                    return before
                raise ConfigError(f"the token {before.name} was revoked, and stays as it was")
            after = attrs.evolve(before, **changes)
            differs = _differences(before, after)
            if differs[1]:
                if after.revoked_at is None:
                    self._check_token(connection, after)
                else:
                    forget_replaced(connection, after.id)
                _update(connection, tables.tokens, tables.tokens.c.id == after.id, **row_of(after))
                record(connection, Change(self._clock(), by, action, after.holder.name, *differs))
            return after

        return self._write(by, work)

    def _check_token(self, connection: sa.Connection, token: Token) -> None:
        """Check a token against the others.

        Raises:
            ConfigError: the name is taken, there is no such team, or it would have more than its team.
        """
        columns = tables.tokens.c
        same = sa.select(columns.id).where(
            columns.name == token.name, columns.revoked_at.is_(None), columns.id != token.id
        )
        if connection.execute(same).first() is not None:
            raise ConfigError(f"there is a token {token.name} already; revoke it, or take another name")
        team = _team(connection, token.team) if token.team else None
        if token.team and team is None:
            raise ConfigError(f"there is no team {token.team}; streamkit team create makes it")
        if token.balance == "team" and team is None:
            raise ConfigError("a token without a team cannot have the balance of its team")
        if token.balance == "unlimited" and team is not None and team.balance != "unlimited":
            raise ConfigError(f"a token cannot be unlimited, as the balance of its team {team.name} is not")

    # -- teams -------------------------------------------------------------------------------------------

    def create_team(
        self,
        name: str,
        *,
        by: str,
        models: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008  # frozen
        balance: Any = "own",
    ) -> Team:
        """Make a team.

        Args:
            name: see ``Team``.
            by: who makes it.
            models: see ``Team``.
            limits: see ``Team``.
            balance: see ``Team``.

        Raises:
            ConfigError: an argument cannot be, or there is a team of this name.
            StoreError: the database cannot be written.
        """
        now = self._clock()
        made = Team(name=name, models=models, limits=limits, balance=balance, created_at=now, by=checked_by(by))

        def work(connection: sa.Connection) -> Team:
            known = _team(connection, name)
            if known is not None and known != made:
                raise ConfigError(f"there is a team {name} already; streamkit team set changes it")
            if known is None:
                connection.execute(tables.teams.insert().values(**row_of(made)))
                record(connection, Change(now, by, "team.create", made.holder.name, after=_kept(made)))
            return made

        return self._write(by, work)

    def set_team(self, name: str, /, *, by: str, **changes: Any) -> Team:
        """Change a team.

        Args:
            name: its name.
            by: who does it.
            changes: any of ``models``, ``limits`` and ``balance``.

        Raises:
            ConfigError: there is none, or a value cannot be.
            StoreError: the database cannot be written.
        """
        _check_fields(changes, _TEAM_FIELDS)
        checked_by(by)

        def work(connection: sa.Connection) -> Team:
            before = _required_team(connection, name)
            after = attrs.evolve(before, **changes)
            differs = _differences(before, after)
            if differs[1]:
                _update(connection, tables.teams, tables.teams.c.name == name, **row_of(after))
                record(connection, Change(self._clock(), by, "team.set", after.holder.name, *differs))
            return after

        return self._write(by, work)

    def team(self, name: str) -> Team:
        """Return a team.

        Raises:
            ConfigError: there is none of this name.
            StoreError: the database cannot be read.
        """
        return self._database.read(lambda connection: _required_team(connection, name))

    def teams(self) -> Sequence[Team]:
        """Return the teams by their names.

        Raises:
            StoreError: the database cannot be read.
        """
        wanted = sa.select(tables.teams).order_by(tables.teams.c.name)
        return self._database.read(lambda connection: [team_in(row) for row in connection.execute(wanted).mappings()])

    # -- the database ------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Check that the secret is that of the tokens; other methods do it where they need it.

        Raises:
            ConfigError: the tokens of this database were made with another secret.
            StoreError: the database cannot be read or written.
        """
        if not self._ready:
            self._database.read(self._check_secret)
            with self._lock:
                self._ready = True

    def _check_secret(self, connection: sa.Connection) -> bool:
        """Return whether the secret is known; nothing is known before the first token is made.

        Raises:
            ConfigError: it is another one.
        """
        known = next((each for each in changes(connection, _GATEWAY) if each.action == _MARK), None)
        if known is not None and not hmac.compare_digest(str(known.after.get("mark")), self._keyed.of(_MARKED)):
            raise ConfigError(
                f"the tokens in {self._database.name} were made with another secret: without it nobody can use them; "
                "give the gateway the secret it had"
            )
        return known is not None

    def _write(self, by: str, work: Callable[[sa.Connection], _T]) -> _T:
        """Change tokens and teams, one at a time, so that each change is checked against the last one."""
        self.prepare()

        def alone(connection: sa.Connection) -> _T:
            if connection.dialect.name == "postgresql":  # SQLite has one writer
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
            if not self._check_secret(connection):
                mark = {"mark": self._keyed.of(_MARKED)}
                record(connection, Change(self._clock(), by, _MARK, _GATEWAY, after=mark))
            return work(connection)

        done = self._database.write(alone)
        self._forget()
        return done

    def __repr__(self) -> str:
        return f"<Tokens in {self._database.name}>"


def _unauthorized(what: str, code: str) -> RequestError:
    return RequestError(
        f"this token {what}", status=401, code=code, headers={"www-authenticate": 'Bearer error="invalid_token"'}
    )


def _by_id(connection: sa.Connection, id: str) -> Token | None:
    row = connection.execute(sa.select(tables.tokens).where(tables.tokens.c.id == id)).mappings().first()
    return None if row is None else token_in(row)


def _named(connection: sa.Connection, name: str) -> Token:
    """Return the token of an id or a name.

    Raises:
        ConfigError: there is none.
    """
    if is_text(name):  # which no error may show
        raise ConfigError("a token is named by its id or its name, not by its text")
    missing = ConfigError(f"there is no token {shown(name)}; streamkit token list shows those there are")
    if not isinstance(name, str) or not name.isprintable():  # which not every database takes
        raise missing
    found = _by_id(connection, name)
    if found is not None:
        return found
    columns = tables.tokens.c
    wanted = sa.select(tables.tokens).where(columns.name == name)
    rows = connection.execute(
        wanted.order_by(columns.revoked_at.is_(None).desc(), columns.created_at.desc())
    ).mappings()
    row = rows.first()
    if row is None:
        raise missing
    return token_in(row)


def _team(connection: sa.Connection, name: str) -> Team | None:
    row = connection.execute(sa.select(tables.teams).where(tables.teams.c.name == name)).mappings().first()
    return None if row is None else team_in(row)


def _required_team(connection: sa.Connection, name: str) -> Team:
    found = _team(connection, name) if isinstance(name, str) and name.isprintable() else None
    if found is None:
        raise ConfigError(f"there is no team {shown(name)}; streamkit team list shows those there are")
    return found


def _update(connection: sa.Connection, table: sa.Table, where: Any, **values: Any) -> None:
    connection.execute(table.update().where(where).values(**values))


def _check_fields(changes: dict[str, Any], allowed: tuple[str, ...]) -> None:
    wrong = [name for name in changes if name not in allowed]
    if wrong:
        raise ConfigError(f"{wrong[0]} cannot be changed; {', '.join(allowed)} can")


def _kept(value: Token | Team) -> dict[str, Any]:
    """Return what the audit keeps of a new token or team: whatever is set."""
    return {name: field for name, field in json_of(value).items() if field not in (None, "", [], {})}


def _differences(before: Token | Team, after: Token | Team) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields that differ, as they were and as they are."""
    old, new = json_of(before), json_of(after)
    names = [name for name in old if old[name] != new[name]]
    return {name: old[name] for name in names}, {name: new[name] for name in names}
