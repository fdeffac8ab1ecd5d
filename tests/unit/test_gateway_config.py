"""A gateway's configuration: each mistake is named by its line, and what is right becomes frozen values."""

from __future__ import annotations

import pickle
import re
import stat
import string
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.errors import ConfigError
from streamkit.gateway.config import (
    Config,
    ConfigProblems,
    ModelConfig,
    Secret,
    UpstreamConfig,
    provider_of,
    read_config,
)
from streamkit.gateway.config.places import lines_of
from streamkit.gateway.config.toml import parse
from streamkit.settings import Timeout

pytest.importorskip("genai_prices", reason="needs the extra prices")

KEY = "sk-of-the-test-0123456789"
ENVIRON = {"A_KEY": KEY, "EMPTY": "", "PORT": "8123", "WORD": "many"}
GOOD = '[models]\nfast = "demo/assistant"\n'
HERE = "# <--"  # marks the line that a mistake has to be told with


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None, **given: Any) -> Config:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    data = {"STREAMKIT_DATA": str(folder)}
    return read_config(path, {**ENVIRON, **data, **(environ or {})}, **given)


def problems_of(folder: Path, text: str, **given: Any) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ConfigProblems) as raised:
        read(folder, text, **given)
    assert str(raised.value) == "\n".join(map(str, raised.value.problems))
    assert KEY not in str(raised.value)
    return [(problem.line, problem.key, problem.text) for problem in raised.value.problems]


