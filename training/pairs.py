"""Which pairs of features interact: what each explains of an additive model's residuals, cross-fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from model.curves import Term
from model.features import FeatureSpace, FloatArray
from training.basis import PROBE, CurveBasis, curve_set, pair_curves
from training.gam import design_matrix
from training.kernel import Rows

#: Rows that pairs are judged on.
MAX_ROWS = 8_000
#: A pair is worth a term if it explains this share of the residuals' variance, and this many standard errors.
MIN_GAIN = 0.003
MIN_STANDARD_ERRORS = 2.0
#: Above it a pair is worth a fine resolution (measured: longitude & latitude of California housing reaches 0.3,
#: others stay below 0.03).
LARGE_GAIN = 0.03
#: With more features, only pairs of the most important ones are tried.
MAX_FEATURES = 16
#: Matrices of one pair at most: beyond, a table of categories has more parameters than rows to learn from.
MAX_PROBE_MATRICES = 400


@dataclass(frozen=True)
class PairGain:
    """What a pair of features explains.

    Attributes:
        pair: positions of the features.
        gain: share of the residuals' variance, out of fold.
        standard_errors: the gain in units of its standard error.
    """

    pair: tuple[int, int]
    gain: float
    standard_errors: float

    @property
    def worthwhile(self) -> bool:
        """Large enough, and surely not chance."""
        return self.gain >= MIN_GAIN and self.standard_errors >= MIN_STANDARD_ERRORS


def pair_gains(
    space: FeatureSpace,
    coordinates: FloatArray,
    residuals: FloatArray,
    fold: NDArray[np.int64],
    importance: FloatArray,
    rng: np.random.Generator,
) -> list[PairGain]:
    """All pairs, or those of the most important features, by falling gain.

    Args:
        space: the features.
        coordinates: (N, F).
        residuals: (N, O), target minus what an additive model that has not seen the row says.
        fold: (N,).
        importance: (F,), by which features are preferred where there are many.
        rng: chooses rows where there are many.
    """
    part = np.sort(rng.permutation(len(fold))[:MAX_ROWS])
    z, fold = coordinates[part], fold[part]
    target = residuals[part]
    target = (target - target.mean(axis=0)) / (target.std(axis=0) + 1e-12)
    wanted = [i for i in np.argsort(-importance, kind="stable")[:MAX_FEATURES] if importance[i] > 0]
    found = []
    for a, b in combinations(sorted(int(i) for i in wanted), 2):
        bases = pair_curves(0, space, z, a, b, PROBE)
        if sum(len(basis.matrix) for basis in bases) <= MAX_PROBE_MATRICES:
            found.append(_gain((a, b), bases, z, target, fold))
    return sorted(found, key=lambda pair: -pair.gain)


def _gain(
    pair: tuple[int, int],
    bases: Sequence[CurveBasis],
    z: FloatArray,
    target: FloatArray,
    fold: NDArray[np.int64],
) -> PairGain:
    walk = curve_set(bases).walk(z)
    nothing = np.empty(0, np.float32)
    design = design_matrix(bases, Rows(walk.starts, walk.weights.astype(np.float32), nothing, nothing))
    design -= design.mean(axis=0)
    target = target.astype(np.float32)
    gram, moment = design.T @ design, design.T @ target
    ridge = max(3.0, 0.002 * len(z)) * np.eye(len(gram), dtype=np.float32)
    predicted = np.zeros_like(target)
    for f in range(int(fold.max()) + 1):
        held = fold == f
        outside = np.linalg.solve(gram - design[held].T @ design[held] + ridge, moment - design[held].T @ target[held])
        predicted[held] = design[held] @ outside
    gains = (target**2 - (target - predicted) ** 2).mean(axis=1, dtype=np.float64)
    error = float(gains.std()) / np.sqrt(len(gains))
    return PairGain(pair, float(gains.mean()), float(gains.mean()) / error if error > 0 else 0.0)


def pair_term(space: FeatureSpace, pair: tuple[int, int]) -> Term:
    """The term of a pair."""
    a, b = pair
    return Term(f"{space.names[a]} & {space.names[b]}", pair)
