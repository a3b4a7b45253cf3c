"""Prove, by Weyl's inequality, how fast a feature can change the score at most, whatever the other features are.

Along a numeric feature's coordinate z a member's matrix has the slope S(z), a sum over curves, constant between knots;
|d lambda_k / dz| = |v'Sv| <= ||S||, the largest absolute eigenvalue of S. Curves of this feature alone add up knot by
knot; a curve that walks along a second feature too, or whose path a category chooses, may be on any of its pieces, and
counts with the steepest. Between two categories the matrix changes by a difference D, and lambda_k by at most ||D||.
"""

from __future__ import annotations

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import EPS
from eigenserve.model.matrices.curves import Curve
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.tridiagonal import spectral_norms
from eigenserve.model.predictor import Predictor
from eigenserve.model.rows.features import Feature, FeatureSpace

#: With more codes, two are compared by way of a third: twice the largest difference to the first.
_MAX_COMPARED_CODES = 64


def feature_strengths(predictor: Predictor) -> dict[str, float]:
    """Bound every change of the score, by feature.

    Numbers and dates: the largest |d score / dx| over the training range, in score per unit of the feature (per day).
    Categories and booleans: the largest change of the score between two values. Of several outputs, the largest.
    Values are those that are present, the other features anything. Rounded upwards.
    """
    found = {}
    for i, feature in enumerate(predictor.features.features):
        own = _of_codes if feature.num_codes else _of_number
        found[feature.name] = float(own(predictor, i, feature).max()) * (1.0 + 1e-12)
    return found


def _of_number(predictor: Predictor, index: int, feature: Feature) -> FloatArray:
    """Bound the scores' slopes by a number, (O,)."""
    ensemble = predictor.ensemble
    low, high = feature.coordinate(np.array([feature.low, feature.high]))
    curves = ensemble.pencil.curves.curves
    alone = [c for c, curve in enumerate(curves) if curve.numeric == (index,) and not curve.categorical]
    inner = {knot / curves[c].direction[0] for c in alone for knot in curves[c].knots if curves[c].direction[0]}
    ends = np.array([low, *sorted(knot for knot in inner if low < knot < high), max(low, high)])
    middles = 0.5 * (ends[:-1] + ends[1:])
    steepest = np.zeros((len(middles), ensemble.num_outputs))
    diag = np.zeros((len(middles), ensemble.pencil.num_heads, ensemble.pencil.dim))
    off_diag, slack = diag[..., 1:].copy(), 0.0
    for c, curve in enumerate(curves):
        if index not in curve.numeric or len(curve.knots) < 2:
            continue
        along = curve.direction[curve.numeric.index(index)]
        own_diag, own_off, rounding = _slopes(ensemble, c)
        slack += abs(along) * rounding
        if c in alone:
            places = np.searchsorted(curve.knots, middles * along, side="right") - 1
            outside = (places < 0) | (places > len(curve.knots) - 2)
            places = np.clip(places, 0, len(curve.knots) - 2)
            stays = np.where(outside & (not curve.extend), 0.0, along)[:, None, None]
            diag += stays * own_diag[0, places]
            off_diag += stays * own_off[0, places]
        else:
            reached = _reached(predictor.features, curve)
            norms = _norms(ensemble, own_diag[:, reached], own_off[:, reached])
            steepest += abs(along) * norms.reshape(-1, ensemble.num_outputs).max(axis=0, initial=0.0)
    steepest += _norms(ensemble, diag, off_diag) + slack
    if feature.transform == "log":
        # Within a piece the logarithm is steepest at its lower end.
        return (steepest / (np.exp(ends[:-1] * feature.scale + feature.center) * feature.scale)[:, None]).max(axis=0)
    return steepest.max(axis=0) / feature.scale


def _reached(features: FeatureSpace, curve: Curve) -> list[int]:
    """Return the pieces that a curve can be on while its numbers are within their training ranges."""
    low = high = 0.0
    for i, weight in zip(curve.numeric, curve.direction, strict=True):
        feature = features.features[i]
        ends = (0.0, 1.0) if feature.kind == "boolean" else (feature.low, feature.high)
        reached = weight * feature.coordinate(np.array(ends))
        low, high = low + reached.min(), high + reached.max()
    margin = 1e-9 * (1.0 + abs(low) + abs(high))
    last = len(curve.knots) - 2
    return [
        j
        for j, (left, right) in enumerate(zip(curve.knots[:-1], curve.knots[1:], strict=True))
        if (left <= high + margin or (curve.extend and j == 0))
        and (right >= low - margin or (curve.extend and j == last))
    ]


def _of_codes(predictor: Predictor, index: int, feature: Feature) -> FloatArray:
    """Return the largest change of the scores between two codes, (O,)."""
    ensemble, codes = predictor.ensemble, feature.num_paths
    total = np.zeros((codes, codes, ensemble.num_outputs))
    for c, curve in enumerate(ensemble.pencil.curves.curves):
        if index in curve.categorical:
            total += _between_paths(ensemble, c, curve.categorical.index(index))
        if index in curve.numeric and len(curve.knots) > 1:
            zero, one = feature.coordinate(np.array([0.0, 1.0]))
            diag, off_diag, rounding = _slopes(ensemble, c)
            step = abs(curve.direction[curve.numeric.index(index)] * (one - zero))
            total += step * (_norms(ensemble, diag, off_diag).reshape(-1, ensemble.num_outputs).max(axis=0) + rounding)
    return total.reshape(-1, ensemble.num_outputs).max(axis=0)


def _between_paths(ensemble: SpectralEnsemble, c: int, place: int) -> FloatArray:
    """Bound what the scores change by from one code to another of one of the curve's features, (codes, codes, O)."""
    curve = ensemble.pencil.curves.curves[c]
    codes = curve.num_codes[place]
    parts = []
    for own in ensemble.pencil.along(c):
        by_code = np.moveaxis(own.reshape(*curve.num_codes, *own.shape[1:]), place, 0)
        parts.append(by_code.reshape(codes, curve.num_paths // codes * own.shape[1], *own.shape[2:]))
    out = np.zeros((codes, codes, ensemble.num_outputs))
    if codes > _MAX_COMPARED_CODES:
        return out + 2.0 * _norms(ensemble, *(part - part[:1] for part in parts)).max(axis=(0, 1))
    for a in range(codes):
        out[a] = _norms(ensemble, *(part - part[[a]] for part in parts)).max(axis=1)
    return out


def _slopes(ensemble: SpectralEnsemble, c: int) -> tuple[FloatArray, FloatArray, float]:
    """Return slopes of a curve by its u, (paths, knots - 1, H, n) and (..., n - 1), and a bound of their rounding."""
    steps = np.diff(ensemble.pencil.curves.curves[c].knots)[:, None, None]
    at_knots = ensemble.pencil.along(c)
    diag, off_diag = (np.diff(part, axis=1) / steps for part in at_knots)
    largest = np.abs(at_knots[0]).max() + 2.0 * np.abs(at_knots[1]).max(initial=0.0)
    return diag, off_diag, float(16.0 * EPS * largest / steps.min())


def _norms(ensemble: SpectralEnsemble, diag: FloatArray, off_diag: FloatArray) -> FloatArray:
    """Return the members' mean of spectral norms, (..., O)."""
    norms = spectral_norms(diag, off_diag).reshape(*diag.shape[:-2], ensemble.num_outputs, -1)
    return np.asarray(norms @ ensemble.member_weights)
