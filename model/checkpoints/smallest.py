"""Build the smallest model on which every kernel runs, to compile them."""

from __future__ import annotations

import numpy as np

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.matrices.ensemble import SpectralEnsemble
from eigenserve.model.matrices.pencil import TridiagonalPencil
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel


def smallest_model() -> SpectralModel:
    """Return a regression on two numbers, x and y, and their pair."""
    curves = (
        Curve(0, (0,), (1.0,), knots=(0.0, 0.5, 1.0)),
        Curve(1, (1,), (1.0,), knots=(0.0, 1.0)),
        Curve(2, (0, 1), (0.6, 0.8), knots=(0.0, 1.0)),
    )
    steps = np.arange(1.0, 8.0)[:, None, None] / 8
    pencil = TridiagonalPencil(
        (Term("x", (0,)), Term("y", (1,)), Term("x & y", (0, 1))),
        CurveSet(curves),
        *(np.array([[0.0, 1.0, 3.0]]), np.ones((1, 2)), steps * np.ones((7, 1, 3)), steps * np.ones((7, 1, 2))),
    )
    features = FeatureSpace(tuple(Feature(name, "numeric", typical=0.0, low=0.0, high=1.0) for name in ("x", "y")))
    return SpectralModel("regression", "z", features, SpectralEnsemble(pencil, 1, np.ones(1), np.zeros(1)))
