"""Tokens are found by all of their text alone, do what they may, and each change of one is on record."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import sqlite3
import stat
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy")
pytest.importorskip("limits")

from streamkit.errors import ConfigError, RequestError, StoreError
from streamkit.gateway.config import read_config
from streamkit.gateway.core import tables
from streamkit.gateway.core.audit import Change, changes
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Limits, Payer
from streamkit.gateway.core.keyed_hash import KeyedHash
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.rates import Rates
from streamkit.gateway.core.records import About, Settlement
from streamkit.gateway.core.token_values import Team, Token, allows
from streamkit.gateway.core.tokens import Tokens
from tests.processes import Process, run_process
from tests.unit.gateway_support import NOW, SECRET, Clock, anywhere, clock, database, make_postgres, rows, tokens
from tests.unit.support import SOON

__all__ = ["anywhere", "clock", "database", "make_postgres", "run_process", "tokens"]  # fixtures

BY = "ann@desk"


def audit_of(database: GatewayDatabase, subject: str | None = None) -> list[Change]:
    return database.read(lambda connection: changes(connection, subject))


def unauthorized(tokens: Tokens, text: str) -> str:
    with pytest.raises(RequestError) as caught:
        tokens.find(text)
    assert 401 == caught.value.status
    assert text not in f"{caught.value!r}{caught.value.__dict__}"
    return caught.value.code


# The texts.


def test_a_token_is_found_by_its_text(anywhere: Callable[[], GatewayDatabase], clock: Clock) -> None:
    """A token that one process makes is found by another, with all that it was made with."""
    tokens = Tokens(anywhere(), SECRET, clock=clock)
    tokens.create_team("blue", by=BY)
    made, text = tokens.create(
        "ci",
        by=BY,
        team="blue",
        models=["openai/*", "demo/storyteller"],
        limits=Limits(request=5, day=6, month=7, requests_per_minute=8, tokens_per_minute=9, streams=10),
        expires_at=NOW + 100,
        labels={"for": "tests"},
    )
    assert text.startswith("sk-")
    assert 46 == len(text) == len(set(range(len(text))))
    assert set(text) <= {*string.ascii_letters, *string.digits, "-", "_"}
    assert made == Tokens(anywhere(), SECRET, clock=clock).find(str(text)) == tokens.find(text)
    assert ("team", BY, NOW, text[-4:]) == (made.balance, made.by, made.created_at, made.hint)
    assert tokens.find(str(text)[:-1]) is None
    assert tokens.find(f"{text}A") is None
    assert "own" == tokens.create("other", by=BY)[0].balance


def test_nothing_keeps_the_text(tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """Neither text nor secret is in the files of the database, in a log, or in a repr."""
    caplog.set_level(logging.DEBUG)
    database = GatewayDatabase(tmp_path / "gateway.db")
    tokens = Tokens(database, SECRET, clock=clock)
    made, text = tokens.create("ci", by=BY)
    _, newer = tokens.rotate("ci", by=BY, grace=10)
    assert tokens.find(text) == tokens.find(newer)
    tokens.revoke("ci", by=BY)
    database.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    shown = f"{made!r} {text!r} {tokens!r} {tokens.__dict__!r} {audit_of(database)!r} {caplog.text}"
    for secret in (text, newer, SECRET.decode()):
        assert secret[3:].encode() not in written
        assert secret[3:] not in shown
    assert KeyedHash(SECRET).of(text).encode() not in shown.encode()
    database.close()


@pytest.mark.parametrize("length", [20, 60])
def test_texts_that_begin_alike(database: GatewayDatabase, clock: Clock, length: int, monkeypatch: Any) -> None:
    """Tokens that share their first 20 or 60 characters are told apart, also from memory."""
    common = "A" * (length - len("sk-"))
    endings = iter(["first", "second", "third"])
    monkeypatch.setattr(
        "streamkit.gateway.core.token_texts.secrets.token_urlsafe", lambda size: f"{common}{next(endings):_<43}"
    )
    tokens = Tokens(database, SECRET, clock=clock)
    made = [tokens.create(name, by=BY) for name in ("one", "two", "three")]
    assert 1 == len({text[:length] for _, text in made})
    for _ in range(2):  # the second time from memory
        for token, text in made:
            assert token == tokens.find(text)
    assert tokens.find(f"sk-{common}{'fourth':_<43}") is None
    tokens.revoke("two", by=BY)
    assert ["one", "three"] == [token.name for token, text in made if token.name != "two" and tokens.find(text)]
    assert "token_revoked" == unauthorized(tokens, made[1][1])


ODD = st.one_of(
    st.text(),
    st.binary().map(lambda data: data.decode("latin-1")),
    st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.text(alphabet=string.ascii_letters + string.digits + "-_'\"%;\\\0 \n", min_size=1, max_size=300),
    st.sampled_from(
        [
            "' OR '1'='1",
            "sk-' OR 1=1 --",
            "sk-x' UNION SELECT * FROM streamkit_gateway_tokens --",
            "'; DROP TABLE streamkit_gateway_tokens; --",
            "%",
            "sk-%",
            "_" * 46,
            "sk-" + "_" * 43,
            "sk-" + "%" * 43,
            "sk-" + "a" * 100_000,
            "sk-" + "\uff41" * 43,
            "sk-" + "a" * 43 + "\n",
            "sk-" + "a" * 43 + "\0",
            "\ud800" * 40,
            "",
        ]
    ),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=ODD, prefix=st.sampled_from(["", "sk-", "Bearer "]), cut=st.integers(0, 46), swaps=st.booleans())
def test_odd_texts(fuzzed: tuple[Tokens, str], text: str, prefix: str, cut: int, swaps: bool) -> None:
    """Whatever stands for a token finds none and breaks nothing: SQL, bytes that are no text, parts of a token."""
    tokens, real = fuzzed
    for asked in (prefix + text, real[:cut] + text, text + real, real.swapcase() if swaps else real[:cut]):
        assert asked == real or tokens.find(asked) is None
    found = tokens.find(real)
    assert found is not None
    assert "real" == found.name


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tokens, str]]:
    database = GatewayDatabase(tmp_path_factory.mktemp("fuzz") / "gateway.db")
    tokens = Tokens(database, SECRET)
    _, text = tokens.create("real", by=BY)
    yield tokens, str(text)
    assert ["real"] == [token.name for token in tokens.list()]
    database.close()


def test_odd_texts_in_each_database(anywhere: Callable[[], GatewayDatabase]) -> None:
    """Odd texts are no token, no name and no team in both databases, whose drivers fail at different things."""
    tokens = Tokens(anywhere(), SECRET)
    _, text = tokens.create("real", by=BY)
    sql = "'; DROP TABLE streamkit_gateway_tokens; --"
    for odd in (sql, "\0", "\ud800", "\x80", f"sk-{sql}", "sk-" + "\0" * 43, "sk-" * 99, 5, None, b"sk-"):
        assert tokens.find(odd) is None  # type: ignore[arg-type]
        for call in (tokens.show, tokens.team):
            with pytest.raises(ConfigError):
                call(odd)  # type: ignore[arg-type]
    assert sql == tokens.create(sql, by=BY)[0].name == tokens.show(sql).name
    assert tokens.find(text)


# The life of a token.


def test_revoked(anywhere: Callable[[], GatewayDatabase], clock: Clock) -> None:
    """A token that was revoked is refused at once here, and within two seconds by other processes."""
    tokens, other = Tokens(anywhere(), SECRET, clock=clock), Tokens(anywhere(), SECRET, clock=clock)
    _, text = tokens.create("ci", by=BY)
    _, newer = tokens.rotate("ci", by=BY, grace=1000)
    assert other.find(text) == other.find(newer)
    revoked = tokens.revoke("ci", by="bob")
    assert NOW == revoked.revoked_at
    assert "token_revoked" == unauthorized(tokens, newer)
    assert tokens.find(text) is None
    clock.now += 2
    assert "token_revoked" == unauthorized(other, newer)
    assert other.find(text) is None
    assert revoked == tokens.revoke(revoked.id, by="eve")  # once more changes nothing
    for change in (lambda: tokens.rotate(revoked.id, by=BY), lambda: tokens.set(revoked.id, by=BY, models=())):
        with pytest.raises(ConfigError, match="was revoked"):
            change()
    with pytest.raises(RequestError):
        tokens.check(revoked, "demo/storyteller")


def test_expired(tokens: Tokens, clock: Clock) -> None:
    """A token ends at its moment, also one that was looked up just before; a later moment revives it."""
    made, text = tokens.create("ci", by=BY, expires_at=NOW + 1)
    assert made == tokens.find(text)
    tokens.check(made, "any")
    clock.now += 1
    assert "token_expired" == unauthorized(tokens, text)
    with pytest.raises(RequestError):
        tokens.check(made, "any")
    tokens.set("ci", by=BY, expires_at=NOW + 10)
    assert tokens.find(text)
    with pytest.raises(ConfigError, match="before it is made"):
        tokens.create("late", by=BY, expires_at=NOW)


def test_a_token_that_is_identified_otherwise(tokens: Tokens, clock: Clock, database: GatewayDatabase) -> None:
    """Who knows the id of a token gets it as by its text; a name, a text or anything else gets none."""
    made, text = tokens.create("ci", by=BY, expires_at=NOW + 10)
    assert made == tokens.identified(made.id) == tokens.find(text)
    for other in ("ci", text, "", "\0", None, KeyedHash(SECRET).of(text)):
        assert tokens.identified(other) is None  # type: ignore[arg-type]
    assert tokens.find(made.id) is None
    Tokens(database, SECRET, clock=clock).revoke("ci", by=BY)
    assert made == tokens.identified(made.id)
    clock.now += 2
    with pytest.raises(RequestError, match="was revoked"):
        tokens.identified(made.id)


def test_a_clock_that_goes_back(tokens: Tokens, clock: Clock, database: GatewayDatabase) -> None:
    """A token is not taken from memory for longer because the clock was set back."""
    _, text = tokens.create("ci", by=BY)
    assert tokens.find(text)
    Tokens(database, SECRET, clock=clock).revoke("ci", by=BY)
    clock.now -= 3600
    assert "token_revoked" == unauthorized(tokens, text)


def test_rotated(anywhere: Callable[[], GatewayDatabase], clock: Clock) -> None:
    """A new text has the same token; the old one lives as long as it was given, or ends at once."""
    tokens = Tokens(anywhere(), SECRET, clock=clock)
    made, first = tokens.create("ci", by=BY, limits=Limits(day=5), labels={"a": "b"})
    rotated, second = tokens.rotate("ci", by=BY, grace=60)
    assert (made.id, made.limits, made.labels) == (rotated.id, rotated.limits, rotated.labels)
    assert rotated == tokens.find(first) == tokens.find(second)
    _, third = tokens.rotate(made.id, by=BY, grace=3600)
    assert tokens.find(first)
    assert tokens.find(second)
    clock.now += 60
    assert "token_replaced" == unauthorized(tokens, first)
    assert tokens.find(second)
    assert tokens.find(third)
    _, fourth = tokens.rotate("ci", by=BY)
    for text in (first, second, third):
        assert tokens.find(text) is None
    assert tokens.find(fourth)
    for grace in (-1, float("nan"), float("inf"), True, "60"):
        with pytest.raises(ConfigError, match="grace"):
            tokens.rotate("ci", by=BY, grace=grace)  # type: ignore[arg-type]


def test_a_shorter_grace_holds_for_older_texts(tokens: Tokens, clock: Clock) -> None:
    """No older text outlives the grace of the last rotation."""
    _, first = tokens.create("ci", by=BY)
    tokens.rotate("ci", by=BY, grace=3600)
    tokens.rotate("ci", by=BY, grace=10)
    assert tokens.find(first)
    clock.now += 10
    assert "token_replaced" == unauthorized(tokens, first)


def test_names(tokens: Tokens, clock: Clock) -> None:
    """A name stands for one token in use; that of a revoked one can be taken again."""
    first, _ = tokens.create("ci", by=BY)
    with pytest.raises(ConfigError, match="already"):
        tokens.create("ci", by=BY)
    tokens.revoke("ci", by=BY)
    clock.now += 1
    second, _ = tokens.create("ci", by=BY)
    assert second == tokens.show("ci") == tokens.show(second.id)
    assert first.id == tokens.show(first.id).id
    clock.now += 1
    third, _ = tokens.create("other", by=BY)
    with pytest.raises(ConfigError, match="already"):
        tokens.set("other", by=BY, name="ci")
    assert "new" == tokens.set("other", by=BY, name="new").name
    assert [second.id, third.id] == [token.id for token in tokens.list()]
    assert [first.id, second.id, third.id] == [token.id for token in tokens.list(revoked=True)]
    with pytest.raises(ConfigError, match="token list"):
        tokens.show("nobody")


def test_the_text_in_place_of_a_name(tokens: Tokens) -> None:
    """Who names a token by its text by mistake gets an error that does not show it."""
    _, text = tokens.create("ci", by=BY)
    for call in (
        lambda: tokens.show(text),
        lambda: tokens.revoke(text, by=BY),
        lambda: tokens.create(text, by=BY),
        lambda: tokens.set("ci", by=BY, name=text),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert text[3:] not in str(caught.value)
    assert tokens.find(text)


def test_threads_and_processes_make_tokens(
    anywhere: Callable[[], GatewayDatabase],
) -> None:
    """Many that make a token of one name at the same moment make one."""
    made, refused, gate = [], [], threading.Barrier(8)
    all_tokens = [Tokens(anywhere(), SECRET) for _ in range(4)]

    def create(tokens: Tokens) -> None:
        gate.wait(SOON)
        try:
            made.append(tokens.create("ci", by=BY))
        except ConfigError as error:
            refused.append(error)

    threads = [threading.Thread(target=create, args=(tokens,)) for tokens in all_tokens * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert (1, 7) == (len(made), len(refused))
    assert 1 == len([change for change in audit_of(anywhere()) if change.action == "token.create"])
    assert 1 == len([change for change in audit_of(anywhere()) if change.action == "secret.first"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"name": " ci"},
        {"name": "sk-mine"},
        {"models": "openai/*"},
        {"models": [""]},
        {"models": ["a\0"]},
        {"models": ["m"] * 1001},
        {"limits": Limits(day=-1)},
        {"limits": Limits(day=1.5)},  # type: ignore[arg-type]
        {"limits": Limits(streams=True)},
        {"limits": Limits(month=10**18 + 1)},
        {"limits": {"day": 5}},
        {"balance": "mine"},
        {"balance": "team"},
        {"expires_at": float("nan")},
        {"expires_at": "tomorrow"},
        {"expires_at": 1e300},
        {"labels": {"a": 5}},
        {"labels": {"a\n": "b"}},
        {"labels": {f"{number}": "" for number in range(65)}},
        {"team": "nobody"},
        {"team": "a/b"},
    ],
)
def test_what_a_token_cannot_be(tokens: Tokens, database: GatewayDatabase, wrong: dict[str, Any]) -> None:
    """A value that cannot be is refused before anything is written, when it is made and when it is changed."""
    made, _ = tokens.create("good", by=BY)
    before = audit_of(database)
    with pytest.raises(ConfigError):
        tokens.create(**{"name": "bad", "by": BY, **wrong})
    with pytest.raises(ConfigError):
        tokens.set("good", by=BY, **wrong)
    assert made == tokens.show("good")
    assert before == audit_of(database)
    for name in ("id", "revoked_at", "hint", "created_at"):
        with pytest.raises(ConfigError, match="cannot be changed"):
            tokens.set("good", by=BY, **{name: 5})


# Teams.


def test_a_token_never_exceeds_its_team(tokens: Tokens) -> None:
    """Models have to be allowed to both, limits of both hold, and an unlimited token spends what its team has."""
    tokens.create_team("blue", by=BY, models=["openai/*"], limits=Limits(day=5))
    wide, _ = tokens.create("wide", by=BY, team="blue", models=["*"], limits=Limits(day=10**12))
    narrow, _ = tokens.create("narrow", by=BY, team="blue", models=["openai/gpt-4o*", "demo/*"])
    assert [True, True, False] == [
        tokens.allows(wide, model) for model in ("openai/o3", "openai/gpt-4o", "demo/assistant")
    ]
    assert [False, True, False] == [
        tokens.allows(narrow, model) for model in ("openai/o3", "openai/gpt-4o", "demo/assistant")
    ]
    tokens.check(narrow, "openai/gpt-4o-mini")
    with pytest.raises(RequestError) as caught:
        tokens.check(wide, "demo/assistant")
    assert (403, "model_not_allowed", "model") == (caught.value.status, caught.value.code, caught.value.param)
    assert "demo" not in caught.value.message
    blue = tokens.team("blue").holder
    assert Payer("team:blue", (wide.holder, blue)) == tokens.payer(wide)
    own, _ = tokens.create("own", by=BY, team="blue", balance="own")
    assert Payer(f"token:{own.id}", (own.holder, blue)) == tokens.payer(own)
    for call in (
        lambda: tokens.create("free", by=BY, team="blue", balance="unlimited"),
        lambda: tokens.set("wide", by=BY, balance="unlimited"),
    ):
        with pytest.raises(ConfigError, match="cannot be unlimited"):
            call()


def test_a_token_spends_no_more_than_its_team(tokens: Tokens, database: GatewayDatabase) -> None:
    """Whatever a token may spend, send and have at once, its team's balance and limits hold."""
    tokens.create_team("blue", by=BY, limits=Limits(day=100, streams=2, requests_per_minute=4))
    much = Limits(request=10**9, day=10**12, month=10**12, requests_per_minute=10**6, streams=100)
    all_tokens = [tokens.create(name, by=BY, team="blue", limits=much)[0] for name in ("one", "two")]
    own, _ = tokens.create("own", by=BY, team="blue", balance="own", limits=much)
    ledger = Ledger(database)
    ledger.top_up("team:blue", 150, id="blue", by=BY)
    ledger.top_up(own.holder.name, 10**9, id="own", by=BY)

    def reserve(token: Token, id: str, amount: int) -> str:
        try:
            ledger.reserve(tokens.payer(token), id, amount, about=About(token.id, token.team, "m", "/v1"))
        except RequestError as error:
            return str(error.details.get("limit", error.code))
        return "reserved"

    first, second = all_tokens
    assert ["reserved", "day", "reserved", "streams"] == [
        reserve(token, f"r{number}", amount)
        for number, (token, amount) in enumerate([(first, 60), (second, 50), (own, 40), (second, 0)])
    ]
    ledger.release("r0", outcome=Settlement())
    ledger.release("r2", outcome=Settlement())
    tokens.set_team("blue", by=BY, limits=Limits(streams=2, requests_per_minute=4))
    assert ["reserved", "insufficient_balance"] == [reserve(first, "r5", 100), reserve(second, "r6", 51)]
    rates = Rates()
    for token in (first, second, own, first):
        rates.ask(tokens.payer(token).holders, 1)
    with pytest.raises(RequestError, match="this team"):
        rates.ask(tokens.payer(second).holders, 1)


