"""Schemas of the other protocols' bodies: KServe V1, MLflow and the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from eigenserve.app.wire.schemas.explanations import RowExplanation
from eigenserve.app.wire.schemas.predictions import HOUSE, Cell, Prediction, Row


class V1Models(BaseModel):
    """Names of models."""

    models: list[str]


class V1Model(BaseModel):
    """Whether a model can predict."""

    name: str
    ready: bool


class V1Request(BaseModel):
    """Rows, in KServe's V1 protocol."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"instances": [HOUSE]}]})

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
