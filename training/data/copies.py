"""Distinguish rows that were copied from rows that repeat by chance, as those of few categories do.

A copy on the other side of a fold says what its original was learnt from, so copies are judged together. Rows that
repeat by chance must not be: their fold would hold all rows with their features and their class, and the others, with
the same features and other classes, would teach the contrary of what is to be predicted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Rows with equal features repeat by chance where their targets differ at least this share as often as those of any two
#: rows do; those of copies are equal. Of public tables, those with copies have at most 0.02 of it.
DIFFERENT_SHARE = 0.1
#: Targets of which two rows rarer than this have the same repeat in copies alone.
LEAST_EQUAL = 0.01


class RowHashes(NamedTuple):
    """Hold 64-bit hashes of N rows; among a million different rows two have the same with a probability of 3e-8.

    Attributes:
        features: (N,), of the features.
        rows: (N,), of the features and the target.
    """

    features: NDArray[np.uint64]
    rows: NDArray[np.uint64]


def row_hashes(table: pd.DataFrame, target: FloatArray) -> RowHashes:
    """Hash the rows of features (N, F) with targets (N,)."""
    features = pd.util.hash_pandas_object(table, index=False).to_numpy()
    # Mixed, not just added: a row's hash and its target's must not cancel.
    return RowHashes(features, features + pd.util.hash_array(target) * np.uint64(0x9E3779B97F4A7C15))


def copy_groups(table: pd.DataFrame, target: FloatArray) -> NDArray[np.int64] | None:
    """Number rows (N,) from 0 on so that copies have the same number.

    Copies have equal features and targets. None where no row repeats another, or rows repeat by chance.
    """
    hashes = row_hashes(table, target)
    first, groups = np.unique(hashes.rows, return_inverse=True)
    if len(first) == len(groups) or repeat_by_chance(hashes, target):
        return None
    return groups.astype(np.int64)


def repeat_by_chance(hashes: RowHashes, target: FloatArray) -> bool:
    """Return whether rows with equal features have different targets about as often as any two rows do."""
    equal = _pairs(target) / max(1.0, len(target) * (len(target) - 1) / 2)
    differ = 1.0 - _pairs(hashes.rows) / max(1.0, _pairs(hashes.features))
    return equal >= LEAST_EQUAL and differ > DIFFERENT_SHARE * (1.0 - equal)


def _pairs(values: NDArray[Any]) -> float:
    """Count the pairs of rows with the same value."""
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1.0)).sum() / 2.0)