# Each is one mistake: the text, with a mark on its line, the key, and words of what is told.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "an unknown table": (f"[sever] {HERE}\nport = 1\n" + GOOD, "sever", "unknown key; did you mean server?"),
    "a misspelt key": (f"[server]\nprot = 8000 {HERE}\n" + GOOD, "server.prot", "did you mean port?"),
    "a key of nowhere": (
        f"[server]\nzzz = 1 {HERE}\n" + GOOD,
        "server.zzz",
        "unknown key; known are authorize, body_seconds, cors,",
    ),
    "a key in no table": (f"port = 1 {HERE}\n" + GOOD, "port", "unknown key"),
    "text for a number": (f'[server]\nport = "80" {HERE}\n' + GOOD, "server.port", "a whole number, not text"),
    "a fraction for a whole number": (f"[server]\nport = 80.5 {HERE}\n" + GOOD, "server.port", "not a number"),
    "a flag for a number": (f"[server]\nport = true {HERE}\n" + GOOD, "server.port", "not true or false"),
    "a number for a flag": (f"[server]\npage = 1 {HERE}\n" + GOOD, "server.page", "has to be true or false"),
    "a number for text": (f"[server]\nhost = 1 {HERE}\n" + GOOD, "server.host", "has to be text in quotation marks"),
    "a date for text": (f"[server]\nhost = 2026-11-27 {HERE}\n" + GOOD, "server.host", "not a date or time"),
    "a list for a table": (f"server = [1] {HERE}\n" + GOOD, "server", "has to be a table, such as [server]"),
    "an empty text": (f'[server]\nhost = " " {HERE}\n' + GOOD, "server.host", "is empty"),
    "no such port": (f"[server]\nport = 65536 {HERE}\n" + GOOD, "server.port", "from 0 to 65535, not 65536"),
    "no workers": (f"[server]\nworkers = 0 {HERE}\n" + GOOD, "server.workers", "from 1 to 256"),
    "negative seconds": (f"[server]\nheartbeat_seconds = -1 {HERE}\n" + GOOD, "server.heartbeat_seconds", "above 0"),
    "endless seconds": (f"[server]\ngrace_seconds = inf {HERE}\n" + GOOD, "server.grace_seconds", "at most 86400"),
    "no number of seconds": (f"[server]\ngrace_seconds = nan {HERE}\n" + GOOD, "server.grace_seconds", "at least 0"),
    "an origin with a path": (
        f'[server]\ncors = [\n  "https://a.example",\n  "https://b.example/x", {HERE}\n]\n' + GOOD,
        "server.cors[1]",
        "an origin without a path",
    ),
    "an origin that is a number": (f"[server]\ncors = [5] {HERE}\n" + GOOD, "server.cors[0]", "has to be text"),
    "a function without a module": (f'[server]\nauthorize = "who" {HERE}\n' + GOOD, "server.authorize", "module:func"),
    "a module that is not there": (
        f'[server]\nauthorize = "no_such_module_:who" {HERE}\n' + GOOD,
        "server.authorize",
        "there is no module no_such_module_",
    ),
    "a database of another kind": (
        f'[storage]\ndatabase = "mysql://h/n" {HERE}\n' + GOOD,
        "storage.database",
        "sqlite:////path/file.db, or postgresql://user@host/name",
    ),
    "a database in memory": (f'[storage]\ndatabase = "sqlite://" {HERE}\n' + GOOD, "storage.database", "is lost"),
    "a database in no folder": (
        f'[storage]\ndatabase = "sqlite:////no-such-folder/a.db" {HERE}\n' + GOOD,
        "storage.database",
        "there is no folder /no-such-folder: make it",
    ),
    "an old name of PostgreSQL": (
        f'[storage]\nsecret = "$A_KEY"\ndatabase = "postgres://u@h/n" {HERE}\n' + GOOD,
        "storage.database",
        "begins with postgresql://",
    ),
    "a server of no database": (
        f'[storage]\nsecret = "$A_KEY"\ndatabase = "postgresql://u@h" {HERE}\n' + GOOD,
        "storage.database",
        "names no database",
    ),
    "a shared database without a secret": (
        f'[storage] {HERE}\ndatabase = "postgresql://u:{KEY}@h/n"\n' + GOOD,
        "storage",
        "needs a secret that all processes share",
    ),
    "a short secret": (f'[storage]\nsecret = "abc" {HERE}\n' + GOOD, "storage.secret", "less than 16 bytes"),
    "no Redis": (f'[storage]\nredis = "localhost" {HERE}\n' + GOOD, "storage.redis", "redis://127.0.0.1:6379/0"),
    "a variable that is not set": (f'[storage]\nredis = "$NOPE" {HERE}\n' + GOOD, "storage.redis", "NOPE is not set"),
    "a variable that is empty": (f'[storage]\nredis = "$EMPTY" {HERE}\n' + GOOD, "storage.redis", "EMPTY is empty"),
    "no name of a variable": (f'[storage]\nredis = "$A-KEY" {HERE}\n' + GOOD, "storage.redis", "write $$ for a dollar"),
    "a variable that is no number": (f'[server]\nport = "$WORD" {HERE}\n' + GOOD, "server.port", "a whole number"),
    "a limit of too much": (f"[limits]\nbytes = 99_999_999 {HERE}\n" + GOOD, "limits.bytes", "to 16777216"),
    "a limit of nothing": (f"[limits]\nmessages = 0 {HERE}\n" + GOOD, "limits.messages", "at least 1"),
    "a log of another format": (f'[log]\nformat = "jsno" {HERE}\n' + GOOD, "log.format", "did you mean json?"),
    "a log in no folder": (f'[log]\nfile = "/no-such-folder/a.log" {HERE}\n' + GOOD, "log.file", "there is no folder"),
    "content in the log": (f'[log]\nfile = "a.log"\ncontent = "a.log" {HERE}\n' + GOOD, "log.content", "of their own"),
    "an unknown provider": (
        f'[providers.opnai] {HERE}\nkey = "$A_KEY"\n' + GOOD,
        "providers.opnai",
        "unknown provider; did you mean openai?",
    ),
    "a provider that is no table": (f'[providers]\nopenai = "$A_KEY" {HERE}\n' + GOOD, "providers.openai", "a table"),
    "a provider with a slash": (
        f'[providers."a/b"] {HERE}\nbase_url = "http://h/v1"\n' + GOOD,
        'providers."a/b"',
        "has no slash",
    ),
    "another demo": (f'[providers.demo] {HERE}\nbase_url = "http://h/v1"\n' + GOOD, "providers.demo", "always there"),
    "an unknown kind": (
        f'[providers.mine]\nkind = "anthropc" {HERE}\nbase_url = "http://h/v1"\n' + GOOD,
        "providers.mine.kind",
        "did you mean anthropic?",
    ),
    "a kind of another library's name": (
        f'[providers.mine]\nkind = "vertex_ai" {HERE}\n' + GOOD,
        "providers.mine.kind",
        "did you mean gemini?",
    ),
    "a server without an address": (
        f'[providers.mine] {HERE}\nkind = "compatible"\n' + GOOD,
        "providers.mine",
        "needs a base_url",
    ),
    "an address that is none": (
        f'[providers.mine]\nbase_url = "host/v1" {HERE}\n' + GOOD,
        "providers.mine.base_url",
        "is an absolute http or https URL",
    ),
    "a key in the address": (
        f'[providers.mine]\nbase_url = "http://u:{KEY}@h/v1" {HERE}\n' + GOOD,
        "providers.mine.base_url",
        "takes no user name and password",
    ),
    "no key": (f"[providers.openai] {HERE}\n" + GOOD, "providers.openai", 'write key = "$NAME" in [providers.openai]'),
    "the name of a variable for a key": (
        f'[providers.openai]\nkey = "A_KEY" {HERE}\n' + GOOD,
        "providers.openai.key",
        'write "$A_KEY" for its value',
    ),
    "two keys": (
        f'[providers.openai]\nkey = "$A_KEY"\nkey_file = "key" {HERE}\n' + GOOD,
        "providers.openai.key_file",
        "say the same",
    ),
    "a key in no file": (
        f'[providers.openai]\nkey_file = "no-such-file" {HERE}\n' + GOOD,
        "providers.openai.key_file",
        "cannot be read: No such file",
    ),
    "a key in an empty file": (
        f'[providers.openai]\nkey_file = "empty" {HERE}\n' + GOOD,
        "providers.openai.key_file",
        "the file is empty",
    ),
    "a header that is no text": (
        f'[providers.mine]\nbase_url = "http://h/v1"\nheaders = {{ x-a = "1", x-b = 2 }} {HERE}\n' + GOOD,
        "providers.mine.headers.x-b",
        "has to be text",
    ),
    "headers that go nowhere": (
        f'[providers.anthropic] {HERE}\nkey = "$A_KEY"\nheaders = {{ x-a = "1" }}\n' + GOOD,
        "providers.anthropic",
        "takes no headers",
    ),
    "an option of another provider": (
        f'[providers.anthropic]\nkey = "$A_KEY"\nregion = "x" {HERE}\n' + GOOD,
        "providers.anthropic.region",
        "unknown key",
    ),
    "no models": (f"[server]\nport = 1\n[models] {HERE}\n", "models", "there are no models"),
    "a name with a blank": (f'[models]\n"a b" = "demo/assistant" {HERE}\n', 'models."a b"', "without blanks"),
    "an asterisk within a name": (f'[models]\n"a*b" = "demo/assistant" {HERE}\n', 'models."a*b"', "at the end"),
    "a model that is a number": (f"[models]\nfast = 5 {HERE}\n", "models.fast", "has to be a route"),
    "a model without routes": (f"[models.fast] {HERE}\nmax_output = 5\n", "models.fast", "has no routes"),
    "an empty list of routes": (f"[models]\nfast = [] {HERE}\n", "models.fast", "1 to 32 routes"),
    "a route that is a number": (f"[models]\nfast = [5] {HERE}\n", "models.fast[0]", "a route is text"),
    "a route twice": (
        f'[models.fast]\nroutes = [\n  "demo/assistant",\n  "demo/assistant", {HERE}\n]\n',
        "models.fast.routes[1]",
        "names demo/assistant twice",
    ),
    "an alias to nowhere": (f'[models]\nfast = "small" {HERE}\n', "models.fast", "write provider/model"),
    "a misspelt alias": (
        f'[models]\nsmall = "demo/assistant"\nfast = "smal" {HERE}\n',
        "models.fast",
        "no model of this file is called smal; did you mean small?",
    ),
    "an alias among routes": (
        f'[models]\nsmall = "demo/assistant"\nfast = [\n"demo/storyteller",\n"small"] {HERE}\n',
        "models.fast[1]",
        "can be named alone",
    ),
    "no provider of the name": (
        f'[models]\nfast = "opnai/gpt-4o" {HERE}\n',
        "models.fast",
        "unknown provider opnai; did you mean openai?",
    ),
    "a provider of nobody": (
        f'[models]\nfast = "qqq/m" {HERE}\n',
        "models.fast",
        "write [providers.qqq]",
    ),
    "a route without a key": (
        f'[models]\nfast = "groq/m" {HERE}\n',
        "models.fast",
        "groq needs an API key: set the environment variable GROQ_API_KEY",
    ),
    "no such demo model": (f'[models]\nfast = "demo/poet" {HERE}\n', "models.fast", "there is no demo/poet"),
    "half a wildcard": (f'[models]\n"fast-*" = "demo/assistant" {HERE}\n', 'models."fast-*"', "ends in an asterisk"),
    "the other half": (f'[models]\nfast = "demo/*" {HERE}\n', "models.fast", "ends in an asterisk"),
    "a weight of nothing": (
        f'[models.fast.routes]\n"demo/assistant" = 1\n"demo/storyteller" = 0 {HERE}\n',
        'models.fast.routes."demo/storyteller"',
        "a weight is a whole number from 1",
    ),
    "weights without a choice by them": (
        f'[models.fast]\nroutes = {{ "demo/assistant" = 1 }}\nchoose = "order" {HERE}\n',
        "models.fast.choose",
        "make routes a list",
    ),
    "an unknown choice": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nchoose = "cheap" {HERE}\n',
        "models.fast.choose",
        "did you mean cheapest?",
    ),
    "a hedge of one": (f'[models.fast]\nroutes = ["demo/assistant"]\nhedge = 1 {HERE}\n', "models.fast.hedge", "one r"),
    "a negative price": (
        f'[models.fast]\nroutes = ["demo/assistant"]\noutput_price = 1\ninput_price = -0.5 {HERE}\n',
        "models.fast.input_price",
        "a price is not negative",
    ),
    "a price of a fraction of nothing": (
        f'[models.fast]\nroutes = ["demo/assistant"]\noutput_price = 1\ninput_price = 0.0000000001 {HERE}\n',
        "models.fast.input_price",
        "more than nine digits",
    ),
    "half a price": (
        f'[models.fast]\nroutes = ["demo/assistant"]\ninput_price = 0.5 {HERE}\n',
        "models.fast.input_price",
        "goes together with output_price",
    ),
    "a price of the cache alone": (
        f'[models.fast]\nroutes = ["demo/assistant"]\ncached_price = 0.5 {HERE}\n',
        "models.fast.cached_price",
        "set all of them",
    ),
    "a model without a known price": (
        f'[models]\nfast = "openai/no-such-model" {HERE}\n[providers.openai]\nkey = "$A_KEY"\n',
        "models.fast",
        "the price of no-such-model is not known: set input_price and output_price",
    ),
    "a server of one's own without a price": (
        f'[models]\nfast = "mine/m" {HERE}\n[providers.mine]\nbase_url = "http://h/v1"\n',
        "models.fast",
        "0 for a model that costs nothing",
    ),
    "all models of a provider without prices": (
        f'[models]\n"mine/*" = "mine/*" {HERE}\n[providers.mine]\nbase_url = "http://h/v1"\n',
        'models."mine/*"',
        "no list has prices for mine",
    ),
    "a price list by another name": (
        f'[models]\nfast = "mine/gpt-4o-mini" {HERE}\n[providers.mine]\nkind = "openai"\nkey = "$A_KEY"\n',
        "models.fast",
        "no list has prices for mine",
    ),
    "too many tokens": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nmax_output = 0 {HERE}\n',
        "models.fast.max_output",
        "from 1 to 10000000",
    ),
    "a parameter that has to stay": (
        f'[models.fast]\nroutes = ["demo/assistant"]\ndrop = ["seed", "max_tokens"] {HERE}\n',
        "models.fast.drop",
        "'max_tokens' cannot be left out; known are frequency_penalty, ",
    ),
    "a parameter that there is not": (
        f'[models.fast]\nroutes = ["demo/assistant"]\ndrop = ["temprature"] {HERE}\n',
        "models.fast.drop",
        "'temprature' cannot be left out; did you mean temperature?",
    ),
    "a field of the format": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nfields = ["top_k", "seed"] {HERE}\n',
        "models.fast.fields",
        "seed is a field of the format",
    ),
    "a field that holds a prompt": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nfields = ["options"] {HERE}\n',
        "models.fast.fields",
        "options may hold a prompt or the length of a reply",
    ),
    "a field with blanks": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nfields = ["top k"] {HERE}\n',
        "models.fast.fields",
        "'top k' is no name of a field",
    ),
    "no time": (
        f'[models.fast]\nroutes = ["demo/assistant"]\nfirst_seconds = 0 {HERE}\n',
        "models.fast.first_seconds",
        "above 0",
    ),
    "no TOML": (f"[server]\nport = \n{GOOD}".replace("port = ", f"port = {HERE}"), "", "is no TOML: Invalid value"),
    "a key twice": (f"[server]\nport = 1\nport = 2 {HERE}\n" + GOOD, "", "is no TOML: Cannot overwrite a value"),
    "a table twice": (f"[server]\nport = 1\n[server] {HERE}\n" + GOOD, "", "is no TOML: Cannot declare"),
}


