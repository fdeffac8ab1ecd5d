"""Validators, which judge the text of a reply while it arrives, and cut it before the offending text shows.

::

    from streamkit.validators import BannedWords, MaxLength

    rules = [BannedWords(["password"]), MaxLength(2000, on_violation="replace", replacement=" ...")]
    for chunk in streamkit.stream("openai/gpt-4o-mini", "Hello", validators=rules):
        print(chunk.text, end="", flush=True)

``Validator`` says how to make your own.
"""

from streamkit.validators.containing import Contains, ContainsAny, RequiredFields
from streamkit.validators.input import check_input
from streamkit.validators.json_text import JsonSchema, JsonValid
from streamkit.validators.lengths import MaxLength, MaxSentences, MinLength
from streamkit.validators.patterns import Regex
from streamkit.validators.shapes import NOT_RUN, TYPES, validator_of
from streamkit.validators.stream import ValidatedStream, validated
from streamkit.validators.validator import Checker, Validator, Verdict, Violation
from streamkit.validators.words import BannedWords

__all__ = [
    "NOT_RUN",
    "TYPES",
    "BannedWords",
    "Checker",
    "Contains",
    "ContainsAny",
    "JsonSchema",
    "JsonValid",
    "MaxLength",
    "MaxSentences",
    "MinLength",
    "Regex",
    "RequiredFields",
    "ValidatedStream",
    "Validator",
    "Verdict",
    "Violation",
    "check_input",
    "validated",
    "validator_of",
]
