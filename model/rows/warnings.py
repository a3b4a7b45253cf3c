"""Warn of rows in which a model had to guess: values that training had none of, or none so far out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.feature import Feature
from eigenserve.model.rows.features import FeatureSpace

#: Kinds of warnings, in the order of their codes.
KINDS = ("missing", "unseen", "range", "certified", "unstable")
MISSING, UNSEEN, RANGE, CERTIFIED, UNSTABLE = range(len(KINDS))
#: Rows compared as one: NumPy's inner loop is as long as a row, which is short. Measured with 10,000 rows of 8
#: features: 35 us, against 190 row by row.
BLOCK_ROWS = 64
#: The feature of a warning that is about the whole row, and of one that stands for those of further features.
ROW, FURTHER = -1, -2
#: So many warnings of one kind are listed for a row; a last one counts the others. An empty row of a model of 1,000
#: features would have as many.
MOST_LISTED = 20
#: Cells of columns that are searched for warnings at a time.
CELLS = 2**18


@dataclass(frozen=True, eq=False)
class RowWarnings:
    """Hold the W warnings of N rows, in the order of the rows.

    Attributes:
        features: of the model.
        count: N.
        rows, kinds, feature: (W,), the row, the position in ``KINDS`` and the feature's position, ``ROW`` or
            ``FURTHER``.
        by: (W,), how far a value is beyond the training range, negative below it, in the feature's unit (days for a
            date), or how many further features are meant; NaN where that means nothing.
    """

    features: FeatureSpace
    count: int
    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    feature: NDArray[np.int64]
    by: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: slice) -> RowWarnings:
        start, stop, _ = rows.indices(self.count)
        if not len(self):
            return self if stop - start == self.count else replace(self, count=max(0, stop - start))
        first, last = np.searchsorted(self.rows, (start, stop))
        some = slice(int(first), int(last))
        numbers, *others = (part[some] for part in self._parts)
        return RowWarnings(self.features, max(0, stop - start), numbers - start, *others)

    @property
    def _parts(self) -> tuple[NDArray[Any], ...]:
        return self.rows, self.kinds, self.feature, self.by

    def of_kinds(self, kinds: Iterable[str]) -> RowWarnings:
        """Return the warnings of some kinds."""
        chosen = np.isin(self.kinds, [KINDS.index(kind) for kind in kinds])
        return RowWarnings(self.features, self.count, *(part[chosen] for part in self._parts))

    def of_rows(self, rows: NDArray[np.bool_]) -> RowWarnings:
        """Return the warnings of those rows, of (N,), that are true; the others then have none."""
        chosen = rows[self.rows]
        return RowWarnings(self.features, self.count, *(part[chosen] for part in self._parts))

    def joined(self, others: RowWarnings) -> RowWarnings:
        """Return these and others of the same rows."""
        if not len(others):
            return self
        order = np.argsort(np.concatenate([self.rows, others.rows]), kind="stable")
        pairs = zip(self._parts, others._parts, strict=True)
        return RowWarnings(self.features, self.count, *(np.concatenate(pair)[order] for pair in pairs))

    def rows_by_kind(self) -> dict[str, int]:
        """Count the rows that have a warning of each kind; kinds without any are left out."""
        counts = ((kind, len(np.unique(self.rows[self.kinds == code]))) for code, kind in enumerate(KINDS))
        return {kind: count for kind, count in counts if count}

    def lists(self) -> list[list[dict[str, Any]]]:
        """Return a list of warnings for every row, each with its kind, its feature, how far, and a message."""
        lists: list[list[dict[str, Any]]] = [[] for _ in range(self.count)]
        if not len(self):
            return lists
        for row, kind, position, by in self._each():
            entry: dict[str, Any] = {"kind": KINDS[kind]}
            if position >= 0:
                entry["feature"] = self.features.names[position]
            if position == FURTHER:
                entry["further"] = int(by)
            elif by == by:
                entry["by"] = by
            lists[row].append({**entry, "message": self.message(kind, position, by)})
        return lists

    def texts(self, far: bool = True) -> list[str]:
        """Return a text for every row, such as ``range fico by 12.5; unseen state``; empty for one without warnings.

        Args:
            far: say how far beyond its range a value is.
        """
        texts = [""] * self.count
        for row, kind, position, by in self._each():
            text = f"{KINDS[kind]} {self.features.names[position]}" if position >= 0 else KINDS[kind]
            if position == FURTHER:
                text += f" and {by:.0f} more"
            elif far and by == by:
                text += f" by {by!r}"
            texts[row] += f"; {text}" if texts[row] else text
        return texts

    def faults(self, most: int) -> list[tuple[int, str, str]]:
        """Return the row, the feature (empty for the whole row) and the message of the first warnings."""
        return [
            (row, "" if position < 0 else self.features.names[position], self.message(kind, position, by))
            for row, kind, position, by in islice(self._each(), most)
        ]

    def message(self, kind: int, position: int, by: float) -> str:
        """Describe one warning in a sentence without its subject's name."""
        if position == FURTHER:
            return f"{by:.0f} further features have the same warning"
        if kind == UNSTABLE:
            return (
                "the predicted eigenvalue nearly meets a neighbour: the explanation may turn under a small change of "
                "the row"
            )
        feature = self.features.features[position]
        if kind == MISSING:
            return f"is missing, as in no row of training: it counts as {feature.missing_counts_as}"
        if kind == UNSEEN:
            return "is a category that training did not have"
        side, unit = "above" if by > 0 else "below", " days" if feature.kind == "datetime" else ""
        far = f"is {abs(by):.6g}{unit} {side} the training range, {_range(feature)}"
        return far if kind == RANGE else f"{far}, within which alone the model's shape is certified"

    def _each(self) -> Iterable[tuple[int, int, int, float]]:
        return zip(self.rows.tolist(), self.kinds.tolist(), self.feature.tolist(), self.by.tolist(), strict=True)


