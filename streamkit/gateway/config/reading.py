"""Read and check a configuration: ``read_config``."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from streamkit.errors import ConfigError
from streamkit.gateway.config.models import DEMO_MODELS, demo_model, read_models
from streamkit.gateway.config.problems import ConfigProblem, ConfigProblems
from streamkit.gateway.config.storage import database_of, default_database, secret_beside
from streamkit.gateway.config.tables import Document, Table
from streamkit.gateway.config.toml import NotToml, parse
from streamkit.gateway.config.upstreams import read_upstreams
from streamkit.gateway.config.values import Config, LogConfig, Secret
from streamkit.web.formats.requests.request import Limits
from streamkit.wire.secrets import Masked

__all__ = ["document_of", "read_config", "storage_of"]

_MOST_WORKERS = 256
_MOST_STREAMS = 100_000
_MOST_BYTES = 16 * 1024 * 1024  # more are never read as JSON
_ORIGIN = re.compile(r"\*|https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_REDIS = re.compile(r"(?:rediss?|unix)://\S+")
# With several processes each must be able to hold more than its share, as nothing spreads connections evenly.
_UNEVEN = 1.5


def read_config(
    path: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    threads: int | None = None,
    database: str | None = None,
) -> Config:
    """Return the configuration of a file, checked as a whole.

    Args:
        path: of the file; ``None`` serves the demo models alone.
        environ: where values such as ``"$OPENAI_API_KEY"`` are looked up.
        host, port, workers, threads, database: in place of what the file says.

    Raises:
        ConfigProblems: something is wrong; it has all mistakes, each with its line.
        ConfigError: a library is missing.

    Threads: any; reads files, imports the modules of the providers, and looks nothing up in a network.
    """
    document = document_of(path, environ)
    root = document.root()
    given = {"host": host, "port": port, "workers": workers, "threads": threads}
    found = {
        **_server(root.table("server"), {name: value for name, value in given.items() if value is not None}),
        **storage_of(document, root.table("storage"), database),
        "limits": _limits(root.table("limits")),
        "log": _log(document, root.table("log")),
    }
    upstreams = read_upstreams(document, root.table("providers"))
    if path is None:
        models = tuple(map(demo_model, DEMO_MODELS))
    else:
        models = read_models(document, root.table("models"), upstreams)
        if not models and not document.problems:
            document.add(("models",), 'there are no models: write [models] with, for example, fast = "openai/gpt-4o"')
    root.done()
    if document.problems:
        raise ConfigProblems.of(document.problems)
    used = {route.partition("/")[0] for model in models for route, _ in model.routes}
    config = Config(
        file=None if path is None else os.fspath(path),
        demo=path is None,
        models=models,
        upstreams=tuple(upstream for upstream in upstreams.values() if upstream.name in used),
        **found,
    )
    unused = tuple(f"no route goes to the provider {name}" for name in upstreams if name not in used)
    return attrs.evolve(config, notes=(*_notes(config), *unused))


def document_of(path: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Document:
    """Return the file, read and decoded.

    Raises:
        ConfigProblems: it cannot be read, or is no TOML.
    """
    if path is None:
        return Document("", "", {}, environ)
    file = os.fspath(path)

    def refused(line: int | None, text: str) -> ConfigProblems:
        return ConfigProblems.of([ConfigProblem(file, line, "", text)])

    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise refused(None, f"cannot be read: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refused(data.count(b"\n", 0, error.start) + 1, "is not UTF-8: save it as such") from None
    try:
        tree = parse(text)
    except NotToml as error:
        raise refused(error.line, f"is no TOML: {error}") from None
    return Document(file, text, tree, environ, Path(file).absolute().parent)


def _server(table: Table, given: Mapping[str, Any]) -> dict[str, Any]:
    host = table.text("host", "127.0.0.1")
    found = {
        "host": host,
        "port": table.whole("port", 8000, least=0, most=65535),
        "workers": table.whole("workers", 1, most=_MOST_WORKERS),
        "streams": table.whole("streams", 1000, most=_MOST_STREAMS),
        "threads": table.whole("threads", None, most=_MOST_STREAMS),
        "one_processor": table.flag("one_processor", True),
        "grace": table.seconds("grace_seconds", 30.0, least=0),
        "heartbeat": table.seconds("heartbeat_seconds", 5.0),
        "body_seconds": table.seconds("body_seconds", 15.0),
        "write_seconds": table.seconds("write_seconds", 30.0),
        "page": table.flag("page", True),
        "cors": _origins(table),
        "authorize": _function(table),
        **given,
    }
    table.done()
    if found["threads"] is None:
        share = found["streams"] / found["workers"]
        found["threads"] = math.ceil(share if found["workers"] == 1 else min(share * _UNEVEN, found["streams"]))
    else:
        found["streams"] = found["threads"] * found["workers"]
    return found


def _origins(table: Table) -> tuple[str, ...]:
    origins = table.texts("cors")
    for number, origin in enumerate(origins):
        if not _ORIGIN.fullmatch(origin):
            table.document.add(
                (*table.path, "cors", number),
                'has to be an origin without a path, such as "https://app.example.com", or "*" for any',
            )
    return origins


def _function(table: Table) -> str | None:
    named = table.text("authorize")
    if named is None:
        return None
    if not _FUNCTION.fullmatch(named):
        table.add("authorize", 'has to be a function as "module:function"')
        return None
    module = named.partition(":")[0]
    try:
        missing = importlib.util.find_spec(module) is None
    except Exception:  # a package above it that fails when it is imported
        missing = True
    if missing:
        table.add("authorize", f"there is no module {module}: install it, or set PYTHONPATH to its folder")
    return named


def storage_of(document: Document, table: Table, database: str | None) -> dict[str, Any]:
    """Return the fields of a ``Config`` that the table ``[storage]`` gives; what is wrong is noted.

    Args:
        document: the file.
        table: ``[storage]``.
        database: in place of what the table says.
    """
    url = None
    if database is not None:
        try:
            url = database_of(database, Path.cwd())
        except ConfigError as error:
            document.problems.append(ConfigProblem("--database", None, "", error.message))
        table.text("database")
    elif (named := table.text("database")) is not None:
        url = table.checked("database", lambda: database_of(named, document.folder))
    else:
        url = table.checked("", lambda: default_database(document.environ))
    redis = table.text("redis")
    if redis is not None and not _REDIS.fullmatch(redis):
        table.add("redis", 'has to be the URL of a Redis, such as "redis://127.0.0.1:6379/0"')
    elif redis is not None and importlib.util.find_spec("redis") is None:
        table.add("redis", 'needs the library of Redis: python -m pip install "streamkit[redis]"')
    secret = table.secret("secret")
    kept = None if url is None else secret_beside(url)
    if secret is not None:
        found = Secret(secret)
        table.checked("secret" if "secret" in table else "secret_file", found.read)
    elif kept is not None:
        found = Secret(path=str(kept), made=True)
    else:
        found = Secret(Masked())
        if url is not None and "secret" not in table and "secret_file" not in table:
            table.add(
                "",
                "a database on a server needs a secret that all processes share, of 16 bytes or more: "
                'secret = "$STREAMKIT_SECRET", or secret_file',
            )
    table.done()
    return {
        "database": Masked(url or ""),
        "secret": found,
        "redis": None if redis is None else Masked(redis),
    }


def _limits(table: Table) -> Limits:
    usual = Limits()
    most = {"bytes": _MOST_BYTES}
    names = [field.name for field in attrs.fields(Limits)]
    found = {name: table.whole(name, getattr(usual, name), most=most.get(name)) for name in names}
    table.done()
    return Limits(**found)


def _log(document: Document, table: Table) -> LogConfig:
    requests = table.flag("requests", True)
    format: Any = table.choice("format", ("json", "text"), "json")
    files = {}
    for name in ("file", "content"):
        given = table.text(name)
        files[name] = None if given is None else str(document.path_of(given))
        if given is not None and not document.path_of(given).parent.is_dir():
            table.add(name, f"there is no folder {document.path_of(given).parent}: make it")
    if files["content"] is not None and files["content"] == files["file"]:
        table.add("content", "prompts and replies go to a file of their own: name another one than in file")
    table.done()
    return LogConfig(requests, format, files["file"], files["content"])


def _notes(config: Config) -> list[str]:
    found = []
    if config.workers > 1 and config.redis is None:
        found.append(
            f"each of the {config.workers} workers counts requests and tokens a minute for itself; with redis in "
            "[storage] they count together"
        )
        if config.page:
            found.append(f"the chat page is not served by {config.workers} workers without redis in [storage]")
    if "*" in config.cors:
        found.append("pages of any site may use the gateway from a browser that has a token")
    if config.log.content is not None:
        found.append(f"prompts and replies are written to {config.log.content}")
    return found
