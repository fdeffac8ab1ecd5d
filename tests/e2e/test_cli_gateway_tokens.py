"""``streamkit token``, ``team``, ``usage`` and ``ledger``: what an administrator of the gateway does."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

pytest.importorskip("sqlalchemy")

from streamkit.cli.root import run as main
from streamkit.errors import RequestError
from streamkit.gateway.config import read_config
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.records import About, Settlement
from streamkit.gateway.core.tokens import Tokens
from tests.e2e.test_cli import run
from tests.postgres import make_postgres
from tests.processes import Process, run_process

__all__ = ["make_postgres", "run_process"]  # fixtures

TEXT = re.compile(r"sk-[A-Za-z0-9_-]{43}")


@attrs.frozen
class Done:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for the database; it is not there yet."""
    for name in ("STREAMKIT_CONFIG", "STREAMKIT_GATEWAY_DATABASE", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("STREAMKIT_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run commands in this process, which takes a tenth of the time of one of their own."""

    def do(*arguments: str, code: int = 0) -> Done:
        returned = main(list(arguments))
        done = Done(returned, *capsys.readouterr())
        assert code == done.code, done
        return done

    return do


def opened(folder: Path) -> tuple[GatewayDatabase, Tokens, Ledger]:
    config = read_config(None, {}, database=str(folder / "gateway.db"))
    database = GatewayDatabase(config.database)
    return database, Tokens(database, config.secret.read()), Ledger(database)


def found(folder: Path, text: str) -> str | None:
    """Return the id of the token that a gateway finds by a text."""
    database, tokens, _ = opened(folder)
    with closing(database):
        token = tokens.find(text)
    return None if token is None else token.id


# From nothing to a token, as processes.


def test_the_first_token(data: Path) -> None:
    """One command makes folder, database, secret and token; the text alone is on standard output, this once."""
    done = run("token", "create", "ann", "--topup", "5", "--usd-per-day", "0.000001", COLUMNS="300")
    assert 0 == done.returncode, done.stderr
    text = done.stdout.strip()
    assert TEXT.fullmatch(text)
    assert text not in done.stderr
    assert "shown this once" in done.stderr
    assert 0o700 == stat.S_IMODE(data.stat().st_mode)
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    for shown in (run("token", "list"), run("token", "show", "ann"), run("token", "list", "--json")):
        assert 0 == shown.returncode
        assert text not in shown.stdout
        assert text[3:-4] not in shown.stdout
        assert "ann" in shown.stdout
    database, tokens, ledger = opened(data)
    with closing(database):
        token = tokens.find(text)
        assert token is not None
        assert 1000 == token.limits.day
        assert 5 * 10**9 == ledger.balance(token.holder.name).available


def test_no_command_takes_the_text(data: Path, do: Callable[..., Done]) -> None:
    """A text that is typed in place of a name is refused, and never repeated."""
    text = do("token", "create", "ann").out.strip()
    for command in (["show"], ["revoke"], ["rotate"], ["topup"], ["set"], ["create"]):
        amount = {"topup": ["5"], "set": ["--streams", "1"]}.get(command[0], [])
        done = do("token", *command, text, *amount, code=1)
        assert text[3:] not in done.out + done.err
    assert ["ann"] == [json.loads(line)["name"] for line in do("token", "list", "--json").out.splitlines()]


def test_without_a_database(data: Path, do: Callable[..., Done]) -> None:
    """A command that only reads makes nothing, and says what does."""
    for command in (
        ("token", "list"),
        ("token", "show", "ann"),
        ("token", "revoke", "ann"),
        ("team", "list"),
        ("team", "topup", "blue", "5"),
        ("usage",),
        ("ledger", "check"),
        ("ledger", "export"),
    ):
        assert "token create makes it" in do(*command, code=1).err
    assert not data.exists()


# Tokens.


def test_the_life_of_a_token(do: Callable[..., Done], data: Path) -> None:
    """Made, topped up, changed, rotated, revoked: each step is shown with who did it, before and after."""
    first = do("token", "create", "ann", "--json", "--label", "a=b", "--model", "demo/*").json
    assert TEXT.fullmatch(first["text"])
    assert ("own", ["demo/*"], {"a": "b"}) == (first["balance"], first["models"], first["labels"])
    assert "ann has 5.50 USD" in do("token", "topup", "ann", "5.50", "--note", "for a demo").out
    assert "ann has 5.500001 USD" in do("token", "topup", "ann", "0.000001").out
    assert "ann has 3.500001 USD" in do("token", "topup", "ann", "2", "--withdraw").out
    changed = do("token", "set", "ann", "--usd-per-month", "7", "--all-models", "--label", "a=", "--json").json
    assert ("7.00", [], {}) == (changed["limits"]["month"], changed["models"], changed["labels"])
    second = do("token", "rotate", "ann", "--grace", "1h").out.strip()
    assert found(data, first["text"]) == found(data, second) == first["id"]
    do("token", "rotate", "ann")
    assert found(data, first["text"]) is found(data, second) is None
    assert "revoked: ann" in do("token", "revoke", "ann").out
    shown = do("token", "show", "ann").out
    for line in (
        r"state +revoked",
        r"\d\d:\d\d \S+@\S+ token\.create: name ann, models demo/\*, balance own, labels a=b",
        r'balance\.topup: balance 0\.00 -> 5\.50, "for a demo"',
        r"balance\.topup: balance 5\.50 -> 5\.500001",
        r"balance\.withdraw: balance 5\.500001 -> 3\.500001",
        r"token\.set: models demo/\* -> all, month none -> 7\.00, labels a=b -> none",
        r"token\.rotate: grace none -> 3600",
        r"token\.revoke: revoked_at none -> \d{4}-",
    ):
        assert re.search(line, shown), (line, shown)
    told = do("token", "show", first["id"], "--json").json
    assert {"available": "3.500001", "reserved": "0.00", "spent": "0.00"} == told["money"]
    assert 8 == len(told["changes"])
    assert {"balance": "0.00"} == told["changes"][1]["before"]
    assert "for a demo" == told["changes"][1]["note"]


def test_what_cannot_be_typed(do: Callable[..., Done]) -> None:
    """Wrong amounts, times and limits are bad usage, with an exit code of its own, and nothing is made."""
    do("token", "create", "ann")
    for arguments in (
        ("topup", "ann", "five"),
        ("topup", "ann", "--", "-5"),
        ("topup", "ann", "0.0000000001"),
        ("topup", "ann", "nan"),
        ("topup", "ann", "1e400"),
        ("create", "bob", "--usd-per-day", "1,5"),
        ("create", "bob", "--streams", "-1"),
        ("create", "bob", "--requests-per-minute", "1e9"),
        ("create", "bob", "--expires", "soon"),
        ("create", "bob", "--label", "x"),
        ("create", "bob", "--team", "blue", "--topup", "5"),
        ("create", "bob", "--balance", "all"),
        ("rotate", "ann", "--grace", "-1"),
        ("set", "ann"),
        ("set", "ann", "--all-models", "--model", "x"),
    ):
        done = do("token", *arguments, code=2)
        assert 1 == done.err.count("\n")
    for arguments, text in (
        (("create", "ann"), "already"),
        (("create", "bob", "--team", "blue"), "no team blue"),
        (("create", "bob", "--balance", "team"), "without a team"),
        (("create", "bob", "--expires", "2020-01-01"), "before it is made"),
        (("topup", "ann", "5", "--withdraw"), "ann has 0.00 USD"),
        (("topup", "bob", "5"), "no token 'bob'"),
        (("topup", "ann", "2000000000"), "billion"),
    ):
        code = 2 if "billion" in text else 1
        assert text in do("token", *arguments, code=code).err
    assert ["ann"] == [json.loads(line)["name"] for line in do("token", "list", "--json").out.splitlines()]


def test_one_payment_is_booked_once(do: Callable[..., Done]) -> None:
    """A top-up that is sent again with its id changes nothing; with another amount it is refused."""
    do("token", "create", "ann")
    for _ in range(2):
        assert "ann has 5.00 USD" in do("token", "topup", "ann", "5", "--id", "invoice-17").out
    assert "another top-up" in do("token", "topup", "ann", "6", "--id", "invoice-17", code=1).err
    assert "5.00" == do("token", "show", "ann", "--json").json["money"]["available"]


def test_a_token_whose_balance_is_not_its_own(do: Callable[..., Done]) -> None:
    """Money is put where it is spent from: a token of a team says whose balance it has."""
    do("team", "create", "blue")
    do("token", "create", "ci", "--team", "blue")
    do("token", "create", "free", "--balance", "unlimited")
    assert "streamkit team topup blue" in do("token", "topup", "ci", "5", code=1).err
    assert "not limited" in do("token", "topup", "free", "5", code=1).err
    assert "cannot be unlimited" in do("token", "set", "ci", "--balance", "unlimited", code=1).err
    do("token", "set", "ci", "--balance", "own", "--team", "blue")
    assert "ci has 5.00 USD" in do("token", "topup", "ci", "5").out
    do("token", "set", "ci", "--team", "none", "--name", "alone")
    assert "" == do("token", "show", "alone", "--json").json["team"]


def test_expiry(do: Callable[..., Done]) -> None:
    """A token's end is typed as a time from now, a day, or a moment with its zone."""
    do("token", "create", "ann", "--expires", "90d")
    shown = do("token", "show", "ann", "--json").json
    made, ends = (datetime.fromisoformat(shown[name]) for name in ("created_at", "expires_at"))
    assert timedelta(days=89.9) < ends - made < timedelta(days=90.1)
    done = do("token", "set", "ann", "--expires", "2100-01-31T18:00+01:00", "--json").json
    assert "2100-01-31T17:00:00+00:00" == done["expires_at"]
    assert "until 2100-01-31" in do("token", "list").out
    assert do("token", "set", "ann", "--expires", "never", "--json").json["expires_at"] is None


def test_names_that_control_a_terminal(do: Callable[..., Done]) -> None:
    """Whatever is in a database is shown as text."""
    assert "one line" in do("token", "create", "a\x1b[31mb", code=1).err
    do("token", "create", "=cmd|x!A0")
    assert "=cmd|x!A0" in do("token", "list").out


# Teams.


def test_teams(do: Callable[..., Done]) -> None:
    """A team is made, topped up, changed, listed and shown with its tokens and changes."""
    assert "made: blue; 3.00 USD" in do("team", "create", "blue", "--topup", "3", "-m", "openai/*").out
    assert "already" in do("team", "create", "blue", "--streams", "5", code=1).err
    do("token", "create", "ci", "--team", "blue")
    assert "blue has 5.00 USD" in do("team", "topup", "blue", "2", "--note", "more").out
    assert "blue has 5.00 USD, and no more" in do("team", "topup", "blue", "6", "--withdraw", code=1).err
    changed = do("team", "set", "blue", "--streams", "20", "--all-models", "--json").json
    assert (20, []) == (changed["limits"]["streams"], changed["models"])
    assert "changed: blue" in do("team", "set", "blue", "--streams", "none").out
    assert "say what" in do("team", "set", "blue", code=2).err
    assert re.search(r"blue +1 +5\.00 +0\.00 +all +-", do("team", "list").out)
    listed = do("team", "list", "--json").json
    assert ("blue", 1, "5.00") == (listed["name"], listed["tokens"], listed["money"]["available"])
    assert ["ci"] == do("team", "show", "blue", "--json").json["tokens"]
    shown = do("team", "show", "blue").out
    assert "team.set: models openai/* -> all, streams none -> 20" in shown
    assert 'balance.topup: balance 3.00 -> 5.00, "more"' in shown


# What was spent.


@pytest.fixture
def spent(data: Path, do: Callable[..., Done]) -> tuple[Path, str]:
    """A database with three charges of a token in a team, and one of another."""
    do("team", "create", "blue", "--topup", "5")
    do("token", "create", "ci", "--team", "blue")
    do("token", "create", "ann", "--topup", "1")
    database, tokens, ledger = opened(data)
    with closing(database):
        for number, (name, model, amount, status) in enumerate(
            [
                ("ci", "openai/gpt-4o", 10_000_001, 200),
                ("ci", "demo/storyteller", 0, 502),
                ("ci", "=HYPERLINK(0)", 5, 200),
                ("ann", "openai/gpt-4o", 250_000_000, 200),
            ]
        ):
            token = tokens.show(name)
            about = About(token.id, token.team, model, "/v1/chat/completions")
            ledger.reserve(tokens.payer(token), f"r{number}", 10**9, about=about)
            outcome = Settlement(status, status != 200, "openai", input_tokens=1000, output_tokens=20)
            ledger.settle(f"r{number}", amount, outcome=outcome)
        id = tokens.show("ci").id
    return data, id


def test_usage(spent: tuple[Path, str], do: Callable[..., Done]) -> None:
    """What was spent adds up to the nano, by day, model, token and team, and is filtered by the same."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    line = do("usage").out.splitlines()
    assert 2 == len(line)
    assert [today, "4", "1", "1", "0.260000006", "4,000", "0", "80", "0"] == line[1].split()
    by_token = do("usage", "--by", "token").out.splitlines()
    assert {"ci", "ann", "all", "TOKEN"} == {each.split()[0] for each in by_token}
    assert ["all", "4"] == by_token[-1].split()[:2]
    mine = do("usage", "--by", "token", "--token", "ci", "--json").json
    assert (spent[1], "ci", 3, "0.010000006") == (mine["token"], mine["name"], mine["requests"], mine["usd"])
    models = [json.loads(each) for each in do("usage", "--by", "model", "--team", "blue", "--json").out.splitlines()]
    assert {"openai/gpt-4o": "0.010000001", "demo/storyteller": "0.00", "=HYPERLINK(0)": "0.000000005"} == {
        each["model"]: each["usd"] for each in models
    }
    assert "nothing was asked" in do("usage", "--until", "1d").err
    assert "nothing was asked" in do("usage", "--since", "2099-01-01", "--until", "2099-01-02").err
    assert "give --token or --team" in do("usage", "--token", "ci", "--team", "blue", code=2).err
    assert "no team" in do("usage", "--team", "red", code=1).err


def test_export(spent: tuple[Path, str], do: Callable[..., Done], tmp_path: Path) -> None:
    """Each charge is a line of JSON or of CSV with exact amounts; a name that a client chose is no formula."""
    lines = [json.loads(line) for line in do("ledger", "export").out.splitlines()]
    assert ["r0", "r1", "r2", "r3"] == sorted(line["request_id"] for line in lines)
    assert {"0.010000001", "0.00", "0.000000005", "0.25"} == {line["usd"] for line in lines}
    target = tmp_path / "out.csv"
    assert "3 charges written" in do("ledger", "export", "--team", "blue", "-o", str(target)).err
    assert 0o600 == stat.S_IMODE(target.stat().st_mode)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert {"'=HYPERLINK(0)", "openai/gpt-4o", "demo/storyteller"} == {row["model"] for row in rows}
    assert {"team:blue"} == {row["account"] for row in rows}
    assert ["true"] == [row["estimated"] for row in rows if row["status"] == "502"]
    assert list(lines[0]) == list(rows[0])
    assert 2 == do("ledger", "export", "--format", "csv", "--token", "ann").out.count("\n")
    assert 1 == do("ledger", "export", "--format", "csv", "--until", "2020-01-01").out.count("\n")
    assert "--format" in do("ledger", "export", "-o", str(tmp_path / "out"), code=2).err


def test_check(spent: tuple[Path, str], do: Callable[..., Done]) -> None:
    """The check says that all sums are right; a row that somebody changed is found, with exit code 1."""
    assert "all sums are right" in do("ledger", "check").out
    assert {"right": True, "problems": []} == do("ledger", "check", "--json").json
    with closing(sqlite3.connect(spent[0] / "gateway.db")) as connection:
        connection.execute("UPDATE streamkit_gateway_accounts SET available = available + 1 WHERE name = 'team:blue'")
        connection.commit()
    done = do("ledger", "check", code=1)
    assert "balance: team:blue" in done.out
    assert "1 problem found" in done.out
    assert not do("ledger", "check", "--json", code=1).json["right"]


# Which database.


def test_which_database(do: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option wins over the variable, and that over the configuration, of which only the storage is looked at."""
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[storage]\ndatabase = "of-config.db"\nsecret = "$THE_SECRET"\n'
        '[providers.openai]\nkey = "$NOT_SET"\n[models]\nfast = "openai/gpt-4o"\n'
    )
    monkeypatch.setenv("THE_SECRET", "0123456789abcdef0123456789abcdef")
    do("token", "create", "in-config", "--config", str(config))
    assert (tmp_path / "of-config.db").exists()
    assert not (tmp_path / "of-config.db.secret").exists()
    monkeypatch.setenv("STREAMKIT_GATEWAY_DATABASE", str(tmp_path / "of-variable.db"))
    do("token", "create", "in-variable")
    do("token", "create", "in-option", "--database", str(tmp_path / "of-option.db"))
    assert "in-variable" in do("token", "list").out
    monkeypatch.delenv("STREAMKIT_GATEWAY_DATABASE")
    monkeypatch.setenv("STREAMKIT_CONFIG", str(config))
    assert "in-config" in do("token", "list").out
    monkeypatch.delenv("THE_SECRET")
    assert (
        "gateway.toml:3: storage.secret: the environment variable THE_SECRET is not set"
        in do("token", "list", code=1).err
    )
    monkeypatch.setenv("THE_SECRET", "another secret of the same length")
    assert "another secret" in do("token", "list", code=1).err


def test_a_password_is_on_no_command_line(do: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL with a password is refused where others can read it, and taken from a variable."""
    monkeypatch.setenv("URL", "postgresql://user:word-of-pass@127.0.0.1:1/x")
    done = do("ledger", "check", "--database", os.environ["URL"], code=2)
    assert "environment variable" in done.err
    assert "word-of-pass" not in done.err
    assert "word-of-pass" not in do("ledger", "check", "--database", "$URL", code=1).err
    assert "NOTHING" in do("ledger", "check", "--database", "$NOTHING", code=2).err


def test_postgresql(
    do: Callable[..., Done], make_postgres: Callable[[], str], tmp_path: Path, monkeypatch: Any
) -> None:
    """The commands do the same in PostgreSQL, whose secret is in the configuration."""
    monkeypatch.setenv("URL", make_postgres())
    assert "secret" in do("token", "create", "ann", "--database", "$URL", code=1).err
    config = tmp_path / "gateway.toml"
    config.write_text(f'[storage]\ndatabase = "$URL"\nsecret = "{"x" * 32}"\n')
    monkeypatch.setenv("STREAMKIT_CONFIG", str(config))
    do("team", "create", "blue", "--topup", "5")
    do("token", "create", "ann", "--team", "blue")
    assert "ann" in do("token", "list").out
    assert "all sums are right" in do("ledger", "check").out
    monkeypatch.delenv("STREAMKIT_CONFIG")
    assert "all sums are right" in do("ledger", "check", "--database", "$URL").out


# Who, and what others can see.


def test_who_did_it(do: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    """The record names the user and the machine, and who became another user for it."""
    monkeypatch.setattr("streamkit.cli.gateway_database.getpass.getuser", lambda: "root")
    monkeypatch.setattr("streamkit.cli.gateway_database.socket.gethostname", lambda: "desk")
    do("token", "create", "one")
    monkeypatch.setenv("SUDO_USER", "ann\n")
    do("token", "create", "two")
    assert ["root@desk", "ann as root@desk"] == [
        do("token", "show", name, "--json").json["by"] for name in ("one", "two")
    ]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_what_proc_shows(data: Path, run_process: Callable[..., Process]) -> None:
    """Nobody who lists the processes of the machine sees a token or the secret."""
    process = run_process("streamkit", "token", "create", "ann", "--json")
    seen = b""
    while process.popen.poll() is None:
        for name in ("cmdline", "environ"):
            try:
                seen += Path(f"/proc/{process.pid}/{name}").read_bytes()
            except OSError:
                break
    assert 0 == process.wait()
    text = process.wait_for(TEXT.pattern)
    assert text.encode() not in seen
    assert (data / "gateway.db.secret").read_bytes().strip() not in seen


def test_a_revoked_token_is_refused_elsewhere(data: Path, do: Callable[..., Done]) -> None:
    """What a command changes holds in a gateway that is running."""
    text = do("token", "create", "ann").out.strip()
    database, tokens, _ = opened(data)
    with closing(database):
        assert tokens.find(text)
        do("token", "revoke", "ann")
        tokens._clock = lambda: time.time() + 2  # as two seconds later
        with pytest.raises(RequestError, match="was revoked"):
            tokens.find(text)
