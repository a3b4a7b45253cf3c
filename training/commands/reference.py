"""Run the command `eigenserve reference add`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigenserve.errors import UserError
from eigenserve.training.commands.fit import add_file_options

if TYPE_CHECKING:
    from eigenserve.model.spectral import SpectralModel


def add_reference(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    group = commands.add_parser(
        "reference", help="name a population that explanations compare with", description="Name populations."
    )
    add = group.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser(
        "add", help="keep the mean of some rows with a model, as its next version"
    )
    add.set_defaults(run=_run)
    add.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    add.add_argument("data", metavar="DATA", help="a table with the model's features, as for fit")
    add_file_options(add)
    add.add_argument("--where", required=True, metavar="COLUMN=VALUE", help="which rows: approved=yes,state=NY")
    add.add_argument("--name", help="what the reference is called (default: the condition)")


def _run(arguments: argparse.Namespace) -> None:
    from eigenserve.model.checkpoints.locations import place_of
    from eigenserve.model.explanations.reference import check_name, reference_of, with_reference
    from eigenserve.training.commands.population import rows_where
    from eigenserve.training.evaluation.model_tables import read_for_models
    from eigenserve.training.evaluation.read_cells import reader_of

    called = arguments.name or arguments.where
    try:
        check_name(called)
    except ValueError as error:
        raise UserError(f"--name {error}") from error
    store, name, version = place_of(arguments.model)
    model = store.load(name, version)
    frame = read_for_models([model], arguments.data, arguments.csv_separator, arguments.encoding)
    population = rows_where(frame, arguments.where, reader_of(model, frame))
    reference = reference_of(model, model.features.encode(population), called)
    report = store.report(name, int(model.card["version"]))

    def keep_report(folder: Path, _: SpectralModel) -> None:
        if report is not None:
            (folder / "report.html").write_bytes(report)

    saved = store.save(name, replace(model, card=with_reference(model.card, reference)), keep_report)
    print(f"wrote {store.root}/{name}/{saved.card['version']}: reference {reference.name!r}, {reference.rows:,} rows")
