"""Replay: compute recorded answers again, by the recorded version of the model, and compare every bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from eigenserve.app.observability.machine import arithmetic
from eigenserve.app.observability.records.answered import reasons_text
from eigenserve.app.observability.records.decisions import contributions_of, inputs_of, score_names
from eigenserve.app.observability.records.folder import Folder
from eigenserve.app.observability.records.reading import Part, parts, read_rows
from eigenserve.app.registry.served import ServedModel
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import explain
from eigenserve.model.explanations.groups import grouped
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.reasons import find_reasons

#: Differences that are named; others are counted.
MAX_NAMED = 20
#: Members of ``arithmetic`` that decide the bits of an answer.
DECIDING = ("eigenserve", "numba", "numpy", "kernels", "cpu")


@dataclass
class Replayed:
    """Say what came out.

    Attributes:
        rows, explained, reasoned: how many were computed again: predictions, explanations, reasons.
        erased: rows whose inputs were erased.
        different: rows of which a bit differs.
        named: the first of them, one sentence each.
        skipped: why parts were not replayed -> their rows.
        cpus: in what the recording process differed from this one -> rows; "" for nothing.
    """

    rows: int = 0
    explained: int = 0
    reasoned: int = 0
    erased: int = 0
    different: int = 0
    named: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    cpus: dict[str, int] = field(default_factory=dict)


#: Finds a version of a model that has a sha256; raises ValueError where there is none.
Models = Callable[[str, int, str], ServedModel]


def replay(folder: Folder, models: Models) -> Replayed:
    """Compute all recorded answers again.

    Args:
        folder: where the chains are.
        models: finds the recorded versions.
    """
    result, here = Replayed(), arithmetic()
    for part in parts(folder):
        decisions, details = (read_rows(folder, path) for path in (part.decisions, part.details))
        result.erased += decisions.num_rows - details.num_rows
        try:
            served = models(part.model["model"], part.model["version"], part.model["sha256"])
        except ValueError as error:
            _add(result.skipped, str(error), details.num_rows)
            continue
        there = part.arithmetic
        differs = [f"{name} {there.get(name)!r}" for name in DECIDING if there.get(name) != here[name]]
        _add(result.cpus, "; ".join(differs), details.num_rows)
        if details.num_rows:
            _replay_part(part, served, decisions.take(details.column("n")), details, result)
    return result


def _replay_part(part: Part, served: ServedModel, decisions: pa.Table, details: pa.Table, result: Replayed) -> None:
    model, columns = served.model, inputs_of(details)
    scores = model.scores(columns)
    recorded = np.stack([decisions.column(name).to_numpy() for name in score_names(served)], axis=1)
    equal = _same(recorded, scores)
    if not model.classes:
        equal &= _same(decisions.column("prediction").to_numpy()[:, None], model.values(scores)[:, None])
    shares = contributions_of(details)
    for rows, how in _alike(decisions):
        options = json.loads(how.options) if how.options else {}
        if how.method is not None:
            again = _explained(served, columns[rows], how, options)
            equal[rows] &= _same(shares[rows], again.contributions)
            equal[rows] &= _same(decisions.column("baseline").to_numpy()[rows, None], again.baseline[:, None])
            result.explained += len(rows)
        elif "cutoff" in options:
            texts = np.array(details.column("reasons").to_pylist(), object)[rows]
            equal[rows] &= np.array(_reasons(served, columns[rows], options), object) == texts
            result.reasoned += len(rows)
    result.rows += len(columns)
    result.different += int((~equal).sum())
    for row in np.flatnonzero(~equal)[: MAX_NAMED - len(result.named)].tolist():
        request, place = decisions.column("request_id")[row].as_py(), decisions.column("row")[row].as_py()
        result.named.append(f"chain {part.chain}, part {part.number}: row {place} of request {request} differs")


@dataclass(frozen=True)
class _How:
    """How rows were answered that can be computed together."""

    method: str | None
    reference: str | None
    options: str
    request: str


def _alike(decisions: pa.Table) -> Iterator[tuple[NDArray[np.int64], _How]]:
    """Yield rows that were answered alike, a request at a time where a request was explained as a whole."""
    count, names = decisions.num_rows, decisions.column_names
    explained = "method" in names
    methods = decisions.column("method").to_pylist() if explained else [None] * count
    references = decisions.column("reference").to_pylist() if explained else [None] * count
    requests = decisions.column("request_id").to_pylist()
    groups: dict[_How, list[int]] = {}
    for row, options in enumerate(decisions.column("options").to_pylist()):
        whole = methods[row] in ("path", "shapley", "shapley_terms")
        how = _How(methods[row], references[row], options, requests[row] if whole else "")
        groups.setdefault(how, []).append(row)
    for how, rows in groups.items():
        yield np.array(rows), how


def _explained(served: ServedModel, columns: FloatArray, how: _How, options: dict[str, Any]) -> Any:
    model, reference, baseline = served.model, _reference(served, how.reference, options), options.get("baseline")
    if baseline is not None:
        baseline = np.array(baseline, np.float64)  # null becomes NaN
    groups = options.get("groups", model.groups)
    found = explain(model, columns, str(how.method), options.get("target"), baseline, reference)
    return grouped(found, groups)


def _reference(served: ServedModel, name: str | None, options: dict[str, Any]) -> Reference | None:
    if "shares" in options:
        return Reference(name or "", np.array(options["shares"], np.float64))
    return None if name is None else served.model.references[name]


def _reasons(served: ServedModel, columns: FloatArray, options: dict[str, Any]) -> list[str]:
    reference = _reference(served, options.get("reference"), options)
    cutoff, adverse, most = (options[key] for key in ("cutoff", "adverse", "n"))
    rules = served.model.reason_rules
    found = find_reasons(served.model, columns, cutoff, rules, adverse=adverse, most=most, reference=reference)
    return [reasons_text(row) for row in found]


def _add(counts: dict[str, int], key: str, rows: int) -> None:
    counts[key] = counts.get(key, 0) + rows


def _same(ours: FloatArray, theirs: FloatArray) -> NDArray[np.bool_]:
    """Compare rows of numbers bit by bit."""
    bits = (np.ascontiguousarray(part, np.float64).view(np.uint64) for part in (ours, theirs))
    first, second = bits
    return np.asarray((first == second).all(axis=1))
