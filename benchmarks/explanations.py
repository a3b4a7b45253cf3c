"""Explanations of the demo model: what they cost, whether they add up, and counterfactuals against dense grids.

    python -m benchmarks.explanations [--store build/certificates] [--quick]

The model is trained first if the store lacks it. Shap's ExactExplainer, where shap is installed, is given the model's
own batched predictions. A counterfactual that misses its goal ends the run.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.certificates import DATA, DEMOS, demo
from benchmarks.timing import interleaved
from eigenserve.app.engine.explanation_parts import included
from eigenserve.app.registry import ServedModel
from eigenserve.app.wire.include_options import INCLUDES, Include
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain
from eigenserve.model.rows.baseline import baseline_columns
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.data.table import read_table

ROWS = 1000
#: Of one feature, and of either of two.
GRID, PLANE = 1501, 91


def run(quick: bool = False, store: str = "build/certificates") -> None:
    """Print all figures.

    Raises:
        AssertionError: a counterfactual misses its goal.
    """
    model = demo("housing", Path(store))
    columns = model.features.encode(read_table(DATA / DEMOS["housing"][1]))
    _complete(model, columns[:200] if quick else columns)
    _costs(model, columns, 3 if quick else 10)
    _counterfactuals(model, columns[: 20 if quick else ROWS])


def _complete(model: SpectralModel, columns: FloatArray) -> None:
    for method in ("eigenvector", "path", "shapley"):
        found = explain(model, columns, method)
        miss = np.abs(found.baseline + found.contributions.sum(axis=1) - found.score)
        worst = (miss / np.maximum(1.0, np.abs(found.score))).max()
        print(f"{method:<12} baseline + contributions misses the score by {worst:.1e} of it, at most of {len(columns)}")


def _costs(model: SpectralModel, columns: FloatArray, rounds: int) -> None:
    hundred, served = columns[:100], ServedModel("housing", 1, model)
    rivals: dict[str, tuple[int, Callable[[], object]]] = {
        method: (100, lambda method=method: explain(model, hundred, method))
        for method in ("eigenvector", "path", "shapley")
    }
    for part in INCLUDES:
        one = Include(frozenset({part}))
        rivals[part] = (1, lambda one=one: included(served, one, columns[:1], None, None, lambda: None))
    everything = Include(frozenset(INCLUDES))
    rivals["everything"] = (1, lambda: included(served, everything, columns[:1], None, None, lambda: None))
    try:
        import shap
    except ImportError:
        print("shap is not installed: not compared")
    else:
        base = baseline_columns(model.features)[None]
        exact = shap.explainers.ExactExplainer(model.predict, shap.maskers.Independent(base, max_samples=1))
        ours, theirs = explain(model, hundred, "shapley"), exact(hundred)
        off = np.abs(ours.contributions - theirs.values).max() / np.abs(ours.score).max()
        print(f"shapley differs from shap's ExactExplainer by {off:.1e} of the largest score")
        rivals["shap's exact"] = (100, lambda: exact(hundred))
    times = interleaved({name: call for name, (_, call) in rivals.items()}, rounds)
    for name, (rows, _) in rivals.items():
        print(f"{name:<14}{1e3 * times[name] / rows:>10.3f} ms a row, {rows} at a time")


def _counterfactuals(model: SpectralModel, columns: FloatArray) -> None:
    """A goal 5 to 40 percent above or below each prediction; ratios above 1.01 are what a grid found nearer."""
    rng, features = np.random.default_rng(0), model.features
    count, taken, ratios = 0, 0.0, []
    for row in columns:
        sign, share = rng.choice([-1.0, 1.0]), rng.uniform(0.05, 0.4)
        goal = float(model.predict(row[None])[0]) * (1.0 + sign * share)
        start = time.perf_counter()
        (found,) = model.counterfactuals(row[None], {"above" if sign > 0 else "below": goal})
        taken += time.perf_counter() - start
        count += len(found)
        for one in found:
            if sign * (model.predict(one.columns[None])[0] - goal) < 0.0:
                raise AssertionError(f"{one} misses {goal}")
        by_names = {frozenset(one.changes): one.distance for one in found}
        nearest = min(by_names.values(), default=np.inf)
        pairs = [tuple(rng.choice(len(features), 2, replace=False)) for _ in range(2)]
        pairs += [tuple(features.position(name) for name in names) for names in by_names if len(names) == 2][:2]
        for which in [*((i,) for i in range(len(features))), *pairs]:
            own = by_names.get(frozenset(features.names[i] for i in which), nearest)
            least = _on_grid(model, row, which, sign, goal, 1.05 * own)
            if 0.0 < least < np.inf:
                ratios.append(own / least)
    print(
        f"{count} counterfactuals of {len(columns)} rows reach their goals, {1e3 * taken / len(columns):.0f} ms a row; "
        f"distance over the least on a grid: {max(ratios):.5f} at most, of {len(ratios)} grids that reached it"
    )


def _on_grid(
    model: SpectralModel, row: FloatArray, which: tuple[int, ...], sign: float, goal: float, within: float
) -> float:
    """Return the least distance on a grid over the possible values of one or two features at which it is reached."""
    here = model.features.coordinates(row[None])[0]
    axes = []
    for i in which:
        feature = model.features.features[i]
        low, high = feature.coordinate(np.array([feature.low, feature.high]))
        reach = min(within, high - low)
        ends = max(low, here[i] - reach), min(high, here[i] + reach)
        axes.append(np.linspace(*ends, GRID if len(which) == 1 else PLANE))
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(which))
    away = np.abs(places - here[list(which)]).sum(axis=1)
    places, away = places[away < within], away[away < within]
    changed = np.tile(row, (len(places), 1))
    for k, i in enumerate(which):
        feature = model.features.features[i]
        values = np.clip(feature.value(places[:, k]), feature.low, feature.high)
        if feature.step:
            values = feature.multiples(np.round(values / feature.step))
        changed[:, i] = values
    # Of rounded places, those that still move every feature.
    moved = (changed[:, list(which)] != row[list(which)]).all(axis=1)
    changed = changed[moved]
    away = np.abs(model.features.coordinates(changed) - here)[:, list(which)].sum(axis=1)
    good = sign * (model.scores(changed)[:, 0] - goal) >= 0.0
    return float(away[good].min(initial=np.inf))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="build/certificates")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    arguments = parser.parse_args()
    run(arguments.quick, arguments.store)
