"""Build the curves for the terms of a table, and the parameters behind their matrices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.linalg import block_diag

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.curves.knots import choose_knots, main_knots
from eigenserve.training.kernels.bends import bend_matrices
from eigenserve.training.kernels.layout import BENT, DENSE, IDENTITY, MONOTONE, RAMPS
from eigenserve.training.kernels.monotone_steps import step_matrices

CurveShape = Literal["piecewise", "linear"]


@dataclass(frozen=True)
class CurveBasis:
    """Describe a curve and how its matrices come from the parameters that are trained.

    matrices = matrix @ parameters, for every entry of the matrices alike. Curves of single features are
    trained as a line plus ramps (each parameter moves all knots beyond one), which generalises better than
    a parameter per knot; fine curves and tables have a parameter per matrix.

    Attributes:
        curve: the curve.
        matrix: (num_matrices, P); None where the parameters are the matrices themselves (of a table of categories an
            identity would have the square of their number).
        trained: (P,), false for parameters that no row can move: they start at zero.
        rough: (P,), true for those that bend a curve of a single feature.
        form: how the kernels know it, of ``training.kernels.layout``; ``matrix`` is None for a monotone
            curve, whose parameters are those of ``training.kernels.monotone_steps``.
        sign: 1 or -1 for a monotone curve, 0 for others.
        bend: 1 or -1 for a convex or concave one, whose parameters are those of ``training.kernels.bends``, 0 for
        others.
    """

    curve: Curve
    matrix: FloatArray | None
    trained: np.ndarray
    rough: np.ndarray
    form: int = DENSE
    sign: int = 0
    bend: int = 0

    @property
    def num_params(self) -> int:
        """P."""
        return len(self.trained)

    def matrices(self, params: FloatArray, least: float) -> FloatArray:
        """Turn parameters (P, ...) into matrices (R, ...), in float64.

        least: the rise of every step, or growth of the slope, of a curve that is constrained, summed over its knots.
        """
        if self.form not in (MONOTONE, BENT):
            return params if self.matrix is None else np.tensordot(self.matrix, params, axes=1)
        knots = np.array(self.curve.knots)
        paths, rest = np.split(np.asarray(params, np.float64), [self.curve.num_paths * len(knots)])
        if self.form == MONOTONE:
            paths = step_matrices(paths, len(knots), self.sign, least / len(knots))
        else:
            paths = bend_matrices(paths, knots, self.bend, self.sign, least / len(knots))
        return np.concatenate([paths, rest])


def main_curves(
    space: FeatureSpace,
    coordinates: FloatArray,
    shape: CurveShape = "piecewise",
    monotone: Mapping[int, int] | None = None,
    finer: Mapping[int, int] | None = None,
    bends: Mapping[int, int] | None = None,
    kept: Collection[int] | None = None,
    spikes: bool = True,
) -> tuple[list[Term], list[CurveBasis]]:
    """Make a term and its curve for each feature that varies.

    Args:
        space: the features.
        coordinates: (N, F), the training rows; knots stand at their quantiles.
        shape: "linear" for the affine pencil of the literature, which does not have knots to choose.
        monotone: features -> 1 or -1, along which the score must not fall, or not rise.
        finer: features -> how many knots, for those that have more than others.
        bends: features -> 1 or -1, along which the score must be convex, or concave.
        kept: the features that get curves; None for all.
        spikes: whether each frequent level of a column with many ties gets a knot.
    """
    usual = main_knots(len(coordinates))
    terms: list[Term] = []
    bases: list[CurveBasis] = []
    for i, feature in enumerate(space.features):
        if kept is not None and i not in kept:
            continue
        if feature.kind == "categorical":
            varies = (feature.num_paths if feature.groups else len(feature.categories)) + feature.missing > 1
            one_by_one = _ordered_groups if feature.groups else _categories
            basis = one_by_one(len(terms), space, i) if varies else None
        else:
            count = (finer or {}).get(i, usual)
            basis = main_curve(len(terms), i, coordinates[:, i], feature.missing, shape, count, spikes)
        if basis is not None:
            terms.append(Term(feature.name, (i,)))
            bases.append(constrained(basis, monotone or {}, (bends or {}).get(i, 0)))
    return terms, bases


def curve_set(bases: Sequence[CurveBasis]) -> CurveSet:
    """Stack the curves of ``bases``."""
    return CurveSet(tuple(basis.curve for basis in bases))


def constrained(basis: CurveBasis, monotone: Mapping[int, int], bend: int = 0) -> CurveBasis:
    """Return the basis, or a monotone or bent one if its curve walks along features that must be.

    Raises:
        ValueError: the curve runs up one of them while it runs down the other.
    """
    along = zip(basis.curve.numeric, basis.curve.direction, strict=True)
    signs = {monotone[i] * (1 if weight > 0 else -1) for i, weight in along if i in monotone and weight != 0.0}
    # Two knots make a line, which is convex and concave.
    bend = bend if len(basis.curve.knots) > 2 else 0
    if not (signs or bend) or len(basis.curve.knots) < 2:
        return basis
    if len(signs) > 1:
        raise ValueError("a curve cannot be monotone in both directions")
    free = np.ones(basis.curve.num_matrices, bool)
    sign = signs.pop() if signs else 0
    return CurveBasis(basis.curve, None, free, ~free, BENT if bend else MONOTONE, sign, bend)


def main_curve(
    term: int, i: int, z: FloatArray, missing: bool, shape: CurveShape, num_knots: int, spikes: bool = True
) -> CurveBasis | None:
    """Make the curve of the number ``i`` alone, with about ``num_knots`` knots; None for a constant.

    z: (N,), its coordinates.
    """
    knots = choose_knots(z, num_knots, spikes)
    if len(knots) < 2 and not missing:
        return None
    if len(knots) == 0:
        knots = np.zeros(1)
    elif len(knots) > 1 and shape == "linear":
        knots = np.array([-1.0, 1.0])
    curve = Curve(
        term=term,
        numeric=(i,),
        direction=(1.0,),
        knots=tuple(knots.tolist()),
        extend=shape == "linear",
        missing=missing,
    )
    return with_missing(curve, RAMPS)


def line_and_ramps(knots: FloatArray) -> FloatArray:
    """Return (K, K): a line through zero, and a ramp from -1/2 to 1/2 for each step between knots.

    For two knots the line alone: the constant matrices hold the rest.
    """
    line = 0.5 * knots[:, None]
    if len(knots) <= 2:
        return line
    ramps = (np.arange(len(knots))[:, None] > np.arange(len(knots) - 1)[None]) - 0.5
    return np.hstack([line, ramps])


def ramp_basis(curve: Curve) -> CurveBasis:
    """Make the basis of the curve of a single number, a line and ramps."""
    return with_missing(curve, RAMPS)


def with_missing(curve: Curve, form: int, trained: np.ndarray | None = None) -> CurveBasis:
    """Make the basis of a curve of this form; its matrix for "missing", if it has one, is a separate parameter."""
    knots = np.array(curve.knots)
    matrix: FloatArray | None = None
    params = curve.num_paths * len(knots)
    if form == RAMPS:
        matrix = line_and_ramps(knots)
        form = RAMPS if len(knots) > 2 else DENSE
        params = matrix.shape[1]
    trained = np.ones(params, bool) if trained is None else trained
    rough = (np.arange(params) > 0) & (form == RAMPS)
    if curve.missing:
        if matrix is not None:
            matrix = np.block([[matrix, np.zeros((len(matrix), 1))], [np.zeros((1, params)), np.ones((1, 1))]])
        trained, rough = np.append(trained, True), np.append(rough, False)
    return CurveBasis(curve, matrix, trained, rough, form)


def _categories(term: int, space: FeatureSpace, i: int) -> CurveBasis:
    """Make a matrix for each category of a feature."""
    return paths_by_code(term, space, (i,), (), np.zeros(1))


def _ordered_groups(term: int, space: FeatureSpace, i: int) -> CurveBasis:
    """Make a matrix for each group of categories, trained as a line and ramps along their order."""
    table = _categories(term, space, i)
    count = space.features[i].num_paths
    missing = table.curve.missing
    ramps = line_and_ramps(np.linspace(-1.5, 1.5, count)) if count > 1 else np.ones((1, 1))
    rough = np.append(np.arange(ramps.shape[1]) > 0, [False] * missing)
    matrix = np.asarray(block_diag(ramps, *[np.ones((1, 1))] * missing))
    return replace(table, matrix=matrix, trained=np.ones(len(rough), bool), rough=rough, form=DENSE)


def paths_by_code(
    term: int, space: FeatureSpace, choosing: tuple[int, ...], numeric: tuple[int, ...], knots: FloatArray
) -> CurveBasis:
    """Make one path per combination of categories, a parameter per matrix; unknown categories stay at zero."""
    chosen = [space.features[i] for i in choosing]
    known = np.ones(1, bool)
    for feature in chosen:
        # Of groups, the one of unknown categories has others, too.
        unknown = feature.kind == "categorical" and not feature.groups
        known = np.logical_and.outer(known, np.arange(feature.num_paths) < feature.num_paths - unknown).ravel()
    curve = Curve(
        term=term,
        numeric=numeric,
        direction=(1.0,) * len(numeric),
        categorical=choosing,
        num_codes=tuple(feature.num_paths for feature in chosen),
        knots=tuple(knots.tolist()),
        missing=any(space.features[i].missing for i in choosing + numeric),
    )
    trained = np.repeat(known, len(knots))
    return with_missing(curve, IDENTITY, trained)
