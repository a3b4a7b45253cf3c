"""Schemas: the contract's bodies as the API's documentation shows them.

They describe; the checking is done by ``app.instances``, which knows the model's features and builds no
object for every cell.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Cell = float | str | bool | None
Row = dict[str, Cell] | list[Cell]

_HOUSE: dict[str, JsonValue] = {
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
    """Rows, and the model they are for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"instances": [_HOUSE]}]})

    instances: list[Row] = Field(
        min_length=1,
        description="Rows: objects by feature name, or arrays in training column order. "
        "null, or a key left out, is a missing value.",
    )
    model: str | None = Field(default=None, description="Name of a model; not needed where one is the default.")
    version: str | int | None = Field(default=None, description="A version; the newest by default.")


class PredictRequest(RowsRequest):
    """Rows to predict."""

    interval: float | None = Field(
        default=None,
        description="A level: answer with an interval for every row that holds the target with this probability, "
        "on average over rows. One of the levels in the model's card; only regressions have them.",
    )


class ExplainRequest(RowsRequest):
    """Rows to explain."""

    method: Literal["eigenvector", "path", "shapley"] | None = Field(
        default=None,
        description="How to take the score apart: by term with the row's own eigenvector (the default), or by feature "
        "against a baseline row: along the straight line from it, or over all coalitions of features.",
    )
    baseline: Row | None = Field(
        default=None,
        description="The row that path and shapley compare with; the training medians and modes by default. "
        "Not for eigenvector.",
    )
    target: str | float | bool | None = Field(
        default=None, description="The class whose score to explain; the predicted one by default."
    )
    include: list[str] | None = Field(default=None, description="Further parts of the answer; none yet.")


class ClassPrediction(BaseModel):
    """A classifier's prediction."""

    label: str | float | bool = Field(description="The most probable class.")
    probabilities: dict[str, float] = Field(description="Every class's probability, adding up to 1.")


Prediction = float | ClassPrediction | None


class PredictResponse(BaseModel):
    """A prediction for every row, in their order."""

    model: str
    version: str
    predictions: list[Prediction] = Field(
        description="null only where the number is too large for float64", examples=[[452600.0]]
    )
    intervals: list[tuple[float | None, float | None]] | None = Field(
        default=None, description="[low, high] of every row; only where an interval is asked for."
    )


class RowExplanation(BaseModel):
    """One score taken apart: baseline + the sum of the contributions = score."""

    prediction: Prediction
    score: float
    baseline: float
    contributions: dict[str, float] = Field(
        description='By term: a feature, or a pair "a & b"; by feature for path and shapley.'
    )
    sensitivities: dict[str, float | None] = Field(
        description="d score / d x of every numeric feature, in its own unit; null where x is missing."
    )
    gap: float | None = Field(
        description="Smallest distance to a neighbouring eigenvalue; null for matrices of size 1."
    )
    standard_error: dict[str, float] | None = Field(
        default=None,
        description="Only for shapley: of each contribution; zero where all coalitions were counted.",
    )


class ExplainResponse(BaseModel):
    """An explanation for every row, in their order."""

    model: str
    version: str
    method: str
    explanations: list[RowExplanation]


class ModelSummary(BaseModel):
    """A model that is served."""

    name: str
    version: str = Field(description="The version that answers by default.")
    versions: list[str]
    task: str
    target: str
    default: bool = Field(description="Whether it answers requests that name no model.")


class ModelList(BaseModel):
    """All models that are served."""

    models: list[ModelSummary]


class FeatureCard(BaseModel):
    """One feature of a model."""

    name: str
    kind: str = Field(description="numeric, datetime, boolean or categorical")
    typical: float | bool | str | None = Field(description="Training median or most frequent value.")
    low: float | None = Field(description="Least training value of a number, or of a time in days since 1970.")
    high: float | None = Field(description="Largest training value, in the same unit.")
    categories: list[str] | None = Field(description="Training categories of a categorical feature.")
    missing: bool = Field(description="Whether a missing value has a meaning of its own to the model.")


class ModelCard(ModelSummary):
    """What one version of a model is."""

    link: str
    classes: list[str | float | bool]
    features: list[FeatureCard]
    terms: list[str] = Field(description="What contributions are named after.")
    dim: int
    members: int
    eig_idx: int
    metrics: dict[str, Any] | None
    strengths: dict[str, Any] | None
    card: dict[str, Any] = Field(description="Whatever else its checkpoint says.")


class Fault(BaseModel):
    """One fault in a body."""

    loc: list[str | int] = Field(description="Where in the body.", examples=[["instances", 0, "latitude"]])
    msg: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    title: str
    status: int
    detail: str
    request_id: str | None
    error: str = Field(description="The detail again, under the name that inference clients look for.")
    errors: list[Fault] | None = None


class Alive(BaseModel):
    """The process runs."""

    status: str


class Ready(BaseModel):
    """Models are loaded, kernels are compiled."""

    status: str
    models: list[str]


class V1Models(BaseModel):
    """Names of models."""

    models: list[str]


class V1Model(BaseModel):
    """Whether a model can predict."""

    name: str
    ready: bool


class V1Request(BaseModel):
    """Rows, in KServe's V1 protocol."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"instances": [_HOUSE]}]})

    instances: list[Row] = Field(min_length=1)


class V1Predictions(BaseModel):
    """Predictions, in KServe's V1 protocol."""

    predictions: list[Prediction | str | bool]


class V1Explanations(BaseModel):
    """Explanations, in KServe's V1 protocol."""

    explanations: list[RowExplanation]


class DataframeSplit(BaseModel):
    """A table as pandas' ``to_dict(orient="split")`` has it."""

    columns: list[str]
    data: list[list[Cell]]
    index: list[Any] | None = None


class InvocationsRequest(BaseModel):
    """A table in exactly one of MLflow's layouts."""

    dataframe_split: DataframeSplit | None = None
    dataframe_records: list[dict[str, Cell]] | None = None
    instances: list[Row] | dict[str, list[Cell]] | None = None
    inputs: list[Row] | dict[str, list[Cell]] | None = None


class ServerMetadata(BaseModel):
    """The server, in the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the process runs."""

    live: bool


class IsReady(BaseModel):
    """Whether the models are loaded."""

    ready: bool


class ModelReady(IsReady):
    """Whether a model is loaded."""

    name: str


class TensorMetadata(BaseModel):
    """A tensor that a model takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model, in the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(BaseModel):
    """One feature's values, or all features' in column order."""

    name: str
    shape: list[int] = Field(examples=[[1]])
    datatype: str = Field(examples=["FP64"])
    data: list[Any] | None = Field(default=None, description="Flat or nested; left out for binary data.")
    parameters: dict[str, Any] | None = None


class RequestedOutput(BaseModel):
    """An output to give."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """Tensors to predict."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] | None = None


class OutputTensor(BaseModel):
    """One output's values, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    """Predicted tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class RepositoryEntry(BaseModel):
    """A version in the store."""

    name: str
    version: str
    state: str
    reason: str
