"""Screen features: what each explains of a target alone, cross-fitted, where all together are too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.kernels.threads import for_ranges
from eigenserve.training.additive.gram import cross_fitted
from eigenserve.training.curves.basis import CurveBasis

#: Outputs that are judged, the most frequent ones of a classifier.
MAX_OUTPUTS = 16


def gains_alone(
    bases: Sequence[CurveBasis], coordinates: FloatArray, target: FloatArray, fold: NDArray[np.int64]
) -> FloatArray:
    """Return the share of the target's variance that each curve explains alone, out of fold: (C,).

    Args:
        bases: curves of single features.
        coordinates: (N, F).
        target: (N, O), centred.
        fold: (N,).
    """
    chosen = np.sort(np.argsort(-(target**2).sum(axis=0), kind="stable")[:MAX_OUTPUTS])
    target = np.ascontiguousarray(target[:, chosen])
    total = float((target**2).sum()) or 1.0
    gains = np.zeros(len(bases))

    def work(start: int, stop: int) -> None:
        for c in range(start, stop):
            left = target - cross_fitted([bases[c]], coordinates, target, fold)
            gains[c] = 1.0 - float((left**2).sum()) / total

    for_ranges(len(bases), 1, work)
    return gains