@pytest.mark.writes_keys  # into the file that is read
@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_by_its_line(what: str, tmp_path: Path) -> None:
    """Each mistake alone is told once, with its line, its key and what to do."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "key").write_text(KEY)
    text, key, told = MISTAKES[what]
    line = next(number for number, each in enumerate(text.splitlines(), 1) if HERE in each)
    found = problems_of(tmp_path, text)
    assert [(line, key)] == [(line, key) for line, key, _ in found], found
    assert told in found[0][2]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Fifty mistakes in one file are all told, in the order of the file, as file:line: key: text."""
    bad = [f"bad{number} = {number}" for number in range(50)]
    found = problems_of(tmp_path, "[server]\n" + "\n".join(bad) + "\n" + GOOD)
    assert [(number + 2, f"server.bad{number}") for number in range(50)] == [(line, key) for line, key, _ in found]
    with pytest.raises(ConfigProblems, match=rf"^{re.escape(str(tmp_path))}/gateway\.toml:2: server\.bad0: unknown"):
        read(tmp_path, "[server]\nbad0 = 1\n" + GOOD)


def test_a_loop_is_told_for_each_model_in_it(tmp_path: Path) -> None:
    """Models that name one another in a circle are told, each with the circle; one that leads there is not."""
    found = problems_of(tmp_path, '[models]\na = "b"\nb = "c"\nc = "a"\nd = "a"\n')
    assert [(2, "models.a"), (3, "models.b"), (4, "models.c")] == [(line, key) for line, key, _ in found]
    assert found[0][2].startswith("is a loop: a -> b -> c -> a;")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, and one that is not UTF-8 are told as such."""
    for path, told in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ConfigProblems, match=told):
            read_config(path, ENVIRON)
    (tmp_path / "latin.toml").write_bytes(b'[server]\nhost = "\xe9"\n')
    with pytest.raises(ConfigProblems, match=r"latin\.toml:2: is not UTF-8"):
        read_config(tmp_path / "latin.toml", ENVIRON)


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    """A file that is nested ten thousand deep is refused, or read, but never a RecursionError."""
    text = "a = " + "[" * 10_000 + "]" * 10_000
    assert problems_of(tmp_path, text)


# What is right.


def test_without_a_file(tmp_path: Path) -> None:
    """Without a file there are the demo models alone, with a price to see a balance go down, on this machine alone."""
    config = read_config(None, {"STREAMKIT_DATA": str(tmp_path), "OPENAI_API_KEY": KEY})
    assert ["demo/storyteller", "demo/assistant"] == [model.name for model in config.models]
    assert {(150_000_000, 600_000_000)} == {(model.input_price, model.output_price) for model in config.models}
    assert ((), "127.0.0.1", True) == (config.upstreams, config.host, config.demo)
    assert f"sqlite:///{tmp_path}/gateway.db" == config.database


WHOLE = f"""
[server]
host = "::1"
port = "$PORT"
workers = 4
streams = 400
cors = ["https://app.example.com"]
authorize = "os.path:basename"
page = false

