"""The request of a probe: to any address, with a body that suits the address's API."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from streamkit.cli.addresses import secrets_in, shown
from streamkit.errors import ConfigError
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Masked, without_userinfo

__all__ = ["DEFAULT_MODEL", "is_api", "probe_request"]

DEFAULT_MODEL = "gpt-4o-mini"

_QUESTION = "Count from 1 to 30."
_MOST_TOKENS = 1024  # Anthropic's API and text completions want, or need, to be told
_SHORT = 8  # characters; shorter values are versions and flags, whose masking would only garble a text
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


def probe_request(
    url: str, method: str | None, model: str | None, data: str | None, headers: Iterable[str], key_from: str | None
) -> HttpRequest:
    """Return the request; by default one for a short answer, to an address that looks like an API's.

    Raises:
        click.UsageError: it cannot be sent, or an option would be ignored.
        ConfigError: the variable for the key is not set.
    """
    path = _path_of(url)
    sent: dict[str, str] = {
        "Accept": "text/event-stream, application/x-ndjson, application/json",
        "Accept-Encoding": "identity",
    }
    if _ends(path, "/messages"):
        sent["anthropic-version"] = "2023-06-01"
    sent.update(map(_header, headers))
    if key_from is not None:
        sent["Authorization"] = _bearer(key_from)
    secrets = [v.removeprefix("Bearer ") for v in sent.values() if isinstance(v, Masked)]
    masked = tuple(Masked(text) for text in (*secrets, *secrets_in(url)) if len(text) >= _SHORT)
    if (method or ("GET" if data is None and not is_api(path) else "POST")) == "GET":
        _refuse_body(model, data)
        return HttpRequest(url, sent, b"", masked, method="GET")
    if data is not None and model is not None:
        raise click.UsageError("--model has no place beside --data, which is sent as it stands: name the model in it")
    if _is_base(path):
        path = f"{path.rstrip('/')}/chat/completions"
        url = urlsplit(url)._replace(path=path).geturl()
    try:
        body = msgspec.json.encode(_short_answer(path, model or DEFAULT_MODEL)) if data is None else data.encode()
    except (UnicodeEncodeError, TypeError):
        raise click.UsageError("the body and the model's name are text in UTF-8") from None
    return HttpRequest(url, {"Content-Type": "application/json", **sent}, body, masked)


def _refuse_body(model: str | None, data: str | None) -> None:
    """Raise a UsageError for options that a GET cannot use."""
    if data is not None:
        raise click.UsageError("a GET has no body: leave --data out, or --method GET")
    if model is not None:
        raise click.UsageError("a GET names no model: leave --model out, or add --method POST")


def _short_answer(path: str, model: str) -> dict[str, Any]:
    """Return the body that asks for a short answer, in the format of the API that the end of the path names."""
    messages = [{"role": "user", "content": _QUESTION}]
    asked: dict[str, Any] = {"messages": messages}
    if _ends(path, "/messages"):
        asked = {"messages": messages, "max_tokens": _MOST_TOKENS}
    elif _ends(path, "/responses"):
        asked = {"input": _QUESTION}
    elif _ends(path, "/completions") and not _ends(path, "/chat/completions"):
        asked = {"prompt": _QUESTION, "max_tokens": _MOST_TOKENS}
    return {"model": model, **asked, "stream": True}


def _path_of(url: str) -> str:
    """Return the path of a URL.

    Raises:
        click.UsageError: no request could go there.
    """
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        fits = False
    if not fits:
        raise click.UsageError(
            f"the URL is an absolute one such as https://host/v1, not {without_userinfo(shown(url))!r}"
        )
    return parts.path


def _header(text: str) -> tuple[str, Masked]:
    """Return name and value of a header.

    Raises:
        click.UsageError: it cannot be sent.
    """
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()):
        raise click.UsageError("a header is written 'NAME: VALUE'")  # not as it was given: there may be a key in it
    if not _VALUE.fullmatch(value.strip()):
        raise click.UsageError(f"the header {name.strip()} has characters that no header can carry")
    return name.strip(), Masked(value.strip())


def _bearer(variable: str) -> Masked:
    key = os.environ.get(variable, "").strip()
    if not key and not _VARIABLE.fullmatch(variable):
        raise click.UsageError("--key-from takes the name of a variable, not a key")  # it may be one: not as given
    if not key:
        raise ConfigError(f"the environment variable {variable} is not set")
    if not _VALUE.fullmatch(key):
        raise click.UsageError(f"the environment variable {variable} has characters that no header can carry")
    return Masked(f"Bearer {key}")


def is_api(path: str) -> bool:
    """Return whether a path is that of an API for replies, or the base of one, by its end."""
    return _is_base(path) or _ends(path, "/completions", "/responses", "/messages", "/chat")


def _is_base(path: str) -> bool:
    return _ends(path, "/v1", "/v1beta", "/openai")


def _ends(path: str, *ends: str) -> bool:
    return path.rstrip("/").endswith(ends)
