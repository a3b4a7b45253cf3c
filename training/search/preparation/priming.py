"""Prime the kernels of a fit: compile them, once after an installation, before its clock runs."""

from __future__ import annotations

from functools import cache
from threading import Event

import numpy as np

from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.training.kernels.losses import choose_objective
from eigenserve.training.planning.clock import Clock
from eigenserve.training.planning.costs import Scope
from eigenserve.training.search.preparation.ahead import start_compiling
from eigenserve.training.search.preparation.prepare import prepare
from eigenserve.training.search.preparation.sample import Sample
from eigenserve.training.settings import FitSettings

#: Rows and features of the table that is fitted for it.
ROWS, FEATURES = 64, 3


@cache
def prime_kernels() -> None:
    """Run every kernel of a fit on a table of a few rows; from the second time on that takes a tenth of a second."""
    compiling = start_compiling()
    rng = np.random.default_rng(0)
    values = rng.standard_normal((ROWS, FEATURES))
    space = FeatureSpace(tuple(Feature(f"x{i}", "numeric", 0.0, low=-3.0, high=3.0) for i in range(FEATURES)))
    scope = Scope(ROWS, FEATURES, 2, True, FEATURES, FEATURES, ROWS, 1, 1)
    benches = []
    for classes in (2, 3):
        sample = Sample(
            space=space,
            coordinates=values,
            target=rng.integers(0, classes, ROWS).astype(np.float64),
            weight=np.ones(ROWS),
            num_classes=classes,
            objective=choose_objective("binary" if classes == 2 else "multiclass", "auto", 0.5),
        )
        bench, _ = prepare(sample, np.arange(ROWS) % 2, FitSettings(dim=3), rng, scope, Clock(1e6))
        benches.append(bench)
    compiling.wait_for("training")
    for bench in benches:
        bench.train(bench.suitable()[0], 2, 0, (0,), Event())