def test_a_team_that_is_limited_later(tokens: Tokens) -> None:
    """A token that was unlimited in an unlimited team pays from its team's balance once that is limited."""
    tokens.create_team("blue", by=BY, balance="unlimited")
    free, _ = tokens.create("free", by=BY, team="blue", balance="unlimited")
    shared, _ = tokens.create("shared", by=BY, team="blue")
    assert (f"token:{free.id}", True) == (tokens.payer(free).account, tokens.payer(free).overdraft)
    assert ("team:blue", True) == (tokens.payer(shared).account, tokens.payer(shared).overdraft)
    tokens.set_team("blue", by=BY, balance="own")
    for token in (free, shared):
        assert ("team:blue", False) == (tokens.payer(token).account, tokens.payer(token).overdraft)
    tokens.create_team("red", by=BY)
    with pytest.raises(ConfigError, match="cannot be unlimited"):
        tokens.set("free", by=BY, team="red")


def test_a_token_without_a_team(tokens: Tokens) -> None:
    """A token without a team pays from its own balance; an unlimited one from none."""
    own, _ = tokens.create("own", by=BY)
    free, _ = tokens.create("free", by=BY, balance="unlimited")
    assert Payer(own.holder.name, (own.holder,)) == tokens.payer(own)
    assert Payer(free.holder.name, (free.holder,), overdraft=True) == tokens.payer(free)
    tokens.check(own, "anything")


