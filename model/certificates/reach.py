"""Find the rows within radii of a row, and at which of them a convex function of their matrices is largest.

T(x') - T(x) is a sum over curves. The curves are put into groups that share no curve; a group moves with one or two
features. On each linear piece of its curves the group's own E is affine in the coordinates, so that a convex function
of E (a norm, the largest eigenvalue, v'Ev either way) is largest at a corner of a piece. One feature: the pieces end
at the knots of the group's curves and at the ends of the reach. Two: the pieces are what the lines u = knot cut out of
a rectangle, and their corners are the rectangle's, those where lines cross and those where one meets an edge. A
categorical or boolean feature that may move takes each of its codes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import atan2, pi

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.curves import Curve
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import FeatureSpace

EPS = float(np.finfo(np.float64).eps)
#: A small change, where none is asked for: this share of a feature's standard deviation in training.
DEFAULT_SHARE = 0.1
#: Lines in a rectangle whose crossings are looked at; with more, or flatter crossings, curves are bounded one by one.
MAX_LINES = 64
_LEAST_SINE = 1e-3


def default_radii(features: FeatureSpace, columns: FloatArray, share: float = DEFAULT_SHARE) -> dict[str, float]:
    """Return radii of a small change of a row (F,) of columns, by feature in its own unit.

    Numbers and dates move by up to a share, a tenth, of their training standard deviation: of the logarithm, where the
    model takes it (the radius then is as large as the way down may be, which is longer in the logarithm than the way
    up). Categories, booleans and what is missing stay.
    """
    radii = {}
    for feature, here in zip(features.features, columns, strict=True):
        if feature.num_codes or np.isnan(here):
            continue
        step = share * feature.scale
        log = feature.transform == "log"
        radii[feature.name] = float(max(here, feature.low) * -np.expm1(-step)) if log else step
    return radii


def check_radii(features: FeatureSpace, radii: Mapping[str, float]) -> None:
    """Refuse radii that are none.

    Raises:
        ValueError: an unknown feature, or a radius that is negative or not finite.
    """
    for name, radius in radii.items():
        features.position(name)
        if not 0.0 <= radius < np.inf:
            raise ValueError(f"a radius must be finite and at least 0; got {radius!r} for {name!r}")


@dataclass(frozen=True)
class Reach:
    """Hold what the coordinates of a row can be.

    Attributes:
        row: (F,), the row's own coordinates.
        values: by feature, the two ends of a numeric coordinate's reach or all codes; a single value where it stays.
        of_codes: the features that move among codes.
    """

    row: FloatArray
    values: tuple[FloatArray, ...]
    of_codes: frozenset[int]

    @property
    def moving(self) -> frozenset[int]:
        """Return the features that move."""
        return frozenset(i for i, values in enumerate(self.values) if len(values) > 1)


@dataclass(frozen=True)
class Group:
    """Group curves whose change is bounded together.

    Attributes:
        curves: their positions.
        points: (P, F), coordinates that hold all corners of the pieces within reach; the row's own elsewhere.
        steep: how many times the rounding of a corner's matrix is larger than that of a matrix at hand.
    """

    curves: tuple[int, ...]
    points: FloatArray
    steep: float


def reach(features: FeatureSpace, columns: FloatArray, radii: Mapping[str, float]) -> Reach:
    """Return what a row (F,) of columns can be when each feature moves within its radius (see ``score_interval``).

    Raises:
        ValueError: an unknown feature, or a radius that is negative or not finite.
    """
    check_radii(features, radii)
    row = features.coordinates(columns[None])[0]
    values = []
    for i, feature in enumerate(features.features):
        radius, here = radii.get(feature.name, 0.0), columns[i]
        # What is missing stays missing; without a separate matrix it stands for the median, and stays.
        if not radius > 0.0 or np.isnan(here):
            values.append(row[[i]])
        elif feature.num_codes:
            values.append(np.unique(feature.coordinate(np.arange(feature.num_codes, dtype=np.float64))))
        else:
            ends = feature.coordinate(np.nextafter([here - radius, here + radius], [-np.inf, np.inf]))
            # The logarithm and the standardising round, too.
            wider = 4.0 * EPS * (np.abs(ends) + abs(feature.center / feature.scale))
            values.append(np.array([ends[0] - wider[0], ends[1] + wider[1]]))
    of_codes = (i for i, f in enumerate(features.features) if f.num_codes and len(values[i]) > 1)
    return Reach(row, tuple(values), frozenset(of_codes))


def groups(
    curves: Sequence[Curve], within: Reach, chosen: Sequence[int] | None = None, max_lines: int = MAX_LINES
) -> list[Group]:
    """Group the curves that move; of the chosen ones alone, if they are given."""
    moving = within.moving
    own: list[tuple[int, ...]] = []
    for c, curve in enumerate(curves):
        used = curve.numeric + curve.categorical if chosen is None or c in chosen else ()
        stays = np.isnan(within.row[list(used)]).any()  # at its matrix for missing values
        own.append(() if stays else tuple(sorted(moving & set(used))))
    parts: dict[tuple[int, ...], list[int]] = {}
    for c, features in enumerate(own):
        if len(features) > 1:
            parts.setdefault(features, []).append(c)
    for c, features in enumerate(own):
        if len(features) == 1:
            home = next((pair for pair in parts if features[0] in pair), features)
            parts.setdefault(home, []).append(c)
    found: list[Group] = []
    waiting = list(parts.items())
    while waiting:
        features, members = waiting.pop()
        group = _group(curves, within, features, members, max_lines)
        if group is not None:
            found.append(group)
            continue
        # Halve it by direction. Curves of one direction never are too many: their lines do not cross.
        angles = {c: _direction(curves[c], features) for c in members}
        directions = sorted(set(angles.values()), key=lambda along: atan2(*along) % pi)
        for half in (directions[::2], directions[1::2]):
            waiting.append((features, [c for c in members if angles[c] in half]))
    return found


def changes(pencil: TridiagonalPencil, row: FloatArray, group: Group) -> tuple[FloatArray, FloatArray]:
    """Return the group's part of T(point) - T(row) at each of its points: (P, H, n) and (P, H, n - 1)."""
    walk = pencil.curves.walk(np.vstack([row, group.points]))
    still = np.ones(len(pencil.curves.curves), bool)
    still[list(group.curves)] = False
    for part in walk:
        part[:, still] = part[0, still]
    diag, off_diag = pencil.matrices(walk)
    return diag[1:] - diag[0], off_diag[1:] - off_diag[0]


