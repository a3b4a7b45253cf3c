"""Prove the shapes of a finished model from its matrices, without sampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import EPS
from eigenserve.model.eigensolvers import eigvalsh_tridiagonal
from eigenserve.model.matrices.curves import Curve
from eigenserve.model.matrices.tridiagonal import norm_bound
from eigenserve.model.predictor import Predictor


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


def certificates(predictor: Predictor) -> Certificates:
    """Try every certificate in turn, and return those that are proved."""
    monotone: dict[str, str] = {}
    curved: dict[str, str] = {}
    for feature in predictor.features.features:
        for found, prove, words in (
            (monotone, monotone_certificate, ("+", "-")),
            (curved, curved_certificate, ("convex", "concave")),
        ):
            if feature.kind == "categorical" or (found is curved and feature.kind == "boolean"):
                continue
            for word in words:
                try:
                    found |= prove(predictor, {feature.name: word})
                except CertificateError:
                    continue
                break
    return Certificates(monotone, curved)


def monotone_certificate(predictor: Predictor, directions: Mapping[str, str]) -> dict[str, str]:
    """Prove the score monotone in these features, "+" never falling, "-" never rising, and return ``directions``.

    Proof: on every curve that walks along a feature, the step from each knot to the next is positive (or
    negative) semidefinite, shown by its extreme eigenvalue, with a margin for rounding. In between the matrix
    moves linearly, and a larger symmetric matrix has no smaller eigenvalue (Weyl's monotonicity), whichever it
    is; a weighted mean of monotone members is monotone. Curves that a categorical feature chooses are checked
    for every category. It speaks of values that are present: a missing value has a separate matrix.

    Raises:
        CertificateError: naming the feature and the term where it does not hold.
        ValueError: an unknown or a categorical feature.
    """
    for name, direction in directions.items():
        index = _index(predictor, name)
        sign = 1 if direction == "+" else -1
        for c, curve, along in _walked(predictor, index, "monotone"):
            diag, off_diag, largest = _knots(predictor, c)
            upward = sign * (1 if along > 0 else -1)
            least = eigvalsh_tridiagonal(upward * np.diff(diag, axis=1), upward * np.diff(off_diag, axis=1), eig_idx=0)
            # The eigenvalue is right to 8 eps of the step's norm, the subtraction to eps of the entries'.
            if least.min() < 16 * EPS * largest:
                term = predictor.ensemble.pencil.terms[curve.term].name
                raise CertificateError(
                    f"{name!r} is not certified monotone: a step of a curve of {term!r} is not definite"
                )
    return dict(directions)


def curved_certificate(predictor: Predictor, shapes: Mapping[str, str]) -> dict[str, str]:
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
        index = _index(predictor, name)
        feature = predictor.features.features[index]
        if feature.kind == "boolean":
            raise ValueError(f"{name!r} is boolean: it has nothing between its two values")
        wanted = predictor.ensemble.pencil.dim - 1 if shape == "convex" else 0
        if predictor.ensemble.eig_idx != wanted:
            raise CertificateError(
                f"{name!r} is not certified {shape}: that takes the eigenvalue {wanted} of the matrices"
            )
        if feature.transform != "identity":
            raise CertificateError(f"{name!r} is not certified {shape}: the model takes its logarithm")
        low, high = feature.coordinate(np.array([feature.low, feature.high]))
        sign = 1 if shape == "convex" else -1
        for c, curve, along in _walked(predictor, index, shape):
            changes = _slope_changes(predictor, c)
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
                term = predictor.ensemble.pencil.terms[curve.term].name
                raise CertificateError(f"{name!r} is not certified {shape}: a curve of {term!r} bends the other way")
    return dict(shapes)


def _index(predictor: Predictor, name: str) -> int:
    index = predictor.features.position(name)
    if predictor.features.features[index].kind == "categorical":
        raise ValueError(f"{name!r} is categorical: it has no direction")
    return index


def _walked(predictor: Predictor, index: int, what: str) -> list[tuple[int, Curve, float]]:
    """Return the curves that a feature walks along, with its weight.

    Raises:
        CertificateError: the feature chooses the path of a curve.
    """
    found = []
    for c, curve in enumerate(predictor.ensemble.pencil.curves.curves):
        if index in curve.categorical:
            name, term = predictor.features.names[index], predictor.ensemble.pencil.terms[curve.term].name
            raise CertificateError(f"{name!r} is not certified {what}: it chooses the path of a curve of {term!r}")
        if index in curve.numeric and len(curve.knots) > 1:
            along = curve.direction[curve.numeric.index(index)]
            if along != 0.0:
                found.append((c, curve, along))
    return found


def _knots(predictor: Predictor, c: int) -> tuple[FloatArray, FloatArray, float]:
    """Return the matrices at a curve's knots (see ``TridiagonalPencil.along``), and what no norm exceeds."""
    diag, off_diag = predictor.ensemble.pencil.along(c)
    return diag, off_diag, float(norm_bound(diag, off_diag).max())


def _slope_changes(predictor: Predictor, c: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return how much the slope by u grows at each knot (0 on a path that stays), and margins (1, knots)."""
    diag, off_diag, largest = _knots(predictor, c)
    steps = np.diff(predictor.ensemble.pencil.curves.curves[c].knots)
    grown = []
    for part in (diag, off_diag):
        slopes = np.diff(part, axis=1) / steps[:, None, None]
        still = np.zeros_like(part[:, :1])
        grown.append(np.diff(np.concatenate([still, slopes, still], axis=1), axis=1))
    shortest = np.minimum(np.append(np.inf, steps), np.append(steps, np.inf))
    return grown[0], grown[1], (32.0 * EPS * largest / shortest)[None]
