"""Distinguish rows that were copied from rows that repeat by chance, as those of few categories do.

A copy on the other side of a fold says what its original was learnt from, so copies are judged together. Rows that
repeat by chance must not be: their fold would hold all rows with their features and their class, and the others, with
the same features and other classes, would teach the contrary of what is to be predicted.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Rows with equal features repeat by chance where their targets differ at least this share as often as those of any two
#: rows do; those of copies are equal. Of public tables, those with copies have at most 0.02 of it.
DIFFERENT_SHARE = 0.1
#: They repeat by chance, too, where at most so many times more pairs have equal features than if the columns were
#: independent. On public tables of few categories it is up to 400 times, on those with copies more than a million.
DEPENDENCE = 1000.0
#: Targets of which two rows have the same rarer than this repeat in copies alone.
LEAST_EQUAL = 0.01


class Repeats(NamedTuple):
    """Say which of N rows repeat another one.

    Attributes:
        rows: (N,), numbers from 0 on; rows with equal features and targets have the same.
        groups: (N,), numbers from 0 on; copies have the same, with the rows of other targets that have their features.
        copies: whether rows that repeat are copies; else they repeat by chance, or none does.
    """

    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    copies: bool


def repeats_of(table: pd.DataFrame, target: FloatArray) -> Repeats:
    """Find rows of features (N, F) that repeat, by 64-bit hashes.

    Among a million different rows two have the same hash with a probability of 3e-8.
    """
    hashes = pd.util.hash_pandas_object(table, index=False).to_numpy()
    # Mixed, not just added: a row's hash and its target's must not cancel.
    mixed = hashes + pd.util.hash_array(target) * np.uint64(0x9E3779B97F4A7C15)
    features, rows = (np.unique(each, return_inverse=True)[1].astype(np.int64) for each in (hashes, mixed))
    total = max(1.0, len(target) * (len(target) - 1) / 2)
    equal, same, both = _share(target), _pairs(features), _pairs(rows)
    few = equal >= LEAST_EQUAL
    # The rows that are left know no target of many values, whatever their features are.
    groups = features if few else rows
    if both == 0.0:
        return Repeats(rows, groups, False)
    if few:
        differ = 1.0 - both / same
        copies = differ <= DIFFERENT_SHARE * (1.0 - equal) and same > DEPENDENCE * total * _by_chance(table)
    else:
        distinct = target[np.unique(rows, return_index=True)[1]]
        copies = both > DEPENDENCE * total * _by_chance(table) * _share(distinct)
    return Repeats(rows, groups, copies)


def copy_groups(table: pd.DataFrame, target: FloatArray) -> NDArray[np.int64] | None:
    """Return the groups of ``repeats_of``; None where there are no copies."""
    found = repeats_of(table, target)
    return found.groups if found.copies else None


def _by_chance(table: pd.DataFrame) -> float:
    """Return the share of pairs of rows that had equal features if the columns were independent."""
    return math.prod(_share(pd.factorize(column, use_na_sentinel=False)[0]) for _, column in table.items())


def _share(values: NDArray[Any]) -> float:
    """Return the share of pairs of N values that are equal."""
    return _pairs(values) / max(1.0, len(values) * (len(values) - 1) / 2)


def _pairs(values: NDArray[Any]) -> float:
    """Count the pairs of rows with the same value."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1.0)).sum() / 2.0)