[storage]
database = "postgresql://u:{KEY}@h/n"
redis = "redis://:{KEY}@h/1"
secret = "$A_KEY"

[limits]
messages = 10

[log]
file = "requests.log"
format = "text"

[providers.openai]
key_file = "key"
organization = "org"
streams = 7

[providers.mine]
kind = "vllm"
base_url = "http://10.0.0.5:8000/v1"
key = "$A_KEY"
headers = {{ x-team = "$A_KEY" }}

[models]
"demo/*" = "demo/*"
"gpt-*" = "openai/gpt-*"
small = "openai/gpt-4o-mini"
smaller = "small"
"openai/gpt-4o" = {{}}

[models.cheap]
routes = ["mine/llama", "openai/gpt-4o-mini"]
choose = "cheapest"
hedge = 2.5
input_price = 0.15
output_price = "0.6"
cached_price = 0
max_output = 100
first_seconds = 20
drop = ["seed", "stop"]
fields = ["top_k"]

[models.cheaper]
routes = "cheap"
max_output = 50

[models.spread.routes]
"openai/gpt-4o" = 3
"mine/llama" = 1
[models.spread]
input_price = 1
output_price = 2
"""


@pytest.mark.writes_keys  # into the files that are read
def test_a_whole_file(tmp_path: Path) -> None:
    """Every kind of value is read: from the file, from the environment and from another file."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    config = read(tmp_path, WHOLE)
    assert ("::1", 8123, 4, 400, 150) == (config.host, config.port, config.workers, config.streams, config.threads)
    assert (("https://app.example.com",), "os.path:basename", False) == (config.cors, config.authorize, config.page)
    assert f"postgresql://u:{KEY}@h/n" == config.database
    assert KEY.encode() == config.secret.read()
    assert 10 == config.limits.messages
    assert ("text", str(tmp_path / "requests.log")) == (config.log.format, config.log.file)
    assert [
        UpstreamConfig("openai", "openai", None, KEY, 7, {}, {"organization": "org"}),  # type: ignore[arg-type]
        UpstreamConfig("mine", "vllm", "http://10.0.0.5:8000/v1", KEY, None, {"x-team": KEY}),  # type: ignore[arg-type]
    ] == list(config.upstreams)
    models = {model.name: model for model in config.models}
    assert ModelConfig("gpt-*", (("openai/gpt-*", 1),)) == models["gpt-*"]
    assert ModelConfig("smaller", (("openai/gpt-4o-mini", 1),)) == models["smaller"]
    assert ModelConfig("openai/gpt-4o", (("openai/gpt-4o", 1),)) == models["openai/gpt-4o"]
    cheap = ModelConfig(
        "cheap",
        (("mine/llama", 1), ("openai/gpt-4o-mini", 1)),
        "cheapest",
        2.5,
        150_000_000,
        600_000_000,
        0,
        100,
        Timeout(first=20),
        ("seed", "stop"),
        ("top_k",),
    )
    assert cheap == models["cheap"]
    assert attrs.evolve(cheap, name="cheaper", max_output=50) == models["cheaper"]
    assert ("weighted", (("openai/gpt-4o", 3), ("mine/llama", 1))) == (models["spread"].choose, models["spread"].routes)


