"""Read and check the service's own requests: {"instances": [...]} and its companions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson

from eigenserve.app.problems import MAX_FAULTS, ProblemError, invalid, invalid_all
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.describe import describe
from eigenserve.app.wire.envelope import check_envelope
from eigenserve.app.wire.include_options import EXPLANATION_ALONE, Include, read_include
from eigenserve.app.wire.json_rows import RowSlices
from eigenserve.app.wire.kept import Kept, read_keep, split_kept
from eigenserve.app.wire.limits import check_cells, check_rows
from eigenserve.app.wire.schemas.explanations import ExplainRequest
from eigenserve.app.wire.schemas.predictions import PredictRequest, RowsRequest
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import METHODS, check_comparison
from eigenserve.model.explanations.groups import Groups, read_groups
from eigenserve.model.explanations.reference import Reference
from eigenserve.model.predictor import ClassLabel
from eigenserve.model.rows.baseline import background_columns, is_sample
from eigenserve.model.rows.errors import InvalidRowsError, Location
from eigenserve.model.rows.warnings import read_kinds

#: Rows of a baseline: each costs as much as all of a request against one.
MAX_SAMPLE = 100
#: Values that are encoded between two looks at the clock. Measured: each one takes up to a microsecond.
CHUNK_CELLS = 2**17
#: Rows of a reference, whose mean is taken.
MAX_REFERENCE = 10_000


class ComparisonError(Exception):
    """Report that the rows to compare with are too many to be read on the event loop."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold what a request asks for: rows of which model, and for an explanation how.

    Attributes:
        served: the model.
        rows: at least one, as a list of rows or as columns by name; whether each is a row of the model shows
            when they are encoded.
        method, target: as for ``SpectralModel.explain``.
        interval: the level of the intervals to give with predictions; None for none.
        baseline, reference: as for ``model.explanations.explain``.
        groups: of features; None for those that the model keeps.
        include: further parts of an explanation.
        loc: where in the body the rows are.
        strict: kinds of warnings for which the request refuses a row.
        kept: what is handed through, by name; of rows in slices complete once they are encoded.
    """

    served: ServedModel
    rows: Any
    method: str = METHODS[0]
    target: ClassLabel | None = None
    interval: float | None = None
    loc: Location = ("instances",)
    baseline: FloatArray | None = None
    reference: Reference | None = None
    groups: Groups | None = None
    include: Include = EXPLANATION_ALONE
    strict: frozenset[str] = frozenset()
    kept: Kept = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Count the rows."""
        return len(next(iter(self.rows.values()))) if isinstance(self.rows, dict) else len(self.rows)

    @property
    def how(self) -> str:
        """Write as JSON how rows are explained, so that it can be done again."""
        options: dict[str, Any] = {"target": self.target, "groups": self.groups}
        if self.reference is not None and self.reference.name not in self.served.model.references:
            options["shares"] = self.reference.shares.tolist()
        if self.baseline is not None:
            options["baseline"] = self.baseline.tolist()  # NaN is written as null
        given = {name: value for name, value in options.items() if value is not None}
        return orjson.dumps(given, option=orjson.OPT_NON_STR_KEYS).decode() if given else ""

    @property
    def baselines(self) -> int:
        """Count the rows of the baseline."""
        return len(self.baseline) if self.baseline is not None and self.baseline.ndim == 2 else 1

    def columns(self, check: Callable[[], None] = lambda: None) -> FloatArray:
        """Encode the rows, calling ``check`` now and then where they are many.

        Raises:
            ProblemError: 422 naming each fault.
        """
        features = self.served.model.features
        if not isinstance(self.rows, RowSlices) and self.count * len(features) <= CHUNK_CELLS:
            try:
                return features.encode(self.rows)
            except InvalidRowsError as error:
                raise _invalid_rows(self.loc, error) from None
        columns = np.empty((self.count, len(features)))
        errors: list[tuple[Location, str]] = []
        start = total = 0
        for rows, count in _chunks(self.rows, max(1, CHUNK_CELLS // len(features))):
            check()
            try:
                columns[start : start + count] = features.encode(rows)
            except InvalidRowsError as error:
                errors += [(_from(start, loc), msg) for loc, msg in error.errors[:MAX_FAULTS]]
                total += error.total
                if len(errors) >= MAX_FAULTS:
                    break
            start += count
        if errors:
            raise _invalid_rows(self.loc, InvalidRowsError(errors, total))
        return columns


def _from(start: int, loc: Location) -> Location:
    """Count the row of a location from the first chunk's start; a table's column is in no row."""
    return (start + loc[0], *loc[1:]) if loc and isinstance(loc[0], int) else loc


def _chunks(rows: Any, size: int) -> Iterator[tuple[Any, int]]:
    """Yield so many rows at a time, with their number; rows that are not parsed yet are parsed a slice at a time."""
    if isinstance(rows, dict):
        count = len(next(iter(rows.values())))
        for start in range(0, count, size):
            yield {name: values[start : start + size] for name, values in rows.items()}, min(size, count - start)
        return
    for some in rows if isinstance(rows, RowSlices) else (rows,):
        for start in range(0, len(some), size):
            part = some[start : start + size]
            yield part, len(part)


def read_predict(document: Any, registry: ModelRegistry, max_rows: int) -> Asked:
    """Check the parsed body of /predict.

    Raises:
        ProblemError: 422 naming each fault; 404 unknown model or version; 413 too many rows.
    """
    request = check_envelope(document, PredictRequest)
    asked = read_rows(request, registry, max_rows)
    return asked if request.interval is None else replace(asked, interval=read_level(asked.served, request.interval))


def read_explain(document: Any, registry: ModelRegistry, max_rows: int, most_work: float = math.inf) -> Asked:
    """Check the parsed body of /explain; raises as ``read_predict``, and as ``read_reference``."""
    request = check_envelope(document, ExplainRequest)
    asked = read_rows(request, registry, max_rows)
    served = asked.served
    method, target = request.method or METHODS[0], read_target(served, request.target)
    baseline, include = read_baseline(served, method, request.baseline, most_work), read_include(served, request)
    reference = read_reference(served, method, request.reference, most_work)
    if baseline is not None and baseline.ndim == 2 and "interactions" in include.names:
        raise invalid(("baseline",), "must be one row where interactions are included; got a sample")
    try:
        groups = None if request.groups is None else read_groups(served.model.features, request.groups)
    except ValueError as error:
        raise invalid(("groups",), str(error)) from None
    return replace(
        asked,
        method=method,
        target=target,
        baseline=baseline,
        reference=reference,
        groups=groups,
        include=include,
    )


def read_options(options: Mapping[str, Any], registry: ModelRegistry, most_work: float = math.inf) -> Asked:
    """Read the model, version, method, target, reference, interval and strictness that a query names; no rows.

    Raises:
        ProblemError: 404 unknown model or version; 422 unknown method, target, reference or level of interval.
        ComparisonError: see ``read_reference``.
    """
    served = registry.find(options.get("model"), options.get("version"))
    method = options.get("method") or METHODS[0]
    if method not in METHODS:
        raise invalid(("method",), f"must be one of {', '.join(METHODS)}; got {describe(method)}")
    target, interval = read_target(served, options.get("target")), read_level(served, options.get("interval"))
    reference = read_reference(served, method, options.get("reference"), most_work)
    strict = read_strict(options.get("strict"))
    return Asked(served, (), method, target, interval, reference=reference, strict=strict)


def read_rows(request: RowsRequest, registry: ModelRegistry, max_rows: int) -> Asked:
    """Return the model and the rows that a request names, what it hands through, and how strict it is.

    Raises:
        ProblemError: 404 unknown model or version; 422, 413 see ``check_rows``.
    """
    served = registry.find(request.model, request.version)
    rows = check_rows(request.instances, max_rows, ("instances",))
    rows, kept = split_kept(rows, served, read_keep(request.keep), ("instances",), request.table)
    return Asked(served, rows, strict=read_strict(request.strict), kept=kept)


def read_strict(value: Any) -> frozenset[str]:
    """Read the kinds of warnings for which a request refuses rows.

    Raises:
        ProblemError: 422.
    """
    try:
        return read_kinds(value)
    except ValueError as error:
        raise invalid(("strict",), str(error)) from None


def read_baseline(served: ServedModel, method: str, rows: Any, most_work: float = math.inf) -> FloatArray | None:
    """Encode the row to compare with, or the sample of rows; None for the default.

    Raises:
        ProblemError: 422 naming each fault.
        ComparisonError: see ``read_reference``.
    """
    if rows is None:
        return None
    _check_comparison("baseline", method)
    try:
        if is_sample(rows) and len(rows) > MAX_SAMPLE:
            raise invalid(("baseline",), f"must have at most {MAX_SAMPLE} rows; got {len(rows)}")
        _check_work(served, rows, most_work)
        return background_columns(served.model.features, rows)
    except InvalidRowsError as error:
        raise _invalid_rows(("baseline",), error) from None


def read_reference(served: ServedModel, method: str, population: Any, most_work: float = math.inf) -> Reference | None:
    """Read the population to compare with, by its name or as rows; None for the default.

    Raises:
        ProblemError: 422 naming each fault; 413 too many values.
        ComparisonError: rows whose work is more than ``most_work``, in the unit of ``ServedModel.work``.
    """
    if population is None:
        return None
    _check_comparison("reference", method)
    if is_sample(population) and len(population) > MAX_REFERENCE:
        raise invalid(("reference",), f"must have at most {MAX_REFERENCE} rows; got {len(population)}")
    _check_work(served, population, most_work)
    try:
        return served.model.reference(population)
    except InvalidRowsError as error:
        raise _invalid_rows(("reference",), error) from None
    except ValueError as error:
        raise invalid(("reference",), str(error).removeprefix("reference ")) from None


def _check_work(served: ServedModel, rows: Any, most_work: float) -> None:
    """Count the values of rows to compare with, which may be {}, before they are encoded."""
    count = len(rows) if is_sample(rows) else 1
    check_cells(count * len(served.model.features))
    if count * served.work > most_work:
        raise ComparisonError


def _check_comparison(key: str, method: str) -> None:
    try:
        check_comparison(method, key == "reference", key == "baseline")
    except ValueError as error:
        raise invalid((key,), str(error).removeprefix(f"{key} ")) from None


def read_target(served: ServedModel, target: Any, loc: Location = ("target",)) -> ClassLabel | None:
    """Return a class that is given as itself or as its text; None for None.

    Raises:
        ProblemError: 422.
    """
    if target is None:
        return None
    classes = served.model.classes
    if not classes:
        raise invalid(loc, f"must be left out: {served.name} is a {served.model.task} model")
    for label, key in zip(classes, served.class_keys, strict=True):
        # 1 == True in Python, but not in JSON.
        if target == key or (target == label and isinstance(target, bool) == isinstance(label, bool)):
            return label
    raise invalid(loc, f"must be one of {', '.join(map(repr, classes))}; got {describe(target)}")


def read_level(served: ServedModel, level: Any) -> float | None:
    """Return the level of the intervals to give, if the model keeps them for it.

    Raises:
        ProblemError: 422 naming the levels there are.
    """
    if level is None:
        return None
    levels = served.model.interval_levels
    if not levels:
        raise invalid(("interval",), f"must be left out: {served.name} keeps no intervals")
    if isinstance(level, bool) or level not in levels:
        raise invalid(
            ("interval",), f"must be one of {', '.join(f'{have:g}' for have in levels)}; got {describe(level)}"
        )
    return float(level)


def _invalid_rows(loc: Location, error: InvalidRowsError) -> ProblemError:
    return invalid_all([((*loc, *place), msg) for place, msg in error.errors], error.total)
