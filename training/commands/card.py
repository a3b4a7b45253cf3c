"""Run the command `eigenserve card`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigenserve.training.commands.fit import add_file_options
from eigenserve.training.commands.page_file import check_page_file, print_page

if TYPE_CHECKING:
    from eigenserve.model.monitoring import Accuracy, Sketch
    from eigenserve.model.spectral import SpectralModel
    from eigenserve.training.report.card import Checked

#: Groups of rows that are measured; more are not a page.
MAX_GROUPS = 30


def add_card(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    card = commands.add_parser(
        "card",
        help="write a model's card: what its checkpoint proves about itself",
        description="Write a model's card: data, performance, guarantees, limits, monitoring and licences, in the "
        "order that rules for model risk ask for.",
    )
    card.set_defaults(run=_run)
    card.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    card.add_argument(
        "data", metavar="DATA", nargs="?", help="a table to measure drift and, with the target, metrics on"
    )
    card.add_argument("--by", metavar="COLUMN", help="measure metrics for each value of this column of DATA, too")
    card.add_argument("--url", help="a service that runs the model, whose drift and outcomes are included")
    card.add_argument("--key", help="the service's API key")
    card.add_argument("--out", metavar="FILE", help="write FILE.html or FILE.md (default: print Markdown)")
    add_file_options(card)


def _run(arguments: argparse.Namespace) -> None:
    import hashlib

    from eigenserve.errors import UserError
    from eigenserve.model.checkpoints.files import to_bytes
    from eigenserve.model.checkpoints.locations import load_model
    from eigenserve.model.monitoring import read_sketch
    from eigenserve.training.report.card import card_blocks

    check_page_file(arguments.out)
    if arguments.by is not None and arguments.data is None:
        raise UserError("--by needs DATA with that column and the target")
    model = load_model(arguments.model)
    sketch = read_sketch(model, model.card)
    checked = None if arguments.data is None else _check(arguments, model, sketch)
    served = None
    if arguments.url is not None:
        served = _served(arguments.url, arguments.key, str(model.card["name"]))
    digest = hashlib.sha256(to_bytes(model)["model.json"]).hexdigest()
    blocks = card_blocks(model, sketch, digest, checked, served)
    print_page(arguments.out, f"Model card: {model.card['name']}, version {model.card['version']}", blocks)


def _check(arguments: argparse.Namespace, model: SpectralModel, sketch: Sketch | None) -> Checked:
    from eigenserve.errors import UserError
    from eigenserve.model.monitoring import EXPLAINED_ROWS, AccuracySums, Counting, measure_drift, spread
    from eigenserve.training.evaluation.evaluate import judged_rows
    from eigenserve.training.evaluation.labelled_rows import has_labels
    from eigenserve.training.evaluation.model_tables import read_for_models
    from eigenserve.training.evaluation.seen_rows import seen_note
    from eigenserve.training.report.card import Checked

    frame = read_for_models([model], arguments.data, arguments.csv_separator, arguments.encoding)
    columns = model.features.encode(frame)
    if not len(columns):
        raise UserError(f"{arguments.data} must have at least one row; got none")
    scores, drift = model.scores(columns), None
    if sketch is not None:
        counting = Counting(model, sketch)
        counts = counting.zeros()
        counting.count(columns, scores, counts)
        counting.count_contributions(spread(columns, EXPLAINED_ROWS), counts)
        drift = measure_drift(sketch, counts)
    metrics: dict[str, dict[str, Accuracy]] = {}
    note = ""
    if has_labels(model, frame):
        rows, target, weight = judged_rows(model, frame)
        sums, known, labels = AccuracySums(model), rows.index, target.values
        note = seen_note(model.card, columns[known], labels)
        metrics["all rows"] = sums.metrics(sums.of(scores[known], labels, weight))
        if arguments.by is not None:
            if arguments.by not in frame:
                raise UserError(f"--by must name a column of {arguments.data}; got {arguments.by!r}")
            groups = frame[arguments.by].astype(object).where(frame[arguments.by].notna(), "missing").iloc[known]
            values = groups.value_counts()
            if len(values) > MAX_GROUPS:
                raise UserError(
                    f"--by must name a column of at most {MAX_GROUPS} values; {arguments.by!r} has {len(values)}"
                )
            for value in values.index:
                chosen = (groups == value).to_numpy()
                name = f"{arguments.by} {value} ({int(chosen.sum()):,} rows)"
                metrics[name] = sums.metrics(sums.of(scores[known][chosen], labels[chosen], weight[chosen]))
    elif arguments.by is not None:
        raise UserError(f"--by needs the target {model.target!r} in {arguments.data}, with values")
    return Checked(Path(arguments.data).name, len(columns), drift, metrics, note)


def _served(url: str, key: str | None, name: str) -> Any:
    import httpx

    from eigenserve.client import Client
    from eigenserve.errors import UserError

    try:
        with Client(url, key=key, retries=1) as client:
            return client.drift(name)
    except httpx.HTTPError as error:
        raise UserError(f"cannot ask {url}: {error}") from error
