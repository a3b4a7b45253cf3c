"""Run the command `eigenserve fit`."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigenserve.errors import UserError

if TYPE_CHECKING:
    from eigenserve.model.checkpoints.local_store import ModelStore
    from eigenserve.model.checkpoints.remote_store import RemoteStore
    from eigenserve.model.spectral import SpectralModel


def add_fit(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    fit = commands.add_parser("fit", help="train a model from a table", description="Train a model from a table.")
    fit.set_defaults(run=_run)
    fit.add_argument(
        "data",
        metavar="DATA",
        help="CSV (also .gz), TSV, Parquet, Arrow or .xlsx: a file, a folder or glob of parts, a URL, or - for "
        "standard input",
    )
    fit.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    fit.add_argument(
        "--task",
        choices=["auto", "regression", "binary", "multiclass", "poisson", "gamma", "tweedie"],
        default=argparse.SUPPRESS,
    )
    fit.add_argument("--name", help="the model's name in the store (default: the file's name)")
    fit.add_argument("--store", help="folder or fsspec URL of the store (default: $EIGENSERVE_STORE, or models)")
    fit.add_argument("--test", metavar="DATA", help="rows to measure the finished model on")
    fit.add_argument(
        "--reference",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="keep the mean of these rows, for explanations to compare with; may be given several times",
    )
    fit.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="explain features A and B as one, called NAME; may be given several times",
    )
    fit.add_argument(
        "--reasons", type=Path, metavar="FILE.toml", help="keep these words for the reasons of adverse decisions"
    )
    fit.add_argument(
        "--strict", metavar="KINDS", help="warnings for which the model's servers refuse rows: missing,unseen, or true"
    )
    fit.add_argument("--config", type=Path, metavar="FILE.toml", help="read settings from a file; options override it")
    fit.add_argument("--resume", action="store_true", help="resume a search that was stopped")
    fit.add_argument(
        "--max-rows",
        type=_count,
        default=1_000_000,
        metavar="N",
        help="train on at most N rows (default 1,000,000); larger tables are sampled, uniformly but for a rare class; "
        "of Parquet and Arrow files all rows say what their many categories are worth",
    )
    add_file_options(fit)
    fit.add_argument(
        "--reproducible",
        action="store_true",
        default=argparse.SUPPRESS,
        help="the same model on every machine: end phases by the plan alone, though it takes longer than the budget",
    )
    fit.add_argument(
        "--stable",
        action="store_true",
        default=argparse.SUPPRESS,
        help="of models that are as accurate, to a standard error, the one whose explanations are steadiest",
    )
    fit.add_argument("--plan", action="store_true", help="print the plan with its seconds and memory, and stop")
    fit.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    for name, kind, text in _SETTINGS:
        fit.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=text)


def add_file_options(command: Any) -> None:
    """Add the options of a command that reads CSV files."""
    command.add_argument(
        "--csv-separator", metavar="MARK", help="what separates cells of CSV, or tab (default: inferred)"
    )
    command.add_argument("--encoding", help="of CSV files (default: UTF-8, or what their first bytes say)")


def _names(text: str) -> list[str]:
    return text.split(",")


def _count(text: str) -> int:
    count = int(text.replace(",", "").replace("_", ""))
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {text}")
    return count


_SETTINGS = (
    ("dim", int, "size of the matrices (default: found by the search)"),
    ("members", int, "spectral neurons whose mean is the score (default: 10 to 20, by the size)"),
    ("pairs", str, "pairs of features with a separate term: a:b,c:d, none, or auto (default)"),
    ("epochs", int, "passes over the rows (default: found by the search)"),
    ("budget", float, "seconds that the whole fit may take (default 60)"),
    ("max-memory", str, "bytes of memory that the fit may use, such as 2G (default: half of what is free)"),
    ("loss", str, "loss of a regression: auto (default), squared, huber, absolute, quantile, gamma, tweedie"),
    ("quantile", float, "quantile of that loss (default 0.5)"),
    ("link", str, "link of a regression: identity, log, or auto for the better (default)"),
    ("monotone", str, "features along which the score never falls or never rises: f=+,g=-"),
    ("convex", _names, "features along which the score is convex: a,b (takes the largest eigenvalue)"),
    ("concave", _names, "features along which the score is concave: a,b (takes the smallest eigenvalue)"),
    ("max-strength", str, "how much the score may change per unit of a feature, or between categories: f=0.5,g=2"),
    ("weight", str, "column that says how much each row counts"),
    ("power", float, "power of Tweedie's variance, between 1 and 2, for that loss (default 1.5)"),
    ("exposure", str, "column of exposures, for counts and costs (poisson, gamma, tweedie)"),
    ("offset", str, "column of logarithms added to the score, for the same tasks"),
    ("teacher", str, "column or file of a stronger model's predictions or probabilities to learn from"),
    ("class-weight", str, "balanced, or none (default)"),
    ("curves", str, "piecewise (default; flat outside the training range), or linear for the plain affine pencil"),
    ("device", str, "where members are trained: cpu (default), or cuda, or cuda:N for one of several"),
    ("seed", int, "seed of everything random (default 0)"),
    ("features", _names, "columns to use: a,b,c (default: all)"),
    ("exclude", _names, "columns to leave out"),
    ("groups", str, "column whose rows of one value are judged together, such as a patient or a customer"),
    ("time", str, "column of times: the latest rows are judged by what is trained on earlier ones"),
    ("positive", str, "of two classes, the one whose probability is predicted (default: the last in order)"),
    ("decimal", str, "decimal mark of numbers that are written as text: . or , (default: inferred)"),
    ("date-format", str, "format of dates: when=%%d/%%m/%%Y, or one for all columns (default: inferred)"),
    ("missing", _names, "texts for a missing value instead of the usual ones: n/a,-999, or COLUMN=TEXT|TEXT"),
    ("types", str, "what columns are: zip=category,size=number; also date, time and boolean (default: inferred)"),
)


def _run(arguments: argparse.Namespace) -> None:
    # Imported here so that --help and a mistyped option answer at once.
    from eigenserve.model.checkpoints.local_store import ModelStore
    from eigenserve.model.explanations.reference import reference_of, with_reference
    from eigenserve.model.rows.layout.titles import as_called
    from eigenserve.model.rows.warnings import read_kinds
    from eigenserve.training.commands.kept_words import check_kept, read_groups_option, read_reasons_file
    from eigenserve.training.commands.metrics_table import print_metrics
    from eigenserve.training.commands.population import populations_of
    from eigenserve.training.data.oddities.totals import without_totals
    from eigenserve.training.data.reading_options import reading_options
    from eigenserve.training.data.sampling import read_sample
    from eigenserve.training.data.schema import infer_features
    from eigenserve.training.data.teacher import attach_teacher
    from eigenserve.training.evaluation.evaluate import deviance_power, evaluate, evaluate_scores
    from eigenserve.training.evaluation.model_tables import files_of_fit, with_features
    from eigenserve.training.fit import fit, plan
    from eigenserve.training.planning.clock import Clock
    from eigenserve.training.progress import FitProgress, Silent
    from eigenserve.training.report.document import report_html
    from eigenserve.training.search.journal import journal_of
    from eigenserve.training.search.on_device.devices import check_device
    from eigenserve.training.search.preparation.ahead import start_compiling
    from eigenserve.training.search.preparation.rare_class import Drawn, draw_by_class
    from eigenserve.training.search.ranks import joined_ranks
    from eigenserve.training.settings import make_settings, read_settings
    from eigenserve.training.training_table import check_features, training_table

    started = time.monotonic()
    names = [name.replace("-", "_") for name, *_ in _SETTINGS] + ["task", "reproducible", "stable"]
    options = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    settings = read_settings(arguments.config, options) if arguments.config else make_settings(options)
    check_device(settings.device)
    clock = Clock(settings.clock_s)
    name, store = _model_name(arguments), _store(arguments.store)
    # What a fit keeps for --resume is always on this machine.
    local = store.root if isinstance(store, ModelStore) else store.cache
    _check_writable(local)
    groups, words = read_groups_option(arguments.group), read_reasons_file(arguments.reasons)
    given = reading_options(asdict(settings))
    files = files_of_fit(given, arguments.csv_separator, arguments.encoding, [arguments.target])
    if not arguments.plan:
        start_compiling()
    rows = read_sample(arguments.data, arguments.max_rows, settings.seed, files)
    frame, _ = attach_teacher(rows.frame, settings.teacher, rows.positions, rows.total)
    table = training_table(frame, arguments.target, settings, rows.whole)
    sampling = rows.notes
    drawn = draw_by_class(rows, table.target, table.beyond, settings)
    if isinstance(drawn, Drawn):
        table = training_table(drawn.frame, arguments.target, settings, rows.whole, drawn.stands_for)
        sampling = (*rows.file_notes, drawn.note)
    elif drawn:
        sampling = (*rows.notes, drawn)
    for name in {name for names in groups.values() for name in names} - set(rows.frame):
        raise UserError(f"no column {name!r} for --group; the columns are {', '.join(map(str, rows.frame))}")
    check_kept(table, settings, groups, words, arguments.reasons)
    if arguments.plan:
        planned = plan(table, arguments.target, settings).lines()
        print("\n".join([*(f"note: {note}" for note in (*sampling, *table.notes)), *planned]))
        return
    test = None
    if arguments.test:
        space = infer_features(table.features, readings=table.readings)
        files = with_features(files, space.features, arguments.target, table.target.classes, table.target_reading)
        test, _ = without_totals(read_sample(arguments.test, arguments.max_rows, settings.seed, files).frame)
        test.columns = as_called(test.columns.tolist(), [arguments.target, *space.input_names])
        check_features(test, table.target.name, space, arguments.test)
    try:
        strict = sorted(read_kinds(arguments.strict))
    except ValueError as error:
        raise UserError(f"--strict {error}") from error
    populations = populations_of(rows.frame, arguments.reference, given, table.readings)
    journal = journal_of(local / name, table.sha256, arguments.target, settings)
    with joined_ranks() as ranks, FitProgress() as progress:
        if ranks.first:
            journal.clear_abandoned()
        if ranks.first and not arguments.resume:
            journal.clear()
        # No rank writes into the journal before it is cleared.
        ranks.exchange(None)
        for note in sampling if ranks.first else ():
            progress.say(note)
        reporter = progress if ranks.first else Silent()
        fitted = fit(table, arguments.target, settings, reporter, journal, ranks, clock)
        reporter.advance(1, 1, "done")
        shares = ranks.exchange({"members": ranks.jobs, "seconds": round(ranks.seconds, 3)})
    if not ranks.first:
        return
    fitted = replace(fitted, notes=(*sampling, *fitted.notes))
    data = {**fitted.model.card["data"], "rows_in_file": rows.total}
    model = replace(fitted.model, card={**fitted.model.card, "data": data})
    kept = {"groups": groups, "strict": strict, "reasons": words}
    model = replace(model, card={**model.card, **{key: part for key, part in kept.items() if part}})
    for condition, population in populations.items():
        average = reference_of(model, model.features.encode(population), condition)
        model = replace(model, card=with_reference(model.card, average))
    judged = {"out_of_fold": evaluate_scores(model, fitted.scores, fitted.target, fitted.weight, deviance_power(model))}
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
    print_metrics(judged)
    if len(shares) > 1:
        for rank, share in enumerate(shares):
            print(f"rank {rank} trained {share['members']} members in {share['seconds']:.1f} s of processor time")
    print(f"wrote {folder} in {seconds:.1f} s; see {folder}/report.html")
    if arguments.json:
        result = {"model": name, "version": saved.card["version"], "path": folder, "seconds": seconds}
        result |= {"task": model.task, "metrics": metrics, "confidence_95": confidence, "notes": fitted.notes}
        result |= {"ranks": shares} if len(shares) > 1 else {}
        print(json.dumps(result))


def _model_name(arguments: argparse.Namespace) -> str:
    from eigenserve.model.checkpoints.local_store import check_name
    from eigenserve.model.rows.sources import table_name

    name = arguments.name or table_name(arguments.data)
    if not name:
        raise UserError(f"a name for the model cannot be inferred from {arguments.data!r}: give --name")
    try:
        return check_name(name)
    except ValueError as error:
        raise UserError(str(error)) from error


def _store(location: str | None) -> ModelStore | RemoteStore:
    """Open the store for the model; a URL is asked for its models now, not after a long training."""
    from eigenserve.model.checkpoints.locations import open_store

    try:
        store = open_store(location or os.environ.get("EIGENSERVE_STORE") or "models")
        store.names()
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    return store


def _check_writable(root: Path) -> None:
    """Check that the store can be written, before a long training and not after it."""
    nearest = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"cannot write to store {root}: {nearest} is not a writable directory")
