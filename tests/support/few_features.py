"""Models of a few given features, each of which has one term of random matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.support.twin import random_ensemble

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel


def few_features_model(features: Sequence[Feature], card: dict[str, Any] | None = None, seed: int = 0) -> SpectralModel:
    """Make a regression whose coordinates change most between the knots -1 and 1."""
    curves = [
        Curve(i, categorical=(i,), num_codes=(feature.num_codes,), missing=feature.missing)
        if feature.kind == "categorical"
        else Curve(i, numeric=(i,), direction=(1.0,), knots=(-1.0, 0.0, 1.0), missing=feature.missing)
        for i, feature in enumerate(features)
    ]
    terms = tuple(Term(feature.name, (i,)) for i, feature in enumerate(features))
    ensemble = random_ensemble(
        np.random.default_rng(seed), members=2, dim=3, terms=terms, curves=CurveSet(tuple(curves))
    )
    return SpectralModel("regression", "y", FeatureSpace(tuple(features)), ensemble, (), card or {})
