"""Describe a received value in an error, in the words of JSON and never at length."""

from __future__ import annotations


def describe(value: object) -> str:
    """Describe a received value in the words of JSON."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    # A number or text may be megabytes long.
    text = repr(value[:60]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