def _direction(curve: Curve, features: tuple[int, ...]) -> tuple[float, ...]:
    """Return the curve's weights of some features."""
    along = dict.fromkeys(features, 0.0)
    for i, weight in zip(curve.numeric, curve.direction, strict=True):
        if i in along:
            along[i] += weight
    return tuple(along.values())


def _group(
    curves: Sequence[Curve], within: Reach, features: tuple[int, ...], members: list[int], max_lines: int
) -> Group | None:
    """Group curves that move with these features; None if their corners are too many or too flat."""
    own = [curves[c] for c in members]
    coded = [i for i in features if i in within.of_codes]
    walked = [i for i in features if i not in within.of_codes]
    ends = np.array([within.values[i] for i in walked]).reshape(-1, 2)
    largest, apart, flat = float(np.abs(ends).max(initial=0.0)), np.inf, 1.0
    blocks = []
    for codes in product(*(within.values[i] for i in coded)):
        start = within.row.copy()
        start[coded] = codes
        lines, directions = set(), set()
        for curve in own:
            along = [0.0] * len(walked)
            rest = 0.0
            for i, weight in zip(curve.numeric, curve.direction, strict=True):
                if i in walked:
                    along[walked.index(i)] = weight
                else:
                    rest += weight * float(start[i])
            if len(curve.knots) > 1 and any(along):
                # A knot beyond the box is not a line in it; one more on each side is kept for rounding.
                span = np.sort(ends * np.array(along)[:, None], axis=1).sum(axis=0) + rest
                first, last = bisect_left(curve.knots, span[0]), bisect_right(curve.knots, span[1])
                lines |= {(*along, knot - rest) for knot in curve.knots[max(first - 1, 0) : last + 1]}
                directions.add(tuple(along))
                apart = min(apart, curve.least_distance)
                largest = max(largest, abs(curve.knots[0]), abs(curve.knots[-1]), abs(rest))
        corners, sine = _corners(
            ends, np.array(sorted(lines)).reshape(-1, len(walked) + 1), len(directions) == 1, max_lines
        )
        if corners is None:
            return None
        flat = min(flat, sine)
        block = np.tile(start, (len(corners), 1))
        block[:, walked] = corners
        blocks.append(block)
    steep = 0.0 if np.isinf(apart) else 4.0 * largest / (apart * flat)
    return Group(tuple(members), np.vstack(blocks), 1.0 + steep)