@pytest.mark.writes_keys  # into the files that are read
def test_a_configuration_shows_no_secret(tmp_path: Path) -> None:
    """Neither the repr of a configuration nor that of what it has shows a key; a copy by pickle is equal and masked."""
    (tmp_path / "key").write_text(KEY)
    config = read(tmp_path, WHOLE)
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert KEY not in repr(config) + repr(again)
    assert KEY not in "".join(repr(attrs.asdict(upstream)) for upstream in again.upstreams)


def test_options_come_before_the_file(tmp_path: Path) -> None:
    """What the command line gives replaces what the file says; the threads follow the workers."""
    text = "[server]\nport = 1\nworkers = 4\nstreams = 100\n" + GOOD
    config = read(tmp_path, text, port=2, host="h", workers=1, database=str(tmp_path / "x.db"))
    assert (2, "h", 1, 100) == (config.port, config.host, config.workers, config.threads)
    assert f"sqlite:///{tmp_path}/x.db" == config.database
    assert (7, 28) == attrs.astuple(
        read(tmp_path, text, threads=7), filter=attrs.filters.include("threads", "streams")
    )[::-1]
    with pytest.raises(ConfigProblems, match=r"^--database: begins with postgresql://"):
        read(tmp_path, text, database="postgres://h/n")


