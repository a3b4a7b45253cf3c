"""The command line: fit, evaluate, curvature and export."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model.checkpoint import CheckpointError
from model.features import InvalidRowsError
from model.remote_store import RemoteStore
from model.spectral import SpectralModel
from model.store import ModelNotFoundError, ModelStore, check_name
from model.stores import load_model, open_store
from training.export import add_export
from training.table import UserError

if TYPE_CHECKING:
    from training.evaluate import Evaluation

#: Exit code of a user's mistake, as argparse has it.
USER_ERROR = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.command_line = shlex.join(["python", "-m", "training", *(sys.argv[1:] if argv is None else argv)])
        arguments.run(arguments)
    except (UserError, InvalidRowsError, CheckpointError, ModelNotFoundError) as error:
        # One line, whatever a file or a column is called.
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{where}", file=sys.stderr)
        return USER_ERROR
    except ModuleNotFoundError as error:
        # The base install serves; what training needs besides comes with an extra.
        print(f"error: no module {error.name!r}: pip install 'eigenserve[train]' brings it", file=sys.stderr)
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
    fit.add_argument("--store", help="folder or fsspec URL of the store (default: $EIGENSERVE_STORE, or models)")
    fit.add_argument("--test", type=Path, metavar="DATA", help="rows to measure the finished model on")
    fit.add_argument("--config", type=Path, metavar="FILE.toml", help="settings by name; options here go first")
    fit.add_argument("--resume", action="store_true", help="go on with a search that was stopped")
    fit.add_argument(
        "--max-rows",
        type=_count,
        default=1_000_000,
        metavar="N",
        help="rows to use at most; of a longer table a uniform sample (default 1,000,000)",
    )
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
    bend = commands.add_parser(
        "curvature",
        help="measure how flat a model's minimum is",
        description="Eigenvalues, trace and density of the Hessian of a model's loss on a table.",
    )
    bend.set_defaults(run=_curvature)
    bend.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION")
    bend.add_argument("data", metavar="DATA", type=Path)
    bend.add_argument("--top", type=int, default=5, metavar="K", help="eigenvalues at each end (default 5)")
    bend.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
    bend.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute")
    bend.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    add_export(commands)
    return parser


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _count(text: str) -> int:
    count = int(text.replace(",", "").replace("_", ""))
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return count


_SETTINGS = (
    ("dim", int, "size of the matrices (default 15)"),
    ("members", int, "spectral neurons whose mean is the score (default 12)"),
    ("pairs", str, "pairs of features with a term of their own: a:b,c:d, none, or auto (default)"),
    ("epochs", int, "passes over the rows (default: found by the search)"),
    ("budget", float, "seconds that the search may take, about (default 60)"),
    ("loss", str, "of a regression: auto (default), squared, huber, absolute, quantile"),
    ("quantile", float, "which one, for that loss (default 0.5)"),
    ("link", str, "of a regression: identity, log, or auto for the better (default)"),
    ("monotone", str, "features along which the score never falls or never rises: f=+,g=-"),
    ("convex", _names, "features along which the score is convex: a,b (takes the largest eigenvalue)"),
    ("concave", _names, "features along which it is concave (takes the smallest)"),
    ("max-strength", str, "how much the score may change per unit of a feature, or between categories: f=0.5,g=2"),
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
    from training.evaluate import evaluate, evaluate_scores
    from training.fit import fit
    from training.journal import journal_of
    from training.progress import FitProgress, Silent
    from training.ranks import joined_ranks
    from training.report import report_html
    from training.settings import make_settings, read_settings
    from training.streaming import read_sample
    from training.table import check_numbers, fingerprint

    started = time.monotonic()
    names = [name.replace("-", "_") for name, *_ in _SETTINGS] + ["task"]
    told = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    settings = read_settings(arguments.config, told) if arguments.config else make_settings(told)
    name, store = _model_name(arguments), _store(arguments.store)
    # What a fit keeps for --resume is always on this machine.
    local = store.root if isinstance(store, ModelStore) else store.cache
    _check_writable(local)
    rows = read_sample(arguments.data, arguments.max_rows, settings.seed)
    frame = rows.frame
    tested = read_sample(arguments.test, arguments.max_rows, settings.seed) if arguments.test else None
    test = None if tested is None else tested.frame
    if test is not None:
        used = settings.features or [column for column in frame if column not in settings.exclude]
        for column in (arguments.target, *used):
            if column in frame and column not in test:
                raise UserError(f"{arguments.test} has no column {column!r}")
        check_numbers(test, frame, arguments.test)
    journal = journal_of(local / name, fingerprint(frame), arguments.target, settings)
    with joined_ranks() as ranks, FitProgress() as progress:
        if ranks.first:
            journal.clear_abandoned()
        if ranks.first and not arguments.resume:
            journal.clear()
        # No rank writes into the journal before it is cleared.
        ranks.exchange(None)
        for note in rows.notes if ranks.first else ():
            progress.say(note)
        fitted = fit(frame, arguments.target, settings, progress if ranks.first else Silent(), journal, ranks)
        shares = ranks.exchange({"members": ranks.jobs, "seconds": round(ranks.seconds, 3)})
    if not ranks.first:
        return
    fitted = replace(fitted, notes=(*rows.notes, *fitted.notes))
    data = {**fitted.model.card["data"], "rows_in_file": rows.total}
    model = replace(fitted.model, card={**fitted.model.card, "data": data})
    judged = {"out_of_fold": evaluate_scores(model, fitted.scores, fitted.target, fitted.weight)}
    if test is not None:
        judged["test"] = evaluate(model, test)
    metrics = {part: found.card for part, found in judged.items()}
    confidence = {part: found.intervals for part, found in judged.items()}
    model = replace(model, card={**model.card, "metrics": metrics, "confidence_95": confidence})

    def add_report(folder: Path, named: SpectralModel) -> None:
        (folder / "report.html").write_text(report_html(named, fitted, judged, arguments.command_line))

    saved = store.save(name, model, add_report)
    if fitted.complete:
        journal.clear()
    seconds = time.monotonic() - started
    folder = f"{store.root}/{name}/{saved.card['version']}"
    for note in fitted.notes:
        print(f"note: {note}")
    _print_metrics(judged)
    if len(shares) > 1:
        for rank, share in enumerate(shares):
            print(f"rank {rank} trained {share['members']} members in {share['seconds']:.1f} s of processor time")
    print(f"wrote {folder} in {seconds:.1f} s; see {folder}/report.html")
    if arguments.json:
        result = {"model": name, "version": saved.card["version"], "path": folder, "seconds": seconds}
        result |= {"task": model.task, "metrics": metrics, "confidence_95": confidence, "notes": fitted.notes}
        result |= {"ranks": shares} if len(shares) > 1 else {}
        print(json.dumps(result))


def _evaluate(arguments: argparse.Namespace) -> None:
    from training.evaluate import evaluate
    from training.table import read_table

    model = load_model(arguments.model)
    found = evaluate(model, read_table(arguments.data))
    _print_metrics({arguments.data.name: found})
    if arguments.json:
        result = {"model": model.card["name"], "version": model.card["version"]}
        name = arguments.data.name
        print(json.dumps({**result, "metrics": {name: found.card}, "confidence_95": {name: found.intervals}}))


def _curvature(arguments: argparse.Namespace) -> None:
    from training.curvature_command import run

    run(load_model(arguments.model), arguments)


def _model_name(arguments: argparse.Namespace) -> str:
    name = arguments.name or arguments.data.name.split(".")[0]
    try:
        return check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from error


def _store(location: str | None) -> ModelStore | RemoteStore:
    """Where the model goes; a URL is asked for its models now, not after a long training."""
    try:
        store = open_store(location or os.environ.get("EIGENSERVE_STORE") or "models")
        store.names()
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    return store


def _check_writable(root: Path) -> None:
    """Before a long training, not after it."""
    nearest = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"the store {root} cannot be written: {nearest} is no folder that may be written to")


def _print_metrics(judged: Mapping[str, Evaluation]) -> None:
    """A line per metric, a column per part of the rows; in brackets the 95% confidence interval."""
    from training.wording import interval_text, part_name

    names = list(dict.fromkeys(name for found in judged.values() for name in found.metrics.values))
    table = [["", *(f"{part_name(part)} ({found.metrics.rows:,} rows)" for part, found in judged.items())]]
    for name in names:
        cells = (interval_text(found.metrics.values.get(name), found.intervals.get(name)) for found in judged.values())
        table.append([name, *cells])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
