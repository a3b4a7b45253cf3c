"""Proved orders of contributions against attacks: rows within the proved radii that try to change order or sign.

    python -m benchmarks.order_attacks [--store build/certificates] [--quick] [MODEL ...]

100,000 random and 10,000 adversarial rows for every demo model, by either method that has proofs. A violation ends the
run.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import DEFAULT_SHARE, default_radii
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.rank_stability import order_claims
from eigenserve.model.spectral import SpectralModel

RANDOM, ADVERSARIAL = 100_000, 10_000
#: The two tightest claims of every row are attacked, one feature at a time, from this many places.
STARTS, STOPS = 2, 5


class OrderAttack(NamedTuple):
    """How many rows were tried at random and by attacks, how many changed the order, and the least claim over its own.

    ``left``: of the claims' values at the row, the least share that any row tried leaves.
    """

    random: int
    adversarial: int
    violations: int
    left: float


def attack_order(
    model: SpectralModel,
    columns: FloatArray,
    radii: Mapping[str, float],
    rng: np.random.Generator,
    random: int,
    method: str = "integrated",
    leading: int = 3,
) -> OrderAttack:
    """Try rows within radii of a row (F,) of columns: at random, then downhill on the claims that come nearest to 0."""
    names = model.features.names
    widths = np.array([radii.get(name, 0.0) for name in names])
    widths[[bool(feature.num_codes) for feature in model.features.features]] = 0.0
    widths[np.isnan(columns)] = 0.0
    target = model.classes[int(model.scores(columns[None]).argmax())] if model.task == "multiclass" else None
    here = explain(model, columns[None], method, target).contributions[0]
    claims = order_claims(here, np.argsort(-np.abs(here), kind="stable")[:leading])
    own = np.maximum(claims @ here, np.finfo(float).tiny)
    count, violations, left = 0, 0, np.inf

    def tried(shares: FloatArray) -> FloatArray:
        nonlocal count, violations, left
        rows = np.where(widths > 0.0, columns + shares * widths, columns)
        values = explain(model, rows, method, target).contributions @ claims.T
        count += len(shares)
        violations += int((values <= 0.0).any(axis=1).sum())
        left = min(left, float((values / own).min()))
        return values / own

    shares = rng.uniform(-1.0, 1.0, (random, len(columns)))
    at_ends = rng.random((random, 1)) < 0.5
    shares = np.where(at_ends & (rng.random(shares.shape) < 0.8), np.sign(shares), shares)
    values = tried(shares)
    drawn, count = count, 0
    for claim in np.argsort(values.min(axis=0))[:STARTS]:
        at = shares[values[:, claim].argmin()].copy()
        for _ in range(2):
            for i in np.flatnonzero(widths > 0.0):
                trial = np.tile(at, (STOPS, 1))
                trial[:, i] = np.linspace(-1.0, 1.0, STOPS)
                at = trial[tried(trial)[:, claim].argmin()]
    return OrderAttack(drawn, count, violations, left)


def run(quick: bool, store: Path, names: tuple[str, ...]) -> None:
    """Print a line for each model and method.

    Raises:
        AssertionError: an attack changed the order or a sign within the proved radius.
    """
    from benchmarks.certificates import DATA, DEMOS, demo
    from eigenserve.training.data.table import read_table

    scale = 100 if quick else 1
    print(
        "How many standard deviations every number may move while the three largest contributions keep order and sign"
    )
    columns = ("method", "rows", "proved", "all proved", "sampled", "random", "adversarial")
    print(f"{'model':<10}" + "".join(f"{column:>13}" for column in columns))
    for name in names or tuple(DEMOS):
        model, rng = demo(name, store), np.random.default_rng(0)
        frame = read_table(DATA / DEMOS[name][1])
        frame = frame.sample(min(len(frame), 5 if quick else 50), random_state=0)
        rows = model.features.encode(frame)
        for method in ("integrated", "eigenvector"):
            found = model.reasons_stable(frame, method=method)
            proved = np.flatnonzero(found.proved > 0.0)
            random = adversarial = 0
            turn = 0
            while len(proved) and (random < RANDOM // scale or adversarial < ADVERSARIAL // scale):
                row = rows[proved[turn % len(proved)]]
                share = float(found.proved[proved[turn % len(proved)]])
                radii = {key: share * radius for key, radius in default_radii(model.features, row).items()}
                tried = attack_order(model, row, radii, rng, max(20, RANDOM // scale // len(proved)), method)
                if tried.violations:
                    raise AssertionError(f"{name}: {tried} within {share} of the radii of {row.tolist()}")
                random, adversarial, turn = random + tried.random, adversarial + tried.adversarial, turn + 1
            radius = DEFAULT_SHARE * np.median(found.proved), DEFAULT_SHARE * np.median(found.sampled)
            print(
                f"{name:<10}{method:>13}{len(rows):>13}{radius[0]:>13.2g}{np.mean(found.proved == 1.0):>13.0%}"
                f"{radius[1]:>13.2g}{random:>13,}{adversarial:>13,}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.order_attacks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--store", type=Path, default=Path("build/certificates"), help="where the models are")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, a hundredth of the attacks")
    arguments = parser.parse_args()
    run(arguments.quick, arguments.store, tuple(arguments.names))
