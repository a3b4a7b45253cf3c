"""Wording: the lender's own words for reasons, as a reasons.toml has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.counterfactuals.allowed_changes import read_limit
from eigenserve.model.explanations.groups import Groups
from eigenserve.model.rows.cells import describe, short_time
from eigenserve.model.rows.features import Feature, FeatureSpace

#: Keys of the document; of a table of texts, which has text, or high and low; and of a bin.
KEYS = ("text", "never", "changes")
TABLE_KEYS = ("text", "high", "low", "missing")
BIN_KEYS = ("below", "missing", "text")
#: Whole numbers below this size are written without a decimal point.
_MOST_WHOLE = 1e15
VALUE = "{value}"


@dataclass(frozen=True)
class Texts:
    """The texts of one feature or group.

    Attributes:
        bins: (limit, text), ascending: the first that a value is below is taken; one text for all values has an
            infinite limit.
        high, low: instead of bins, by the side of the typical value, which is itself high; of a boolean, true is high.
        missing: of a missing value; without it, that gets a single text for all values which does not name the value,
            or else the feature's name.
    """

    bins: tuple[tuple[float, str], ...] = ()
    high: str | None = None
    low: str | None = None
    missing: str | None = None

    def of(self, feature: Feature, number: float) -> str | None:
        """Return the text of a value of a feature's column; None where there is none."""
        if np.isnan(number):
            return self.missing if self.missing is not None else self.of_missing
        if self.bins:
            return next((text for limit, text in self.bins if number < limit), None)
        is_high = number > 0.0 if feature.kind == "boolean" else number >= feature.stand_in
        return self.high if is_high else self.low

    @property
    def of_missing(self) -> str | None:
        """Return the single text for all values, if it does not name the value."""
        if len(self.bins) != 1 or not np.isinf(self.bins[0][0]) or VALUE in self.bins[0][1]:
            return None
        return self.bins[0][1]


@dataclass(frozen=True)
class Wording:
    """The lender's own words.

    Attributes:
        texts: by feature or group.
        never: features and groups that are never cited, nor what holds one of them: a group, or a date with its cycles.
    """

    texts: Mapping[str, Texts] = field(default_factory=dict)
    never: frozenset[str] = frozenset()

    def can_cite(self, features: FeatureSpace, name: str, positions: tuple[int, ...]) -> bool:
        """Return whether a reason, a feature or group of so many columns, may be cited."""
        return self.never.isdisjoint({name, *(features.names[i] for i in positions)})

    def text(self, features: FeatureSpace, name: str, positions: tuple[int, ...], row: FloatArray) -> str:
        """Return the text of a reason for a row (F,): in the lender's words, or its name."""
        texts = self.texts.get(name)
        if texts is None:
            return name
        own = [i for i in positions if not features.features[i].cycle]
        numbers = [float(row[i]) for i in own]
        cells = [value_text(features.features[i], number) for i, number in zip(own, numbers, strict=True)]
        if name in features.names:
            text = texts.of(features.features[own[0]], numbers[0])
        else:
            text = texts.of_missing if np.isnan(numbers).all() else texts.bins[0][1]
            cells = [f"{features.names[i]} {cell}" for i, cell in zip(own, cells, strict=True)]
        return name if text is None else text.replace(VALUE, ", ".join(cells))


def value_text(feature: Feature, number: float) -> str:
    """Write a value of a feature's column as a row of text does; "missing" for none."""
    if np.isnan(number):
        return "missing"
    if feature.kind == "datetime":
        return short_time(number)
    if feature.kind == "numeric":
        return str(int(number)) if number.is_integer() and abs(number) < _MOST_WHOLE else repr(number)
    return feature.labels[int(number)]


