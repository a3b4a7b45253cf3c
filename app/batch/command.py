"""Run the command `eigenserve score`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from eigenserve.app.batch.errors import ScoreError
from eigenserve.errors import UserError

#: ``model.explanations.explain.METHODS``, which is not imported here: the other commands need no kernels yet.
METHODS = ("integrated", "eigenvector", "shapley", "shapley_terms", "path")
OF_REFERENCE = ("integrated", "shapley_terms")


def add_score(commands: Any) -> None:
    """Add the command to the subparsers."""
    score = commands.add_parser(
        "score",
        help="predict or explain every row of a file",
        description="Predict or explain every row of a file. A stopped run resumes when it is started again.",
    )
    score.set_defaults(run=_run_score)
    score.add_argument("model", metavar="MODEL", help="STORE/NAME or STORE/NAME/VERSION; STORE may be a URL")
    score.add_argument(
        "data",
        metavar="DATA",
        help="CSV (also .gz), TSV, Parquet, Arrow or .xlsx: a file, a folder or glob of parts, a URL, or - for "
        "standard input",
    )
    score.add_argument("--out", required=True, metavar="FILE", help="write to FILE; its suffix sets the format")
    score.add_argument("--explain", action="store_true", help="write explanations, not predictions alone")
    score.add_argument("--method", choices=METHODS, help=f"method of the explanations (default {METHODS[0]})")
    score.add_argument("--reference", metavar="NAME", help="what the methods integrated and shapley_terms compare with")
    score.add_argument("--keep", metavar="COLUMNS", help="columns of DATA to hand through to FILE: id,date")
    score.add_argument(
        "--on-error", choices=["stop", "null"], default="stop", help="at a bad row: stop (default), or write null"
    )
    score.add_argument("--csv-separator", metavar="MARK", help="what separates CSV cells, or tab (default: inferred)")
    score.add_argument("--encoding", help="of a CSV file (default: UTF-8, or what its bytes say)")
    score.add_argument("--engine", choices=["local", "ray"], default="local", help="where to score (default local)")
    score.add_argument("--ray-address", metavar="ADDRESS", help="Ray cluster (default: RAY_ADDRESS, or a new one)")
    score.add_argument("--threads", type=int, metavar="N", help="threads of the solver (default: all cores)")
    score.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def _run_score(parsed: argparse.Namespace) -> None:
    if parsed.method and not parsed.explain:
        raise UserError("--method requires --explain")
    if parsed.reference is not None and (not parsed.explain or (parsed.method or METHODS[0]) not in OF_REFERENCE):
        raise UserError("--reference requires --explain and the method integrated or shapley_terms")
    if parsed.ray_address is not None and parsed.engine != "ray":
        raise UserError("--ray-address requires --engine ray")
    if parsed.threads is not None and parsed.threads < 1:
        raise UserError(f"--threads must be at least 1; got {parsed.threads}")
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UserError(
            "score needs pyarrow, which is not installed; install it with: pip install 'eigenserve[score]'"
        ) from error
    try:
        _score(parsed)
    except KeyboardInterrupt:
        print("run the same command again to resume", file=sys.stderr)
        raise


def _score(parsed: argparse.Namespace) -> None:
    # Imported here: they need pyarrow.
    from eigenserve.app.batch.local import Engine, score_here
    from eigenserve.app.batch.places import Place
    from eigenserve.app.batch.progress import ScoreProgress
    from eigenserve.app.batch.run import score_file
    from eigenserve.model import load_model
    from eigenserve.model.kernels.threads import set_num_threads
    from eigenserve.model.rows.layout.csv_layout import csv_separator

    if parsed.threads is not None:
        set_num_threads(parsed.threads)
    engine: Engine = score_here
    if parsed.engine == "ray":
        from eigenserve.app.batch.ray import ray_engine

        engine = ray_engine(parsed.ray_address)
    try:
        model = load_model(parsed.model)
    except ValueError as error:
        raise ScoreError(str(error)) from error
    method = (parsed.method or METHODS[0]) if parsed.explain else None
    with ScoreProgress() as progress:
        summary = score_file(
            model,
            Place(parsed.data),
            Place(parsed.out),
            method=method,
            reference=parsed.reference,
            on_error=parsed.on_error,
            keep=tuple(dict.fromkeys(name for part in (parsed.keep or "").split(",") if (name := part.strip()))),
            separator=csv_separator(parsed.csv_separator),
            encoding=parsed.encoding,
            engine=engine,
            progress=progress,
        )
    scored = summary.rows - summary.resumed_rows
    rate = scored / summary.seconds
    nulls = f", {summary.nulls:,} of them without an answer" if summary.nulls else ""
    print(f"wrote {summary.out}: {summary.rows:,} rows{nulls} in {summary.seconds:.1f} s")
    if summary.warned:
        print("rows with warnings:", ", ".join(f"{kind} {count:,}" for kind, count in summary.warned.items()))
    if parsed.json:
        print(json.dumps({**vars(summary), "rows_per_s": round(rate, 1)}))
