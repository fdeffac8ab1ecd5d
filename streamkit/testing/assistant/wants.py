"""What a property of a schema is about, told from its name and description: tables of words, no more."""

from __future__ import annotations

import re

import attrs

from streamkit.testing.assistant.words import stem, stems, words_of

__all__ = ["COUNT_WORDS", "MONEY_WORDS", "Want", "free_text", "is_about", "want_of"]

MONEY_WORDS = "amount price cost total sum fee budget salary value balance"
COUNT_WORDS = "count limit number quantity qty n max maximum top size people guests times days copies age"

_FROM, _TO, _AT = (
    ("from", "of", "by"),
    ("to", "into", "in", "for", "with"),
    ("in", "at", "for", "near", "to", "of", "from"),
)

# Words of a name, and the kinds of facts that are such a thing, the best first. "text" is a part of the prompt.
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("email mail", ("email", "name")),
    ("date day deadline due birthday", ("date", "datetime")),
    ("time hour", ("time", "datetime")),
    ("datetime start end begin timestamp", ("datetime", "date", "time")),
    ("url link website page", ("url",)),
    ("file path folder directory filename", ("path", "quote")),
    ("expression formula calculation", ("formula", "text")),
    ("currency", ("code",)),
    ("city place location town country region airport station destination origin address where",
     ("name", "word", "quote")),
    ("recipient to", ("email", "name", "word")),
    ("person customer user author contact vendor supplier company seller buyer sender attendee who",
     ("name", "quote", "email", "word")),
    ("query question search keyword topic text message body content prompt note comment reason summary",
     ("quote", "text")),
    ("title subject label", ("quote", "text")),
    ("id order invoice ticket number reference sku code booking key tracking account identifier",
     ("id", "uuid", "number")),
    ("name", ("quote", "name", "id", "word")),
)  # fmt: skip
_ANY_KIND = ("quote", "id", "name", "email", "path", "url", "date", "formula", "code", "word", "text")

# Words of a name, and the prepositions under which its value stands.
_ROLES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("from source origin base start sender vendor seller supplier author departure", _FROM),
    ("to target destination recipient end arrival quote", _TO),
    ("city place location town country region airport station where", _AT),
)

# Words of a name, how the prompt surely introduces such a text, and how it may.
_INTRODUCTIONS: tuple[tuple[str, str, str], ...] = (
    ("reason", r"because|since|due to", r"as|for"),
    ("title subject label name", r"called|titled|named|subject|title|about", r"on|for"),
    ("query question search keyword topic", r"search(?: \w+)? for|look for", r"for|about|on|of"),
    ("text message body content note comment", r"saying|that says|message|text|note|saying that", r"that|about|:|to"),
)


_TEXT = r"([\"“].+|.+?(?=\s(?:saying|that says|with the)\s|$))"  # quoted, or up to what introduces another one


@attrs.frozen
class Want:
    """What a property is about.

    Attributes:
        kinds: of the facts that it may be, the best first.
        roles: the prepositions under which it stands, () for any.
        sure: whether its own name told the kinds; otherwise they are a guess.
    """

    kinds: tuple[str, ...]
    roles: tuple[str, ...]
    sure: bool


def is_about(words: str, name: str) -> bool:
    """Return whether one of these words is in a name."""
    wanted = {stem(word) for word in words.split()}
    return any(stem(word) in wanted for word in words_of(name))


def want_of(name: str, description: str) -> Want:
    """Return what a property is about; its name counts, or, if that says nothing, its description."""
    roles = next((roles for words, roles in _ROLES if is_about(words, name)), ())
    last = words_of(name)[-1:]  # order_date is a date, and no order
    for text in (" ".join(last), name, description):
        kinds = next((kinds for words, kinds in _KINDS if is_about(words, text)), None)
        if kinds is not None:
            return Want(kinds, roles, sure=text != description)
    return Want(_ANY_KIND, roles, sure=False)


def free_text(text: str, name: str, *, sure: bool) -> str:
    """Return the part of a prompt that a property such as `message` or `query` is meant to get.

    Args:
        text: the prompt.
        name: of the property.
        sure: whether to take only what the prompt introduces as such; otherwise "" is never returned for a prompt.
    """
    introductions = next(
        ((sure_one, other) for words, sure_one, other in _INTRODUCTIONS if is_about(words, name)), ("", "")
    )
    for pattern in introductions[: 1 if sure else 2]:
        match = re.search(rf"(?<!\w)(?:{pattern})(?!\w):?\s+{_TEXT}", text, re.DOTALL) if pattern else None
        if match and stems(match.group(1)):
            quoted = re.match(r"[\"“]([^\"”]+)[\"”]", match.group(1))
            return quoted.group(1) if quoted else match.group(1).strip().rstrip("?.!")
    return "" if sure else text.strip().rstrip("?.!")
