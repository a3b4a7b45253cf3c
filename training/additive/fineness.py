"""Find features that need more knots: those whose finer curve explains what an additive model leaves, cross-fitted.

A place along a coast or a season needs many knots, where most effects are smooth and more knots only fit noise
(measured, California housing without pairs: 128 knots along longitude and latitude take the RMSE from 47,600 to
43,000; 64 along all features only to 45,100; ten smooth features of Friedman's first function lose 3% by 64).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.additive.gram import cross_fitted
from eigenserve.training.curves.basis import CurveBasis, main_curve
from eigenserve.training.curves.knots import main_knots

#: Rows that features are judged on.
MAX_ROWS = 20_000
#: How many times as many knots are tried, while there are this many rows for each.
FACTORS = (2, 4, 8)
ROWS_PER_KNOT = 20
#: More knots must explain this share of the residuals' variance, and this many standard errors. Stricter than for
#: pairs: measured on California's median income, 0.5% at 3.6 standard errors was not worth it.
MIN_GAIN = 0.01
MIN_STANDARD_ERRORS = 4.0


def finer_features(
    space: FeatureSpace,
    coordinates: FloatArray,
    residuals: FloatArray,
    fold: NDArray[np.int64],
    rng: np.random.Generator,
    tried: Collection[int],
    max_rows: int = MAX_ROWS,
    late: Callable[[], bool] = lambda: False,
) -> dict[int, int]:
    """Find features that deserve more knots than others, and how many.

    Args:
        space: the features.
        coordinates: (N, F).
        residuals: (N, O), target minus what an additive model that has not seen the row says.
        fold: (N,).
        rng: chooses rows where there are many.
        tried: positions of the features that are tried.
        max_rows: that they are judged on.
        late: true once what is at hand must do.
    """
    part = np.sort(rng.permutation(len(fold))[:max_rows])
    z, fold, left = coordinates[part], fold[part], residuals[part] - residuals[part].mean(axis=0)
    variance = float((left**2).mean())
    usual = main_knots(len(coordinates))
    finer: dict[int, int] = {}
    for i, feature in enumerate(space.features):
        if i not in tried or feature.kind not in ("numeric", "datetime") or variance == 0.0 or late():
            continue
        plain = main_curve(0, i, z[:, i], feature.missing, "piecewise", usual)
        best = MIN_GAIN
        for factor in FACTORS:
            curve = main_curve(0, i, z[:, i], feature.missing, "piecewise", factor * usual)
            if curve is None or not _finer(curve, plain) or factor * usual * ROWS_PER_KNOT > len(z):
                break
            better = (left**2 - (left - cross_fitted([curve], z, left, fold)) ** 2).mean(axis=1) / variance
            gain, error = float(better.mean()), float(better.std()) / np.sqrt(len(better))
            if gain > best and gain > MIN_STANDARD_ERRORS * error:
                best, finer[i] = gain, factor * usual
    return finer


def _finer(curve: CurveBasis, plain: CurveBasis | None) -> bool:
    """Refine a feature's curve, unless every level has a knot already."""
    return plain is None or len(curve.curve.knots) > len(plain.curve.knots)
