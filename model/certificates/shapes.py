"""Prove the shapes of a finished model from its matrices, without sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import EPS
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.matrices.curves import Curve
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.tridiagonal import norm_bound
from eigenserve.model.rows.features import FeatureSpace


class CertificateError(Exception):
    """Report that the model does not have the property that was to be certified."""


@dataclass(frozen=True)
class Certificates:
    """Hold what is proved of how the score goes along single features, whatever the other features are.

    Attributes:
        monotone: feature -> "+" where the score never falls, "-" where it never rises.
        curved: feature -> "convex" or "concave", within the training range.
    """

    monotone: Mapping[str, str]
    curved: Mapping[str, str]


def certificates(features: FeatureSpace, ensemble: SpectralEnsemble) -> Certificates:
    """Try every certificate in turn, and return those that are proved."""
    monotone: dict[str, str] = {}
    curved: dict[str, str] = {}
    for feature in features.features:
        for found, prove, words in (
            (monotone, monotone_certificate, ("+", "-")),
            (curved, curved_certificate, ("convex", "concave")),
        ):
            if feature.kind == "categorical" or (found is curved and feature.kind == "boolean"):
                continue
            for word in words:
                try:
                    found |= prove(features, ensemble, {feature.name: word})
                except CertificateError:
                    continue
                break
    return Certificates(monotone, curved)


def monotone_certificate(
    features: FeatureSpace, ensemble: SpectralEnsemble, directions: Mapping[str, str]
) -> dict[str, str]:
    """Prove the score monotone in these features, "+" never falling, "-" never rising, and return ``directions``.

    Proof: on every curve that walks along a feature, the step from each knot to the next is positive (or
    negative) semidefinite, shown by its extreme eigenvalue, with a margin for rounding. In between the matrix
    moves linearly, and a larger symmetric matrix has no smaller eigenvalue (Weyl's monotonicity), whichever it
    is; a weighted mean of monotone members is monotone. Curves that a categorical feature chooses are checked
    for every category. It speaks of values that are present: a missing value has a matrix of its own.

    Raises:
        CertificateError: naming the feature and the term where it does not hold.
        ValueError: an unknown or a categorical feature.
    """
    for name, direction in directions.items():
        index = _index(features, name)
        sign = 1 if direction == "+" else -1
        for c, curve, along in _walked(features, ensemble, index, "monotone"):
            diag, off_diag, largest = _knots(ensemble, c, curve)
            upward = sign * (1 if along > 0 else -1)
            least = eigvalsh_tridiagonal(upward * np.diff(diag, axis=1), upward * np.diff(off_diag, axis=1), eig_idx=0)
            # The eigenvalue is right to 8 eps of the step's norm, the subtraction to eps of the entries'.
            if least.min() < 16 * EPS * largest:
                term = ensemble.pencil.terms[curve.term].name
                raise CertificateError(
                    f"{name!r} is not certified monotone: a step of a curve of {term!r} is not definite"
                )
    return dict(directions)


def curved_certificate(features: FeatureSpace, ensemble: SpectralEnsemble, shapes: Mapping[str, str]) -> dict[str, str]:
    """Prove the score "convex" or "concave" in these features within their training ranges, and return ``shapes``.

    Proof: the largest eigenvalue is a convex function of the matrix and never falls when the matrix grows. Where
    the slope of every curve that walks along a feature grows by a positive semidefinite matrix at each knot (and
    is constant in between), the matrix between two places is at most its chord, hence lambda_max at most the chord
    of lambda_max. With "concave", the smallest eigenvalue and negative semidefinite growth. Shown by the extreme
    eigenvalue of each change of slope, with a margin for rounding, for every category that chooses a path. Knots at
    or beyond the ends of the training range do not count where the curve walks along this feature alone.

    Raises:
        CertificateError: naming the feature and where it does not hold; another eigenvalue than the largest (or the
            smallest) is neither, and of a feature's logarithm the claim would be another.
        ValueError: an unknown feature, one that is not a number, or another shape.
    """
    for name, shape in shapes.items():
        if shape not in ("convex", "concave"):
            raise ValueError(f"a shape must be 'convex' or 'concave'; got {shape!r}")
        index = _index(features, name)
        feature = features.features[index]
        if feature.kind == "boolean":
            raise ValueError(f"{name!r} is boolean: it has nothing between its two values")
        wanted = ensemble.pencil.dim - 1 if shape == "convex" else 0
        if ensemble.eig_idx != wanted:
            raise CertificateError(
                f"{name!r} is not certified {shape}: that takes the eigenvalue {wanted} of the matrices"
            )
        if feature.transform != "identity":
            raise CertificateError(f"{name!r} is not certified {shape}: the model takes its logarithm")
        low, high = feature.coordinate(np.array([feature.low, feature.high]))
        sign = 1 if shape == "convex" else -1
        for c, curve, along in _walked(features, ensemble, index, shape):
            changes = _slope_changes(ensemble, c, curve)
            reached = np.ones(len(curve.knots), bool)
            if curve.numeric == (index,):
                reached = (np.array(curve.knots) > min(low * along, high * along)) & (
                    np.array(curve.knots) < max(low * along, high * along)
                )
            if curve.extend:
                reached[[0, -1]] = False
            diag, off_diag, slack = (part[:, reached] for part in changes)
            least = eigvalsh_tridiagonal(sign * diag, sign * off_diag, eig_idx=0)
            if (least < slack[..., None]).any():
                term = ensemble.pencil.terms[curve.term].name
                raise CertificateError(f"{name!r} is not certified {shape}: a curve of {term!r} bends the other way")
    return dict(shapes)


def _index(features: FeatureSpace, name: str) -> int:
    if name not in features.names:
        raise ValueError(f"no feature {name!r}; the features are {', '.join(features.names)}")
    index = features.names.index(name)
    if features.features[index].kind == "categorical":
        raise ValueError(f"{name!r} is categorical: it has no direction")
    return index


def _walked(
    features: FeatureSpace, ensemble: SpectralEnsemble, index: int, what: str
) -> list[tuple[int, Curve, float]]:
    """Return the curves that a feature walks along, with its weight.

    Raises:
        CertificateError: the feature chooses the path of a curve.
    """
    found = []
    for c, curve in enumerate(ensemble.pencil.curves.curves):
        if index in curve.categorical:
            name, term = features.names[index], ensemble.pencil.terms[curve.term].name
            raise CertificateError(f"{name!r} is not certified {what}: it chooses the path of a curve of {term!r}")
        if index in curve.numeric and len(curve.knots) > 1:
            along = curve.direction[curve.numeric.index(index)]
            if along != 0.0:
                found.append((c, curve, along))
    return found


def _knots(ensemble: SpectralEnsemble, c: int, curve: Curve) -> tuple[FloatArray, FloatArray, float]:
    """Return matrices at a curve's knots, (paths, knots, H, n) and (paths, knots, H, n - 1), and a bound of norms."""
    pencil = ensemble.pencil
    first = int(pencil.curves.offsets[c])
    count = curve.num_paths * len(curve.knots)
    shape = (curve.num_paths, len(curve.knots), pencil.num_heads)
    diag = pencil.diag[first : first + count].reshape(*shape, pencil.dim)
    off_diag = pencil.off_diag[first : first + count].reshape(*shape, pencil.dim - 1)
    return diag, off_diag, float(norm_bound(diag, off_diag).max())


def _slope_changes(ensemble: SpectralEnsemble, c: int, curve: Curve) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return how much the slope by u grows at each knot (0 on a path that stays), and margins (1, knots)."""
    diag, off_diag, largest = _knots(ensemble, c, curve)
    steps = np.diff(curve.knots)
    grown = []
    for part in (diag, off_diag):
        slopes = np.diff(part, axis=1) / steps[:, None, None]
        still = np.zeros_like(part[:, :1])
        grown.append(np.diff(np.concatenate([still, slopes, still], axis=1), axis=1))
    shortest = np.minimum(np.append(np.inf, steps), np.append(steps, np.inf))
    return grown[0], grown[1], (32.0 * EPS * largest / shortest)[None]
