"""Run the command `eigenserve evaluate`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from eigenserve.errors import UserError
from eigenserve.training.commands.fit import add_file_options


def add_evaluate(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    judge = commands.add_parser(
        "evaluate", help="measure a model on a table", description="Measure a model on a table."
    )
    judge.set_defaults(run=_run)
    judge.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    judge.add_argument("data", metavar="DATA", help="a table with the target, as for fit")
    add_file_options(judge)
    judge.add_argument("--by", metavar="COLUMN", help="compare the groups of rows with each value of a column, too")
    judge.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run(arguments: argparse.Namespace) -> None:
    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.training.commands.metrics_table import print_metrics
    from eigenserve.training.data.oddities.totals import without_totals
    from eigenserve.training.evaluation.evaluate import evaluate
    from eigenserve.training.evaluation.groups_of_rows import compare_groups
    from eigenserve.training.evaluation.labelled_rows import labelled_rows
    from eigenserve.training.evaluation.model_tables import read_for_models
    from eigenserve.training.evaluation.seen_rows import note_of

    model = load_model(arguments.model)
    others = [arguments.by] if arguments.by else []
    raw = read_for_models([model], arguments.data, arguments.csv_separator, arguments.encoding, others)
    frame, notes = without_totals(raw)
    for note in notes:
        print(f"note: {note}")
    if arguments.by is not None and arguments.by not in frame:
        raise UserError(f"no column {arguments.by!r} to compare groups by; the columns are {', '.join(frame.columns)}")
    evaluation = evaluate(model, frame)
    name = Path(arguments.data).name
    print_metrics({name: evaluation})
    if note := note_of(evaluation.seen):
        print(f"note: {note}")
    groups = []
    if arguments.by is not None:
        rows, _ = labelled_rows(model, frame)
        groups = compare_groups(model, evaluation, frame[arguments.by].iloc[rows.index])
    if groups:
        _print_groups(arguments.by, groups)
    if arguments.json:
        result = {"model": model.card["name"], "version": model.card["version"], "trained_on": evaluation.seen}
        parts = {"metrics": {name: evaluation.card}, "confidence_95": {name: evaluation.intervals}}
        plain = [{key: None if value != value else value for key, value in asdict(group).items()} for group in groups]
        print(json.dumps({**result, **parts, **({"groups": {arguments.by: plain}} if groups else {})}))


def _print_groups(column: str, groups: list[Any]) -> None:
    names = [field.name for field in fields(groups[0])][1:]
    shown = [name for name in names if any(getattr(group, name) == getattr(group, name) for group in groups)]
    table = [[column, *(name.replace("_", " ") for name in shown)]]
    table += [[group.name, *(f"{getattr(group, name):,.4g}" for name in shown)] for group in groups]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    print()
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
