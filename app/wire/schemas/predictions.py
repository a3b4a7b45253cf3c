"""Schemas: the contract's bodies, as the API documents them and as requests are checked.

Rows are only described here: the model's features check them, and build no object for every cell.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SkipValidation

Cell = float | str | bool | None
Row = dict[str, Cell] | list[Cell]

HOUSE: dict[str, JsonValue] = {
    "longitude": -122.23,
    "latitude": 37.88,
    "housing_median_age": 41.0,
    "total_rooms": 880.0,
    "total_bedrooms": 129.0,
    "population": 322.0,
    "households": 126.0,
    "median_income": 8.3252,
}


class RowsRequest(BaseModel):
    """Hold rows, and name the model they are for."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"instances": [HOUSE]}]})

    instances: SkipValidation[list[Row]] = Field(
        min_length=1,
        description="Rows: objects by feature name, or arrays in training column order. "
        "null, or a key left out, is a missing value.",
    )
    model: str | None = Field(default=None, description="Name of a model; not needed where one is the default.")
    version: str | int | None = Field(default=None, description="A version; the newest by default.")
    strict: SkipValidation[bool | list[Literal["missing", "unseen", "range", "certified", "unstable"]] | None] = Field(
        default=None,
        description="Refuse rows (422) that have a warning: of any kind, or of these. What the model or the server "
        "refuses is refused as well.",
    )
    keep: SkipValidation[list[str] | None] = Field(
        default=None,
        description="Keys of rows that come back with their answers, under `kept`; they need not be features. A row's "
        "`id` always does.",
    )
    table: bool = Field(
        default=False,
        description="The objects are rows of one table, as in CSV and Arrow: each must have a key for every feature, "
        "and other keys are ignored.",
    )


class PredictRequest(RowsRequest):
    """Ask for predictions of rows."""

    interval: SkipValidation[float | None] = Field(
        default=None,
        description="A level: answer with an interval for every row that holds the target with this probability, "
        "on average over rows. One of the levels in the model's card; only regressions have them.",
    )


class RowWarning(BaseModel):
    """Warn of a row in which the model had to guess."""

    kind: Literal["missing", "unseen", "range", "certified", "unstable"] = Field(
        description="A value is missing where training had none missing; a category that training did not have; a "
        "number or date beyond the training range; likewise, where a shape is certified within it alone; or an "
        "explanation that a small change of the row may turn."
    )
    feature: str | None = Field(default=None, description="Left out where the whole row is meant.")
    by: float | None = Field(
        default=None,
        description="How far beyond the training range, negative below it, in the feature's unit; days for a date.",
    )
    further: int | None = Field(
        default=None, description="How many further features of the row have the same warning and are not listed."
    )
    message: str


class ClassPrediction(BaseModel):
    """Give a classifier's prediction."""

    label: str | float | bool = Field(description="The most probable class.")
    probabilities: dict[str, float] = Field(description="Every class's probability, adding up to 1.")


Prediction = float | ClassPrediction | None


class PredictResponse(BaseModel):
    """Answer with a prediction for every row, in their order."""

    model: str
    version: str
    predictions: list[Prediction] = Field(
        description="null only where the number is too large for float64", examples=[[452600.0]]
    )
    intervals: list[tuple[float | None, float | None]] | None = Field(
        default=None, description="[low, high] of every row; only where an interval is asked for."
    )
    warnings: list[list[RowWarning]] = Field(description="Of every row; an empty list for one without.")
    kept: list[dict[str, Any]] | None = Field(
        default=None, description="Of every row what is handed through; only where something is."
    )


class ModelSummary(BaseModel):
    """Describe a served model in short."""

    name: str
    version: str = Field(description="The version that answers by default.")
    versions: list[str]
    task: str
    target: str
    default: bool = Field(description="Whether it answers requests that name no model.")


class ModelList(BaseModel):
    """List all served models."""

    models: list[ModelSummary]


class FeatureCard(BaseModel):
    """Describe one feature of a model."""

    name: str
    kind: str = Field(description="numeric, datetime, boolean or categorical")
    typical: float | bool | str | None = Field(description="Training median or most frequent value.")
    low: float | None = Field(description="Least training value of a number, or of a time in days since 1970.")
    high: float | None = Field(description="Largest training value, in the same unit.")
    categories: list[str] | None = Field(description="Training categories of a categorical feature.")
    missing: bool = Field(description="Whether the model treats a missing value separately.")
    reading: dict[str, Any] = Field(description="How texts are read: marks of numbers, units, formats of dates.")
    cycles: list[str] = Field(
        description="Of a date: the features computed from it, such as its hour. A row may give them, but need not."
    )


class ModelCard(ModelSummary):
    """Describe one version of a model."""

    link: str
    classes: list[str | float | bool]
    features: list[FeatureCard]
    terms: list[str] = Field(description="What contributions are named after.")
    dim: int
    members: int
    eig_idx: int
    metrics: dict[str, Any] | None
    strengths: dict[str, float] = Field(
        description="By feature, what is proved that no slope of the score (per unit of the feature) or change of it "
        "between two categories exceeds within the training range."
    )
    drift: bool = Field(description="Whether `/models/NAME/drift` compares what it predicts with its training.")
    card: dict[str, Any] = Field(description="Whatever else its checkpoint says.")


class Fault(BaseModel):
    """Report one fault in a body."""

    loc: list[str | int] = Field(description="Where in the body.", examples=[["instances", 0, "latitude"]])
    msg: str


class ProblemDetails(BaseModel):
    """Report a problem (RFC 9457 problem details)."""

    title: str
    status: int
    detail: str
    request_id: str | None
    error: str = Field(description="The detail again, under the name that inference clients look for.")
    errors: list[Fault] | None = None


class Alive(BaseModel):
    """Report that the process runs."""

    status: str


class Ready(BaseModel):
    """Report that models are loaded and kernels compiled."""

    status: str
    models: list[str]
