"""Run the command `eigenserve evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

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
    judge.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run(arguments: argparse.Namespace) -> None:
    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.training.commands.metrics_table import print_metrics
    from eigenserve.training.data.table import FileOptions, read_table
    from eigenserve.training.evaluation.evaluate import evaluate

    model = load_model(arguments.model)
    files = FileOptions(arguments.csv_separator, arguments.encoding, (model.target, *model.features.input_names))
    found = evaluate(model, read_table(arguments.data, files))
    name = Path(arguments.data).name
    print_metrics({name: found})
    if arguments.json:
        result = {"model": model.card["name"], "version": model.card["version"]}
        print(json.dumps({**result, "metrics": {name: found.card}, "confidence_95": {name: found.intervals}}))
