"""Certificates: what is proved of a finished model from its matrices, not sampled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model.eigensolvers import eigvalsh_tridiagonal
from model.spectral import SpectralModel


class CertificateError(Exception):
    """The model does not have the property that was to be certified."""


def monotone_certificate(model: SpectralModel, directions: Mapping[str, str]) -> dict[str, str]:
    """``directions`` itself, if the score is monotone in these features: "+" never falling, "-" never rising.

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
        if name not in model.features.names:
            raise ValueError(f"no feature {name!r}; the features are {', '.join(model.features.names)}")
        index = model.features.names.index(name)
        if model.features.features[index].kind == "categorical":
            raise ValueError(f"{name!r} is categorical: it has no direction")
        _check_feature(model, index, 1 if direction == "+" else -1)
    return dict(directions)


def _check_feature(model: SpectralModel, index: int, sign: int) -> None:
    pencil = model.ensemble.pencil
    for c, curve in enumerate(pencil.curves.curves):
        name = model.features.names[index]
        term = pencil.terms[curve.term].name
        if index in curve.categorical:
            raise CertificateError(f"{name!r} is not certified monotone: it chooses the path of a curve of {term!r}")
        if index not in curve.numeric:
            continue
        along = curve.direction[curve.numeric.index(index)]
        if along == 0.0 or len(curve.knots) < 2:
            continue
        first = int(pencil.curves.offsets[c])
        count = curve.num_paths * len(curve.knots)
        shape = (curve.num_paths, len(curve.knots), pencil.num_heads, -1)
        diag = pencil.diag[first : first + count].reshape(shape)
        off_diag = pencil.off_diag[first : first + count].reshape(*shape[:3], pencil.dim - 1)
        upward = sign * (1 if along > 0 else -1)
        least = eigvalsh_tridiagonal(upward * np.diff(diag, axis=1), upward * np.diff(off_diag, axis=1), eig_idx=0)
        # The eigenvalue is right to 8 eps of the step's norm, the subtraction to eps of the entries'.
        largest = np.abs(diag).max() + 2.0 * np.abs(off_diag).max(initial=0.0)
        if least.min() < 16 * np.finfo(np.float64).eps * largest:
            raise CertificateError(f"{name!r} is not certified monotone: a step of a curve of {term!r} is not definite")