def test_a_change_of_the_team_is_seen(tokens: Tokens, clock: Clock, database: GatewayDatabase) -> None:
    """What another process changes of a team holds within two seconds, also for a token that is held meanwhile."""
    other = Tokens(database, SECRET, clock=clock)
    tokens.create_team("blue", by=BY)
    made, text = tokens.create("ci", by=BY, team="blue")
    assert other.find(text)
    assert other.allows(made, "openai/o3")
    tokens.set_team("blue", by=BY, models=["demo/*"], limits=Limits(streams=1))
    clock.now += 2
    assert not other.allows(made, "openai/o3")
    assert 1 == other.payer(made).holders[1].limits.streams


def test_a_team_that_is_gone(tokens: Tokens, clock: Clock, database: GatewayDatabase) -> None:
    """A token whose team somebody deleted from the database may do nothing."""
    tokens.create_team("blue", by=BY)
    made, _ = tokens.create("ci", by=BY, team="blue")
    database.write(lambda connection: connection.execute(tables.teams.delete()).rowcount)
    clock.now += 2
    for call in (lambda: tokens.payer(made), lambda: tokens.check(made, "demo/assistant")):
        with pytest.raises(RequestError) as caught:
            call()
        assert 403 == caught.value.status


def test_teams(tokens: Tokens) -> None:
    """Teams are made once, changed, and listed by name."""
    red = tokens.create_team("red", by=BY)
    blue = tokens.create_team("blue", by=BY, limits=Limits(month=3))
    assert [blue, red] == list(tokens.teams())
    assert 4 == tokens.set_team("blue", by=BY, limits=Limits(month=4)).limits.month
    for call, text in (
        (lambda: tokens.create_team("red", by="bob"), "already"),
        (lambda: tokens.set_team("green", by=BY, models=()), "no team"),
        (lambda: tokens.set_team("red", by=BY, name="x"), "cannot be changed"),
        (lambda: tokens.create_team("a b", by=BY), "name of a team"),
        (lambda: tokens.create_team("x", by=BY, balance="team"), "balance"),
        (lambda: tokens.create_team("x", by=""), "who does it"),
    ):
        with pytest.raises(ConfigError, match=text):
            call()


