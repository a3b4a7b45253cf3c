"""`python -m app.warm_kernels`: compile every serving kernel into the cache, as an image's build does."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from app.registry import ModelRegistry
from model import ModelStore, SpectralModel
from model.curves import Curve, CurveSet, Term
from model.ensemble import SpectralEnsemble
from model.features import Feature, FeatureSpace
from model.pencil import TridiagonalPencil


def main() -> None:
    """Save the smallest model there is and load it as the server does, warm-up included."""
    pencil = TridiagonalPencil(
        (Term("x", (0,)),),
        CurveSet((Curve(0, (0,), (1.0,), knots=(0.0, 1.0)),)),
        *(np.ones((1, 2)), np.ones((1, 1)), np.ones((2, 1, 2)), np.ones((2, 1, 1))),
    )
    features = FeatureSpace((Feature("x", "numeric", typical=0.0),))
    model = SpectralModel("regression", "y", features, SpectralEnsemble(pencil, 0, np.ones(1), np.zeros(1)))
    with tempfile.TemporaryDirectory() as folder:
        store = ModelStore(Path(folder))
        store.save("smallest", model)
        ModelRegistry(store).load_all()


if __name__ == "__main__":
    main()
