"""Score a file of rows into a file of answers, in constant memory, resuming where a killed run stopped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.folders import folder_beside
from eigenserve.app.batch.inputs import input_places
from eigenserve.app.batch.local import Engine, score_here
from eigenserve.app.batch.parts import Parts, is_csv
from eigenserve.app.batch.places import Place, fingerprint, writing
from eigenserve.app.batch.progress import ScoreProgress
from eigenserve.app.batch.scorer import OnError, Options, Scorer, serve
from eigenserve.app.batch.table import Table
from eigenserve.app.observability.machine import arithmetic
from eigenserve.model.checkpoints.files import to_bytes
from eigenserve.model.spectral import SpectralModel


@dataclass(frozen=True)
class Summary:
    """Summarise what a run did.

    Attributes:
        model, version: of what scored.
        out: the output.
        rows: of the output.
        nulls: rows without a prediction.
        resumed_rows: rows that an earlier run had scored.
        seconds: of this run.
        warned: rows that have a warning, by its kind.
    """

    model: str
    version: int
    out: str
    rows: int
    nulls: int
    resumed_rows: int
    seconds: float
    warned: dict[str, int] = field(default_factory=dict)


def score_file(
    model: SpectralModel,
    data: Place,
    out: Place,
    *,
    method: str | None = None,
    reference: str | None = None,
    on_error: OnError = "stop",
    keep: Sequence[str] = (),
    separator: str | None = None,
    encoding: str | None = None,
    engine: Engine = score_here,
    progress: ScoreProgress | None = None,
) -> Summary:
    """Score every row of ``data`` into ``out``, in the order of the rows.

    On CPUs with the same instruction set, the output's bytes depend on the model, the rows and the options alone: not
    on the number of cores, on the engine, or on how often the run was stopped and started again.

    Args:
        model: as a store loads it, with its name and version.
        data: CSV, Parquet, Arrow or .xlsx: a file, a folder or a glob of parts, a URL, or "-" for standard input.
        out: CSV, CSV.gz, Parquet or Arrow.
        method: of explanations; None for predictions alone.
        reference: what "integrated" compares with, by name.
        on_error: "stop" at the first bad row, or give bad rows no answer ("null").
        keep: columns of ``data`` that are handed through.
        separator, encoding: of CSV, where they are given.
        engine: who scores.
        progress: receives how far it has come.

    Raises:
        ScoreError: a file that cannot be read or written, or a bad row where that is to stop the run.
    """
    started = time.monotonic()
    places = input_places(data)
    _check_apart(data, places, out)
    scorer = Scorer(serve(model), Options(method, on_error, is_csv(out), reference, tuple(keep)))
    scorer.check_keep()
    table = Table(places, tuple(dict.fromkeys((*model.features.input_names, *keep))), separator, encoding)
    model_files = {name: content.hex() for name, content in to_bytes(model).items()}
    identity = [place.identity() for place in places]
    options = [method, reference, out.suffix, separator, encoding, list(keep)]
    key = fingerprint(arithmetic(), model_files, options, data.text, identity)
    folder = folder_beside(out)
    with folder.lock():
        parts = Parts(folder, key)
        with writing(out):
            parts.open(with_nulls=on_error == "null")
        resumed = parts.rows
        if progress is not None:
            _say_what_was_found(parts, progress)
        try:
            for scored in engine(scorer, table, parts.count):
                if scored.fault:
                    raise ScoreError(f"{data.text}: {scored.fault} (--on-error null writes null for such rows)")
                with writing(out):
                    parts.keep(scored)
                if progress is not None:
                    progress.advance(table.done, parts.rows)
        finally:
            # Whatever ended the run: without a part there is nothing to go on from.
            if not parts.count:
                folder.clear()
        if [place.identity() for place in places] != identity:
            folder.clear()
            raise ScoreError(f"{data.text} was changed while it was read: the same command begins with what it is now")
        rows, nulls, warned = parts.rows, parts.nulls, parts.warned
        with writing(out):
            parts.assemble(out, scorer.header() if is_csv(out) else b"")
    if progress is not None:
        progress.finish(rows)
    seconds = time.monotonic() - started
    served = scorer.served
    return Summary(served.name, served.version, out.text, rows, nulls, resumed, seconds, warned)


def _check_apart(data: Place, places: Sequence[Place], out: Place) -> None:
    """Refuse to write over what is read, or among it."""
    for place in places:
        if place.draft is None and place.is_same(out):
            raise ScoreError(f"--out must not be DATA itself: {out.text} is {place.text}")
    local = not data.is_url and not out.is_url and data.text != "-"
    if local and data.path.is_dir() and data.path.resolve() in out.path.resolve().parents:
        raise ScoreError(f"--out must not be in the folder DATA, all files of which are read: {out.text}")


def _say_what_was_found(parts: Parts, progress: ScoreProgress) -> None:
    if parts.discarded:
        what = f"{parts.discarded} finished parts of another model, file, method, release or CPU"
        progress.say(f"discarded {what}: starting over")
    if parts.damaged:
        progress.say("discarded a finished part that was damaged, and those after it")
    if parts.rows:
        progress.say(f"resuming after {parts.rows:,} rows")
