"""Spectral models in MLflow: `from eigenserve.mlflow import log_model, save_model, load_model`.

A model is logged as a `mlflow.pyfunc` with its checkpoint as data, a signature of its features, and a row of training
medians as its example. MLflow loads and serves it where Eigenserve is installed; `models:/NAME/VERSION` is a place of
a model for Eigenserve's own commands, too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eigenserve import __version__
from eigenserve.extras import naming_extra
from eigenserve.model.checkpoints.files import read_checkpoint, write_checkpoint
from eigenserve.model.checkpoints.mlflow_models import downloaded
from eigenserve.model.explanations.tables import row_values
from eigenserve.model.rows.baseline import baseline_columns
from eigenserve.model.rows.cells import iso_time
from eigenserve.model.rows.features import FeatureSpace
from eigenserve.model.spectral import SpectralModel

with naming_extra("mlflow"):
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

__all__ = ["Served", "load_model", "log_model", "save_model", "signature_of"]

#: What a prediction may be asked to return, as the parameter ``output``.
OUTPUTS = ("prediction", "probabilities", "explanation")


def log_model(model: SpectralModel, name: str = "model", registered_model_name: str | None = None, **more: Any) -> Any:
    """Log a model to the active run, or a new one.

    Args:
        model: what is logged, with its card.
        name: of the logged model.
        registered_model_name: makes it the next version of a registered model.
        more: as for ``mlflow.pyfunc.log_model``, such as ``metadata``.

    Returns:
        ``mlflow.models.model.ModelInfo``; its ``model_uri`` loads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        arguments = _arguments(model, Path(folder)) | more
        return mlflow.pyfunc.log_model(name=name, registered_model_name=registered_model_name, **arguments)


def save_model(model: SpectralModel, path: str | Path, **more: Any) -> None:
    """Save a model as an MLflow model in a new folder; ``more`` as for ``mlflow.pyfunc.save_model``."""
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(path, **(_arguments(model, Path(folder)) | more))


def load_model(uri: str) -> SpectralModel:
    """Load the model itself of an MLflow URI: ``models:/NAME/VERSION``, ``runs:/ID/model`` or a folder.

    Raises:
        CheckpointError: it is damaged, or not one of Eigenserve's.
    """
    with tempfile.TemporaryDirectory() as folder:
        return read_checkpoint(downloaded(uri, Path(folder)))


def signature_of(model: SpectralModel) -> ModelSignature:
    """Return the signature: a column for each feature, none of them required, since a missing one is a missing value.

    They take any type, as the model does: for a double MLflow refuses whole numbers, for a boolean missing values.
    """
    inputs = [ColSpec(AnyType(), name, required=False) for name in model.features.input_names]
    output = ColSpec(AnyType() if model.classes else DataType.double, "prediction")
    params = ParamSchema([ParamSpec("output", DataType.string, OUTPUTS[0])])
    return ModelSignature(Schema(inputs), Schema([output]), params)


@dataclass(frozen=True)
class Served:
    """Predict as MLflow asks for it.

    Attributes:
        model: what predicts.
    """

    model: SpectralModel

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return a DataFrame with a row for each row.

        Args:
            model_input: a DataFrame of the features; a column that is left out is missing everywhere.
            params: ``output``: "prediction" (column ``prediction``, of a classifier its label), "probabilities" (a
                column for each class) or "explanation" (score, baseline and a column for each term).

        Raises:
            InvalidRowsError: rows that are not rows of this model.
            ValueError: an unknown output, or probabilities of a model without classes.
        """
        import pandas as pd

        output = (params or {}).get("output", OUTPUTS[0])
        frame = pd.DataFrame(model_input)
        absent = [name for name in self.model.features.input_names if name not in frame]
        frame = frame.assign(**dict.fromkeys(absent))
        if output == "prediction":
            return pd.DataFrame({"prediction": self.model.predict(frame)}, index=frame.index)
        if output == "probabilities":
            classes = [str(label) for label in self.model.classes]
            return pd.DataFrame(self.model.predict_proba(frame), index=frame.index, columns=classes)
        if output == "explanation":
            return self.model.explain(frame).to_frame().set_index(frame.index)
        raise ValueError(f"output must be one of {', '.join(OUTPUTS)}; got {output!r}")


def _load_pyfunc(path: str) -> Served:
    """Load what MLflow has stored; it calls this by name."""
    return Served(read_checkpoint(Path(path)))


def _arguments(model: SpectralModel, folder: Path) -> dict[str, Any]:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    write_checkpoint(checkpoint, model)
    return {
        "loader_module": "eigenserve.mlflow",
        "data_path": str(checkpoint),
        "signature": signature_of(model),
        "input_example": _example(model.features),
        "pip_requirements": [f"eigenserve=={__version__}", "pandas"],
    }


def _example(features: FeatureSpace) -> Any:
    import pandas as pd

    values = row_values(features, baseline_columns(features))
    for feature in features.features:
        if feature.kind == "datetime" and values[feature.name] is not None:
            values[feature.name] = iso_time(values[feature.name])
    return pd.DataFrame([{name: values[name] for name in features.input_names}])
