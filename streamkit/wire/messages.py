"""Complete an error's message: which provider, model and address, what happened, and what to do.

The code that finds a failure says what happened, and what to do if it can tell. The code that knows the request adds
the rest, once: ``explain``.
"""

from __future__ import annotations

from typing import TypeVar

import attrs

from streamkit.errors import APIError, StreamError, StreamkitError
from streamkit.wire.secrets import MOST_SHOWN, mask, place_of

__all__ = ["Subject", "explain", "remedy_of", "what_happened", "with_remedy"]

_LONGEST_NAME = 200  # characters of a model's name
# The statuses for an address that is not one of the API: there the path matters, and not only the host.
_WRONG_ADDRESS = (404, 405, 410)

_Error = TypeVar("_Error", bound=StreamkitError)


def with_remedy(error: _Error, remedy: str) -> _Error:
    """Return the error with what to do at the end of its message; "" leaves it unchanged.

    Args:
        error: an error whose message says what happened, and nothing else.
        remedy: the imperative, without a full stop.
    """
    if remedy:
        error.args = (f"{error.message}{_after(error.message, remedy)}", *error.args[1:])
        vars(error)["remedy"] = remedy
    return error


def remedy_of(error: StreamkitError) -> str:
    """Return what to do, as the error's message has it; "" if the message does not say."""
    remedy: str = vars(error).get("remedy", "")
    return remedy


def what_happened(error: StreamkitError) -> str:
    """Return the error's message without what to do."""
    message, remedy = error.message, remedy_of(error)
    if not remedy or not message.lower().endswith(remedy.lower()):  # a long message was cut
        return message
    return message[: -len(remedy)].rstrip("; ")


def _after(text: str, more: str) -> str:
    """Return more text as it follows a text: as a sentence of its own, or after a semicolon."""
    return f" {more[0].upper()}{more[1:]}" if text.endswith((".", "!", "?")) else f"; {more}"


@attrs.frozen
class Subject:
    """The request that an error is about.

    Attributes:
        provider: the provider's name, with which some messages begin.
        model: the model's name, at most 200 characters of it; "" for a request that is not about one.
        address: the URL without user, query and fragment; "" if unknown.
    """

    provider: str
    model: str
    address: str

    @classmethod
    def of(cls, provider: str, model: str, url: str, secrets: tuple[str, ...] = ()) -> Subject:
        """Return the subject for a request, with the secrets masked."""
        return cls(provider, mask(model, secrets)[:_LONGEST_NAME], mask(place_of(url), secrets))

    @property
    def name(self) -> str:
        """``provider/model``, or the provider alone."""
        return f"{self.provider}/{self.model}" if self.model else self.provider

    @property
    def host(self) -> str:
        """Host and port; the zone of an IPv6 address as people write it."""
        return self.address.partition("://")[2].partition("/")[0].replace("%25", "%")

    def __str__(self) -> str:
        return f"{self.name} at {self.host}" if self.host else self.name

    def before(self, text: str, *, whole_address: bool = False) -> str:
        """Return a text that begins with the subject, without repeating what the text has already."""
        if text.startswith(str(self)):
            return text
        place = self.address if whole_address else self.host
        shown = f"{self.name} at {place}" if place and self.host not in text else self.name
        if text.startswith(f"{self.provider} "):  # such as "openai answered 429"
            return f"{shown}{text[len(self.provider) :]}"
        return f"{shown}: {text}"


def explain(error: StreamError, subject: Subject, *, note: str = "", remedy: str = "") -> None:
    """Complete the error's message. Call it after ``mask_error``.

    Args:
        note: more on what happened, such as the number of tries.
        remedy: what to do, if the error does not say itself.
    """
    remedy = remedy_of(error) or remedy
    wrong_address = isinstance(error, APIError) and error.status in _WRONG_ADDRESS
    what = subject.before(what_happened(error), whole_address=wrong_address)
    more = "; ".join(text for text in (note, remedy) if text)
    rest = _after(what, more) if more else ""
    # A server's long text must not displace what to do.
    error.args = (f"{what[: MOST_SHOWN - len(rest)]}{rest}", *error.args[1:])
    if remedy:
        vars(error)["remedy"] = remedy
