"""Check that the curves of a model fit its features."""

from __future__ import annotations

import numpy as np

from eigenserve.model.matrices.curves import Curve
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.rows.features import FeatureSpace


def check_curves(features: FeatureSpace, ensemble: SpectralEnsemble) -> None:
    """Check that a row is never led to a matrix that is not there: the kernels trust this.

    Raises:
        ValueError: naming the term or the curve that is wrong.
    """
    pencil = ensemble.pencil
    for term in pencil.terms:
        if not term.features or not set(term.features) <= set(range(len(features))):
            raise ValueError(f"term {term.name!r} must have features of the model; got {term.features}")
    for i, curve in enumerate(pencil.curves.curves):
        if not 0 <= curve.term < len(pencil.terms):
            raise ValueError(f"curve {i} must have a term in [0, {len(pencil.terms)}); got {curve.term}")
        term = pencil.terms[curve.term]
        if not set(curve.numeric + curve.categorical) <= set(term.features):
            raise ValueError(f"curve {i} must use only features of its term {term.name!r}")
        expected = tuple(features.features[f].num_paths for f in curve.categorical)
        if curve.num_codes != expected:
            names = " and ".join(repr(features.names[f]) for f in curve.categorical)
            raise ValueError(f"curve {i} must have a path for each of {names}'s codes, or groups of codes")
        if any(features.features[f].num_codes == 0 for f in curve.categorical):
            raise ValueError(f"curve {i} must choose its path by categories")
        if any(features.features[f].kind == "categorical" for f in curve.numeric):
            raise ValueError(f"curve {i} must walk by numbers, not by categories")
        check_curve(i, curve)
        if not curve.missing and any(features.features[f].missing for f in curve.numeric + curve.categorical):
            raise ValueError(f"curve {i} must have a matrix for missing values")


def check_curve(i: int, curve: Curve) -> None:
    """Check what must be so of curve number i, whatever the features are.

    Raises:
        ValueError: saying what must be so.
    """
    if max(len(curve.numeric), len(curve.categorical)) > 2:
        raise ValueError(f"curve {i} must have at most two features of a kind")
    if len(curve.direction) != len(curve.numeric):
        raise ValueError(f"curve {i} must have a weight for each numeric feature")
    if len(curve.num_codes) != len(curve.categorical) or min(curve.num_codes, default=1) < 1:
        raise ValueError(f"curve {i} must have a number of codes, 1 or more, for each categorical feature")
    if not curve.knots:
        raise ValueError(f"curve {i} must have at least one knot")
    if not all(np.diff(curve.knots) > 0):
        raise ValueError(f"curve {i} must have ascending knots, none of them twice; got {list(curve.knots)}")
    if not np.isfinite(curve.knots + curve.direction).all():
        raise ValueError(f"curve {i} must have finite knots and a finite direction")
