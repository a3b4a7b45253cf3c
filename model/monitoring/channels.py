"""Channel: one quantity that is watched (a feature, a score, a contribution), and the bins its values fall into."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.rows.feature import Feature

ChannelKind = Literal["feature", "score", "contribution"]
Counts = NDArray[np.int64]

#: Bins that hold equally many training values, as far as they can. Finer ones find no more in 2,000 rows: measured by
#: power against a shift of a fifth of a deviation, between 16 and 32.
EQUAL_BINS = 20
#: Categories with a separate bin, the most frequent ones; the others share one.
MAX_CATEGORIES = 30
MISSING, BELOW, ABOVE, UNSEEN, OTHERS = "missing", "below the training range", "above it", "unseen", "other categories"


@dataclass(frozen=True)
class Channel:
    """Describe one watched quantity and how its training values fell into bins.

    Numbers: bins are (-inf, edges[0]), [edges[0], edges[1]), ..., [edges[-1], inf), of which the first and the last lie
    beyond the training range. Codes of categories: bin ``bins[code]``. One more bin, the last, is for missing values.

    Attributes:
        kind, name: what is watched.
        edges: ascending; empty for codes, and for dates, of which only missing ones are counted: time goes on.
        bins: the bin of each code; empty for numbers.
        labels: what the bins of codes are called.
        counts: of the training rows, by bin.
    """

    kind: ChannelKind
    name: str
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    bins: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        inner = max(self.bins) + 1 if self.bins else len(self.edges) + 1
        if len(self.counts) != inner + 1 or min(self.counts) < 0 or (self.bins and len(self.labels) != inner):
            raise ValueError(f"the bins of {self.kind} {self.name!r} and their counts do not fit together")
        if not all(map(math.isfinite, self.edges)) or any(
            a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)
        ):
            raise ValueError(f"the edges of {self.kind} {self.name!r} must ascend; got {self.edges}")

    @property
    def is_ordered(self) -> bool:
        """Return whether the bins are ranges of a number."""
        return bool(self.edges)

    def label(self, position: int) -> str:
        """Return what a bin is called."""
        if position == len(self.counts) - 1:
            return MISSING
        if self.bins:
            return self.labels[position]
        if not self.edges:
            return "given"
        if position in (0, len(self.edges)):
            return ABOVE if position else BELOW
        low, high = (f"{edge:.6g}" for edge in self.edges[position - 1 : position + 1])
        return low if low == high else f"{low} to {high}"

    @property
    def special(self) -> tuple[int, ...]:
        """Return the bins whose share is compared by itself: categories, missing, and beyond the training range."""
        last = len(self.counts) - 1
        return (*range(last), last) if self.bins else (0, len(self.edges), last) if self.edges else (last,)

    @property
    def outside(self) -> tuple[int, ...]:
        """Return the bins beyond what training had: out of range, or an unseen category."""
        if self.bins:
            return (self.labels.index(UNSEEN),) if UNSEEN in self.labels else ()
        return (0, len(self.edges)) if self.edges else ()


def number_channel(kind: ChannelKind, name: str, values: FloatArray) -> Channel:
    """Make a channel of numbers (N,), NaN for missing, with bins of about equally many."""
    present = values[~np.isnan(values)]
    edges = _edges(present)
    return _counted(Channel(kind, name, (0,) * (len(edges) + 2), edges), values)


def feature_channel(feature: Feature, values: FloatArray) -> Channel:
    """Make the channel of a feature, of its column (N,) as ``FeatureSpace.encode`` gives it."""
    if feature.kind == "datetime":
        return _counted(Channel("feature", feature.name, (0, 0)), values)
    if feature.kind == "numeric":
        return number_channel("feature", feature.name, values)
    if feature.kind == "boolean":
        return _counted(Channel("feature", feature.name, (0,) * 3, (), (0, 1), ("false", "true")), values)
    counts = np.bincount(values[~np.isnan(values)].astype(np.int64), minlength=feature.num_codes)[:-1]
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MAX_CATEGORIES])
    bins = np.full(feature.num_codes, len(frequent))
    bins[frequent] = np.arange(len(frequent))
    labels = [feature.categories[code] for code in frequent]
    if len(frequent) < len(counts):
        labels.append(OTHERS)
    bins[-1] = len(labels)
    labels.append(UNSEEN)
    shape = Channel("feature", feature.name, (0,) * (len(labels) + 1), (), tuple(bins.tolist()), tuple(labels))
    return _counted(shape, values)


@dataclass(frozen=True)
class Counter:
    """Count values of several channels in their bins.

    Attributes:
        channels: in the order of ``positions``.
        positions: the column of the values that each channel counts.
    """

    channels: tuple[Channel, ...]
    positions: tuple[int, ...]

    @cached_property
    def offsets(self) -> Counts:
        """Return (C + 1,): the counts of channel c are offsets[c]:offsets[c + 1]."""
        return np.concatenate([[0], np.cumsum([len(c.counts) for c in self.channels], dtype=np.int64)])

    def count(self, values: FloatArray, counts: Counts) -> None:
        """Add values (N, K) to the counts of all channels, (offsets[-1],)."""
        # Of one type, writable too: for each type of array the kernel would be compiled.
        _count(np.require(values, np.float64, ["C", "W"]), *self._tables, self.offsets, counts)

    @cached_property
    def _tables(self) -> tuple[Any, ...]:
        edges = np.array([edge for channel in self.channels for edge in channel.edges], np.float64)
        bins = np.array([b for channel in self.channels for b in channel.bins], np.int64)
        return (
            np.array(self.positions, np.int64),
            edges,
            _starts([len(channel.edges) for channel in self.channels]),
            bins,
            _starts([len(channel.bins) for channel in self.channels]),
        )


def _edges(values: FloatArray) -> tuple[float, ...]:
    """Return edges between which about equally many values lie; a value of many rows has a bin by itself."""
    if not len(values):
        return ()
    distinct, counts = np.unique(values, return_counts=True)
    before = np.cumsum(counts) - counts
    many = counts * EQUAL_BINS >= len(values)
    share = before * EQUAL_BINS // len(values)
    starts = np.r_[True, (share[1:] != share[:-1]) | many[1:] | many[:-1]]
    # A bin of one value ends right behind it: what lies between it and the next value is something else.
    behind = np.nextafter(np.r_[distinct[many], distinct[-1]], np.inf)
    return tuple(np.union1d(distinct[starts], behind).tolist())


def _counted(channel: Channel, values: FloatArray) -> Channel:
    counts = np.zeros(len(channel.counts), np.int64)
    Counter((channel,), (0,)).count(np.ascontiguousarray(values).reshape(-1, 1), counts)
    return Channel(channel.kind, channel.name, tuple(counts.tolist()), channel.edges, channel.bins, channel.labels)


def _starts(lengths: Sequence[int]) -> Counts:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


@kernel
def _count(
    values: Any, positions: Any, edges: Any, first_edge: Any, bins: Any, first_bin: Any, offsets: Any, counts: Any
) -> None:
    for c in range(len(positions)):
        place, offset, missing = positions[c], offsets[c], offsets[c + 1] - 1
        e0, e1, b0 = first_edge[c], first_edge[c + 1], first_bin[c]
        is_code = first_bin[c + 1] > b0
        for j in range(len(values)):
            value = values[j, place]
            if np.isnan(value):
                counts[missing] += 1
            elif is_code:
                counts[offset + bins[b0 + np.int64(value)]] += 1
            else:
                # The number of edges at or below the value, without a branch that cannot be predicted.
                low, length = e0, e1 - e0
                while length > 0:
                    half = (length + 1) // 2
                    step = np.int64(value >= edges[low + half - 1])
                    low += half * step
                    length -= half
                counts[offset + low - e0] += 1
