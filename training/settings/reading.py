"""Read the options of a fit from a file or the command line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from eigenserve.errors import UserError
from eigenserve.training.kernels.losses import DEVIANCE_LOSSES
from eigenserve.training.settings.fit_settings import FitSettings


def read_settings(path: Path, overrides: Mapping[str, Any]) -> FitSettings:
    """Read settings from a TOML file whose keys are the names above; ``overrides`` take precedence.

    Raises:
        UserError: no such file, not TOML, an unknown key or a value out of range.
    """
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"no file {path}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    known = {field.name for field in fields(FitSettings)}
    for key in given:
        if key not in known:
            raise UserError(f"{path}: unknown setting {key!r}; settings are {', '.join(sorted(known))}")
    return make_settings({**given, **overrides})


def make_settings(given: Mapping[str, Any]) -> FitSettings:
    """Make settings from a mapping as TOML or the command line give them.

    Raises:
        UserError: a value of the wrong type or out of range.
    """
    values = dict(given)
    if values.get("task") == "auto":
        values["task"] = None
    if values.get("task") in DEVIANCE_LOSSES:  # costs are regressions with a loss of this name
        if values.get("loss", values["task"]) != values["task"]:
            raise UserError(f"the task {values['task']} has the loss {values['task']}; got loss {values['loss']}")
        values["loss"] = values["task"]
    if values.get("loss") in DEVIANCE_LOSSES:
        values["task"] = "regression" if values.get("task") in (None, *DEVIANCE_LOSSES) else values["task"]
    if values.get("device") == "auto":
        values["device"] = "cpu"
    if "monotone" in values:
        values["monotone"] = _monotone(values["monotone"])
    if "pairs" in values:
        values["pairs"] = _pairs(values["pairs"])
    if "max_memory" in values:
        values["max_memory"] = _bytes(values["max_memory"])
    if "max_strength" in values:
        values["max_strength"] = _strengths(values["max_strength"])
    for key in ("types", "date_format"):
        if key in values:
            values[key] = _by_column(key, values[key])
    for key in ("features", "exclude", "convex", "concave", "missing"):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    try:
        return replace(FitSettings(), **values)
    except TypeError as error:
        raise UserError(f"settings: {error}") from error


def _pairs(text: object) -> tuple[tuple[str, str], ...] | None:
    """Read "a:b,c:d" or [["a", "b"], ...] as pairs of names."""
    if text in ("auto", None):
        return None
    if text in ("none", ""):
        return ()
    entries = text.split(",") if isinstance(text, str) else text
    if not isinstance(entries, list | tuple):
        raise UserError(f"pairs must be like a:b,c:d, or none; got {text!r}")
    pairs = [entry.split(":") if isinstance(entry, str) else entry for entry in entries]
    for pair in pairs:
        names = pair if isinstance(pair, list | tuple) and all(isinstance(name, str) for name in pair) else ()
        if len(names) != 2 or names[0] == names[1] or not all(names):
            shown = ":".join(names) or pair
            raise UserError(f"a pair must be two different features, like a:b; got {shown!r}")
    return tuple((a, b) for a, b in pairs)


def _monotone(given: object) -> tuple[tuple[str, str], ...]:
    """Read "f=+,g=-" or {"f": "+"} as pairs of name and direction."""
    entries = _entries(given)
    for entry in entries:
        if len(entry) != 2 or entry[1] not in ("+", "-"):
            raise UserError(f"monotone must be like f=+,g=-; got {'='.join(map(str, entry))!r}")
    return tuple((str(name), str(direction)) for name, direction in entries)


def _by_column(key: str, given: object) -> tuple[tuple[str, str], ...]:
    """Read "f=date,g=number" or {"f": "date"} as pairs; of formats of dates, one without a column is for all."""
    if isinstance(given, str) and key == "date_format":
        # A comma may stand in a format: it separates entries where a name and = follow.
        given = _joined_names(re.split(r",(?=[^=%]+=)", given))
    pairs = [("", *entry) if key == "date_format" and len(entry) == 1 else entry for entry in _entries(given)]
    for pair in pairs:
        example = "when=%d/%m/%Y" if key == "date_format" else "zip=category,size=number"
        if len(pair) != 2:
            raise UserError(f"{key} must be like {example}; got {'='.join(map(str, pair))!r}")
    return tuple((str(name), str(value)) for name, value in pairs)


def _bytes(given: object) -> object:
    """Return "2G", "500 MB" or a number as bytes."""
    match = re.fullmatch(r"\s*([\d.]+)\s*([kMGT]?)i?B?\s*", given) if isinstance(given, str) else None
    if isinstance(given, str) and match is None:
        raise UserError(f"max_memory must be bytes, like 2G or 500M; got {given!r}")
    return given if match is None else float(match[1]) * 1000.0 ** " kMGT".index(match[2] or " ")


def _strengths(given: object) -> tuple[tuple[str, float], ...]:
    """Read "f=0.5,g=2" or {"f": 0.5} as pairs of name and number."""
    try:
        return tuple((str(name), float(value)) for name, value in _entries(given))
    except (ValueError, TypeError) as error:
        raise UserError(f"max_strength must be like f=0.5,g=2; got {given!r}") from error


def _entries(given: object) -> list[tuple[Any, ...]]:
    """Read "f=1,g=2", {"f": 1} or [["f", 1]] as what each says, whatever that is."""
    if isinstance(given, str):
        return _joined_names([entry for entry in given.split(",") if entry])
    if isinstance(given, Mapping):
        return list(given.items())
    entries = given if isinstance(given, list | tuple) else [given]
    return [tuple(entry) if isinstance(entry, list | tuple) else (entry,) for entry in entries]


def _joined_names(parts: list[str]) -> list[tuple[str, ...]]:
    """Return names and what is said of them, of parts NAME=TEXT of which a name with a comma makes two."""
    entries: list[tuple[str, ...]] = []
    name = ""
    for i, part in enumerate(parts):
        if "=" in part or "%" in part or i + 1 == len(parts):
            entries.append(tuple(text.strip() for text in (name + part).rsplit("=", 1)))
            name = ""
        else:
            name += f"{part},"
    return entries
