"""Raise Ctrl-C again: in a file of its own, because IPython reads the whole file of the innermost frame."""

import sys
from typing import NoReturn

__all__ = ["raise_again"]


# Raise the exception that is being handled. It has no docstring, because IPython shows up to five lines of a function.
def raise_again() -> NoReturn:  # noqa: D103
    raise sys.exc_info()[1]  # type: ignore[misc]
