"""Build the curves of pairs: planes, paths for each category, and what one feature means by gaps of the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Curve
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.curves.basis import CurveBasis, constrained, paths_by_code, with_missing
from eigenserve.training.curves.knots import choose_knots, main_knots
from eigenserve.training.kernels.layout import IDENTITY, RAMPS


@dataclass(frozen=True)
class Resolution:
    """Say how finely a pair of numbers is resolved: evenly spread directions, and knots along each.

    Ramps suit few knots; many are better trained each by itself.
    """

    directions: int
    knots: int
    ramps: bool


#: Kinds of features that walk along a curve.
NUMBERS = ("numeric", "datetime")


def probe_resolution(rows: int) -> Resolution:
    """Choose the resolution that pairs are looked for in: of few rows, 48 parameters learn more noise than effect."""
    return Resolution(2, 6, True) if rows < 5000 else Resolution(4, 12, True)


def coarse_resolution(rows: int) -> Resolution:
    """Choose the coarse resolution, for pairs of any kind."""
    return Resolution(2, 6, True) if rows < 1000 else Resolution(4, 8, True) if rows < 2000 else Resolution(4, 16, True)


def fine_resolution(rows: int) -> Resolution | None:
    """Choose the resolution for a pair that explains much, such as a place on a map; None where rows are too few."""
    return None if rows < 2000 else Resolution(8, 24, False) if rows < 5000 else Resolution(16, 64, False)


def gap_curves(
    term: int,
    space: FeatureSpace,
    z: FloatArray,
    missing: int,
    along: int,
    monotone: Mapping[int, int] | None = None,
) -> list[CurveBasis]:
    """Make a curve along one feature that only rows with a value of ``missing`` walk.

    Next to the curve that all rows walk it lets the feature mean something else where ``missing`` has a gap. Along a
    category it may also change with the value of ``missing``, in a line. There is none for gaps of other kinds of
    features, nor by a boolean along which the score must be monotone.
    """
    monotone = monotone or {}
    present = z[np.isfinite(z[:, missing]), missing]
    if not space.features[missing].missing or space.features[missing].kind not in NUMBERS or len(present) == 0:
        return []
    if space.features[along].kind not in NUMBERS:
        ends = np.unique([present.min(), present.max()])
        choice = [] if along in monotone else [paths_by_code(term, space, (along,), (missing,), ends)]
        return [constrained(basis, monotone) for basis in choice]
    knots = choose_knots(z[:, along], main_knots(len(z)), spikes=False)
    if len(knots) < 2:
        return []
    numeric = (missing, along)
    curve = Curve(term=term, numeric=numeric, direction=(0.0, 1.0), knots=tuple(knots.tolist()), missing=True)
    return [constrained(with_missing(curve, RAMPS), monotone)]


def pair_curves(
    term: int,
    space: FeatureSpace,
    z: FloatArray,
    a: int,
    b: int,
    resolution: Resolution,
    monotone: Mapping[int, int] | None = None,
) -> list[CurveBasis]:
    """Make the curves of a pair: a table, a path for each category, or directions in the plane of two numbers."""
    monotone = monotone or {}
    # A boolean chooses a path, too, unless the score must be monotone along it.
    numeric = tuple(i for i in (a, b) if space.features[i].kind in NUMBERS or i in monotone)
    choosing = tuple(i for i in (a, b) if i not in numeric)
    if len(numeric) == 2:
        return _directions(term, space, z, a, b, resolution, monotone)
    knots = choose_knots(z[:, numeric[0]], min(8, resolution.knots)) if numeric else np.zeros(1)
    return [constrained(paths_by_code(term, space, choosing, numeric, knots), monotone)]


def _directions(
    term: int,
    space: FeatureSpace,
    z: FloatArray,
    a: int,
    b: int,
    resolution: Resolution,
    monotone: Mapping[int, int],
) -> list[CurveBasis]:
    missing = space.features[a].missing or space.features[b].missing
    bases = []
    # Ramps along the axes would repeat the features' own curves, so few directions are turned between them.
    turn = 0.5 if resolution.ramps else 0.0
    for angle in np.pi * (np.arange(resolution.directions) + turn) / resolution.directions:
        direction = (float(np.cos(angle)), float(np.sin(angle)))
        if abs(direction[0]) < 1e-12:
            direction = (0.0, direction[1])
        if all(i in monotone for i in (a, b)) and monotone[a] * direction[0] * monotone[b] * direction[1] < 0:
            continue  # up one feature and down the other: monotone along neither
        # Ramps are few: of ties only the most frequent have a knot.
        along = z[:, a] * direction[0] + z[:, b] * direction[1]
        knots = choose_knots(along, resolution.knots, spikes=not resolution.ramps)
        curve = Curve(term=term, numeric=(a, b), direction=direction, knots=tuple(knots.tolist()), missing=missing)
        bases.append(constrained(with_missing(curve, RAMPS if resolution.ramps else IDENTITY), monotone))
    return bases
