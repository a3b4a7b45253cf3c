"""Read and check the service's own requests: {"instances": [...]} and its companions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eigenserve.app.problems import ProblemError, invalid, invalid_all
from eigenserve.app.registry import ModelRegistry, ServedModel
from eigenserve.app.wire.include_options import EXPLANATION_ALONE, OPTIONS, Include, describe, read_include
from eigenserve.model.arrays import FloatArray
from eigenserve.model.explanations.eigenvector import METHODS
from eigenserve.model.rows.baseline import background_columns, is_sample
from eigenserve.model.rows.errors import InvalidRowsError, Location
from eigenserve.model.spectral import ClassLabel

KEYS = frozenset({"instances", "model", "version"})
PREDICT_KEYS = KEYS | {"interval"}
#: Rows of a baseline: each costs as much as all of a request against one.
MAX_SAMPLE = 100
EXPLAIN_KEYS = KEYS | {"method", "target", "baseline", "include", *OPTIONS}


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold what a request asks for: rows of which model, and for an explanation how.

    Attributes:
        served: the model.
        rows: at least one, as a list of rows or as columns by name; whether each is a row of the model shows
            when they are encoded.
        method, target: as for ``SpectralModel.explain``.
        interval: the level of the intervals to give with predictions; None for none.
        baseline: as for ``SpectralModel.explain_columns``: encoded.
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
            raise invalid_all([((*self.loc, *loc), msg) for loc, msg in error.errors], error.total) from None


def read_request(document: Any, keys: frozenset[str], registry: ModelRegistry, max_rows: int) -> Asked:
    """Read the parsed body of /predict or /explain.

    Raises:
        ProblemError: 422 naming each fault; 404 unknown model or version; 413 too many rows.
    """
    if not isinstance(document, dict):
        raise invalid(("body",), f'must be an object such as {{"instances": [...]}}; got {describe(document)}')
    errors: list[tuple[Location, str]] = [
        ((key,), f"unknown key; the keys are {', '.join(sorted(keys))}") for key in document if key not in keys
    ]
    if "instances" not in document:
        errors.append((("instances",), "must be given: a list of rows"))
    for key, kinds, rule in (
        ("model", (str,), "must be a model's name, as text"),
        ("version", (str, int), 'must be a version, as "1" or 1'),
        ("method", (str,), f"must be one of {', '.join(METHODS)}"),
        ("include", (list,), "must be a list"),
    ):
        value = document.get(key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            errors.append(((key,), f"{rule}; got {describe(value)}"))
    if errors:
        raise invalid_all(errors)
    served, method, target, interval = read_options(document, registry)
    rows = check_rows(document["instances"], max_rows, ("instances",))
    baseline, include = read_baseline(served, method, document.get("baseline")), read_include(served, document)
    if baseline is not None and baseline.ndim == 2 and "interactions" in include.names:
        raise invalid(("baseline",), "must be one row where interactions are included; got a sample")
    return Asked(served, rows, method, target, interval, baseline=baseline, include=include)


def read_options(
    options: Mapping[str, Any], registry: ModelRegistry
) -> tuple[ServedModel, str, ClassLabel | None, float | None]:
    """Read the model, method, target and interval that a request names, or their defaults.

    Raises:
        ProblemError: 404 unknown model or version; 422 unknown method, target or level of interval.
    """
    served = registry.find(options.get("model"), options.get("version"))
    method = options.get("method") or "eigenvector"
    if method not in METHODS:
        raise invalid(("method",), f"must be one of {', '.join(METHODS)}; got {method!r}")
    return served, method, read_target(served, options.get("target")), read_level(served, options.get("interval"))


def read_baseline(served: ServedModel, method: str, rows: Any) -> FloatArray | None:
    """Read and encode the row to compare with, or the sample of rows; None for the default.

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
        raise invalid_all([(("baseline", *loc), msg) for loc, msg in error.errors], error.total) from None


def check_rows(rows: Any, max_rows: int, loc: Location) -> list[Any]:
    """Check the rows of a body: a list of not too many.

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
    """Read a class, given as itself or as its text; None for None.

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
    """Read the level of the intervals asked for, if the model keeps them for it.

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