@pytest.mark.parametrize(
    ("patterns", "model", "fits"),
    [
        ((), "anything", True),
        (("openai/*",), "openai/gpt-4o", True),
        (("openai/*",), "OpenAI/gpt-4o", False),
        (("openai/*",), "azure/openai/x", False),
        (("fast", "demo/*"), "demo/assistant", True),
        (("fast",), "faster", False),
        (("fast",), "fast\n", False),
        (("gpt-[45]*",), "gpt-5", True),
        (("gpt-4.1",), "gpt-4x1", False),
        (("a|b",), "a", False),
    ],
)
def test_patterns(patterns: tuple[str, ...], model: str, fits: bool) -> None:
    """A pattern fits the whole name, with regard to case."""
    assert fits is allows(patterns, model)


# The audit.


def test_each_change_is_on_record(anywhere: Callable[[], GatewayDatabase], clock: Clock) -> None:
    """Who, when, what, before and after are kept for each change; a change that changes nothing leaves no record."""
    database = anywhere()
    tokens = Tokens(database, SECRET, clock=clock)
    tokens.create_team("blue", by="ann", limits=Limits(day=5 * 10**9))
    made, _ = tokens.create("ci", by="ann", models=["demo/*"])
    clock.now += 1
    tokens.set("ci", by="bob", limits=Limits(day=10**9, streams=3), labels={"a": "b"})
    tokens.set("ci", by="bob", labels={"a": "b"})
    tokens.set_team("blue", by="bob", models=["x"])
    tokens.set_team("blue", by="bob", models=["x"])
    old = made.hint
    rotated, _ = tokens.rotate("ci", by="eve", grace=5)
    tokens.revoke("ci", by="eve")
    tokens.revoke("ci", by="eve")
    none = dict.fromkeys(("request", "day", "month", "requests_per_minute", "tokens_per_minute", "streams"))
    mine = audit_of(database, f"token:{made.id}")
    assert ["token.create", "token.set", "token.rotate", "token.revoke"] == [change.action for change in mine]
    assert ["ann", "bob", "eve", "eve"] == [change.by for change in mine]
    assert [NOW, NOW + 1] == [change.at for change in mine[:2]]
    assert ({}, ["demo/*"], "ci") == (mine[0].before, mine[0].after["models"], mine[0].after["name"])
    assert {"limits": none, "labels": {}} == mine[1].before
    assert {"limits": {**none, "day": "1.00", "streams": 3}, "labels": {"a": "b"}} == mine[1].after
    assert ({"hint": old}, {"hint": rotated.hint, "grace": 5}) == (mine[2].before, mine[2].after)
    assert ({"revoked_at": None}, {"revoked_at": "2027-01-15T08:00:01+00:00"}) == (mine[3].before, mine[3].after)
    blue = audit_of(database, "team:blue")
    assert [("team.create", "ann"), ("team.set", "bob")] == [(change.action, change.by) for change in blue]
    assert "5.00" == blue[0].after["limits"]["day"]
    assert ({"models": []}, {"models": ["x"]}) == (blue[1].before, blue[1].after)


