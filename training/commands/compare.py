"""Run the command `eigenserve compare`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from eigenserve.training.commands.fit import add_file_options
from eigenserve.training.commands.page_file import check_page_file, print_page

if TYPE_CHECKING:
    import pandas as pd

    from eigenserve.model.monitoring import Accuracy
    from eigenserve.model.spectral import SpectralModel


def add_compare(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    compare = commands.add_parser(
        "compare",
        help="compare two models, or versions, on a table",
        description="Compare two models on a table: predictions, sides of a cutoff and reasons, and accuracy where the "
        "table has the target.",
    )
    compare.set_defaults(run=_run)
    compare.add_argument("first", metavar="MODEL_A", help="STORE/NAME or STORE/NAME/VERSION")
    compare.add_argument("second", metavar="MODEL_B", help="what is compared with it")
    compare.add_argument("data", metavar="DATA", help="a table with the features of both, as for fit")
    compare.add_argument(
        "--cutoff",
        type=float,
        metavar="C",
        help="where decisions are made: a value of the target (default: the median of MODEL_A's predictions), or a "
        "probability of the second of two classes (default 0.5)",
    )
    compare.add_argument("--out", metavar="FILE", help="write the page to FILE.html or FILE.md (default: print it)")
    add_file_options(compare)
    compare.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run(arguments: argparse.Namespace) -> None:
    from eigenserve.errors import UserError
    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.model.monitoring.comparison import check_comparable, compare
    from eigenserve.model.monitoring.pages.comparison import comparison_blocks
    from eigenserve.training.evaluation.labelled_rows import has_labels
    from eigenserve.training.evaluation.model_tables import read_for_models

    check_page_file(arguments.out)
    models = load_model(arguments.first), load_model(arguments.second)
    first, second = models
    names = tuple(f"{model.card['name']}/{model.card['version']}" for model in models)
    if names[0] == names[1]:
        names = arguments.first, arguments.second
    frame = read_for_models(models, arguments.data, arguments.csv_separator, arguments.encoding)
    try:
        check_comparable(first, second)
        comparison = compare(
            first, second, (first.features.encode(frame), second.features.encode(frame)), arguments.cutoff
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    metrics: tuple[dict[str, Accuracy], dict[str, Accuracy]] = {}, {}
    if has_labels(first, frame) and first.target == second.target:
        metrics = _metrics(first, frame), _metrics(second, frame)
    blocks = comparison_blocks((names[0], names[1]), comparison, metrics)
    print_page(arguments.out, f"{names[1]} compared with {names[0]}", blocks)
    if arguments.json:
        measured = [{name: vars(metric) for name, metric in each.items()} for each in metrics]
        print(json.dumps({"models": list(names), **comparison.document(), "metrics": measured}))


def _metrics(model: SpectralModel, frame: pd.DataFrame) -> dict[str, Accuracy]:
    from eigenserve.model.monitoring.accuracy import AccuracySums
    from eigenserve.training.evaluation.evaluate import judged_rows

    sums = AccuracySums(model)
    rows, target, weight = judged_rows(model, frame)
    return sums.metrics(sums.of(model.scores(model.features.encode(rows)), target.values, weight))
