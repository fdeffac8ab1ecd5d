"""Read a docstring: the text before its first section, and the descriptions of parameters or attributes.

Google's, NumPy's and Sphinx's (reST) styles are read, also mixed. Epytext is not: it stays in the text.

The library ``docstring_parser`` reads the entries. The sections are found here, for three reasons: the library gives up
a whole docstring for one line without a colon, it takes each line that begins with a colon for a field, and its way to
choose a style prefers epytext over plain text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import attrs

from streamkit.concurrency.late_import import late_import

__all__ = ["Docstring", "parse_docstring"]

# Sections whose entries describe parameters or fields, and those that only end the text before them.
_ENTRIES = (
    "Args|Arguments|Params|Parameters|Other Args|Other Arguments|Other Params|Other Parameters|Keyword Args|"
    "Keyword Arguments|Attribute|Attributes|Receives"
)
_OTHERS = (
    "Returns?|Yields?|Raises?|Except|Exceptions|Warns?|Warnings?|Examples?|Notes?|See Also|References?|Todo|Todos|"
    "Methods|Attention|Caution|Danger|Error|Hint|Important|Tip|Usage"
)
_FIELDS = "param|parameter|arg|argument|key|keyword|kwarg|kwparam|attribute|var|ivar|cvar"
_OTHER_FIELDS = "type|vartype|returns?|rtype|raises?|except|exception|yields?|ytype|meta|deprecated"

# A header stands alone in its line. In Google's style the section is indented, in NumPy's the header is underlined.
_HEADER = re.compile(
    rf"^(?:(?P<google>{_ENTRIES})|(?:{_OTHERS})):[ \t]*(?=\n\s*\n?[ \t]+\S|\Z)"
    rf"|^(?:(?P<numpy>{_ENTRIES})|(?:{_OTHERS}))[ \t]*\n-{{3,}}[ \t]*$"
    rf"|^:(?:(?P<rest>{_FIELDS})\b[^:\n]*|(?:{_OTHER_FIELDS})\b[^:\n]*):",
    re.MULTILINE,
)
_NOT_INDENTED = re.compile(r"\n(?=\S)")
_AFTER_FIELD = re.compile(r"\n[ \t]*\n(?=\S)")
# Line breaks within a sentence; those before an empty line or an item of a list stay.
_SOFT_BREAK = re.compile(r"[ \t]*\n[ \t]*(?![-*•\n]|\d+[.)])(?<!\n\n)")


@attrs.frozen
class Docstring:
    """What a docstring says.

    Attributes:
        text: all before the first section; empty if there is nothing.
        entries: the description of each parameter or attribute by its name, without the stars of ``*args``.
    """

    text: str = ""
    entries: dict[str, str] = attrs.field(factory=dict)


def parse_docstring(docstring: str | None) -> Docstring:
    """Read a docstring in any of the three styles; what no style knows is text."""
    text = (docstring or "").replace("\r\n", "\n")
    if _HEADER.match(text.partition("\n")[0].strip() + "\n    _"):
        text = f"\n{text}"  # cleandoc() does not count the first line, and would take the indentation of the next ones
    text = inspect.cleandoc(text).strip()
    headers = list(_HEADER.finditer(text))
    if not headers:
        return Docstring(text)
    entries: dict[str, str] = {}
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=True):
        for names, description in _entries_of(header, text[header.end() : end]):
            for name in names.split(","):
                if description:
                    entries[name.strip("*\\-` ")] = _SOFT_BREAK.sub(" ", description).strip()
    return Docstring(text[: headers[0].start()].rstrip(), entries)


def _entries_of(header: re.Match[str], body: str) -> Iterator[tuple[str, str | None]]:
    if header["google"]:
        return _google_entries(_NOT_INDENTED.split(body.strip("\n"), 1)[0])
    if header["numpy"]:
        return _numpy_entries(body)
    if header["rest"]:
        return _rest_entries(header[0].replace(header["rest"], "param", 1) + _AFTER_FIELD.split(body, 1)[0])
    return iter(())


def _google_entries(body: str) -> Iterator[tuple[str, str | None]]:
    google = late_import("docstring_parser.google")
    common = late_import("docstring_parser.common")
    lines = body.expandtabs().split("\n")
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    starts = [n for n, line in enumerate(lines) if line.strip() and len(line) - len(line.lstrip()) == min(indents)]
    parser = google.GoogleParser()
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        try:
            parsed = parser.parse("\nArgs:\n" + "\n".join(lines[start:end]))  # a first line would not count as indented
        except common.ParseError:
            continue  # a line without a colon describes nothing
        yield from ((found.arg_name, found.description) for found in parsed.params)


def _numpy_entries(body: str) -> Iterator[tuple[str, str | None]]:
    numpydoc = late_import("docstring_parser.numpydoc")
    for found in numpydoc.ParamSection("Parameters", "param").parse(body):
        yield found.arg_name, found.description


def _rest_entries(field: str) -> Iterator[tuple[str, str | None]]:
    rest = late_import("docstring_parser.rest")
    common = late_import("docstring_parser.common")
    try:
        parsed = rest.parse(field)
    except common.ParseError:
        return  # such as a type of several words before the name
    yield from ((found.arg_name, found.description) for found in parsed.params)
