"""Describe the bodies of the other protocols: KServe V1, MLflow and the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from eigenserve.app.wire.schemas.explanations import RowExplanation
from eigenserve.app.wire.schemas.predictions import HOUSE, Cell, Prediction, Row, RowWarning


class V1Models(BaseModel):
    """List the names of models."""

    models: list[str]


class VersionStatus(BaseModel):
    """State of a version, as TensorFlow Serving reports it."""

    version: str
    state: str
    status: dict[str, str]


class V1Model(BaseModel):
    """Report whether a model can predict."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


class V1Request(BaseModel):
    """Ask for predictions or explanations of rows, in KServe's V1 protocol."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"instances": [HOUSE]}]})

    instances: list[Row] | None = Field(default=None, min_length=1)
    inputs: dict[str, list[Any]] | list[Row] | None = Field(
        default=None,
        description="TensorFlow Serving's columnar form, instead of instances: a list of values by feature.",
    )


class V1Predictions(BaseModel):
    """Answer with predictions, in KServe's V1 protocol."""

    predictions: list[Prediction | str | bool] | None = None
    outputs: list[Prediction] | None = Field(default=None, description="The same, where the body has inputs.")
    warnings: list[list[RowWarning]] | None = Field(default=None, description="Of every row; only where one has any.")
    kept: list[dict[str, Any]] | None = Field(
        default=None, description="Of every row what is handed through, such as its id; only where something is."
    )


class V1Explanations(BaseModel):
    """Answer with explanations, in KServe's V1 protocol."""

    explanations: list[RowExplanation]


class DataframeSplit(BaseModel):
    """Hold a table as pandas' ``to_dict(orient="split")`` writes it."""

    columns: list[str]
    data: list[list[Cell]]
    index: list[Any] | None = None


class InvocationsRequest(BaseModel):
    """Hold a table in exactly one of MLflow's layouts."""

    dataframe_split: DataframeSplit | None = None
    dataframe_records: list[dict[str, Cell]] | None = None
    instances: list[Row] | dict[str, list[Cell]] | None = None
    inputs: list[Row] | dict[str, list[Cell]] | None = None


class ServerMetadata(BaseModel):
    """Describe the server, in the Open Inference Protocol."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Report whether the process runs."""

    live: bool


class IsReady(BaseModel):
    """Report whether the models are loaded."""

    ready: bool


class ModelReady(IsReady):
    """Report whether a model is loaded."""

    name: str


class TensorMetadata(BaseModel):
    """Describe a tensor that a model takes or gives; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """Describe a model, in the Open Inference Protocol."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class InputTensor(BaseModel):
    """Hold one feature's values, or all features' in column order."""

    name: str
    shape: list[int] = Field(examples=[[1]])
    datatype: str = Field(examples=["FP64"])
    data: list[Any] | None = Field(default=None, description="Flat or nested; left out for binary data.")
    parameters: dict[str, Any] | None = None


class RequestedOutput(BaseModel):
    """Name an output to return."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """Ask for predictions of tensors."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputTensor] = Field(min_length=1)
    outputs: list[RequestedOutput] | None = None


class OutputTensor(BaseModel):
    """Hold one output's values, row by row."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferResponse(BaseModel):
    """Answer with predicted tensors."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class RepositoryEntry(BaseModel):
    """Describe a version in the store."""

    name: str
    version: str
    state: str
    reason: str