def test_a_change_and_its_record_are_one(tokens: Tokens, database: GatewayDatabase, monkeypatch: Any) -> None:
    """Where the record cannot be written, nothing changes."""
    made, text = tokens.create("ci", by=BY)

    def fails(connection: object, change: object) -> None:
        raise RuntimeError("the record cannot be written")

    monkeypatch.setattr("streamkit.gateway.core.tokens.record", fails)
    for call in (
        lambda: tokens.create("other", by=BY),
        lambda: tokens.revoke("ci", by=BY),
        lambda: tokens.rotate("ci", by=BY),
        lambda: tokens.set("ci", by=BY, models=["x"]),
        lambda: tokens.create_team("blue", by=BY),
    ):
        with pytest.raises(RuntimeError):
            call()
    assert [made] == list(tokens.list())
    assert made == tokens.find(text)
    assert [] == tokens.teams()


# The secret.


def test_the_secret_is_made_once(tmp_path: Path, run_process: Callable[..., Process]) -> None:
    """Processes that begin together get one secret, in a file that only its user can read."""
    path = tmp_path / "gateway.db"
    processes = [run_process("tests.unit.gateway_secret_process", str(path)) for _ in range(6)]
    found = {process.wait_for(r"secret (\w+) end") for process in processes}
    secret = read_config(None, {}, database=str(path)).secret.read()
    assert {hashlib.sha256(secret).hexdigest()} == found
    file = tmp_path / "gateway.db.secret"
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert [file] == [each for each in tmp_path.iterdir() if "secret" in each.name]


