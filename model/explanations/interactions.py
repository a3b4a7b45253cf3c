"""Measure interactions of a row's features: second derivatives at the row, and Shapley interaction values.

With lambda_m, v_m all eigenpairs of T, v = v_k, and D_i the derivative of T by coordinate i, perturbation theory gives

    d^2 lambda_k / dz_i dz_j = 2 sum over m != k of (v'D_i v_m)(v_m'D_j v) / (lambda_k - lambda_m)

T's second derivative is zero: it is piecewise linear. At a repeated eigenvalue there is no such derivative; at
a knot it is that from the right, as sensitivities are. A feature of which the logarithm is taken adds the curvature of
the logarithm, times the sensitivity, to its own second derivative.

The Shapley interaction value (Grabisch and Roubens 1999) of two features, with n of them that differ from the baseline:

    I_ij = sum over S without i, j of |S|! (n - |S| - 2)! / (n - 1)!  (s(S+i+j) - s(S+i) - s(S+j) + s(S))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial
from typing import Any

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.eigensolvers import eigh_tridiagonal
from eigenserve.model.explanations.shapley import coalition_scores, differing
from eigenserve.model.kernels.compiled import kernel
from eigenserve.model.matrices.tridiagonal import times
from eigenserve.model.predictor import Output, Predictor

#: Features that may differ from the baseline for interaction values to be given: 2^12 coalitions.
MOST_FEATURES = 12
#: Eigenvalues nearer than this many eps of the largest are one.
REPEATED = 64.0


@dataclass(frozen=True)
class Interactions:
    """Hold how a row's features act together.

    Attributes:
        features: names, F of them.
        second_derivatives: (F, F), symmetric, in raw units; NaN where there is none: no number, a missing value, or a
            repeated eigenvalue.
        shapley: (F, F), symmetric, with a diagonal of zeros; None where there are too many features.
        reason: why ``shapley`` is left out; else "".
    """

    features: tuple[str, ...]
    second_derivatives: FloatArray
    shapley: FloatArray | None
    reason: str = ""

    def __post_init__(self) -> None:
        self.second_derivatives.flags.writeable = False
        if self.shapley is not None:
            self.shapley.flags.writeable = False


def interactions(
    predictor: Predictor,
    output: Output,
    row: FloatArray,
    baseline: FloatArray,
    check: Callable[[], None] = lambda: None,
) -> Interactions:
    """Measure the interactions at columns (F,), of the score of ``output``, against a baseline's columns (F,).

    ``check`` is called between the parts of the work; it may raise, to give up.
    """
    features, ensemble = predictor.features, predictor.ensemble
    second = _second_derivatives(predictor, output, row)
    check()
    place, start = (features.coordinates(columns[None])[0] for columns in (row, baseline))
    players = differing(ensemble, place, start)
    if len(players) > MOST_FEATURES:
        reason = f"{len(players)} features differ from the baseline; at most {MOST_FEATURES} may"
        return Interactions(features.names, second, None, reason)
    values = np.zeros((len(features), len(features)))
    if len(players) > 1:
        scores = coalition_scores(ensemble, place, start, players, output.index)
        check()
        count = len(players)
        share = [factorial(s) * factorial(count - s - 2) / factorial(count - 1) for s in range(count - 1)]
        values[np.ix_(players, players)] = output.sign * _weigh_pairs(scores, count, np.array(share))
    return Interactions(features.names, second, values)


def _second_derivatives(predictor: Predictor, output: Output, row: FloatArray) -> FloatArray:
    features, ensemble = predictor.features, predictor.ensemble
    pencil, members = ensemble.pencil, len(ensemble.member_weights)
    heads, n = ensemble.heads(output.index), pencil.dim
    walk = pencil.curves.walk(features.coordinates(row[None]))
    diag, off_diag = (part[0, heads] for part in pencil.matrices(walk))
    numbers = [i for i, f in enumerate(features.features) if f.kind in ("numeric", "datetime") and not np.isnan(row[i])]
    steps = np.zeros((len(features), members, n)), np.zeros((len(features), members, n - 1))
    for c, curve in enumerate(pencil.curves.curves):
        start, slope = walk.starts[0, c], walk.slopes[0, c]
        for i, weight in zip(curve.numeric, curve.direction, strict=True):
            if slope != 0.0 and weight != 0.0:
                for step, table in zip(steps, (pencil.diag, pencil.off_diag), strict=True):
                    step[i] += weight * slope * (table[start + 1, heads] - table[start, heads])
    half = n // 2
    found = eigh_tridiagonal(diag, off_diag, eig_idx=half, window=half)
    values, vectors = found.eigenvalues[:, :n], found.eigenvectors[:, :n]
    k = ensemble.eig_idx
    v = vectors[:, k]
    forms = np.einsum("gmn,fgn->fgm", vectors, times(*steps, v))
    apart = values[:, [k]] - values
    repeated = np.abs(apart) <= REPEATED * np.finfo(float).eps * np.abs(values).max(axis=1, keepdims=True)
    repeated[:, k] = False
    apart[:, k] = np.inf
    apart[repeated] = np.nan
    weights = output.sign * ensemble.member_weights
    by_place = np.einsum("g,agm,bgm->ab", weights, forms, 2.0 * forms / apart)
    slopes = forms[:, :, k] @ weights
    out = np.full((len(features), len(features)), np.nan)
    chain = {i: float(features.features[i].coordinate_slope(row[[i]])[0]) for i in numbers}
    for a, b in combinations_with_replacement(numbers, 2):
        out[a, b] = out[b, a] = by_place[a, b] * chain[a] * chain[b]
    for i in numbers:
        if features.features[i].transform == "log":
            # z'' = -z' / x; both are zero where the logarithm's argument is held.
            out[i, i] -= slopes[i] * chain[i] / row[i] if chain[i] else 0.0
    return out


@kernel
def _weigh_pairs(scores: Any, count: int, share: Any) -> Any:
    values = np.zeros((count, count))
    for coalition in range(len(scores)):
        size = 0
        for i in range(count):
            size += coalition >> i & 1
        for i in range(count):
            for j in range(i):
                first, second = 1 << i, 1 << j
                if not coalition & (first | second):
                    gain = scores[coalition | first | second] - scores[coalition | first]
                    values[i, j] += share[size] * (gain - (scores[coalition | second] - scores[coalition]))
    return values + values.T
