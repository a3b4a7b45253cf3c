"""Read and check the service's own requests: {"instances": [...]} and its companions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from eigenserve.app.problems import ProblemError, invalid, invalid_all
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.include_options import EXPLANATION_ALONE, Include, describe, read_include
from eigenserve.app.wire.schemas.explanations import ExplainRequest
from eigenserve.app.wire.schemas.predictions import PredictRequest, RowsRequest
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.explain import METHODS
from eigenserve.model.predictor import ClassLabel
from eigenserve.model.rows.baseline import background_columns, is_sample
from eigenserve.model.rows.errors import InvalidRowsError, Location

#: Rows of a baseline: each costs as much as all of a request against one.
MAX_SAMPLE = 100

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold what a request asks for: rows of which model, and for an explanation how.

    Attributes:
        served: the model.
        rows: at least one, as a list of rows or as columns by name; whether each is a row of the model shows
            when they are encoded.
        method, target: as for ``SpectralModel.explain``.
        interval: the level of the intervals to give with predictions; None for none.
        baseline: as for ``model.explanations.explain``: encoded.
        include: further parts of an explanation.
        loc: where in the body the rows are.
    """

    served: ServedModel
    rows: Any
    method: str = "eigenvector"
    target: ClassLabel | None = None
    interval: float | None = None
    loc: Location = ("instances",)
    baseline: FloatArray | None = None
    include: Include = EXPLANATION_ALONE

    @property
    def count(self) -> int:
        """Count the rows."""
        return len(next(iter(self.rows.values()))) if isinstance(self.rows, dict) else len(self.rows)

    @property
    def baselines(self) -> int:
        """Count the rows of the baseline."""
        return len(self.baseline) if self.baseline is not None and self.baseline.ndim == 2 else 1

    def columns(self) -> FloatArray:
        """Encode the rows.

        Raises:
            ProblemError: 422 naming each fault.
        """
        try:
            return self.served.model.features.encode(self.rows)
        except InvalidRowsError as error:
            raise _invalid_rows(self.loc, error) from None


def read_predict(document: Any, registry: ModelRegistry, max_rows: int) -> Asked:
    """Check the parsed body of /predict.

    Raises:
        ProblemError: 422 naming each fault; 404 unknown model or version; 413 too many rows.
    """
    request = check_envelope(document, PredictRequest)
    served, rows = read_rows(request, registry, max_rows)
    return Asked(served, rows, interval=read_level(served, request.interval))


def read_explain(document: Any, registry: ModelRegistry, max_rows: int) -> Asked:
    """Check the parsed body of /explain; raises as ``read_predict``."""
    request = check_envelope(document, ExplainRequest)
    served, rows = read_rows(request, registry, max_rows)
    method, target = request.method or METHODS[0], read_target(served, request.target)
    baseline, include = read_baseline(served, method, request.baseline), read_include(served, request)
    if baseline is not None and baseline.ndim == 2 and "interactions" in include.names:
        raise invalid(("baseline",), "must be one row where interactions are included; got a sample")
    return Asked(served, rows, method, target, baseline=baseline, include=include)


def read_options(options: Mapping[str, Any], registry: ModelRegistry) -> Asked:
    """Read the model, version, method, target and interval that a query names, or their defaults; no rows.

    Raises:
        ProblemError: 404 unknown model or version; 422 unknown method, target or level of interval.
    """
    served = registry.find(options.get("model"), options.get("version"))
    method = options.get("method") or METHODS[0]
    if method not in METHODS:
        raise invalid(("method",), f"must be one of {', '.join(METHODS)}; got {describe(method)}")
    target, interval = read_target(served, options.get("target")), read_level(served, options.get("interval"))
    return Asked(served, (), method, target, interval)


def check_envelope(document: Any, schema: type[S]) -> S:
    """Check a parsed body against the schema that documents it; its rows are checked when they are encoded.

    Raises:
        ProblemError: 422 naming each fault.
    """
    if not isinstance(document, dict):
        raise invalid(("body",), f'must be an object such as {{"instances": [...]}}; got {describe(document)}')
    try:
        return schema.model_validate(document)
    except ValidationError as error:
        raise _invalid_envelope(document, schema, error) from None


def read_rows(request: RowsRequest, registry: ModelRegistry, max_rows: int) -> tuple[ServedModel, list[Any]]:
    """Return the model and the rows that a request names.

    Raises:
        ProblemError: 404 unknown model or version; 422, 413 see ``check_rows``.
    """
    return registry.find(request.model, request.version), check_rows(request.instances, max_rows, ("instances",))


def read_baseline(served: ServedModel, method: str, rows: Any) -> FloatArray | None:
    """Encode the row to compare with, or the sample of rows; None for the default.

    Raises:
        ProblemError: 422 naming each fault.
    """
    if rows is None:
        return None
    if method == "eigenvector":
        raise invalid(("baseline",), 'must be left out for the method "eigenvector", which has its own')
    try:
        if is_sample(rows) and len(rows) > MAX_SAMPLE:
            raise invalid(("baseline",), f"must have at most {MAX_SAMPLE} rows; got {len(rows)}")
        return background_columns(served.model.features, rows)
    except InvalidRowsError as error:
        raise _invalid_rows(("baseline",), error) from None


def check_rows(rows: Any, max_rows: int, loc: Location) -> list[Any]:
    """Return the rows of a body, if they are a list of not too many.

    Raises:
        ProblemError: 422, 413.
    """
    if not isinstance(rows, list):
        raise invalid(loc, f"must be a list of rows; got {describe(rows)}")
    if not rows:
        raise invalid(loc, "must have at least one row; got an empty list")
    check_count(len(rows), max_rows)
    return rows


def check_count(count: int, max_rows: int) -> None:
    """Refuse a request of more rows than one may have.

    Raises:
        ProblemError: 413.
    """
    if count > max_rows:
        raise ProblemError(413, f"a request must have at most {max_rows} rows; got {count}: send several requests")


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


def _invalid_envelope(document: Mapping[str, Any], schema: type[BaseModel], error: ValidationError) -> ProblemError:
    """Return the faults that pydantic names, in the words of the other errors."""
    faults: dict[Location, list[str]] = {}
    for fault in error.errors(include_url=False, include_context=False):
        msg = re.sub(r"^\w+ should ", "must ", fault["msg"]).replace("valid string", "text")
        msg += f"; got {describe(fault['input'])}"
        if fault["type"] == "missing":
            msg = "must be given"
        elif fault["type"] == "extra_forbidden":
            msg = f"unknown key; the keys are {', '.join(sorted(schema.model_fields))}"
        place = fault["loc"] if fault["type"] == "missing" else _place(document, fault["loc"])
        faults.setdefault(place, []).append(msg)
    return invalid_all([(place, " or ".join(msgs)) for place, msgs in faults.items()])


def _place(document: Any, loc: Sequence[int | str]) -> Location:
    """Return the part of pydantic's location that is in the document: behind it come the names of a union's types."""
    place: list[int | str] = []
    for part in loc:
        known = isinstance(document, dict) and part in document
        if not known and not (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            break
        document = document[part]
        place.append(part)
    return tuple(place)