def _corners(ends: FloatArray, lines: FloatArray, parallel: bool, max_lines: int) -> tuple[FloatArray | None, float]:
    """Return corners (P, W) of the pieces that lines (L, W + 1), a z = t, cut out of a box (W, 2), W at most 2.

    Also the least sine of an angle at which two lines cross. None if that is too small, or the lines are too many.
    """
    width = len(ends)
    box = np.array(list(product(*ends))).reshape(2**width, width)
    if not width or not len(lines):
        return box, 1.0
    if width == 1:
        stops = lines[:, 1:] / lines[:, :1]
        return np.vstack([box, stops[(stops > ends[0, 0]) & (stops < ends[0, 1])].reshape(-1, 1)]), 1.0
    if parallel:  # all depends on one number: a way through the box meets all
        along = box @ lines[0, :-1]
        first, last = box[along.argmin()], box[along.argmax()]
        share = (lines[:, -1] - along.min()) / (along.max() - along.min())
        share = share[(share > 0.0) & (share < 1.0)]
        return np.vstack([box, first + share[:, None] * (last - first)]), 1.0
    reached = box @ lines[:, :-1].T
    lines = lines[(reached.min(axis=0) < lines[:, -1]) & (lines[:, -1] < reached.max(axis=0))]
    if len(lines) > max_lines:
        return None, 1.0
    edges = np.array([[1.0, 0.0, ends[0, 0]], [1.0, 0.0, ends[0, 1]], [0.0, 1.0, ends[1, 0]], [0.0, 1.0, ends[1, 1]]])
    lines = np.vstack([lines, edges])
    lines /= np.hypot(lines[:, 0], lines[:, 1])[:, None]
    first, second = np.triu_indices(len(lines), 1)
    (a, b, s), (c, d, t) = lines[first].T, lines[second].T
    sine = a * d - b * c
    crossing = sine != 0.0
    a, b, s, c, d, t, sine = (part[crossing] for part in (a, b, s, c, d, t, sine))
    found = np.stack([s * d - b * t, a * t - s * c], axis=1) / sine[:, None]
    # A corner just outside by rounding is taken to the edge: that is where rows can be. Of flat crossings even that is
    # not known.
    size = 1.0 + np.abs(ends).max()
    outside = np.maximum(ends[:, 0] - found, found - ends[:, 1]).max(axis=1) / size
    sine = np.abs(sine)
    if ((sine < _LEAST_SINE) & ((outside < 1e-5) | (sine < 1e-10))).any():
        return None, 1.0
    inside = outside < 1e-9
    return np.vstack([box, np.clip(found[inside], ends[:, 0], ends[:, 1])]), float(sine[inside].min(initial=1.0))
