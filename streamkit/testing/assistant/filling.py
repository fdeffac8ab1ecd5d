"""Values for a schema, made from what the prompt says; what it does not say is invented."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamkit.testing.assistant.facts import Fact, facts_of, mention_of
from streamkit.testing.assistant.inventing import invent, samples_for
from streamkit.testing.assistant.results import in_words
from streamkit.testing.assistant.schemas import Schema, allows_null, branches, fits, kind_of, resolve
from streamkit.testing.assistant.wants import COUNT_WORDS, MONEY_WORDS, free_text, is_about, want_of
from streamkit.testing.assistant.words import STOP_WORDS, shared, stem, stems, words_of

__all__ = ["MISSING", "Filling", "Source"]

MISSING: Any = object()
"""What is found for a property of which the prompt says nothing."""

_DEEPEST = 12
_MOST_ELEMENTS = 50
_NOT = ("not", "no", "without", "never", "don")
_SEPARATOR = re.compile(r"\n+|;\s*|,\s+(?:and\s+)?|\s+and\s+")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_THING_ENDS = re.compile(r"\s+(?:at|for|from|in|by|due|is|are|was|costs?|each|with|of)\b.*|\s*[(:=@].*", re.DOTALL)


@attrs.frozen
class Source:
    """What values are made from.

    Attributes:
        text: what the user wrote.
        facts: in it.
        known: values by name, from the results of tools, for what the text leaves out.
        fixed: values by name that are settled.
    """

    text: str
    facts: tuple[Fact, ...]
    known: Mapping[str, Any] = attrs.field(factory=dict)
    fixed: Mapping[str, Any] = attrs.field(factory=dict)

    @classmethod
    def of(cls, text: str, ordinary: frozenset[str] = frozenset(), known: Mapping[str, Any] | None = None) -> Source:
        """Return the source that a text is; the arguments are those of `facts_of`."""
        return cls(text, facts_of(text, ordinary), known or {})


class Filling:
    """Makes the values of one schema from one source, each fact at most once.

    Args:
        root: the whole schema.
        source: what to make them from.
        otherwise: where to look for what is required and not in the source.
    """

    def __init__(self, root: Schema, source: Source, otherwise: Filling | None = None) -> None:
        self.root = root
        self.source = source
        self.otherwise = otherwise
        self.used: set[int] = set()  # where the facts begin that have become a value

    def complete(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """Return a value that fits, from the source, or null, or the default, or an invented one."""
        schema = resolve(schema, self.root)
        nullable = allows_null(schema, self.root)
        value = self.find(schema, name, needed=not nullable, depth=depth)
        if value is not MISSING:
            return value
        return None if nullable else invent(schema, self.root, name, depth=depth)

    def find(self, schema: Any, name: str, *, needed: bool, depth: int = 0) -> Any:
        """Return the value that the source has for a property, or MISSING.

        Args:
            schema: of the property.
            name: of the property.
            needed: whether to take what may be meant, beside what surely is.
            depth: how many objects and arrays are around it.
        """
        schema = resolve(schema, self.root)
        if depth > _DEEPEST or (name in self.source.fixed and fits(self.source.fixed[name], schema, self.root)):
            return self.source.fixed.get(name, MISSING)
        known = self._known(schema, name) if needed or "enum" not in schema else MISSING
        if known is MISSING:
            return self._find_in_text(schema, name, needed, depth)
        value = self._find_in_text(schema, name, needed and self._says(schema, name), depth)
        return known if value is MISSING else value

    def _says(self, schema: Schema, name: str) -> bool:
        """Return whether the text has a fact for a property, so that none has to come from the results."""
        sure = want_of(name, schema.get("description", "")).sure
        return sure and any(fact.kind != "word" for fact in self.candidates(schema, name, needed=True))

    def _find_in_text(self, schema: Schema, name: str, needed: bool, depth: int) -> Any:
        before = set(self.used)
        for branch in branches(schema, self.root):
            value = self._find_kind({"description": schema.get("description", ""), **branch}, name, needed, depth)
            if value is not MISSING and fits(value, schema, self.root):
                return value
            self.used = set(before)
        return MISSING

    def candidates(self, schema: Schema, name: str, *, needed: bool) -> list[Fact]:
        """Return the unused facts that can be the value of a text property: of one kind and under like prepositions."""
        want = want_of(name, schema.get("description", ""))
        free = [fact for fact in self.source.facts if fact.start not in self.used]
        named = [fact for fact in free if stem(fact.before) in stems(name) and fits(fact.text, schema, self.root)]
        if named:
            return named
        for kind in (kind for kind in want.kinds if needed or (want.sure and kind not in ("word", "name", "number"))):
            found = [fact for fact in free if fact.kind == kind and self._text_of(fact, schema) is not MISSING]
            under = [fact for fact in found if fact.role in want.roles]
            if want.roles and not under:
                under = [fact for fact in found if "from" not in want.roles or fact.role not in ("to", "into")]
            chosen = under if want.roles else found
            if chosen:
                return [fact for fact in chosen if fact.role == chosen[0].role]
        return []

    def mentioned(self, schema: Schema) -> list[Fact]:
        """Return where the text has values that a schema lists; none for a schema that lists none."""
        return [attrs.evolve(fact, text=value) for fact, value in self._mentions(schema.get("enum", ()))]

    def spend(self, facts: Sequence[Fact]) -> None:
        """Mark facts as used."""
        self.used.update(fact.start for fact in facts)

    # One kind of value each.

    def _find_kind(self, schema: Schema, name: str, needed: bool, depth: int) -> Any:
        if "enum" in schema or "const" in schema:
            return self._listed(schema, name)
        kind = kind_of(schema)
        if kind == "object":
            return self._object(schema, name, needed, depth)
        if kind == "array":
            return self._array(schema, name, needed, depth)
        if kind in ("integer", "number"):
            return self._number(schema, name, needed)
        if kind == "boolean":
            return self._boolean(name)
        return self._text(schema, name, needed) if kind == "string" else MISSING

    def _known(self, schema: Schema, name: str) -> Any:
        """Return the value of that name among the results of tools; an amount may be called a total there."""
        for key, value in self.source.known.items():
            alike = shared(key, name) or (is_about(MONEY_WORDS, key) and is_about(MONEY_WORDS, name))
            alike = alike or (key == "id" and stem("id") not in stems(name) and is_about("order invoice ticket", name))
            if alike and fits(value, schema, self.root):
                return value
        return MISSING

    def _mentions(self, values: Sequence[Any]) -> list[tuple[Fact, Any]]:
        """Return where the text has one of some values, in its order; values of one or two letters only as they are."""
        found = []
        for value in (value for value in values if isinstance(value, str) and value):
            spoken = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", value)))
            flags = re.IGNORECASE if len(value) > 2 else 0
            for match in re.finditer(rf"(?<!\w){spoken}(?:s|es)?(?!\w)", self.source.text, flags):
                found.append((mention_of(self.source.text, match.start(), match.end()), value))
        return sorted(found, key=lambda pair: pair[0].start)

    def _listed(self, schema: Schema, name: str) -> Any:
        values = schema.get("enum", [schema.get("const")])
        found = [pair for pair in self._mentions(values) if pair[0].start not in self.used]
        roles = want_of(name, "").roles
        if "from" in roles:
            found = [pair for pair in found if pair[0].role not in ("to", "into")] or found
        elif roles:
            found = [pair for pair in found if pair[0].role in roles] or found
        if not found:
            return MISSING
        self.spend([found[0][0]])
        return found[0][1]

    def _object(self, schema: Schema, name: str, needed: bool, depth: int) -> Any:
        properties = schema.get("properties", {})
        required = [one for one in schema.get("required", ()) if one in properties]
        # Lists first, or their numbers and names would go to the properties beside them; guesses last.
        required.sort(key=lambda one: (not _is_list(properties[one], self.root), not want_of(one, "").sure))
        found: dict[str, Any] = {}
        for one in required:
            is_sure_only = not needed or allows_null(resolve(properties[one], self.root), self.root)
            found[one] = self.find(properties[one], one, needed=not is_sure_only, depth=depth + 1)
            if found[one] is MISSING and self.otherwise is not None and needed:
                found[one] = self.otherwise.find(properties[one], one, needed=not is_sure_only, depth=depth + 1)
        for one in (one for one in properties if one not in required):
            found[one] = self.find(properties[one], one, needed=False, depth=depth + 1)
            # `in Oslo and in Bergen tomorrow` means both; but an amount belongs to one.
            if found[one] is MISSING and self.otherwise is not None and not _is_number(properties[one], self.root):
                found[one] = self.otherwise.find(properties[one], one, needed=False, depth=depth + 1)
        if not needed and all(value is MISSING for value in found.values()):
            return MISSING
        invented = invent(schema, self.root, name, depth=depth)
        values = {**(invented if isinstance(invented, dict) else {}), **_without_missing(found)}
        for one in (one for one in required if found[one] is MISSING):
            if allows_null(resolve(properties[one], self.root), self.root):
                values[one] = None
            elif is_about("total sum", one) and fits(total := _total(values), properties[one], self.root):
                values[one] = total
        return {
            one: values[one] for one in (*(one for one in properties if one in values), *(values.keys() - properties))
        }

    def _array(self, schema: Schema, name: str, needed: bool, depth: int) -> Any:
        item = resolve(schema.get("items", {}), self.root)
        most = min(schema.get("maxItems", _MOST_ELEMENTS), _MOST_ELEMENTS)
        counted = self._count(name) if needed else None
        if counted is not None and len(_segments(self.source.text)) == counted.value:
            self.spend([counted])  # and here they are
            counted = None
        found = [] if counted and kind_of(item) == "object" else self._elements(item, name, needed, depth)[:most]
        if counted is not None and len(found) < 2:
            self.spend([counted])
            about = name if samples_for(name) else counted.after
            return [invent(item, self.root, about, at, depth + 1) for at in range(min(counted.value, most))]
        if len(found) < schema.get("minItems", 0) or not found:
            return MISSING
        return _unique(found) if schema.get("uniqueItems") else found

    def _elements(self, item: Schema, name: str, needed: bool, depth: int) -> list[Any]:
        kind = kind_of(item)
        if "enum" in item:
            return _unique([value for _, value in self._mentions(item["enum"])])
        if kind == "object":
            return self._objects(item, name, depth) if needed else []
        if kind in ("integer", "number"):
            facts = [fact for fact in self._numbers() if fits(fact.value, item, self.root)] if needed else []
            self.spend(facts)
            return [fact.value for fact in facts]
        if kind != "string":
            return []
        facts = self.candidates(item, name, needed=needed)
        if len(facts) < 2 and needed:
            things = [_thing(segment) for _, segment in _segments(self.source.text)]
            if len(things) > 1:
                return [thing for thing in things if fits(thing, item, self.root)]
        self.spend(facts)
        return [self._text_of(fact, item) for fact in facts]

    def _objects(self, item: Schema, name: str, depth: int) -> list[Any]:
        """Return an object for each segment of an enumeration that has a number, or for each segment after a colon."""
        if depth > 2:
            return []
        found = []
        segments = _segments(self.source.text)
        for start, segment in segments:
            inner = Filling(self.root, Source(segment, facts_of(segment)))
            numbers = [fact for fact in inner.source.facts if fact.kind in ("number", "date", "email")]
            if not numbers and (":" not in self.source.text or len(segments) < 2):
                continue
            inner.name_the_thing(item)
            found.append(inner.complete(item, name, depth + 1))
            self.used.update(fact.start for fact in self.source.facts if start <= fact.start < start + len(segment))
        return found

    def name_the_thing(self, item: Schema) -> None:
        """Make what a segment is about, the lamps in `3 lamps at 12 EUR`, the value of the property that names it."""
        properties = item.get("properties", {})
        texts = [one for one, schema in properties.items() if _is_plain_text(schema, self.root)]
        about = next(
            (one for one in texts if is_about("name title description item product task what label", one)), None
        )
        about = about or next(iter(texts), None)
        if about is not None and (thing := _thing(self.source.text)):
            self.source = attrs.evolve(self.source, fixed={about: thing})

    def _count(self, name: str) -> Fact | None:
        """Return the number of things that the prompt asks for: `five cities`."""
        numbers = [fact for fact in self._numbers() if isinstance(fact.value, int) and 0 < fact.value <= _MOST_ELEMENTS]
        named = (
            fact
            for fact in numbers
            if fact.after and (stem(fact.after.lower()) in stems(name) or samples_for(fact.after))
        )
        return next(named, None)

    def _numbers(self) -> list[Fact]:
        return [fact for fact in self.source.facts if fact.kind == "number" and fact.start not in self.used]

    def _number(self, schema: Schema, name: str, needed: bool) -> Any:
        rated = [(self._rate(fact, schema, name), fact) for fact in self._numbers()]
        rated += [(3, fact) for fact in self._digits(name)]
        possible = [
            (rate, fact) for rate, fact in rated if fits(fact.value, schema, self.root) and (rate > 0 or needed)
        ]
        if not possible:
            return MISSING
        _, best = max(possible, key=lambda pair: pair[0])
        self.spend([best])
        return best.value

    def _digits(self, name: str) -> list[Fact]:
        """Return the ids that are digits only, where an id is wanted."""
        ids = (
            fact
            for fact in self.source.facts
            if fact.kind == "id" and fact.text.isdigit() and fact.start not in self.used
        )
        return [attrs.evolve(fact, value=int(fact.text)) for fact in ids] if "id" in want_of(name, "").kinds else []

    def _rate(self, fact: Fact, schema: Schema, name: str) -> int:
        """Return how surely a number is meant for a property."""
        around = {stem(word) for word in (fact.before, fact.after.lower()) if word and word not in STOP_WORDS}
        if around & set(stems(name)):
            return 3
        if is_about(MONEY_WORDS, name):
            return (
                2
                if len(fact.after) == 3 and fact.after.isupper()
                else 1
                if fact.before in ("at", "for", "costs")
                else 0
            )
        if is_about(COUNT_WORDS, name) and not (fact.after.isupper() or fact.before == "at"):
            return 2 if fact.after or fact.before == "top" else 0
        return 1 if around & set(stems(schema.get("description", ""))) else 0

    def _boolean(self, name: str) -> Any:
        spoken = words_of(self.source.text)
        said = [stem(word) for word in spoken]
        wanted = [stem(word) for word in words_of(name) if word not in ("is", "has", "with", "include", "use")]
        if not wanted or not all(word in said for word in wanted):
            return MISSING
        at = said.index(wanted[0])
        return not any(word in _NOT for word in spoken[max(0, at - 2) : at])

    def _text(self, schema: Schema, name: str, needed: bool) -> Any:
        assigned = self._assigned(schema, name)
        if assigned is not MISSING:
            return assigned
        may_be_text = "text" in want_of(name, schema.get("description", "")).kinds
        if may_be_text and (text := free_text(self.source.text, name, sure=True)):
            self.used.update(fact.start for fact in self.source.facts if fact.kind == "quote" and fact.text == text)
            return text[: schema.get("maxLength")]
        facts = self.candidates(schema, name, needed=needed)
        if facts:
            self.spend(facts[:1])
            return self._text_of(facts[0], schema)
        if may_be_text and needed and self.source.known:
            return in_words(dict(self.source.known))[: schema.get("maxLength")]
        if may_be_text and needed:
            return free_text(self.source.text, name, sure=False)[: schema.get("maxLength")]
        return self._by_pattern(schema)

    def _assigned(self, schema: Schema, name: str) -> Any:
        """Return what the text says outright: `title: The sea`, `unit=F`."""
        spoken = r"[\s_]+".join(map(re.escape, words_of(name)))
        match = re.search(rf"(?<!\w){spoken}\s*[:=]\s*([^\n,;]+)", self.source.text, re.IGNORECASE) if spoken else None
        value = match.group(1).strip().strip("\"“”'").rstrip(".?!") if match else ""
        return value if value and fits(value, schema, self.root) else MISSING

    def _by_pattern(self, schema: Schema) -> Any:
        if "pattern" not in schema:
            return MISSING
        words = (word.strip('.,;:?!()"“”') for word in self.source.text.split())
        return next((word for word in words if word and fits(word, schema, self.root)), MISSING)

    def _text_of(self, fact: Fact, schema: Schema) -> Any:
        """Return a fact as the text that a schema wants: a date in ISO form where that is the format."""
        possible = (fact.text, str(fact.value), f"{fact.value}T09:00:00Z", f"{fact.text}:00")
        return next((text for text in possible if fits(text, schema, self.root)), MISSING)


def _is_list(schema: Any, root: Schema) -> bool:
    return any(kind_of(branch) == "array" for branch in branches(resolve(schema, root), root))


def _is_number(schema: Any, root: Schema) -> bool:
    return any(kind_of(branch) in ("integer", "number") for branch in branches(resolve(schema, root), root))


def _is_plain_text(schema: Any, root: Schema) -> bool:
    found = branches(resolve(schema, root), root)
    return any(kind_of(one) == "string" and not {"enum", "const", "format", "pattern"} & set(one) for one in found)


def _total(values: Mapping[str, Any]) -> float | int | None:
    """Return what a list of things with prices costs, None where there is none."""
    items = next((value for value in values.values() if isinstance(value, list) and value), [])
    costs = []
    for item in (item for item in items if isinstance(item, dict)):
        numbers = {name: value for name, value in item.items() if isinstance(value, (int, float))}
        price = next((value for name, value in numbers.items() if is_about(MONEY_WORDS, name)), None)
        times = next((value for name, value in numbers.items() if is_about(COUNT_WORDS, name)), 1)
        if price is not None:
            costs.append(price * times)
    return sum(costs) if costs else None


def _without_missing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not MISSING}


def _unique(values: Sequence[Any]) -> list[Any]:
    return [value for at, value in enumerate(values) if value not in values[:at]]


def _segments(text: str) -> list[tuple[int, str]]:
    """Return the parts of an enumeration, and where each begins: what is after the first colon, or the whole text."""
    colon = re.search(r":\s", text)
    at = colon.end() if colon else 0
    found = []
    for segment in _SEPARATOR.split(text[at:]):
        start = text.index(segment, at)
        at = start + len(segment)
        bullet = _BULLET.match(segment)
        kept = segment[bullet.end() :] if bullet else segment
        if re.search(r"\w", kept):
            found.append((start + len(segment) - len(kept), kept.rstrip(" .?!")))
    return found


def _thing(segment: str) -> str:
    """Return what a segment is about: the lamps in `I bought 3 lamps at 12 EUR`."""
    counted = re.search(r"(?<![\w.])\d+\s*(?:x|×|of)?\s+(?=[^\W\d_])", segment)
    at_start = counted and not re.search(r"\b(?:at|for|is|costs)\s*$", segment[: counted.start()])
    return _THING_ENDS.sub("", segment[counted.end() :] if counted and at_start else segment).strip()
