"""The quality of explanations on several tables: ours by three methods, and of others on the same rows.

    python -m benchmarks.explanation_quality [--tables FOLDER] [--out build/explanation_quality.json] [--quick]

For every table a spectral model is trained on three quarters of the rows, and LightGBM and an explainable boosting
machine (EBM), where they are installed; explained are 100 of the others. Every figure is of attributions to features: a
pair's contribution counts half for either.

faithful    mean |change of the score| when the three features with the largest attributions get the values of a random
            training row, over that of all other features: more is better.
.01, .1 sd  median over rows of the largest move of an attribution, as a share of the row's largest, when every number
            moves by that share of a standard deviation: less is better.
Shapley     correlation with exact Shapley values of the same model against the typical row (ours only).
parts       features that make up nine tenths of all attribution, on average.

KernelSHAP and LIME explain the same spectral model, if shap and lime are installed. What is finished is kept in the
file; a run that is repeated measures the rest.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_tables import TABLES, Table, tables_of
from benchmarks.results import read_results, write_results
from eigenserve.errors import UserError
from eigenserve.model.arrays import FloatArray
from eigenserve.model.certificates.reach import default_radii
from eigenserve.model.explanations.explain import explain
from eigenserve.model.rows.baseline import baseline_columns
from eigenserve.model.spectral import SpectralModel
from eigenserve.training.fit import fit
from eigenserve.training.settings import make_settings

NAMES = ("adult", "california", "diabetes", "german_credit", "heart_cleveland", "concrete")
ROWS, FEW, TOP = 100, 20, 3
EBM = "EBM's own"
Attribute = Callable[[FloatArray], tuple[FloatArray, FloatArray | None]]
HEAD = ("table", "method", "complete", "faithful", ".01 sd", ".1 sd", "Shapley", "parts", "us a row")


def main(out: Path, folder: Path | None, quick: bool) -> None:
    """Measure what the file lacks, and print the table."""
    done: dict[str, dict[str, Any]] = read_results(out)
    found = {**TABLES, **(tables_of(folder) if folder else {})}
    for name in NAMES[: 2 if quick else None]:
        if name in found and not any(key.startswith(f"{name}/") for key in done):
            done |= {f"{name}/{method}": figures for method, figures in _measure(found[name](), quick).items()}
            write_results(out, done)
    print("| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD))
    for key, figures in done.items():
        cells = ["" if figures[name] is None else f"{figures[name]:.2g}" for name in HEAD[2:-1]]
        print(f"| {' | '.join([*key.split('/'), *cells, format(figures['us a row'], ',.0f')])} |")


def _measure(table: Table, quick: bool) -> dict[str, dict[str, Any]]:
    frame = table.features.assign(**{"the target": table.target.to_numpy()})
    order = np.random.default_rng(0).permutation(len(frame))
    train, rest = frame.iloc[order[len(order) // 4 :]], frame.iloc[order[: len(order) // 4]]
    settings = make_settings({"budget": 5.0 if quick else 30.0, "task": table.task})
    model = fit(train, "the target", settings).model
    columns = model.features.encode(rest.drop(columns="the target").head(ROWS))
    background = model.features.encode(train.drop(columns="the target").head(1000))
    exact = _ours(model, "shapley")(columns)[0]
    scores = _scores(model)
    measured = {}
    for method in ("integrated", "eigenvector", "shapley_terms", "shapley"):
        measured[method] = _figures(model, scores, _ours(model, method), columns, background, exact)
    others = [("TreeSHAP of LightGBM", _tree), (EBM, _ebm), ("KernelSHAP", _kernel), ("LIME", _lime)]
    for method, make in others:
        try:
            rival_scores, attribute = make(model, background, train["the target"].to_numpy(), train)
        except ImportError as error:
            print(f"{method}: not measured: {error}")
            continue
        of_other_model = method in ("TreeSHAP of LightGBM", EBM)
        own = columns if of_other_model else columns[:FEW]
        compare = None if of_other_model else exact[: len(own)]
        measured[method] = _figures(model, rival_scores, attribute, own, background, compare)
    return measured


def _scores(model: SpectralModel) -> Callable[[FloatArray], FloatArray]:
    # Of several classes the last: which is explained must not depend on the row.
    return lambda columns: model.scores(columns)[:, -1]


def _ours(model: SpectralModel, method: str) -> Attribute:
    target = model.classes[-1] if model.task == "multiclass" else None

    def attribute(columns: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        found = explain(model, columns, method, target)
        shares = np.zeros((len(found.terms), len(model.features)))
        for t, positions in enumerate(found.rows.terms if found.rows else ()):
            shares[t, list(positions)] = 1.0 / len(positions)
        return found.contributions @ shares, found.baseline + found.contributions.sum(axis=1) - found.score

    return attribute


def _tree(model: SpectralModel, _: FloatArray, target: Any, train: Any) -> tuple[Any, Attribute]:
    import lightgbm

    columns = model.features.encode(train.drop(columns="the target"))
    last = np.array([str(label) == str(model.classes[-1]) for label in target]) if model.classes else target
    options = {"n_estimators": 600, "learning_rate": 0.03, "verbose": -1, "n_jobs": 1}
    kind = lightgbm.LGBMClassifier if model.classes else lightgbm.LGBMRegressor
    trees = kind(**options).fit(columns, last)

    def attribute(rows: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        parts = trees.predict(rows, pred_contrib=True)
        return parts[:, :-1], parts.sum(axis=1) - trees.predict(rows, raw_score=True)

    return lambda rows: trees.predict(rows, raw_score=True), attribute


def _ebm(model: SpectralModel, _: FloatArray, target: Any, train: Any) -> tuple[Any, Attribute]:
    from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor

    columns = model.features.encode(train.drop(columns="the target"))
    last = np.array([str(label) == str(model.classes[-1]) for label in target]) if model.classes else target
    kinds = ["nominal" if feature.num_codes else "continuous" for feature in model.features.features]
    options = {"feature_types": kinds, "random_state": 0, "n_jobs": 1}
    kind = ExplainableBoostingClassifier if model.classes else ExplainableBoostingRegressor
    machine = kind(**options).fit(columns, last)

    def scores(rows: FloatArray) -> FloatArray:
        return np.asarray(machine.decision_function(rows) if model.classes else machine.predict(rows))

    def attribute(rows: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        parts = machine.eval_terms(rows)
        shares = np.zeros((parts.shape[1], rows.shape[1]))
        for t, positions in enumerate(machine.term_features_):
            shares[t, list(positions)] = 1.0 / len(positions)
        return parts @ shares, float(np.ravel(machine.intercept_)[0]) + parts.sum(axis=1) - scores(rows)

    return scores, attribute


def _kernel(model: SpectralModel, background: FloatArray, *_: Any) -> tuple[Any, Attribute]:
    import shap

    scores = _scores(model)
    explainer = shap.KernelExplainer(scores, baseline_columns(model.features)[None])

    def attribute(rows: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        values = np.asarray(explainer.shap_values(rows, nsamples=500, silent=True))
        return values, values.sum(axis=1) + explainer.expected_value - scores(rows)

    return scores, attribute


def _lime(model: SpectralModel, background: FloatArray, *_: Any) -> tuple[Any, Attribute]:
    from lime.lime_tabular import LimeTabularExplainer

    scores = _scores(model)
    full = np.where(np.isnan(background), baseline_columns(model.features), background)
    codes = [i for i, feature in enumerate(model.features.features) if feature.num_codes]
    explainer = LimeTabularExplainer(full, mode="regression", categorical_features=codes, random_state=0)

    def attribute(rows: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        values = np.zeros(rows.shape)
        for row, out in zip(np.where(np.isnan(rows), full[0], rows), values, strict=True):
            found = explainer.explain_instance(row, scores, num_features=len(row), num_samples=1000)
            for i, amount in found.local_exp[1]:
                out[i] = amount
        return values, None

    return scores, attribute


def _figures(
    model: SpectralModel,
    scores: Callable[[FloatArray], FloatArray],
    attribute: Attribute,
    columns: FloatArray,
    background: FloatArray,
    exact: FloatArray | None,
) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    attribute(columns[:2])
    start = time.process_time()
    values, miss = attribute(columns)
    taken = time.process_time() - start
    sizes = np.abs(values)
    largest = np.maximum(sizes.max(axis=1), np.finfo(float).tiny)
    order = np.argsort(-sizes, axis=1)
    changes = []
    for part in (order[:, :TOP], order[:, TOP:]):
        total = np.zeros(len(columns))
        for _ in range(20):
            changed = columns.copy()
            other = background[rng.integers(len(background), size=len(columns))]
            np.put_along_axis(changed, part, np.take_along_axis(other, part, axis=1), axis=1)
            total += np.abs(scores(changed) - scores(columns)) / 20
        changes.append(total.mean())
    moves = []
    for share in (0.01, 0.1):
        widths = np.array([_widths(model, row, share) for row in columns])
        moved = columns + widths * rng.choice([-1.0, 1.0], columns.shape)
        moves.append(float(np.median(np.abs(attribute(moved)[0] - values).max(axis=1) / largest)))
    running = np.cumsum(np.take_along_axis(sizes, order, axis=1), axis=1)
    parts = (running < 0.9 * running[:, -1:]).sum(axis=1) + 1
    return {
        "complete": None if miss is None else float(np.abs(miss).max() / np.abs(scores(columns)).max()),
        "faithful": float(changes[0] / max(changes[1], np.finfo(float).tiny)),
        ".01 sd": moves[0],
        ".1 sd": moves[1],
        "Shapley": None if exact is None else float(np.corrcoef(values.ravel(), exact.ravel())[0, 1]),
        "parts": float(parts.mean()),
        "us a row": 1e6 * taken / len(columns),
    }


def _widths(model: SpectralModel, row: FloatArray, share: float) -> FloatArray:
    radii = default_radii(model.features, row, share)
    return np.array([radii.get(name, 0.0) for name in model.features.names])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/explanation_quality.json"))
    parser.add_argument("--tables", type=Path, help="a folder with a manifest.json, as for make bench-accuracy")
    parser.add_argument("--quick", action="store_true", help="two tables, short fits")
    arguments = parser.parse_args()
    try:
        main(arguments.out, arguments.tables, arguments.quick)
    except UserError as error:
        parser.error(str(error))
