"""Define what the exported graph takes: one input per feature, in raw units, and the coordinates made of them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from eigenserve.model.onnx.graph import Graph
from eigenserve.model.onnx.tensor import Tensor
from eigenserve.model.rows.date_cycles import CYCLES, GRID, CycleName
from eigenserve.model.rows.features import Feature, FeatureSpace

#: How categories come in: as texts, or as ``FeatureSpace.encode`` numbers them.
Categories = Literal["strings", "codes"]
#: The axis of the rows, by name.
ROWS = "rows"
#: What a file gives, and what one with explanations adds. No file has an input of such a name.
REGRESSOR_OUTPUTS = ("prediction",)
CLASSIFIER_OUTPUTS = ("label", "probabilities")
EXPLANATION_OUTPUTS = ("score", "baseline", "contributions", "sensitivities", "gap")
OUTPUTS = (*REGRESSOR_OUTPUTS, *CLASSIFIER_OUTPUTS, *EXPLANATION_OUTPUTS)
#: A category that is this text is a missing value.
MISSING_TEXT = ""
#: Categories that files spell in several ways: numbers and moments as ``category_key`` writes them.
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?: [0-9]{2}:[0-9]{2}:[0-9.]+)?")


@dataclass(frozen=True)
class Columns:
    """Hold the rows of a request, one feature per row of a matrix.

    Attributes:
        raw: (F, N) float64, as ``FeatureSpace.encode`` gives them: NaN for missing.
        coordinates: (F, N) float64, as ``FeatureSpace.coordinates`` gives them.
        invalid: (1, N), rows that ``FeatureSpace.encode`` would refuse.
    """

    raw: Tensor
    coordinates: Tensor
    invalid: Tensor


def input_names(features: FeatureSpace) -> list[str]:
    """Name all features but cycles; one that is empty or the name of an output gets "feature." in front."""
    taken = {*OUTPUTS, *features.names, ""}
    names = []
    for name in features.input_names:
        if name in OUTPUTS or not name:
            while name in taken:
                name = "feature." + name
            taken.add(name)
        names.append(name)
    return names


def check_categories(features: FeatureSpace, categories: Categories) -> None:
    """Raise ValueError for features whose missing values could not be distinguished from a category."""
    if categories == "strings":
        for feature in features.features:
            if feature.missing and MISSING_TEXT in feature.categories:
                raise ValueError(
                    f"feature {feature.name!r} has missing values and a category that is the empty text, "
                    "which means a missing value here: export it with categories as codes"
                )


def columns_of(graph: Graph, features: FeatureSpace, names: Sequence[str], categories: Categories) -> Columns:
    """Add inputs for all features, and read their values."""
    rows = []
    for feature, name in zip(features.features, names, strict=False):
        text = feature.kind == "categorical" and categories == "strings"
        given = graph.input(name, object if text else np.float64, [ROWS, 1], describe(feature, text))
        if text:
            given = _looked_up(given, feature)
        elif feature.kind == "categorical":
            unknown = float(len(feature.categories))
            given = graph.where((given < 0.0) | (given >= unknown), unknown, given)
            given = graph.elementwise("Floor", given)
        for sentinel in feature.reading.sentinels:
            given = graph.where(graph.elementwise("Abs", given - sentinel) <= 0.0, math.nan, given)
        rows.append(graph.transpose(given, 1, 0))
    for feature in features.features[len(names) :]:
        assert feature.cycle
        rows.append(_in_cycle(feature.cycle, rows[features.position(feature.source)]))
    raw = graph.concat(rows, 0)
    refused = graph.apply("IsInf", raw, dtype=np.bool_)
    booleans = [feature.kind == "boolean" for feature in features.features]
    if any(booleans):
        other = graph.elementwise("Abs", raw * raw - raw) > 0.0  # neither 0 nor 1
        refused = refused | (other & graph.constant(_column(booleans)))
    invalid = graph.reduce("ReduceSum", graph.cast(refused, np.float32), [0]) > 0.5
    raw = graph.where(refused, math.nan, raw)
    return Columns(raw, _coordinates(raw, features), invalid)


def coordinate_slopes(columns: Columns, features: FeatureSpace) -> Tensor:
    """Return d(coordinate)/dx of the numeric features (F', N); NaN where the value is missing."""
    graph = columns.raw.graph
    numeric = [i for i, feature in enumerate(features.features) if feature.kind == "numeric"]
    chosen = [features.features[i] for i in numeric]
    raw = graph.gather(columns.raw, numeric)
    log = graph.constant(_column([feature.transform == "log" for feature in chosen]))
    low = graph.constant(_column([feature.low for feature in chosen], np.float64))
    slopes = 1.0 / (graph.where(log, raw, 1.0) * _column([feature.scale for feature in chosen], np.float64))
    slopes = graph.where(log & (raw < low), 0.0, slopes)
    return graph.where(graph.is_nan(raw), math.nan, slopes)


def describe(feature: Feature, text: bool) -> str:
    """Describe an input in words, for the graph's own documentation."""
    if feature.kind == "boolean":
        return "1 for true, 0 for false, NaN if missing"
    if feature.kind in ("numeric", "datetime"):
        unit = "number" if feature.kind == "numeric" else "days since 1970-01-01 UTC"
        return f"{unit}, NaN if missing; {feature.low:g} to {feature.high:g} in training"
    missing = "the empty text if missing" if text else "NaN if missing"
    return f"category as {'text' if text else 'its position in the metadata'}, {missing}"


def _in_cycle(name: CycleName, days: Tensor) -> Tensor:
    """Compute ``model.rows.date_cycles.cycle_values``, operation by operation."""
    cycle, graph = CYCLES[name], days.graph
    moments = (graph.elementwise("Floor", days) if cycle.whole else days) * cycle.per_day + cycle.shift
    moments = graph.elementwise("Floor", moments * GRID + 0.5) / GRID
    return moments - graph.elementwise("Floor", moments / cycle.period) * cycle.period


def _looked_up(given: Tensor, feature: Feature) -> Tensor:
    """Look up texts' codes. An operator of ai.onnx.ml, because ai.onnx compares texts only from opset 19 on."""
    codes = {category: float(code) for code, category in enumerate(feature.categories)}
    # The operator compares whole texts: those spellings that rows may have are listed, by the rules of all rows.
    for text in _spellings(feature):
        code = feature.codes[text]
        if code != len(feature.categories) and (feature.missing or not math.isnan(code)):
            codes.setdefault(text, code)
    if not codes:
        codes[MISSING_TEXT] = 0.0
    found = given.graph.apply(
        "LabelEncoder",
        given,
        dtype=np.float32,
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_floats=list(codes.values()),
        default_float=float(len(feature.categories)),
    )
    return given.graph.cast(found, np.float64)


def _spellings(feature: Feature) -> Iterator[str]:
    """Yield texts that mean a missing value or a category, spelt otherwise."""
    yield from sorted(feature.reading.missing_texts)
    for category in feature.categories:
        cases = (category.lower(), category.upper(), category.capitalize(), category.title())
        yield from cases
        if not category.isascii():
            # Accents may be signs of their own.
            yield from (unicodedata.normalize("NFD", text) for text in (category, *cases))
        if _NUMBER.fullmatch(category):
            whole, _, fraction = category.partition(".")
            yield from (f"{whole}.{fraction:0<{decimals}}" for decimals in (1, 2, 3) if decimals > len(fraction))
            yield str(float(category))
        elif _MOMENT.fullmatch(category):
            day, _, clock = category.partition(" ")
            yield from (f"{day}{between}{clock or '00:00:00'}" for between in " T")


def _coordinates(raw: Tensor, features: FeatureSpace) -> Tensor:
    graph, all_features = raw.graph, features.features
    stands_in = [not feature.missing for feature in all_features]
    if any(stands_in):
        values = [_stand_in(feature) for feature in all_features]
        absent = graph.is_nan(raw) & graph.constant(_column(stands_in))
        raw = graph.where(absent, graph.constant(_column(values, np.float64)), raw)
    logs = [feature.transform == "log" and feature.kind != "categorical" for feature in all_features]
    if any(logs):
        low = graph.constant(
            _column([f.low if log else 1.0 for f, log in zip(all_features, logs, strict=True)], np.float64)
        )
        # Not Max, which may drop a NaN.
        logarithm = graph.elementwise("Log", graph.where(raw < low, low, raw))
        raw = graph.where(graph.constant(_column(logs)), logarithm, raw)
    plain = [feature.kind != "categorical" for feature in all_features]
    center = [f.center if number else 0.0 for f, number in zip(all_features, plain, strict=True)]
    scale = [f.scale if number else 1.0 for f, number in zip(all_features, plain, strict=True)]
    out = (raw - _column(center, np.float64)) / _column(scale, np.float64)
    return _grouped(out, features) if any(feature.groups for feature in all_features) else out


def _grouped(coordinates: Tensor, features: FeatureSpace) -> Tensor:
    """Look up the groups of codes, row by row; NaN stays."""
    graph, rows = coordinates.graph, []
    for i, feature in enumerate(features.features):
        row = graph.rows(coordinates, i, i + 1)
        if feature.groups:
            absent = graph.is_nan(row)
            code = graph.cast(graph.where(absent, 0.0, row), np.int64)
            row = graph.where(absent, math.nan, graph.gather(graph.constant(feature.group_of, np.float64), code))
        rows.append(row)
    return graph.concat(rows, 0)


def _stand_in(feature: Feature) -> float:
    """Return what a missing value counts as where it does not have a separate matrix (there: anything)."""
    if feature.kind == "categorical":
        return float(len(feature.categories))
    return 0.0 if feature.missing else float(feature.typical)  # type: ignore[arg-type]


def _column(values: Sequence[Any], dtype: type = np.bool_) -> NDArray[Any]:
    return np.array(values, dtype)[:, None]
