"""Facts that a text states and that may become values: names, quotes, ids, addresses, dates, numbers."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

import attrs

from streamkit.testing.assistant.words import STOP_WORDS, stem, words_of

__all__ = ["Fact", "facts_of", "mention_of"]

_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
_MONTHS = "january february march april may june july august september october november december".split()
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_DAYS_AHEAD = {"yesterday": -1, "today": 0, "tonight": 0, "tomorrow": 1}
_TIMES = {*_DAYS_AHEAD, "one"}
_MONTH = "|".join(_MONTHS)
_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP"}

_MOST_DIGITS = 300
_MOST_CHARACTERS = 8_000  # looked at; some of the patterns take longer than the text is long

# The first kind that fits a place in the text takes it.
_KINDS = (
    ("quote", r"\"[^\"]+\"|“[^”]+”|`[^`]+`|(?<!\w)'[^']+'(?!\w)"),
    ("email", r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ("url", r"https?://[^\s,;)]*[^\s,;).?!]"),
    ("datetime", r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?"),
    ("date", rf"\b\d{{4}}-\d\d-\d\d\b|(?i:\b\d{{1,2}}\.? (?:{_MONTH})(?: \d{{4}})?\b)"),
    ("date", rf"(?i:\b(?:{_MONTH}) \d{{1,2}}(?:, \d{{4}})?\b|\b(?:{'|'.join([*_DAYS_AHEAD, *_WEEKDAYS])})\b)"),
    ("time", r"\b\d{1,2}:\d\d(?::\d\d)?\b"),
    ("formula", r"[(\d][\d\s.+*/×^()%-]*\s[-+*/×^]\s[\d\s.+*/×^()%-]*[\d)]|\d+(?:\.\d+)?[+*/×^]\d[\d.+*/×^-]*"),
    ("uuid", r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"),
    ("path", r"(?<![\w./-])(?:~?/)?(?:[\w.-]+/)*[\w-]{2,}\.[A-Za-z]\w{0,4}\b|(?<!\w)~?/[\w./-]*\w"),
    ("id", r"#\w+|\b[A-Za-z]{1,8}-\d[\w-]*|\b[A-Z]{1,8}\d[\w-]*|\b\d+-\d[\w-]*"),
    ("number", r"(?<![\w.])[$€£]?-?\d+(?:,\d{3})+(?:\.\d+)?|(?<![\w.])[$€£]?-?\d+(?:\.\d+)?"),
    ("number", rf"(?i:\b(?:{'|'.join(_NUMBERS[2:])})\b)"),
    ("code", r"\b[A-Z]{3}\b"),
    ("name", r"[^\W\d_a-z][\w'’&-]*\w(?: (?:of the |of |de |du |van |von )?[^\W\d_a-z][\w'’&-]*\w)*"),
    ("word", r"(?:(?<=\b(?:in|at|to|of) )|(?<=\bfor )|(?<=\b(?:from|near|with) ))[a-zà-þ]{3,}"),
)
_ANY = re.compile("|".join(f"(?P<k{at}>{pattern})" for at, (_, pattern) in enumerate(_KINDS)))
_SENTENCE_STARTS = re.compile(r"(?:^|[.?!:]|\n)\s*$")


@attrs.frozen
class Fact:
    """Something that a text states.

    Attributes:
        kind: quote, email, url, date, datetime, time, formula, uuid, path, id, number, code (three capitals), name
            (capitals), word (what follows a preposition without a capital).
        text: as it stands there, without quotation marks.
        value: the same as a value: a number, or a date in ISO form; else the text.
        start, end: where.
        before, after: the words around it in lower case, without articles; of a currency sign too.
        role: the preposition it stands under, which `in Oslo and Bergen` has for both.
    """

    kind: str
    text: str
    value: Any
    start: int
    end: int
    before: str = ""
    after: str = ""
    role: str = ""


def facts_of(text: str, ordinary: Collection[str] = ()) -> tuple[Fact, ...]:
    """Return the facts in a text, in their order.

    Args:
        text: what the user wrote, or what a tool returned.
        ordinary: stems of words that are no names, though they may begin a sentence with a capital.
    """
    found: list[Fact] = []
    for match in _ANY.finditer(text[:_MOST_CHARACTERS]):
        kind, _ = _KINDS[int((match.lastgroup or "k0")[1:])]
        fact = _fact(kind, match, ordinary)
        if fact is not None:
            found.append(attrs.evolve(fact, role=_role(fact, found, text)))
    return tuple(found)


def _fact(kind: str, match: re.Match[str], ordinary: Collection[str]) -> Fact | None:
    whole, start, text = match.string, match.start(), match.group()
    if kind == "name":
        text = _without_opening(text, whole, start, ordinary)
        start = match.end() - len(text)
    if not text or (kind == "name" and text[0].islower()) or text.lower() in STOP_WORDS - _TIMES:
        return None
    end = match.end()
    sign = _SIGNS.get(text[0], "") if kind == "number" else ""
    return Fact(
        kind,
        _bare(kind, text),
        _value(kind, text),
        start,
        end,
        _word_before(whole, start),
        sign or _word_after(whole, end),
    )


def _without_opening(text: str, whole: str, start: int, ordinary: Collection[str]) -> str:
    """Return a name without the words that have a capital only because they begin a sentence."""
    words = text.split(" ")
    while words and (words[0].lower() in STOP_WORDS or stem(words[0].lower()) in ordinary):
        words.pop(0)
    opens = _SENTENCE_STARTS.search(whole[:start]) is not None and len(words) == len(text.split(" "))
    if opens and len(words) == 1 and not re.match(r"(?:,| and| or) [^\W\d_a-z]|:", whole[start + len(text) :]):
        return ""
    return " ".join(words)


def _bare(kind: str, text: str) -> str:
    if kind == "quote":
        return text[1:-1]
    return text.lstrip("#") if kind == "id" else text


def _value(kind: str, text: str) -> Any:
    if kind == "number":
        digits = text.lstrip("$€£").replace(",", "")
        if digits.lower() in _NUMBERS:
            return _NUMBERS.index(digits.lower())
        if len(digits) > _MOST_DIGITS:
            return text  # Python refuses to read an integer of thousands of digits
        return float(digits) if "." in digits else int(digits)
    return _iso_date(text) if kind == "date" else _bare(kind, text)


def _iso_date(text: str) -> str:
    words, today = words_of(text), date.today()
    if words[0] in _DAYS_AHEAD:
        return str(today + timedelta(_DAYS_AHEAD[words[0]]))
    if words[0] in _WEEKDAYS:
        return str(today + timedelta((_WEEKDAYS.index(words[0]) - today.weekday() - 1) % 7 + 1))
    month = next((_MONTHS.index(word) + 1 for word in words if word in _MONTHS), 0)
    numbers = [int(word) for word in words if word.isdigit()]
    if not month:
        return text
    year = next((number for number in numbers if number > 31), today.year)
    try:
        return str(date(year, month, min(numbers)))
    except ValueError:  # February 31
        return text


def _word_before(text: str, start: int) -> str:
    near = re.sub(r"\b(?:the|a|an|my|our|your)\s+$", "", text[max(0, start - 40) : start], flags=re.IGNORECASE)
    match = re.search(r"(?<![\w-])([^\W\d_]+)[\s\"“(]*$", near)
    return match.group(1).lower() if match else ""


def _word_after(text: str, end: int) -> str:
    match = re.match(r"\s?([^\W\d_]+|°\w|%)", text[end:])
    return match.group(1) if match else ""


def _role(fact: Fact, earlier: list[Fact], text: str) -> str:
    """Return the preposition that a fact stands under: its own, or that of the one it is coordinated with."""
    if earlier and re.fullmatch(r"\s*(?:,|and|or|&|, and|, or)\s+(?:the )?", text[earlier[-1].end : fact.start]):
        return earlier[-1].role
    return fact.before


def mention_of(text: str, start: int, end: int) -> Fact:
    """Return a place in a text as a fact of the kind `mention`."""
    before = _word_before(text, start)
    said = text[start:end]
    return Fact("mention", said, said, start, end, before, _word_after(text, end), before)
