"""Check and time `fit` on a GPU against the CPU: a part of `eigenserve gpu-check`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd

from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

ROWS, BUDGET_S = 1_000_000, 60.0
#: Out-of-fold errors of one search may differ by as much: rounding, and what the clock cut short on the slower device.
RELATIVE_ERROR = 0.02


def check_fit(device: str = "cuda", rows: int = ROWS, budget_s: float = BUDGET_S, **settings: Any) -> bool:
    """Fit one table on the device and on the CPU, print both and return whether the errors out of fold agree."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 8))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(8)])
    frame["y"] = np.abs(x[:, 0]) + x[:, 1] * x[:, 2] + np.sin(2.0 * x[:, 3]) + 0.5 * rng.normal(size=rows)
    print(f"\n`fit` of {rows:,} rows, 8 features, budget {budget_s:g} s", flush=True)
    errors = []
    for name in (device, "cpu"):
        start = time.monotonic()
        fitted = fit(frame, "y", make_settings({"budget": budget_s, **settings, "device": name}))
        errors.append(float(fitted.model.card["metrics"]["out_of_fold"]["rmse"]))
        steps = sum(entry.steps for entry in fitted.judged if entry.candidate is not None)
        print(
            f"{name:>9}: {time.monotonic() - start:.1f} s, {len(fitted.judged)} judged with {steps:,} steps each fold, "
            f"RMSE out of fold {errors[-1]:.5f}",
            *fitted.notes,
            sep="\n  ",
            flush=True,
        )
    right = abs(errors[0] - errors[1]) <= RELATIVE_ERROR * errors[1]
    print("errors agree" if right else f"WRONG: errors differ by more than {RELATIVE_ERROR:.0%}", flush=True)
    return right
