"""The command line: fit, evaluate and export."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from model.checkpoint import CheckpointError
from model.features import InvalidRowsError
from model.store import ModelNotFoundError, ModelStore, check_name, load_model
from training.export import add_export
from training.table import UserError

#: Exit code of a user's mistake, as argparse has it.
USER_ERROR = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except (UserError, InvalidRowsError, CheckpointError, ModelNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m training", description="Train and judge tridiagonal spectral models.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="train a model from a table", description="Train a model from a table.")
    fit.set_defaults(run=_fit)
    fit.add_argument("data", metavar="DATA", type=Path, help="CSV, CSV.gz, Parquet or Arrow file")
    fit.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    fit.add_argument(
        "--task", choices=["auto", "regression", "binary", "multiclass", "poisson"], default=argparse.SUPPRESS
    )
    fit.add_argument("--name", help="the model's name in the store (default: the file's name)")
    fit.add_argument("--store", type=Path, help="the store (default: $EIGENSERVE_STORE, or models)")
    fit.add_argument("--test", type=Path, metavar="DATA", help="rows to measure the finished model on")
    fit.add_argument("--config", type=Path, metavar="FILE.toml", help="settings by name; options here go first")
    fit.add_argument("--device", choices=["auto", "cpu"], default="auto", help="where to train")
    fit.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    for name, kind, text in _SETTINGS:
        fit.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=text)
    judge = commands.add_parser(
        "evaluate", help="measure a model on a table", description="Measure a model on a table."
    )
    judge.set_defaults(run=_evaluate)
    judge.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    judge.add_argument("data", metavar="DATA", type=Path)
    judge.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    add_export(commands)
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


_SETTINGS = (
    ("dim", int, "size of the matrices (default 15)"),
    ("members", int, "spectral neurons whose mean is the score (default 8)"),
    ("pairs", str, "pairs of features with a term of their own: a:b,c:d, none, or auto (default)"),
    ("budget", float, "seconds that the search may take, about (default 60)"),
    ("loss", str, "of a regression: auto (default), squared, huber, absolute, quantile"),
    ("quantile", float, "which one, for that loss (default 0.5)"),
    ("monotone", str, "features along which the score never falls or never rises: f=+,g=-"),
    ("weight", str, "column that says how much each row counts"),
    ("exposure", str, "column of exposures, for the task poisson"),
    ("class-weight", str, "balanced, or none (default)"),
    ("curves", str, "piecewise (default), or linear for the plain affine pencil"),
    ("seed", int, "of everything random (default 0)"),
    ("features", _names, "columns to use: a,b,c (default: all)"),
    ("exclude", _names, "columns to leave out"),
)


def _fit(arguments: argparse.Namespace) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from training.fit import fit
    from training.metrics import evaluate
    from training.progress import FitProgress
    from training.settings import make_settings, read_settings
    from training.table import read_table

    started = time.monotonic()
    names = [name.replace("-", "_") for name, *_ in _SETTINGS] + ["task"]
    told = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    settings = read_settings(arguments.config, told) if arguments.config else make_settings(told)
    name = _model_name(arguments)
    frame = read_table(arguments.data)
    test = read_table(arguments.test) if arguments.test else None
    if test is not None and arguments.target not in test:
        raise UserError(f"{arguments.test} has no column {arguments.target!r}")
    with FitProgress() as progress:
        fitted = fit(frame, arguments.target, settings, progress)
    model = fitted.model
    if test is not None:
        metrics = evaluate(model, test)
        card = {
            **model.card,
            "metrics": {**model.card["metrics"], "test": {"rows": metrics.rows, **metrics.values}},
        }
        model = replace(model, card=card)
    saved = _store(arguments.store).save(name, model)
    seconds = time.monotonic() - started
    folder = _store(arguments.store).root / name / str(saved.card["version"])
    for note in fitted.notes:
        print(f"note: {note}")
    _print_metrics(model.card["metrics"])
    print(f"wrote {folder} in {seconds:.1f} s")
    if arguments.json:
        result = {"model": name, "version": saved.card["version"], "path": str(folder), "seconds": seconds}
        print(json.dumps({**result, "task": model.task, "metrics": model.card["metrics"], "notes": fitted.notes}))


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.metrics import evaluate
    from training.table import read_table

    model = load_model(arguments.model)
    metrics = evaluate(model, read_table(arguments.data))
    found = {arguments.data.name: {"rows": metrics.rows, **metrics.values}}
    _print_metrics(found)
    if arguments.json:
        print(json.dumps({"model": model.card["name"], "version": model.card["version"], "metrics": found}))


def _model_name(arguments: argparse.Namespace) -> str:
    name = arguments.name or arguments.data.name.split(".")[0]
    try:
        return check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from error


def _store(path: Path | None) -> ModelStore:
    import os

    return ModelStore(path or Path(os.environ.get("EIGENSERVE_STORE", "models")))


def _print_metrics(metrics: dict[str, dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    rows = [["", *names]]
    for part, values in metrics.items():
        rows.append([part, *(_figure(values.get(name)) for name in names)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def _figure(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
