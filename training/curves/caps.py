"""Cap strengths: after every pass, project a member's curve to where no step of it is stronger than its limit.

Along a number the score can change no faster than the spectral norm of the curve's slope, between two categories by no
more than that of the difference of their matrices (``model.certificates.strengths``, by which the finished model is
verified). A mean of members is within the cap if each of them is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.arrays import FloatArray
from eigenserve.model.matrices.tridiagonal import spectral_norms
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.training.curves.basis import CurveBasis
from eigenserve.training.kernels.layout import BENT, MONOTONE

#: Members keep to this share of a cap: float32, and the margins of definite steps, take a millionth of it.
SHARE = 0.9999


@dataclass(frozen=True)
class Cap:
    """Describe a curve of a single feature and how strong each part of it may be.

    Attributes:
        basis: the curve.
        first: position of its first parameter.
        most: (K - 1,) norms of the slopes between knots; of a category's matrix, (1,).
    """

    basis: CurveBasis
    first: int
    most: FloatArray

    def project(self, params: NDArray[np.floating[Any]]) -> None:
        """Change parameters (P, O, 2n - 1) as little as need be to keep the cap."""
        knots = np.array(self.basis.curve.knots)
        own = params[self.first : self.first + self.basis.curve.num_paths * len(knots)]
        if self.basis.curve.categorical:
            own *= _factors(own, self.most)
            return
        gaps, form = np.diff(knots)[:, None, None], self.basis.form
        if form in (MONOTONE, BENT):
            slopes = np.diff(self.basis.matrices(np.asarray(own, np.float64), 0.0), axis=0) / gaps
            factors = _factors(slopes, self.most)
            if form == BENT:
                # One factor for all slopes, since smaller ones in between would bend the other way.
                everywhere = np.broadcast_to(np.sqrt(factors.min(axis=0)), (len(own), *factors.shape[1:])).copy()
                everywhere[-1 if self.basis.bend * self.basis.sign < 0 else 0] = 1.0  # the level
                if self.basis.sign == 0:
                    everywhere[1] **= 2  # the first slope is not an L
                own *= everywhere
            else:
                own[1:] *= np.sqrt(factors)
            return
        own = own[: self.basis.num_params - self.basis.curve.missing]
        line = 0.5 * own[0]
        if len(own) == 1:
            own[0] *= _factors(line[None], self.most)[0]
            return
        slopes = line + own[1:] / gaps
        own[1:] = gaps * (slopes * _factors(slopes, self.most) - line)


def caps_of(
    space: FeatureSpace, bases: Sequence[CurveBasis], strengths: Mapping[int, float], scale: float
) -> tuple[Cap, ...]:
    """Cap curves by strengths: feature -> score per unit, or from one category to another.

    Args:
        space: the features.
        bases: all curves; those of these features are of single features.
        strengths: on the scale of the finished score.
        scale: of the finished score, in units of the trained one.
    """
    caps, first = [], 0
    for basis in bases:
        curve = basis.curve
        index = (curve.numeric + curve.categorical)[0]
        if index in strengths:
            feature, most = space.features[index], SHARE * strengths[index] / scale
            if curve.categorical:
                caps.append(Cap(basis, first, np.array([0.5 * most])))
            elif len(curve.knots) > 1:
                units = np.full(len(curve.knots) - 1, feature.scale)
                if feature.transform == "log":
                    starts = np.array(curve.knots[:-1])
                    if curve.extend:
                        starts[0] = feature.coordinate(np.array([feature.low]))[0]
                    units *= np.exp(starts * feature.scale + feature.center)
                caps.append(Cap(basis, first, most * units))
        first += basis.num_params
    return tuple(caps)


def _factors(matrices: NDArray[np.floating[Any]], most: FloatArray) -> FloatArray:
    """Return (K, O, 1): what takes the spectral norms of matrices (K, O, 2n - 1) down to at most ``most`` (K,)."""
    n = (matrices.shape[-1] + 1) // 2
    wide = np.asarray(matrices, np.float64)
    diag, off_diag = np.ascontiguousarray(wide[..., :n]), np.ascontiguousarray(wide[..., n:])
    norms = spectral_norms(diag, off_diag)
    return np.asarray(np.minimum(1.0, most[:, None] / np.maximum(norms, 1e-300)))[..., None]
