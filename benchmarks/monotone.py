"""A monotone feature against random pairs, walks along every knot, and an adversary: does the score ever fall?

    python -m benchmarks.monotone MODEL DATA FEATURE [--pairs 1000000] [--climbs 2000]

MODEL must have been trained with --monotone FEATURE=+ or =-. A pair is two rows that differ in the feature alone;
the other values are drawn each from a row of its own, so that most rows are like none in the data.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eigenserve.model import load_model
from eigenserve.model.arrays import FloatArray
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.evaluation.model_tables import read_for_models

#: Rows scored at a time.
CHUNK = 50_000
#: Of the largest score: what rounding may take from a score that stays the same.
ROUNDING = 1e-12
#: Random changes of each pair that the adversary tries.
STEPS = 60


@dataclass(frozen=True)
class Search:
    """What was tried and the least rise of the score that was found, in the units of the score.

    Attributes:
        tried: pairs of rows.
        least: rise of the score along the feature in the worst of them; below zero it fell.
        tolerance: what rounding explains.
    """

    tried: int
    least: float
    tolerance: float

    @property
    def held(self) -> bool:
        """Whether the score never fell."""
        return self.least >= -self.tolerance


def mixed_rows(columns: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """(count, F): each value from a row of its own."""
    drawn = [rng.choice(column, count) for column in columns.T]
    return np.stack(drawn, axis=1)


def rises(model: SpectralModel, rows: FloatArray, index: int, sign: float, ends: FloatArray) -> Search:
    """By how much scores rise from the first to the second of ``ends`` (N, 2) put into rows (N, F)."""
    low, high = rows.copy(), rows.copy()
    low[:, index], high[:, index] = ends.min(axis=1), ends.max(axis=1)
    found = []
    largest = 0.0
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        before, after = model.scores(low[part]), model.scores(high[part])
        found.append(sign * (after - before))
        largest = max(largest, float(np.abs(before).max()))
    return Search(len(rows), float(np.concatenate(found).min()), ROUNDING * largest)


def random_pairs(
    model: SpectralModel, columns: FloatArray, index: int, sign: float, count: int, rng: np.random.Generator
) -> Search:
    """Random rows with two random values each: half of them of the data, half from beyond its range to beyond it."""
    present = columns[~np.isnan(columns[:, index]), index]
    low, high = present.min(), present.max()
    wide = 0.2 * (high - low)
    ends = np.where(
        rng.random((count, 1)) < 0.5,
        rng.choice(present, (count, 2)),
        rng.uniform(low - wide, high + wide, (count, 2)),
    )
    return rises(model, mixed_rows(columns, count, rng), index, sign, ends)


def along_knots(
    model: SpectralModel, columns: FloatArray, index: int, sign: float, rows: int, rng: np.random.Generator
) -> Search:
    """From every knot of every curve that walks along the feature to the next, in random rows."""
    feature = model.features.features[index]
    places = set()
    for curve in model.ensemble.pencil.curves.curves:
        if curve.numeric == (index,):
            places |= set(np.array(curve.knots) * curve.direction[0])
    walked = np.array(sorted(places)) * feature.scale + feature.center
    walked = np.exp(walked) if feature.transform == "log" else walked
    base = np.repeat(mixed_rows(columns, rows, rng), len(walked) - 1, axis=0)
    ends = np.tile(np.stack([walked[:-1], walked[1:]], axis=1), (rows, 1))
    return rises(model, base, index, sign, ends)


def adversary(
    model: SpectralModel, columns: FloatArray, index: int, sign: float, climbs: int, rng: np.random.Generator
) -> Search:
    """Climb from random pairs towards a falling score: change some values, keep what rises less for its distance."""
    rows = mixed_rows(columns, climbs, rng)
    present = columns[~np.isnan(columns[:, index]), index]
    ends = rng.choice(present, (climbs, 2))
    spread = present.max() - present.min()
    least, tolerance, tried = np.full(climbs, np.inf), 0.0, 0
    best = np.full(climbs, np.inf)
    for step in range(STEPS):
        other, moved = rows.copy(), ends.copy()
        if step:
            replaced = rng.random(rows.shape) < 0.3
            other = np.where(replaced, mixed_rows(columns, climbs, rng), rows)
            moved += rng.normal(0.0, 0.3 * spread * 0.9**step, ends.shape)
        low, high = other.copy(), other.copy()
        low[:, index], high[:, index] = moved.min(axis=1), moved.max(axis=1)
        before, after = model.scores(low), model.scores(high)
        rise = (sign * (after - before)).min(axis=1)
        slope = rise / np.maximum(np.abs(moved[:, 1] - moved[:, 0]), 1e-9 * spread)
        better = slope < best
        best[better] = slope[better]
        rows[better], ends[better] = other[better], moved[better]
        least = np.minimum(least, rise)
        tolerance = max(tolerance, ROUNDING * float(np.abs(before).max()))
        tried += climbs
    return Search(tried, float(least.min()), tolerance)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monotone", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("feature")
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--climbs", type=int, default=2_000)
    options = parser.parse_args()
    model = load_model(options.model)
    direction = model.card.get("certificates", {}).get("monotone", {}).get(options.feature)
    if direction is None:
        parser.error(f"{options.model} has no certificate of {options.feature!r}")
    sign, index = (1.0 if direction == "+" else -1.0), model.features.names.index(options.feature)
    columns, rng = model.features.encode(read_for_models([model], options.data)), np.random.default_rng(0)
    print("| search | pairs | least rise of the score | seconds |\n|---|---|---|---|")
    for name, work, count in (
        ("random pairs", random_pairs, options.pairs),
        ("from knot to knot", along_knots, 1_000),
        ("adversary", adversary, options.climbs),
    ):
        started = time.monotonic()
        found = work(model, columns, index, sign, count, rng)
        print(f"| {name} | {found.tried:,} | {found.least:.3g} | {time.monotonic() - started:.1f} |", flush=True)
        if not found.held:
            raise SystemExit(f"the score fell by {-found.least:g} along {options.feature!r}")


if __name__ == "__main__":
    main()