def read_wording(document: Mapping[str, Any], features: FeatureSpace, groups: Groups) -> Wording:
    """Check the parsed reasons.toml against the features and groups.

    Raises:
        ValueError: an unknown key or name, or a text that is none of those that its feature or group can have.
    """
    _check_keys("reasons.toml", document, KEYS)
    texts, never = document.get("text", {}), document.get("never", [])
    if not isinstance(texts, Mapping):
        raise ValueError(f"text in reasons.toml must be a table by feature or group; got {describe(texts)}")
    if not isinstance(never, list | tuple) or not all(isinstance(name, str) for name in never):
        raise ValueError(f"never in reasons.toml must be a list of features and groups; got {never!r}")
    for name in (*texts, *never):
        if not features.has(name) and name not in groups:
            known = ", ".join((*features.names, *groups))
            raise ValueError(f"reasons.toml names {name!r}, which is neither a feature nor a group; these are {known}")
    read = {
        name: _read_texts(name, text, features.features[features.position(name)] if features.has(name) else None)
        for name, text in texts.items()
    }
    return Wording(read, frozenset(never))


def _read_texts(name: str, given: Any, feature: Feature | None) -> Texts:
    """Read the texts of a feature, or of a group where there is none."""
    what = f"the text of {name!r}"
    if isinstance(given, str):
        return Texts(bins=((np.inf, given),))
    if feature is None:
        raise ValueError(f"{what} must be a text, as that of a group is; got {describe(given)}")
    if isinstance(given, list | tuple):
        return _read_bins(what, given, feature)
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} must be a text, {{high = ..., low = ...}}, or a list of bins; got {describe(given)}")
    _check_keys(what, given, TABLE_KEYS)
    texts = {key: _read_text(what, key, text) for key, text in given.items()}
    if given.keys() - {"missing"} == {"text"}:
        return Texts(bins=((np.inf, texts["text"]),), missing=texts.get("missing"))
    if given.keys() - {"missing"} != {"high", "low"}:
        raise ValueError(f"{what} must have both high and low, or text alone; got {', '.join(given) or 'nothing'}")
    if feature.kind == "categorical":
        raise ValueError(f"{what} must not have high and low: categories are neither")
    return Texts(high=texts["high"], low=texts["low"], missing=texts.get("missing"))


def _read_bins(what: str, given: Any, feature: Feature) -> Texts:
    if feature.num_codes:
        raise ValueError(f"{what} must not have bins: {feature.name!r} is not a number or a date")
    bins: list[tuple[float, str]] = []
    missing = None
    for k, one in enumerate(given, 1):
        which = f"bin {k} of {what}"
        if not isinstance(one, Mapping):
            raise ValueError(f"{which} must be a table; got {describe(one)}")
        _check_keys(which, one, BIN_KEYS)
        text = _read_text(which, "text", one.get("text"))
        if "missing" in one:
            if one["missing"] is not True or "below" in one or missing is not None:
                raise ValueError(f"{which} must be {{missing = true, text = ...}}, once; got {dict(one)!r}")
            missing = text
            continue
        limit = _read_below(which, one["below"], feature) if "below" in one else np.inf
        if bins and not limit > bins[-1][0]:
            raise ValueError(f"{which} is never reached: bins must be below ever more, and only the last without below")
        bins.append((limit, text))
    if not bins:
        raise ValueError(f"{what} must have at least one bin")
    return Texts(bins=tuple(bins), missing=missing)


def _read_below(which: str, below: Any, feature: Feature) -> float:
    number = isinstance(below, int | float | np.integer | np.floating) and not isinstance(below, bool)
    if feature.kind == "numeric" and not number:
        raise ValueError(f"{which}: below must be a number; got {describe(below)}")
    try:
        return read_limit(feature, below)
    except ValueError as error:
        raise ValueError(f"{which}: below {error}") from None


def _read_text(which: str, key: str, text: Any) -> str:
    if not isinstance(text, str):
        raise ValueError(f"{which}: {key} must be a text; got {describe(text)}")
    return text


def _check_keys(what: str, table: Any, known: tuple[str, ...]) -> None:
    if not isinstance(table, Mapping):
        raise ValueError(f"{what} must be a table; got {describe(table)}")
    for key in table:
        if key not in known:
            raise ValueError(f"{what} has the keys {', '.join(known)}; got {key!r}")
