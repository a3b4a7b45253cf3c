"""Score on Ray Data: tasks read parts, actors on any machine score them, and answers come back in order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from eigenserve.app.batch.errors import ScoreError
from eigenserve.app.batch.local import Engine
from eigenserve.app.batch.places import Place
from eigenserve.app.batch.scorer import Options, ScoredPart, Scorer
from eigenserve.app.batch.table import Part, Table
from eigenserve.app.registry import ServedModel
from eigenserve.model.checkpoints.files import from_bytes, to_bytes
from eigenserve.model.kernels.threads import set_num_threads

#: Parts that one task reads where a file can be read from several places at once.
PARTS_PER_READ = 8
#: Blocks hold about one part, so that parts flow on singly.
BLOCK_BYTES = 2**20
#: The number of a part that could not be read.
UNREADABLE = -1


def ray_engine(address: str | None = None) -> Engine:
    """Score on a Ray cluster (an ``Engine``).

    Args:
        address: of the cluster; by default the one that ``RAY_ADDRESS`` names, or a new one on this machine.

    Raises:
        ScoreError: Ray is not installed, or not to be reached.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise ScoreError("--engine ray needs Ray, which is not installed here: pip install 'eigenserve[ray]'") from None

    def engine(scorer: Scorer, table: Table, first: int) -> Iterator[ScoredPart]:
        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address, log_to_driver=False, logging_level="warning")
            except (ConnectionError, ValueError) as error:
                raise ScoreError(f"no Ray cluster at {address}: {error}") from error
        try:
            yield from _score(ray, scorer, table, first)
        finally:
            if started:
                ray.shutdown()

    return engine


def _score(ray: Any, scorer: Scorer, table: Table, first: int) -> Iterator[ScoredPart]:
    # Ray logs how it plans and starts; this command reports the progress.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK_BYTES
    if drafts := [place.shown for place in table.places if place.draft is not None]:
        raise ScoreError(f"--engine ray needs files that every machine can open; got {drafts[0]}")
    total = table.count_rows()
    reads = _reads(total, scorer.part_rows, first)
    model = (to_bytes(scorer.served.model), scorer.served.name, scorer.served.version, asdict(scorer.options))
    source = {
        "places": table.places,
        "names": list(table.names),
        "csv": {"separator": table.separator, "encoding": table.encoding},
        "part_rows": scorer.part_rows,
    }
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
    scored = (
        ray.data.from_items(reads, override_num_blocks=len(reads))
        # One task that reads it all stands apart from the actors; else each of them reads what it scores.
        .map_batches(_read, batch_size=1, batch_format="pyarrow", fn_kwargs=source, num_cpus=0 if total is None else 1)
        .map_batches(
            RayScorer,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=model,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=cores),
        )
    )
    rows = first * scorer.part_rows
    for batch in scored.iter_batches(batch_size=1, batch_format="pyarrow"):
        for row in batch.to_pylist():
            part = ScoredPart(**row)
            if part.number == UNREADABLE:
                raise ScoreError(part.fault)
            rows += part.rows
            table.done = rows / total if total else 0.0
            yield part


def _reads(total: int | None, part_rows: int, first: int) -> list[dict[str, int]]:
    """Say which parts each task reads: ``stop`` 0 reads to the end of the file."""
    count = 0 if total is None else -(-total // part_rows)
    if count <= first:
        return [{"first": first, "stop": 0}]
    return [{"first": at, "stop": min(count, at + PARTS_PER_READ)} for at in range(first, count, PARTS_PER_READ)]


def _read(
    batch: pa.Table, places: Sequence[Place], names: list[str], csv: Mapping[str, str | None], part_rows: int
) -> Iterator[pa.Table]:
    """Yield parts as rows of a table, one each, so that none is divided on its way."""
    (read,) = batch.to_pylist()
    parts = Table(places, names, **csv).parts(part_rows, read["first"])
    try:
        for part in itertools.islice(parts, read["stop"] - read["first"] if read["stop"] else None):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.rows.schema) as writer:
                writer.write_table(part.rows)
            yield _one_row(number=part.number, first_row=part.first_row, content=sink.getvalue().to_pybytes(), fault="")
    except ScoreError as error:
        # As a row: Ray would wrap an exception in its own text.
        yield _one_row(number=UNREADABLE, first_row=0, content=b"", fault=str(error))


def _one_row(**values: Any) -> pa.Table:
    kinds = {bytes: pa.large_binary(), int: pa.int64(), str: pa.string()}
    return pa.table({name: pa.array([value], kinds[type(value)]) for name, value in values.items()})


class RayScorer:
    """Score parts with one model, as a Ray actor."""

    def __init__(self, files: Mapping[str, bytes], name: str, version: int, options: Mapping[str, Any]) -> None:
        # An actor is given one core.
        set_num_threads(1)
        self._scorer = Scorer(ServedModel(name, version, from_bytes(files)), Options(**options))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score one part."""
        (row,) = batch.to_pylist()
        if row["number"] == UNREADABLE:
            return _one_row(**asdict(ScoredPart(UNREADABLE, 0, 0, b"", row["fault"])))
        with pa.ipc.open_stream(row["content"]) as stream:
            part = Part(row["number"], row["first_row"], stream.read_all())
        return _one_row(**asdict(self._scorer.score(part)))
