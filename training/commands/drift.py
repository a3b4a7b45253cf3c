"""Run the command `eigenserve drift`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from eigenserve.training.commands.fit import add_file_options

if TYPE_CHECKING:
    from eigenserve.model.monitoring import ChannelDrift

#: Exit code where something has drifted; 2 is a user's mistake.
DRIFTED = 1


def add_drift(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    drift = commands.add_parser(
        "drift",
        help="compare a table with a model's training rows",
        description="Compare a table with a model's training rows: every feature, score and contribution, and, where "
        "the table has the target, accuracy, calibration and coverage. Exit code 1 if anything differs beyond chance.",
    )
    drift.set_defaults(run=_run)
    drift.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    drift.add_argument("data", metavar="DATA", help="a table with the model's features, as for fit")
    drift.add_argument(
        "--level", type=float, metavar="P", help="chance of an alarm where nothing has drifted (default 0.001)"
    )
    drift.add_argument("--all", action="store_true", help="list also what has not drifted")
    add_file_options(drift)
    drift.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run(arguments: argparse.Namespace) -> int:
    from eigenserve.errors import UserError
    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.model.monitoring import (
        EXPLAINED_ROWS,
        LEVEL,
        AccuracySums,
        Counting,
        measure_drift,
        read_sketch,
        spread,
    )
    from eigenserve.training.evaluation.evaluate import judged_rows
    from eigenserve.training.evaluation.labelled_rows import has_labels
    from eigenserve.training.evaluation.model_tables import read_for_models
    from eigenserve.training.evaluation.seen_rows import seen_note

    level = LEVEL if arguments.level is None else arguments.level
    if not 0.0 < level < 1.0:
        raise UserError(f"--level must be above 0 and below 1; got {level}")
    model = load_model(arguments.model)
    sketch = read_sketch(model, model.card)
    if sketch is None:
        raise UserError(f"{arguments.model} keeps no sketch of its training rows: fit it again with this version")
    frame = read_for_models([model], arguments.data, arguments.csv_separator, arguments.encoding)
    columns = model.features.encode(frame)
    if not len(columns):
        raise UserError(f"{arguments.data} must have at least one row; got none")
    scores = model.scores(columns)
    counting = Counting(model, sketch)
    counts = counting.zeros()
    counting.count(columns, scores, counts)
    counting.count_contributions(spread(columns, EXPLAINED_ROWS), counts)
    drifts = measure_drift(sketch, counts, level)
    accuracy, note = None, ""
    if has_labels(model, frame):
        sums = AccuracySums(model)
        rows, target, weight = judged_rows(model, frame)
        accuracy = sums.document(sums.of(scores[rows.index], target.values, weight))
        note = seen_note(model.card, columns[rows.index], target.values)
    elif model.target in frame:
        note = f"the target {model.target!r} has no value in any row: predictions are not compared with it"
    metrics: dict[str, Any] = {} if accuracy is None else accuracy["metrics"]
    beyond = [name for name, metric in metrics.items() if metric["beyond"]]
    alarms = [drift for drift in drifts if drift.alarm]
    print(f"{len(columns):,} rows against {sketch.rows:,} training rows; chance of a false alarm {level:g}")
    for drift in drifts if arguments.all else alarms:
        print(_line(drift))
    if not alarms:
        print(f"no drift in {len(drifts)} features, scores and contributions")
    for name, metric in metrics.items():
        trained = "" if metric["training"] is None else f", {metric['training']:.4g} expected"
        error = "" if metric["standard_error"] is None else f" +- {metric['standard_error']:.2g}"
        print(f"{name}: {metric['value']:.4g}{error}{trained}{' (beyond chance)' if metric['beyond'] else ''}")
    if note:
        print(f"note: {note}")
    if arguments.json:
        head = {"model": model.card["name"], "version": model.card["version"], "rows": len(columns), "level": level}
        channels = [drift.document() for drift in drifts]
        print(json.dumps({**head, "drifted": bool(alarms or beyond), "channels": channels, "accuracy": accuracy}))
    return DRIFTED if alarms or beyond else 0


def _line(drift: ChannelDrift) -> str:
    return f"{drift.kind} {drift.name!r}: {'; '.join(drift.reasons) or 'as in training'}"
