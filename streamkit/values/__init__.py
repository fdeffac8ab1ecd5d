"""Immutable values: chunks, messages and completions; and text split into words, lines and sentences."""
