"""Models made without training: every kind of feature, term, task and link."""

from __future__ import annotations

import numpy as np
from tests.support.twin import random_ensemble

from eigenserve.model.matrices.curves import Curve, CurveSet, Term
from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.spectral import SpectralModel

FEATURES = (
    Feature("age", "numeric", typical=40.0, center=38.0, scale=12.5, low=17.0, high=90.0, missing=True),
    Feature("income", "numeric", 3e4, transform="log", center=10.0, scale=0.8, low=100.0, high=1e6),
    Feature("member", "boolean", typical=True),
    Feature("city", "categorical", typical="Paris", categories=("Paris", "Rome", "3"), missing=True),
    Feature("rate", "numeric", typical=0.5, center=0.25, scale=2.0, low=-3.0, high=3.0),
)
TERMS = (
    Term("age", (0,)),
    Term("income", (1,)),
    Term("member", (2,)),
    Term("city", (3,)),
    Term("rate", (4,)),
    Term("age & rate", (0, 4)),
    Term("city & income", (3, 1)),
)
CURVES = (
    Curve(0, numeric=(0,), direction=(1.0,), knots=(-1.0, 0.0, 1.5), missing=True),
    Curve(1, numeric=(1,), direction=(1.0,), knots=(0.0, 1.0), extend=True),
    Curve(2, numeric=(2,), direction=(1.0,), knots=(0.0, 1.0), extend=True),
    Curve(3, categorical=(3,), num_codes=(4,), missing=True),
    Curve(4, numeric=(4,), direction=(1.0,), knots=(-2.0, -0.5, 0.5, 2.0), extend=True),
    Curve(5, numeric=(0, 4), direction=(0.6, 0.8), knots=(-1.0, 0.25, 1.0), missing=True),
    Curve(6, numeric=(1,), direction=(1.0,), categorical=(3,), num_codes=(4,), knots=(-1.0, 1.0), missing=True),
)
ROW = {"age": 31, "income": 52000.5, "member": True, "city": "Rome", "rate": -0.125}


def make_model(task: str = "regression", seed: int = 0, members: int = 3, dim: int = 5) -> SpectralModel:
    """A model of random matrices with all of ``FEATURES``, ``TERMS`` and ``CURVES``."""
    classes = {"binary": (False, True), "multiclass": ("low", "mid", 3)}.get(task, ())
    rng, outputs = np.random.default_rng(seed), 3 if task == "multiclass" else 1
    scale = 0.3 if task == "poisson" else 1.0
    ensemble = random_ensemble(rng, outputs, members, dim, terms=TERMS, curves=CurveSet(CURVES), scale=scale)
    card = {"metrics": {"validation": {"rmse": 1.5}}, "training": {"seed": seed}}
    return SpectralModel(task, "target", FeatureSpace(FEATURES), ensemble, classes, card)


def make_wide_model(count: int, dim: int = 3) -> SpectralModel:
    """A regression of one member on so many tiny numbers f0, f1, ..., each with a term of its own."""
    features = [Feature(f"f{i}", "numeric", 3e-9, center=3e-9, scale=1e-9, low=1e-9, high=5e-9) for i in range(count)]
    curves = CurveSet(tuple(Curve(i, numeric=(i,), direction=(1.0,), knots=(-1.0, 1.0)) for i in range(count)))
    terms = tuple(Term(feature.name, (i,)) for i, feature in enumerate(features))
    ensemble = random_ensemble(np.random.default_rng(count), members=1, dim=dim, terms=terms, curves=curves)
    return SpectralModel("regression", "target", FeatureSpace(tuple(features)), ensemble, (), {})


def make_rows(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Rows with integers for floats, missing values and unseen categories."""
    generator = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for i in range(count):
        row: dict[str, object] = {
            "age": int(generator.integers(1, 100)) if i % 5 else None,
            "income": float(generator.lognormal(10, 1)),
            "member": bool(generator.integers(2)),
            "city": ("Paris", "Rome", "3", "Atlantis", None)[int(generator.integers(5))],
            "rate": float(generator.normal()),
        }
        if i % 7 == 0:
            del row["income"]
        rows.append(row)
    return rows