def test_paths_start_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the same from whatever folder the server is started."""
    monkeypatch.chdir("/")
    assert f"sqlite:///{tmp_path}/g.db" == read(tmp_path, '[storage]\ndatabase = "sqlite:///g.db"\n' + GOOD).database
    assert f"sqlite:///{tmp_path}/g.db" == read(tmp_path, '[storage]\ndatabase = "g.db"\n' + GOOD).database


def test_every_kind_of_provider_can_be_made(tmp_path: Path) -> None:
    """Each registered kind is made under a name of one's own, with its key and address."""
    from streamkit.providers import registry

    pytest.importorskip("botocore", reason="needs botocore")
    for kind in [*registry.BUILT_IN, "groq", "vllm", "openrouter", "compatible"]:
        region = 'region = "eu-west-1"\n' if kind == "bedrock" else ""
        text = (
            f'[providers.mine]\nkind = "{kind}"\nkey = "$A_KEY"\nbase_url = "https://h.example/v1"\n{region}'
            '[models.m]\nroutes = "mine/x"\ninput_price = 0\noutput_price = 0\n'
        )
        upstream = read(tmp_path, text).upstreams[0]
        provider = provider_of(upstream)
        assert "mine" == provider.name
        assert "h.example" in provider.base_url  # type: ignore[attr-defined]


