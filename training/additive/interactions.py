"""Fit the additive model with pairs: the curves of features and of pairs, to optimality.

Members that start without it, or learn pairs by themselves, fit more noise: labels that hinge on gaps and a product
(24,000 simulated rows, 3,000 to learn from) have an additive log loss of .572 without pairs, .489 with one penalty on
theirs, and .479 with one for each curve, where the search without it ended at .483.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.training.additive.gam import STRAIGHT, AdditiveModel, fit_additive
from eigenserve.training.additive.selective import fit_selective, may_help
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import Rows

#: By how much penalties on the curves of pairs are stronger than on those of features: tried first, and from there by
#: this factor while that helps, within these.
FIRST_STRENGTH, STRENGTH_STEP, STRENGTHS = 10.0, 5.0, (0.1, 1000.0)


def fit_with_pairs(
    bases: Sequence[CurveBasis],
    rows: Rows,
    objective: tuple[int, float],
    num_outputs: int,
    fold: NDArray[np.int64],
    models: Sequence[AdditiveModel],
    loss: Callable[[FloatArray], float],
    late: Callable[[], bool] = lambda: False,
) -> AdditiveModel | None:
    """Fit an additive model whose last curves are those of pairs; None where no model without them bends.

    Args:
        bases, rows, objective, num_outputs, fold, late: as ``fit_additive`` has them.
        models: without pairs, in the first of the curves.
        loss: of out-of-fold scores (N, O).
    """
    bent = [model for model in models if model.penalties[1] < STRAIGHT]
    if not bent or late():
        return None
    plain = min(bent, key=lambda model: loss(model.out_of_fold))
    sets, params, _ = plain.coefficients.shape
    total = sum(basis.num_params for basis in bases)
    near = np.insert(plain.solutions, [params] * (total - params), 0.0, axis=0)
    counts = np.cumsum([basis.num_params for basis in bases])
    singles = int(np.searchsorted(counts, params)) + 1
    alone = np.ones((sets, singles)) if plain.factors is None else plain.factors

    def fit(strength: float, near: FloatArray) -> AdditiveModel:
        factors = np.concatenate([alone, np.full((sets, len(bases) - singles), strength)], axis=1)
        return fit_additive(
            bases, rows, objective, num_outputs, fold, late, plain.penalties, near=near, factors=factors
        )

    strength, best = FIRST_STRENGTH, fit(FIRST_STRENGTH, near)
    least = loss(best.out_of_fold)
    for step in (STRENGTH_STEP, 1.0 / STRENGTH_STEP):
        while not late() and STRENGTHS[0] <= (tried := strength * step) <= STRENGTHS[1]:
            model = fit(tried, best.solutions)
            if (now := loss(model.out_of_fold)) >= least:
                break
            best, least, strength = model, now, tried
    if late() or not may_help(len(fold), len(bases), total, sets * num_outputs):
        return best
    selective = fit_selective(bases, rows, objective, num_outputs, fold, best, loss, late)
    return min(best, selective, key=lambda model: loss(model.out_of_fold))
