"""What a cassette must not hold: whose names say that a value is secret, and such values wherever they turn up.

A name counts as secret when it contains a word such as ``key`` or ``auth``; better one value too many is hidden
than one too few. Inside of JSON the names are a list, for there ``token`` and ``key`` are everyday words.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote_plus

from streamkit.testing.secret_forms import SHORT as _SHORT
from streamkit.testing.secret_forms import Forms, Plain, open_escape, plain
from streamkit.testing.split_secrets import HIDDEN, SplitSecrets

__all__ = ["HIDDEN", "Scrubber", "clean_form", "clean_headers", "clean_target", "secrets_of"]


_SECRET_NAME = re.compile(
    r"(?i)key(?!word)|token(?!s)|secret|auth(?!or(?!i))|passw|passphrase|pwd|credential|signature|cookie|session|"
    r"bearer|jwt|(?<![a-z])sig(?![a-z])"
)
_WHOSE = re.compile(r"(?i)organization|project|account")  # in headers: who pays
_NO_SECRET_HEADER = re.compile(r"(?i)access-control-.*|www-authenticate|.*rate-?limit.*")
_NO_SECRET_PARAMETER = re.compile(r"(?i)(next[-_]?)?page[-_]?token")
_SIGNED_PARAMETER = re.compile(r"(?i)x-(amz|goog)-.*")  # what goes into the address of a signed request
_PARAMETER = re.compile(r"([?&])([^?&=#\s]+)=([^&\s]*)")
_FORM = re.compile(rb"[^\s&={\"]+=[^\s&]*(&[^\s&=]+=[^\s&]*)*\s*")
_PIECE = re.compile(r"([\w-]+)=\"?([^\s\",;]+)")  # of cookies, and of AWS's signatures

# In JSON, where each is also written as apiKey, api-key and so on.
_JSON_WORDS = (
    *("api key", "api token", "x api key", "access key", "access token", "auth token", "bearer token", "id token"),
    *("refresh token", "session token", "security token", "private key", "private token", "secret", "client secret"),
    *("secret key", "secret access key", "password", "passwd", "passphrase", "authorization", "credentials"),
)
_JSON_NAMES = sorted({name.replace(" ", glue) for name in _JSON_WORDS for glue in ("", "_", "-")}, key=len)
_LONGEST_NAME = len(_JSON_NAMES[-1])
_NAME = rf'"(?:{"|".join(_JSON_NAMES)})"'
_FLAGS = re.IGNORECASE | re.DOTALL
_NAMED = re.compile(rf'({_NAME}\s*:\s*")((?:[^"\\]|\\.)*)"'.encode(), _FLAGS)
_OPEN = re.compile(rf'{_NAME}\s*(?::\s*(?:"(?P<value>(?:[^"\\]|\\.)*)(?P<escape>\\?))?)?\Z'.encode(), _FLAGS)


class Scrubber:
    """Takes secrets out of bytes that come in pieces, also where a piece or an event ends in the middle of one.

    Args:
        secrets: to be looked for as they are, in any case, escaped, percent-encoded, and in hexadecimal and base64, two
            of these over each other as well.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = Forms(secrets)
        self._split = SplitSecrets(forms)
        self._values = _Values(forms)
        self._named = _NamedValues()

    def feed_at(self, at: float, data: bytes) -> list[tuple[float, bytes]]:
        """Return what is safe to write so far, in the reads in which it came, each with its time.

        The beginning of what may be a secret is held back, and what came after it.
        """
        return [(moment, self._named.feed(self._values.feed(part))) for moment, part in self._split.feed(at, data)]

    def rest_at(self, at: float) -> list[tuple[float, bytes]]:
        """Return what was held back, at the end: the beginning of a secret is one itself."""
        parts = [(moment, self._named.feed(self._values.feed(part))) for moment, part in self._split.rest()]
        return [*parts, (at, self._named.feed(self._values.rest()) + self._named.rest())]

    def feed(self, data: bytes) -> bytes:
        """Return what is safe to write so far."""
        return b"".join(part for _, part in self.feed_at(0.0, data))

    def rest(self) -> bytes:
        """Return what was held back, at the end."""
        return b"".join(part for _, part in self.rest_at(0.0))

    def clean(self, data: bytes) -> bytes:
        """Return data without the secrets, where there is nothing before and nothing after it."""
        return self.feed(data) + self.rest()

    def clean_text(self, text: str) -> str:
        """Return a text without the secrets."""
        return self.clean(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")


class _Values:
    """Takes out values that are known."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        if not self._forms:
            return data
        data = self._held + data
        cut = open_escape(data)
        text = plain(data[:cut])
        held = self._begun(text, 0)
        parts, at = [], 0
        for start, end in self._forms.spans(text):
            if start >= held:
                break  # it may become longer
            parts += [data[at : text.origin(start)], HIDDEN.encode()]
            at = text.whole(end)
            if end > held:  # what reaches into what is held is a secret all the same
                held = self._begun(text, end)
        kept = cut if held == len(text.data) else text.origin(held)
        self._held = data[kept:]
        return b"".join([*parts, data[at:kept]])

    def _begun(self, text: Plain, start: int) -> int:
        """Return where the longest end of a text is that may be the beginning of a secret."""
        return next((at for at, _ in self._forms.begun_at_end(text, start)), len(text.data))

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        return HIDDEN.encode() if len(plain(held).data) >= _SHORT else held


class _NamedValues:
    """Takes out the strings that JSON has under the names of secrets."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data, done, at = self._held + data, b"", 0
        for match in _NAMED.finditer(data):
            done += data[at : match.start()] + match[1] + (HIDDEN.encode() if match[2] else b"") + b'"'
            at = match.end()
        if opened := _OPEN.search(data, at):
            # What has come of the value is forgotten, so that a long one is not held as a whole.
            self._held = data[opened.start() :] if opened["value"] is None else _opened(opened) + opened["escape"]
            return done + data[at : opened.start()]
        quote = data.rfind(b'"', max(at, len(data) - _LONGEST_NAME - 1))
        beginning = data[quote + 1 :].lower().decode("latin-1")
        if quote < 0 or not any(name.startswith(beginning) for name in _JSON_NAMES):
            quote = len(data)
        self._held = data[quote:]
        return done + data[at:quote]

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        match = _OPEN.search(held)
        return held if match is None or match["value"] is None else _opened(match)


def _opened(match: re.Match[bytes]) -> bytes:
    return match.string[match.start() : match.start("value")] + (HIDDEN.encode() if match["value"] else b"")


def secrets_of(target: str, headers: Iterable[tuple[str, str]], body: bytes) -> set[str]:
    """Return the secrets that a request carries, those that are too short to be looked for left out."""
    found = _parameters(target)
    for name, value in headers:
        found |= _credentials(name, value) if _is_secret_header(name) else _parameters(value)
    if _FORM.fullmatch(body):
        found |= _parameters(f"?{body.decode('latin-1')}")
    for match in _NAMED.finditer(body):
        try:
            value = json.loads(b'"%b"' % match[2], strict=False)
        except ValueError:
            continue
        found.add(value.encode("utf-8", "ignore").decode("utf-8"))
    return {secret for secret in found if len(secret) >= _SHORT}


def clean_target(target: str, scrubber: Scrubber) -> str:
    """Return path and query without secrets."""
    return scrubber.clean_text(_without_parameters(target))


def clean_form(body: bytes) -> bytes:
    """Return a body without the secrets of its parameters, if it is a form, and as it is otherwise."""
    if not _FORM.fullmatch(body):
        return body
    return _without_parameters(f"?{body.decode('latin-1')}")[1:].encode("latin-1")


def clean_headers(headers: Iterable[tuple[str, str]], scrubber: Scrubber, *, numbers: bool = False) -> dict[str, str]:
    """Return headers, their names in lower case, without secrets.

    Args:
        numbers: keep short numbers whatever the name, as those of a response count something.
    """
    clean: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        if _is_secret_header(name) and not (numbers and value.isdecimal() and len(value) < _SHORT):
            shown = HIDDEN
        else:
            shown = scrubber.clean_text(_without_parameters(value))
        clean[name] = f"{clean[name]}, {shown}" if name in clean else shown
    return clean


def _is_secret_header(name: str) -> bool:
    secret = _SECRET_NAME.search(name) or _WHOSE.search(name)
    return secret is not None and not _NO_SECRET_HEADER.fullmatch(name)


def _is_secret_parameter(name: str) -> bool:
    name = unquote_plus(name)
    return _SECRET_NAME.search(name) is not None and not _NO_SECRET_PARAMETER.fullmatch(name)


def _parameters(text: str) -> set[str]:
    found = [value for _, name, value in _PARAMETER.findall(text) if _is_secret_parameter(name)]
    return {*found, *map(unquote_plus, found)}


def _without_parameters(text: str) -> str:
    def shown(match: re.Match[str]) -> str:
        hidden = _is_secret_parameter(match[2]) or _SIGNED_PARAMETER.fullmatch(match[2])
        return f"{match[1]}{match[2]}={HIDDEN}" if hidden else match[0]

    return _PARAMETER.sub(shown, text)


def _credentials(name: str, value: str) -> set[str]:
    """Return what is secret in the value of a header: the whole, the word after a scheme, and its parts."""
    value = value.strip()
    scheme, _, last = value.rpartition(" ")
    cookies = "cookie" in name.lower()
    found = {value, last, *(part for key, part in _PIECE.findall(value) if cookies or _is_secret_parameter(key))}
    if scheme.lower() == "basic":
        with suppress(ValueError):
            user, _, password = base64.b64decode(last, validate=True).decode("utf-8").partition(":")
            found |= {user, password}
    return found