def test_a_service_under_another_name_keeps_its_ways(tmp_path: Path) -> None:
    """Two accounts with one service: both have its address, its key's place and its deviations."""
    text = (
        '[providers.groq-two]\nkind = "groq"\nkey = "$A_KEY"\n'
        '[models.m]\nroutes = "groq-two/x"\ninput_price = 0\noutput_price = 0\n'
    )
    made = provider_of(read(tmp_path, text).upstreams[0])
    own = provider_of(UpstreamConfig("groq", "groq", key=made._key))  # type: ignore[attr-defined]
    assert ("groq-two", "groq") == (made.name, own.name)
    for attribute in ("base_url", "key_variables", "_quirks", "_key_needed"):
        assert getattr(own, attribute) == getattr(made, attribute), attribute


def test_the_key_of_the_environment(tmp_path: Path) -> None:
    """A provider that the file names by a route alone takes its usual key from the environment."""
    config = read(tmp_path, '[models]\nfast = "openai/gpt-4o-mini"\n', {"OPENAI_API_KEY": KEY})
    assert [UpstreamConfig("openai", "openai", key=KEY)] == list(config.upstreams)  # type: ignore[arg-type]


def test_notes(tmp_path: Path) -> None:
    """What is allowed and may not be meant is noted, and no mistake."""
    text = (
        '[server]\nworkers = 2\ncors = ["*"]\n[providers.openai]\nkey = "$A_KEY"\n[log]\ncontent = "words.log"\n' + GOOD
    )
    notes = read(tmp_path, text).notes
    assert 5 == len(notes)
    for told in ("for itself", "chat page", "any site", "words.log", "no route goes to the provider openai"):
        assert any(told in note for note in notes), told


# The secret.


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """Many that need the secret at once get the same, in a file that only the user can read."""
    secret = Secret(path=str(tmp_path / "s"), made=True)
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: secret.read(), range(64)))
    assert 1 == len(found)
    assert 64 == len(found.pop())
    assert [tmp_path / "s"] == list(tmp_path.iterdir())
    assert 0o600 == stat.S_IMODE((tmp_path / "s").stat().st_mode)
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret(path=str(tmp_path / "none")).read()


# The lines of a file.

NAMES = st.text("ab-_1", min_size=1, max_size=3) | st.text("a. \"'#=[\\é\n", min_size=1, max_size=4)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.integers(-5, 5)
    | st.booleans()
    | st.decimals(-9, 9, places=2)
    | st.text("a\"'#[]{},=\\\n", max_size=6)
    | st.just("3 quotes: \"\"\" '''"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=10,
)