@dataclass(frozen=True)
class RowChecks:
    """Find the warnings of rows of one model.

    Attributes:
        features: of the model.
        certified: features with a property that is proved within their training range alone.
    """

    features: FeatureSpace
    certified: frozenset[str] = frozenset()

    def warnings(self, columns: FloatArray) -> RowWarnings:
        """Find the warnings of columns (N, F), as ``FeatureSpace.encode`` gives them.

        What has none costs two comparisons a value.
        """
        if len(columns) > BLOCK_ROWS and self._all_within(columns):
            return self.none(len(columns))
        step = max(1, CELLS // max(1, columns.shape[1]))
        if len(columns) <= step:
            return self._found(columns)
        parts = [self._found(columns[start : start + step]) for start in range(0, len(columns), step)]
        rows = np.concatenate([part.rows + start * step for start, part in enumerate(parts)])
        others = (np.concatenate([getattr(part, name) for part in parts]) for name in ("kinds", "feature", "by"))
        return RowWarnings(self.features, len(columns), rows, *others)

    def _found(self, columns: FloatArray) -> RowWarnings:
        low, high, allowed, certified = self._limits
        given = columns[:, : len(low)]
        rows, position = np.nonzero(~((given >= low) & (given <= high)))
        if not len(rows):
            return self.none(len(columns))
        values = given[rows, position]
        absent = np.isnan(values)
        kept = ~(absent & allowed[position])
        rows, position, values, absent = rows[kept], position[kept], values[kept], absent[kept]
        by = np.where(values > high[position], values - high[position], values - low[position])
        unseen = self._categorical[position]
        by[unseen] = np.nan
        kinds = np.where(absent, MISSING, np.where(unseen, UNSEEN, RANGE))
        again = certified[position] & (kinds == RANGE)
        if again.any():
            repeated = np.repeat(np.arange(len(rows)), 1 + again)
            second = np.zeros(len(repeated), bool)
            second[1:] = repeated[1:] == repeated[:-1]
            rows, position, by = rows[repeated], position[repeated], by[repeated]
            kinds = np.where(second, CERTIFIED, kinds[repeated])
        return RowWarnings(self.features, len(columns), *_listed(rows, kinds, position, by))

    def none(self, count: int) -> RowWarnings:
        """Return no warnings, of so many rows."""
        if (known := self._nones.get(count)) is not None:
            return known
        none = self._none(count)
        if count <= BLOCK_ROWS:
            self._nones[count] = none
        return none

    @cached_property
    def _nones(self) -> dict[int, RowWarnings]:
        return {}

    def _none(self, count: int) -> RowWarnings:
        empty = np.empty(0, np.int64)
        return RowWarnings(self.features, count, empty, empty, empty, np.empty(0))

    def unstable(self, rows: NDArray[np.bool_]) -> RowWarnings:
        """Return a warning of an unstable explanation for those rows, of (N,), that get one."""
        which = np.flatnonzero(rows)
        if not len(which):
            return self.none(len(rows))
        kinds, whole, by = np.full(len(which), UNSTABLE), np.full(len(which), ROW), np.full(len(which), np.nan)
        return RowWarnings(self.features, len(rows), which, kinds, whole, by)

    def _all_within(self, columns: FloatArray) -> bool:
        """Say whether no value of any row is missing or beyond its limits."""
        if columns.shape[1] != len(self._given):
            return False
        low, high = self._block_limits
        whole = len(columns) // BLOCK_ROWS * BLOCK_ROWS
        blocks, rest = columns[:whole].reshape(-1, len(low)), columns[whole:].ravel()
        return bool(
            ((blocks >= low) & (blocks <= high)).all()
            and ((rest >= low[: len(rest)]) & (rest <= high[: len(rest)])).all()
        )

    @cached_property
    def _block_limits(self) -> tuple[FloatArray, FloatArray]:
        """The values without a warning, of as many rows as are compared at a time."""
        low, high = self._limits[:2]
        return np.tile(low, BLOCK_ROWS), np.tile(high, BLOCK_ROWS)

    @cached_property
    def _given(self) -> tuple[Feature, ...]:
        """The features that rows give. Cycles are computed from dates, which are checked themselves."""
        return self.features.features[: len(self.features.input_names)]

    @cached_property
    def _categorical(self) -> NDArray[np.bool_]:
        return np.array([feature.kind == "categorical" for feature in self._given])

    @cached_property
    def _limits(self) -> tuple[FloatArray, FloatArray, NDArray[np.bool_], NDArray[np.bool_]]:
        """The values without a warning, whether they may be missing, and whether something is certified within them."""
        return (
            np.array([0.0 if feature.num_codes else feature.low for feature in self._given]),
            np.array([_highest(feature) for feature in self._given]),
            np.array([feature.missing for feature in self._given]),
            np.array([feature.name in self.certified for feature in self._given]),
        )


def read_kinds(value: Any) -> frozenset[str]:
    """Read which kinds of warnings refuse a row: true for all, false for none, or their names.

    Args:
        value: of JSON, or a text such as ``missing,unseen``.

    Raises:
        ValueError: it is something else; the message has no subject.
    """
    if isinstance(value, str):
        words: Sequence[Any] = [word for part in value.split(",") if (word := part.strip())]
        value = {"true": True, "false": False}.get(value.strip().lower(), words)
    if value is None or isinstance(value, bool):
        return frozenset(KINDS) if value else frozenset()
    if not isinstance(value, list | tuple) or not all(isinstance(kind, str) and kind in KINDS for kind in value):
        raise ValueError(f"must be true, false or some of {', '.join(KINDS)}; got {value!r}")
    return frozenset(value)


def _listed(
    rows: NDArray[np.int64], kinds: NDArray[np.int64], feature: NDArray[np.int64], by: FloatArray
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return warnings with those of one row and kind beyond ``MOST_LISTED`` replaced by one that counts them."""
    if len(rows) <= MOST_LISTED:
        return rows, kinds, feature, by
    group, member, count = np.unique(rows * len(KINDS) + kinds, return_inverse=True, return_counts=True)
    many = np.flatnonzero(count > MOST_LISTED)
    if not len(many):
        return rows, kinds, feature, by
    order = np.argsort(member, kind="stable")
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    kept = place < MOST_LISTED
    rows = np.concatenate([rows[kept], group[many] // len(KINDS)])
    kinds = np.concatenate([kinds[kept], group[many] % len(KINDS)])
    feature = np.concatenate([feature[kept], np.full(len(many), FURTHER)])
    by = np.concatenate([by[kept], (count[many] - MOST_LISTED).astype(np.float64)])
    order = np.argsort(rows, kind="stable")
    return rows[order], kinds[order], feature[order], by[order]


def _highest(feature: Feature) -> float:
    if feature.kind == "categorical":
        return len(feature.categories) - 1.0
    return 1.0 if feature.kind == "boolean" else feature.high


def _range(feature: Feature) -> str:
    if feature.kind == "datetime":
        return f"{iso_time(feature.low)} to {iso_time(feature.high)}"
    return f"{feature.low:.12g} to {feature.high:.12g}"
