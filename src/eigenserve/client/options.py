"""Write the options of a question as a body and a query have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eigenserve.client.tables import plain_row, read_rows


def model_option(which: Mapping[str, Any]) -> dict[str, Any]:
    """Return the model and version that a question names.

    Raises:
        TypeError: it names something else.
    """
    unknown = ", ".join(which.keys() - {"model", "version"})
    if unknown:
        raise TypeError(f"unknown option {unknown}")
    return {key: str(value) for key, value in which.items() if value is not None}


def names_option(names: Sequence[str] | None) -> str | list[str] | None:
    """Return names as one text, which can stand in a query, if none of them has a comma."""
    if names is None:
        return None
    listed = [names] if isinstance(names, str) else list(names)
    return listed if any("," in name or name != name.strip() for name in listed) else ",".join(listed)


def kept_names(options: Mapping[str, Any]) -> list[str]:
    """Return the names that ``names_option`` wrote under ``keep``."""
    keep = options.get("keep", [])
    return keep.split(",") if isinstance(keep, str) else list(keep)


def strict_option(strict: bool | Sequence[str] | None) -> bool | str | list[str] | None:
    """Return kinds of warnings as ``names_option`` does, and true or false as they are."""
    return strict if isinstance(strict, bool) else names_option(strict)


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with rows among them as JSON has them."""
    changed = dict(options)
    for key in ("reference", "baseline"):
        value = changed.get(key)
        if isinstance(value, Mapping):
            changed[key] = plain_row(value, 0)
        elif value is not None and not isinstance(value, str):
            changed[key] = read_rows(value).plain()
    return changed
