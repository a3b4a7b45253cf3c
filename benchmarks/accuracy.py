"""`python -m benchmarks.accuracy`: accuracy, times and memory on many tables against other learners.

All learners see the same splits: 80% of at most 12,000 rows to learn from, the rest to judge by, by log loss, root mean
squared error or Poisson deviance. Each fit runs in a process by itself, so that its memory is known. What is done is in
the JSON file after each fit and is not done again; learners whose package is missing are left out, and named.
"""

import argparse
import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, mean_poisson_deviance, root_mean_squared_error
from sklearn.model_selection import train_test_split

from benchmarks.accuracy_report import markdown, summary
from benchmarks.accuracy_rivals import RIVALS
from benchmarks.accuracy_tables import Table, tables_of
from benchmarks.results import read_results, write_results
from eigenserve.errors import UserError

#: Where tables are unless a folder is given.
FOLDER_VARIABLE = "EIGENSERVE_ACCURACY_TABLES"
TEST_SHARE = 0.2
#: A fit that takes longer than this is given up.
TIMEOUT_S = 1800.0


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    folder = os.environ.get(FOLDER_VARIABLE)
    parser.add_argument("--folder", type=Path, default=folder, help=f"with manifest.json (default: ${FOLDER_VARIABLE})")
    parser.add_argument("--tables", help="of them: a,b,c (default: all)")
    parser.add_argument("--learners", default=",".join(RIVALS), help="default: %(default)s")
    parser.add_argument("--splits", type=_seeds, default="0,1,2", help="seeds of the splits (default: %(default)s)")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of Eigenserve's fit (default 60)")
    parser.add_argument("--out", type=Path, default=Path("build/accuracy.json"), help="default: %(default)s")
    given = parser.parse_args(argv)
    try:
        tables, done = tables_of(given.folder), read_results(given.out)
    except UserError as error:
        parser.error(str(error))
    learners = given.learners.split(",")
    names = given.tables.split(",") if given.tables else list(tables)
    for wanted, known in ((names, tables), (learners, RIVALS)):
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            parser.error(f"must be of {', '.join(known)}; got {', '.join(unknown)}")
    absent = [name for name in learners if find_spec(RIVALS[name].package) is None]
    if absent:
        print(f"left out, not installed: {', '.join(absent)}")
    unread = []
    for name in names:
        try:
            table = tables[name]()
        except (UserError, OSError, ValueError) as error:
            unread.append(name)
            print(f"left out, cannot be read: {name}: {error}", flush=True)
            continue
        entry = done.setdefault(name, {"task": table.task, "rows": len(table.target), "learners": {}})
        for split in given.splits:
            for learner in learners:
                results = entry["learners"].setdefault(learner, {})
                if learner in absent or table.task not in RIVALS[learner].tasks or str(split) in results:
                    continue
                results[str(split)] = _alone(table, learner, split, given.budget)
                write_results(given.out, done)
        print(markdown(name, entry), flush=True)
    print(summary({name: done[name] for name in names if name not in unread}))
    if unread:
        parser.exit(1, f"{len(unread)} of {len(names)} tables could not be read: {', '.join(unread)}\n")


def _seeds(text: str) -> list[int]:
    seeds = text.split(",")
    if not all(seed.isdecimal() for seed in seeds):
        raise argparse.ArgumentTypeError(f"must be whole numbers from 0 such as 0,1,2; got {text!r}")
    return [int(seed) for seed in seeds]


def _alone(table: Table, learner: str, split: int, budget: float) -> dict[str, Any]:
    """Judge in a process of its own; what fails or takes too long is a result, too."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, table, learner, split, budget))
    process.start()
    theirs.close()
    try:
        result: dict[str, Any] = ours.recv() if ours.poll(TIMEOUT_S) else {"failed": f"no end after {TIMEOUT_S:.0f} s"}
    except EOFError:
        result = {"failed": "the process died, which is how too little memory ends"}
    process.kill()
    process.join()
    return result


def _answer(pipe: Any, table: Table, learner: str, split: int, budget: float) -> None:
    try:
        pipe.send(judge(table, learner, split, budget))
    except Exception as error:
        pipe.send({"failed": f"{type(error).__name__}: {error}"[:300]})


def judge(table: Table, learner: str, split: int, budget: float) -> dict[str, Any]:
    """Fit a learner to a split of the table and judge it.

    Returns:
        The loss; wall and processor seconds of the fit, microseconds per row of the prediction; peak memory in bytes.
    """
    classes = table.task in ("binary", "multiclass")
    target = table.target.to_numpy()
    if classes:
        target = np.unique(target, return_inverse=True)[1]
    train, test = train_test_split(
        np.arange(len(target)), test_size=TEST_SHARE, random_state=split, stratify=target if classes else None
    )
    rows = Table(table.features.iloc[train], table.target.iloc[train], table.task, table.weight[train])
    rows = rows._replace(target=type(table.target)(target[train], index=rows.features.index, name="target"))
    with warnings.catch_warnings():
        # Rivals' advice (convergence, names) is for their users.
        warnings.simplefilter("ignore")
        started, cpu = time.perf_counter(), time.process_time()
        predict = RIVALS[learner].fit(rows, split, budget)
        fit_s, fit_cpu_s = time.perf_counter() - started, time.process_time() - cpu
        predict(table.features.iloc[test])
        started = time.perf_counter()
        predicted = predict(table.features.iloc[test])
        predict_us = 1e6 * (time.perf_counter() - started) / len(test)
    return {
        "loss": test_loss(table.task, target[test], np.asarray(predicted), table.weight[test]),
        "fit_s": fit_s,
        "fit_cpu_s": fit_cpu_s,
        "predict_us": predict_us,
        "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def test_loss(task: str, target: np.ndarray, predicted: np.ndarray, weight: np.ndarray) -> float:
    """Return the loss of predictions (N,) or probabilities (N, classes): less is better."""
    if task == "regression":
        return float(root_mean_squared_error(target, predicted, sample_weight=weight))
    if task == "poisson":
        return float(mean_poisson_deviance(target, np.maximum(predicted, 1e-12), sample_weight=weight))
    return float(log_loss(target, predicted, labels=np.arange(predicted.shape[1]), sample_weight=weight))


if __name__ == "__main__":
    main()
