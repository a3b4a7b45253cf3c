"""Curves for the terms of a table, and the parameters behind their matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.curves import Curve, CurveSet, Term
from model.features import FeatureSpace, FloatArray
from training.schema import MAX_LEVELS

CurveShape = Literal["piecewise", "linear"]


@dataclass(frozen=True)
class CurveBasis:
    """A curve with how its matrices come from the parameters that are trained.

    matrices = matrix @ parameters, for every entry of the matrices alike. Curves of single features are
    trained as a line plus ramps (each parameter moves all knots beyond one), which generalises better than
    a parameter per knot; fine curves and tables have a parameter per matrix.

    Attributes:
        curve: the curve.
        matrix: (num_matrices, P).
        trained: (P,), false for parameters that no row can move: they start at zero.
    """

    curve: Curve
    matrix: FloatArray
    trained: np.ndarray


def curves_of(
    space: FeatureSpace,
    coordinates: FloatArray,
    pairs: Sequence[tuple[int, int]] = (),
    shape: CurveShape = "piecewise",
) -> tuple[tuple[Term, ...], tuple[CurveBasis, ...]]:
    """Terms for all features that vary and for the given pairs, each with its curves.

    Args:
        space: the features.
        coordinates: (N, F), the training rows; knots stand at their quantiles.
        pairs: positions of features to pair.
        shape: "linear" for the affine pencil of the literature, which has no pairs and no knots to choose.
    """
    terms: list[Term] = []
    bases: list[CurveBasis] = []
    for i, feature in enumerate(space.features):
        if feature.kind == "categorical":
            found = [_table(len(terms), space, (i,))] if feature.categories else []
        else:
            found = _main_curve(len(terms), i, coordinates[:, i], feature.missing, shape)
        if found:
            terms.append(Term(feature.name, (i,)))
            bases += found
    for a, b in pairs:
        bases += _pair_curves(len(terms), space, coordinates, a, b)
        terms.append(Term(f"{space.names[a]} & {space.names[b]}", (a, b)))
    return tuple(terms), tuple(bases)


def curve_set(bases: Sequence[CurveBasis]) -> CurveSet:
    """The curves of ``bases``, stacked."""
    return CurveSet(tuple(basis.curve for basis in bases))


def quantile_knots(values: FloatArray, count: int) -> FloatArray:
    """Up to ``count`` ascending knots at quantiles of the values, the ends included."""
    return np.unique(np.quantile(values, np.linspace(0.0, 1.0, count)))


def main_knots(rows: int) -> int:
    """Knots on the curve of a single feature. Measured: more harm small tables, fewer cost on large ones."""
    return 8 if rows < 1000 else 12 if rows < 5000 else 16


def _main_curve(term: int, i: int, z: FloatArray, missing: bool, shape: CurveShape) -> list[CurveBasis]:
    z = z[np.isfinite(z)]
    levels = np.unique(z)
    if len(levels) < 2 and not missing:
        return []
    if len(levels) < 2:
        knots = levels if len(levels) else np.zeros(1)
    elif shape == "linear":
        knots = np.array([-1.0, 1.0])
    elif len(levels) <= MAX_LEVELS:
        knots = levels
    else:
        knots = quantile_knots(z, main_knots(len(z)))
    curve = Curve(
        term=term,
        numeric=(i,),
        direction=(1.0,),
        knots=tuple(knots.tolist()),
        extend=shape == "linear",
        missing=missing,
    )
    return [_with_missing(curve, _line_and_ramps(knots))]


def _line_and_ramps(knots: FloatArray) -> FloatArray:
    """(K, K): a line through zero, and for each but one of the steps between knots a ramp from -1/2 to 1/2.

    For two knots the line alone would leave out the constant, which the constant matrices hold anyway.
    """
    line = 0.5 * knots[:, None]
    if len(knots) <= 2:
        return line
    ramps = (np.arange(len(knots))[:, None] > np.arange(len(knots) - 1)[None]) - 0.5
    return np.hstack([line, ramps])


def _with_missing(curve: Curve, matrix: FloatArray, trained: np.ndarray | None = None) -> CurveBasis:
    """The basis of a curve; its matrix for "missing", if it has one, is a parameter of its own."""
    if trained is None:
        trained = np.ones(matrix.shape[1], bool)
    if curve.missing:
        rows, params = matrix.shape
        matrix = np.block([[matrix, np.zeros((rows, 1))], [np.zeros((1, params)), np.ones((1, 1))]])
        trained = np.append(trained, True)
    return CurveBasis(curve, matrix, trained)


def _table(term: int, space: FeatureSpace, categorical: tuple[int, ...]) -> CurveBasis:
    return _paths(term, space, categorical, (), np.zeros(1))


def _paths(
    term: int, space: FeatureSpace, categorical: tuple[int, ...], numeric: tuple[int, ...], knots: FloatArray
) -> CurveBasis:
    """One path per combination of categories, a parameter per matrix; unknown categories stay at zero."""
    chosen = [space.features[i] for i in categorical]
    known = np.ones(1, bool)
    for feature in chosen:
        known = np.logical_and.outer(known, np.arange(feature.num_codes) < len(feature.categories)).ravel()
    curve = Curve(
        term=term,
        numeric=numeric,
        direction=(1.0,) * len(numeric),
        categorical=categorical,
        num_codes=tuple(feature.num_codes for feature in chosen),
        knots=tuple(knots.tolist()),
        missing=any(space.features[i].missing for i in categorical + numeric),
    )
    trained = np.repeat(known, len(knots))
    return _with_missing(curve, np.eye(len(trained)), trained)


def _pair_curves(term: int, space: FeatureSpace, z: FloatArray, a: int, b: int) -> list[CurveBasis]:
    numeric = tuple(i for i in (a, b) if space.features[i].kind != "categorical")
    categorical = tuple(i for i in (a, b) if space.features[i].kind == "categorical")
    if not numeric:
        return [_table(term, space, categorical)]
    if categorical:
        values = z[:, numeric[0]]
        values = values[np.isfinite(values)]
        levels = np.unique(values)
        knots = levels if len(levels) <= MAX_LEVELS else quantile_knots(values, main_knots(len(values)) // 2)
        return [_paths(term, space, categorical, numeric, knots)]
    return _directions(term, space, z, a, b)


def pair_resolution(rows: int) -> tuple[int, int]:
    """Directions, and knots along each, of a pair of numbers."""
    return (16, 64) if rows >= 5000 else (8, 24) if rows >= 2000 else (4, 8)


def _directions(term: int, space: FeatureSpace, z: FloatArray, a: int, b: int) -> list[CurveBasis]:
    """Curves along evenly spread directions in the plane of two numbers, a parameter per knot."""
    count, num_knots = pair_resolution(len(z))
    missing = space.features[a].missing or space.features[b].missing
    bases = []
    for angle in np.pi * np.arange(count) / count:
        direction = (float(np.cos(angle)), float(np.sin(angle)))
        u = z[:, a] * direction[0] + z[:, b] * direction[1]
        knots = quantile_knots(u[np.isfinite(u)], num_knots)
        curve = Curve(
            term=term, numeric=(a, b), direction=direction, knots=tuple(knots.tolist()), missing=missing
        )
        bases.append(_with_missing(curve, np.eye(len(knots))))
    return bases
