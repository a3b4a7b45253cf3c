"""Recognise rows that a model was trained on, by the smallest of their hashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray

#: Hashes kept. The smallest of all are a random sample of the rows, the same for whoever computes it (Broder, 1997).
KEPT = 256
#: Rows that are hashed at a time, to need no second copy of all.
HASHED_ROWS = 65_536
#: From this share on it is said.
NOTED = 0.05


def _hashes(columns: FloatArray, target: NDArray[Any]) -> NDArray[np.uint64]:
    hashes = []
    for first in range(0, len(columns), HASHED_ROWS):
        rows = slice(first, first + HASHED_ROWS)
        table = pd.DataFrame(np.column_stack([columns[rows], target[rows].astype(np.float64)]))
        hashes.append(pd.util.hash_pandas_object(table, index=False).to_numpy())
    return np.unique(np.concatenate([np.empty(0, np.uint64), *hashes]))


def smallest_hashes(columns: FloatArray, target: NDArray[Any]) -> list[str]:
    """Return what a checkpoint's card keeps of training rows: columns (N, F) and their target (N,)."""
    return [f"{each:016x}" for each in _hashes(columns, target)[:KEPT].tolist()]


def seen_note(card: Mapping[str, Any], columns: FloatArray, target: NDArray[Any]) -> str:
    """Say that the model was trained on rows like these: columns (N, F) and target (N,); empty where it was not."""
    return note_of(seen_share(card, columns, target))


def note_of(share: float | None) -> str:
    """Say of rows of which the model was trained on a share what that means; empty where it is small or unknown."""
    if share is None or share < NOTED:
        return ""
    return (
        f"the model was trained on about {share:.0%} of these rows; on rows that it has not seen it is less good: its "
        "card has the out-of-fold metrics"
    )


def seen_share(card: Mapping[str, Any], columns: FloatArray, target: NDArray[Any]) -> float | None:
    """Estimate which share of distinct rows the model was trained on; None where its card cannot say."""
    kept = {int(each, 16) for each in card.get("training_rows") or ()}
    if not kept:
        return None
    hashes = _hashes(columns, target)
    # Of fewer rows than are kept, all are known; else only what is small enough to have been kept.
    near = hashes[hashes <= max(kept)] if len(kept) == KEPT else hashes
    return float(np.mean([each in kept for each in near.tolist()])) if len(near) else None
