"""Converters, one for each form of type: decoded JSON -> a value of that type, or what is wrong with it."""
