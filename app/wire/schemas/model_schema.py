"""Describe a model's rows and predictions by JSON Schema: what each feature is, and what training knew of it."""

from __future__ import annotations

from typing import Any

from eigenserve.app.registry import ServedModel
from eigenserve.model.explanations.tables import row_values
from eigenserve.model.rows.baseline import baseline_columns
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.feature import Feature

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Categories that are listed; of more, only their number is given.
MAX_CATEGORIES = 200


def model_schema(served: ServedModel) -> dict[str, Any]:
    """Return the JSON Schema of one row of a model, an object by feature name, with its prediction under ``$defs``.

    Every row that the schema accepts is read by the service; the service reads more than it accepts, such as numbers
    in texts and rows as arrays.
    """
    title = f"A row of {served.name}, version {served.version}"
    return {
        "$schema": DIALECT,
        "title": title,
        **row_schema(served),
        "$defs": {"prediction": prediction_schema(served)},
    }


def row_schema(served: ServedModel) -> dict[str, Any]:
    """Return the schema of a row as an object."""
    features = [feature for feature in served.model.features.features if not feature.cycle]
    return {
        "type": "object",
        "properties": {feature.name: _cell(feature) for feature in features},
        "additionalProperties": False,
        "examples": [typical_row(served)],
    }


def typical_row(served: ServedModel) -> dict[str, Any]:
    """Return a row of training medians and most frequent values."""
    features = served.model.features
    values = row_values(features, baseline_columns(features))
    kinds = {feature.name: feature.kind for feature in features.features}
    return {
        name: iso_time(values[name]) if kinds[name] == "datetime" and values[name] is not None else values[name]
        for name in features.input_names
    }


def prediction_schema(served: ServedModel) -> dict[str, Any]:
    """Return the schema of a row's prediction."""
    model = served.model
    if not model.classes:
        return {"type": "number", "title": model.target}
    share = {"type": "number", "minimum": 0, "maximum": 1}
    keys = list(served.class_keys)
    return {
        "type": "object",
        "title": model.target,
        "properties": {
            "label": {"enum": list(model.classes)},
            "probabilities": {"type": "object", "properties": dict.fromkeys(keys, share), "required": keys},
        },
        "required": ["label", "probabilities"],
    }


def _cell(feature: Feature) -> dict[str, Any]:
    absent = "null, or no such key, is a missing value"
    if not feature.missing:
        absent += f", which the model does not treat separately: it counts as {feature.missing_counts_as}"
    if feature.kind == "categorical":
        anything: dict[str, Any] = {"type": ["string", "number", "boolean", "null"], "description": absent}
        if len(feature.categories) <= MAX_CATEGORIES:
            known = {"enum": list(feature.categories), "description": "A category of training."}
            return {"anyOf": [known, anything], "default": None}
        anything["description"] = f"One of {len(feature.categories)} categories of training, or another. {absent}"
        return {**anything, "default": None}
    if feature.kind == "boolean":
        return {"type": ["boolean", "null"], "description": absent, "default": None}
    is_date = feature.kind == "datetime"
    low, high = (iso_time(end) if is_date else f"{end:.12g}" for end in (feature.low, feature.high))
    described = {"description": f"From {low} to {high} in training. {absent}", "default": None}
    if is_date:
        texts = [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}, {"type": "null"}]
        return {"anyOf": texts, **described}
    return {"type": ["number", "null"], **described}