def test_a_secret_that_is_short(database: GatewayDatabase) -> None:
    """A secret that can be guessed is refused."""
    with pytest.raises(ConfigError, match="16 bytes"):
        Tokens(database, b"x" * 15)


def test_another_secret(anywhere: Callable[[], GatewayDatabase]) -> None:
    """A gateway with another secret says so, in place of refusing every token."""
    _, text = Tokens(anywhere(), SECRET).create("ci", by=BY)
    other = Tokens(anywhere(), SECRET[::-1])
    for call in (lambda: other.find(text), other.prepare, lambda: other.create("b", by=BY)):
        with pytest.raises(ConfigError, match="another secret"):
            call()
    assert Tokens(anywhere(), SECRET).find(text)


# The database.


def test_a_database_that_is_away(tmp_path: Path, clock: Clock) -> None:
    """Where the database cannot be read, a token is neither found nor refused; one in memory goes on for 2 s."""
    database = GatewayDatabase(tmp_path / "gateway.db")
    tokens = Tokens(database, SECRET, clock=clock)
    made, text = tokens.create("ci", by=BY)
    assert made == tokens.find(text)
    database.close()
    (tmp_path / "gateway.db").rename(tmp_path / "away.db")
    (tmp_path / "gateway.db").mkdir()
    assert made == tokens.find(text)
    clock.now += 2
    with pytest.raises(StoreError):
        tokens.find(text)
    database.close()


def test_what_a_program_of_sqlite_sees(tmp_path: Path, tokens: Tokens, database: GatewayDatabase) -> None:
    """The tables are plain SQL: what is in them can be read by any program."""
    tokens.create("ci", by=BY, models=["demo/*"], limits=Limits(day=5))
    with sqlite3.connect(tmp_path / "gateway.db") as connection:
        found = connection.execute("SELECT name, models, limits FROM streamkit_gateway_tokens").fetchall()
    connection.close()
    assert [("ci", '["demo/*"]', '{"day":5}')] == found
    assert 1 == len(rows(database, tables.tokens))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child(tokens: Tokens) -> None:
    """A child that is forked while a thread of the parent has the lock finds tokens."""
    _, text = tokens.create("ci", by=BY)
    assert tokens.find(text)
    with tokens._lock:
        pid = os.fork()
        if not pid:
            os._exit(0 if tokens.find(text) and not tokens.find(f"{text}x") else 1)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_values() -> None:
    """Tokens and teams are values: equal by their fields, and safe to pickle."""
    token = Token("1", "ci", labels={"a": "b"}, limits=Limits(day=3))
    assert token == pickle.loads(pickle.dumps(token))
    assert Team("blue") == pickle.loads(pickle.dumps(Team("blue")))
