"""Immutable values: chunks, messages, completions, and text cut into words, lines and sentences."""
