"""`python -m benchmarks.accuracy`: cross-validated accuracy and times against other learners, as Markdown and JSON.

All learners see the same folds. Packages that are missing are skipped with a note; `make bench-accuracy` installs
them. What is done is in the JSON file already after each table, and is not done again.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold

from benchmarks.accuracy_rivals import PACKAGES, RIVALS
from benchmarks.accuracy_tables import TABLES, Table

#: Rows that are explained to time it: TreeSHAP takes milliseconds for each.
EXPLAINED_ROWS = 500
#: Repetitions of predictions and explanations, of which the median counts; the first one warms up.
REPEATS = 4


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--tables", default=",".join(TABLES), help="default: %(default)s")
    parser.add_argument("--learners", default=",".join(RIVALS), help="default: %(default)s")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of Eigenserve's search (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/accuracy.json"), help="default: %(default)s")
    options = parser.parse_args(argv)
    tables, learners = options.tables.split(","), options.learners.split(",")
    for name, known in ((tables, TABLES), (learners, RIVALS)):
        unknown = sorted(set(name) - set(known))
        if unknown:
            parser.error(f"must be of {', '.join(known)}; got {', '.join(unknown)}")
    absent = [name for name in learners if find_spec(PACKAGES.get(name, "sklearn")) is None]
    if absent:
        print(f"left out, not installed: {', '.join(absent)}")
    done = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in tables:
        table = TABLES[name]()
        found = done.setdefault(name, {"task": table.task, "rows": len(table.target), "learners": {}})
        for learner in learners:
            if learner not in absent and learner not in found["learners"]:
                found["learners"][learner] = judge(table, learner, options.folds, options.seed, options.budget)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(done, indent=1) + "\n")
        print(markdown(name, found), flush=True)
    print(summary(done))


def judge(table: Table, learner: str, folds: int, seed: int, budget: float) -> dict[str, Any]:
    """Scores of each fold, and times: seconds to fit, microseconds per row to predict and to explain."""
    rival = RIVALS[learner]
    target = table.target.to_numpy()
    if table.task != "regression":
        target = np.unique(target, return_inverse=True)[1]
    split = KFold if table.task == "regression" else StratifiedKFold
    scores: dict[str, list[float]] = {}
    fit_s, predict_us, explain_us = [], [], []
    for train, held in split(folds, shuffle=True, random_state=seed).split(table.features, target):
        features = table.features.iloc[held]
        model = rival.make(table, seed, budget)
        with warnings.catch_warnings():
            # Rivals' advice (convergence, names) is for their users.
            warnings.simplefilter("ignore")
            started = time.perf_counter()
            model.fit(table.features.iloc[train], target[train])
            fit_s.append(time.perf_counter() - started)
            predict = model.predict if table.task == "regression" else model.predict_proba
            for name, value in measures(table.task, target[held], predict(features)).items():
                scores.setdefault(name, []).append(value)
            predict_us.append(_microseconds(lambda p=predict, x=features: p(x), len(held)))
            if rival.explain is not None:
                part = features.iloc[:EXPLAINED_ROWS]
                explain_us.append(_microseconds(lambda m=model, x=part: rival.explain(m, x), len(part)))
    return {
        "scores": scores,
        "fit_s": median(fit_s),
        "predict_us": median(predict_us),
        "explain_us": median(explain_us) if explain_us else None,
    }


def measures(task: str, target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """What predictions (N,) or probabilities (N, classes) are judged by; the first is what counts, less is better."""
    if task == "regression":
        return {"rmse": float(root_mean_squared_error(target, predicted))}
    labels = np.arange(predicted.shape[1])
    ranking = predicted[:, 1] if task == "binary" else predicted
    auc = roc_auc_score(target, ranking, multi_class="ovr", labels=labels)
    return {"log_loss": float(log_loss(target, predicted, labels=labels)), "auc": float(auc)}


def _microseconds(call: Callable[[], object], rows: int) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1e6 * median(taken[1:]) / rows


def markdown(name: str, found: dict[str, Any]) -> str:
    """A table of one comparison: means over the folds and their standard errors."""
    learners = found["learners"]
    measured = list(next(iter(learners.values()))["scores"])
    lines = [
        f"\n### {name} ({found['rows']:,} rows)\n",
        f"| learner | {' | '.join(measured)} | fit s | predict µs/row | explain µs/row |",
        f"|---|{'---:|' * (len(measured) + 3)}",
    ]
    for learner, own in sorted(learners.items(), key=lambda entry: np.mean(entry[1]["scores"][measured[0]])):
        cells = [f"{np.mean(own['scores'][m]):.4g} ± {_standard_error(own['scores'][m]):.2g}" for m in measured]
        times = [f"{own['fit_s']:.2f}", f"{own['predict_us']:.1f}"]
        times.append("-" if own["explain_us"] is None else f"{own['explain_us']:.1f}")
        lines.append(f"| {learner} | {' | '.join(cells + times)} |")
    return "\n".join(lines)


def summary(done: dict[str, Any]) -> str:
    """Eigenserve against the best of the others on each table, in standard errors of the difference by fold."""
    lines = [
        "\n### All\n",
        "| table | eigenserve | best other | | better by | standard errors |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for name, found in done.items():
        measure = "rmse" if found["task"] == "regression" else "log_loss"
        scores = {learner: np.array(own["scores"][measure]) for learner, own in found["learners"].items()}
        ours = scores.pop("eigenserve", None)
        if ours is None or not scores:
            continue
        best = min(scores, key=lambda learner: scores[learner].mean())
        gain = scores[best] - ours
        error = _standard_error(gain)
        lines.append(
            f"| {name} | {ours.mean():.4g} | {scores[best].mean():.4g} | {best} | "
            f"{gain.mean() / scores[best].mean():+.1%} | {gain.mean() / error if error > 0 else 0.0:+.1f} |"
        )
    return "\n".join(lines)


def _standard_error(values: Sequence[float] | np.ndarray) -> float:
    return float(np.std(values, ddof=1) / len(values) ** 0.5)


if __name__ == "__main__":
    main()
