"""Models that keep a sketch of known training rows, and rows like these."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.support.made_models import make_model

from eigenserve.model.monitoring import CARD_KEY, make_sketch, sketch_document
from eigenserve.model.spectral import SpectralModel

CITIES = ("Paris", "Rome", "3")


def like_training(count: int, seed: int) -> list[dict[str, object]]:
    """Draw rows of which the training rows of ``sketched_model`` are some."""
    draw = np.random.default_rng(seed)
    return [
        {
            "age": None if draw.random() < 0.02 else float(draw.integers(17, 90)),
            "income": float(draw.lognormal(10, 0.8)),
            "member": bool(draw.random() < 0.3),
            "city": str(draw.choice(CITIES, p=(0.9, 0.06, 0.04))),
            "rate": float(draw.normal(0.25, 1.0)),
        }
        for _ in range(count)
    ]


def sketched_model(task: str = "regression", seed: int = 1, rows: int = 6000) -> SpectralModel:
    """Make a model that keeps a sketch."""
    model = make_model(task, seed)
    sketch = make_sketch(model, model.features.encode(like_training(rows, seed=0)))
    return replace(model, card={**model.card, CARD_KEY: sketch_document(sketch)})