class Writer:
    """Writes values as TOML in one of many ways, and remembers the line of each."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.text, self.lines = draw, "", {}  # type: ignore[var-annotated]

    def line(self) -> int:
        return self.text.count("\n") + 1

    def some(self, *ways: str) -> str:
        return self.draw(st.sampled_from(ways))  # type: ignore[no-any-return]

    def quoted(self, text: str) -> str:
        basic = '"' + "".join(f"\\u{ord(c):04x}" if c in '"\\\n' else c for c in text) + '"'
        ways = [basic]
        if "'" not in text and "\n" not in text:
            ways.append(f"'{text}'")
        return self.some(*ways)

    def key(self, name: str) -> str:
        bare = set(name) <= {*string.ascii_letters, *string.digits, "-", "_"}
        return self.some(*([name] if bare else []), self.quoted(name))

    def string(self, text: str) -> str:
        ways = [self.quoted(text)]
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        ways.append(f'"""\n{escaped}"""')
        if "'" not in text and text[:1] != "\n":
            ways.append(f"'''{text}'''")
        if text and '"' not in text and "\\" not in text:
            ways.append(f'"""{text}""""')  # a quotation mark before the closing three
        return self.some(*ways)

    def value(self, path: tuple[str | int, ...], value: Any) -> None:
        if isinstance(value, bool):
            self.text += str(value).lower()
        elif isinstance(value, (int, Decimal)):
            self.text += str(value)
        elif isinstance(value, str):
            self.text += self.string(value)
        elif isinstance(value, list):
            self.text += self.some("[", "[ # ]\n", "[\n\n  ")
            for number, item in enumerate(value):
                self.text += self.some("", "\n", ' # , "\n')
                self.lines[(*path, number)] = self.line()
                self.value((*path, number), item)
                self.text += self.some(",", " ,", "\n,") if number < len(value) - 1 else self.some("", ",", "\n")
            self.text += self.some("]", "\n]")
        else:
            self.text += self.some("{", "{ ")
            for number, (name, item) in enumerate(value.items()):
                self.lines[(*path, name)] = self.line()
                self.text += f"{self.key(name)}{self.some('=', ' = ')}"
                self.value((*path, name), item)
                self.text += ", " if number < len(value) - 1 else ""
            self.text += self.some("}", " }")

    def table(self, path: tuple[str | int, ...], values: dict[str, Any]) -> None:
        header = ".".join(self.key(part) for part in path if isinstance(part, str))
        self.text += self.some("", "# [not.this]\n", "\n")
        self.lines[path] = self.line()
        self.text += f"[[{header}]]\n" if isinstance(path[-1], int) else f"[{header}]\n"
        for name, value in values.items():
            self.lines[(*path, name)] = self.line()
            self.text += f"{self.some('', '  ')}{self.key(name)}{self.some('=', ' = ')}"
            self.value((*path, name), value)
            self.text += self.some("\n", " # a = 1\n", "\r\n")


@st.composite
def documents(draw: Any) -> tuple[str, dict[tuple[str | int, ...], int]]:
    writer = Writer(draw)
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        tables = draw(st.lists(st.dictionaries(NAMES, VALUES, max_size=3), min_size=1, max_size=3))
        if len(tables) == 1:
            writer.table((name,), tables[0])
        else:
            writer.lines[(name,)] = writer.line()
            for number, values in enumerate(tables):
                writer.table((name, number), values)
                if number == 0:
                    writer.lines[(name,)] = writer.lines[(name, 0)]
    return writer.text, writer.lines


def paths_in(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs:
        yield from paths_in(item, (*path, name))


@settings(max_examples=300)
@given(documents())
def test_every_value_has_its_line(document: tuple[str, dict[tuple[str | int, ...], int]]) -> None:
    """However a file is written, each table, key and item that tomllib reads has its line, and nothing else has one."""
    text, lines = document
    tree = parse(text)
    assert set(paths_in(tree)) == set(lines)
    assert lines == lines_of(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a.b.c = 1\na.b.d = 2\n", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "b", "d"): 2}),
        ("[a.b]\nc = 1\n[a]\nd = 2\n", {("a",): 3, ("a", "b"): 1, ("a", "b", "c"): 2, ("a", "d"): 4}),
        (
            "[[a]]\n[a.b]\nc = 1\n[[a]]\n[[a.d]]\n[[a.d]]\ne = 1979-05-27 07:32:00Z # x\nf = 07:32:00\n",
            {
                ("a",): 1,
                ("a", 0): 1,
                ("a", 0, "b"): 2,
                ("a", 0, "b", "c"): 3,
                ("a", 1): 4,
                ("a", 1, "d"): 5,
                ("a", 1, "d", 0): 5,
                ("a", 1, "d", 1): 6,
                ("a", 1, "d", 1, "e"): 7,
                ("a", 1, "d", 1, "f"): 8,
            },
        ),
        ('"a.b" = """\n\n"""\n\'c\' = 1e5 # d = 2', {("a.b",): 1, ("c",): 4}),
        ('a = \'\'\'\n\'\'\'\'\nb = """\\"\n"""""\nc = 1', {("a",): 1, ("b",): 3, ("c",): 5}),
        ("", {}),
    ],
)
def test_lines_of_some_files(text: str, lines: dict[tuple[str | int, ...], int]) -> None:
    """Dotted keys, tables out of order, tables in arrays, dates and strings of several lines are followed."""
    tree = parse(text)
    assert set(paths_in(tree)) == set(lines)
    assert lines == lines_of(text)


def test_the_configuration_of_the_readme(tmp_path: Path) -> None:
    """It has no mistake, once the keys are there."""
    readme = Path(__file__).parents[2] / "README.md"
    blocks = re.findall(r"^```toml\n(.*?)^```", readme.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        path = tmp_path / "gateway.toml"
        path.write_text(block)
        keys = {"OPENAI_API_KEY": "k" * 20, "ANTHROPIC_API_KEY": "k" * 20, "STREAMKIT_DATA": str(tmp_path)}
        assert read_config(path, keys).models
