"""Models in MLflow itself: logged, registered, loaded as a pyfunc, and as a place of Eigenserve's commands."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.made_models import FEATURES, make_model, make_rows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own type hints when it is imported
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed: see `make test-peers`")
    pytest.importorskip("mlflow.pyfunc")

from eigenserve.cli import main
from eigenserve.mlflow import load_model, log_model, save_model
from eigenserve.model.checkpoints.files import CheckpointError, to_bytes
from eigenserve.model.checkpoints.local_store import ModelNotFoundError
from eigenserve.model.checkpoints.locations import load_model as load_place
from eigenserve.model.checkpoints.locations import open_store

#: MLflow's own deprecations, and hints about types.
pytestmark = [pytest.mark.filterwarnings("ignore")]
NAMES = [feature.name for feature in FEATURES]


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """MLflow's tracking and registry in a folder, and Eigenserve's copies in another."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    mlflow.set_registry_uri((tmp_path / "mlruns").as_uri())
    yield tmp_path
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def frame_of(rows: list) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=NAMES)


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_a_saved_model_predicts_as_a_pyfunc_what_it_predicts_itself(tmp_path: Path, task: str):
    model, frame = make_model(task), frame_of(make_rows(50, seed=1))
    save_model(model, tmp_path / "saved")
    pyfunc = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    assert pyfunc.predict(frame)["prediction"].tolist() == model.predict(frame).tolist()
    explained = pyfunc.predict(frame, params={"output": "explanation"})
    assert np.allclose(explained["score"], model.explain(frame).score)
    if model.classes:
        shares = pyfunc.predict(frame, params={"output": "probabilities"})
        assert np.array_equal(shares.to_numpy(), model.predict_proba(frame))
    assert to_bytes(load_model(str(tmp_path / "saved"))) == to_bytes(model)


def test_the_signature_names_the_features_and_the_example_is_a_row(tmp_path: Path):
    save_model(make_model(), tmp_path / "saved")
    pyfunc = mlflow.pyfunc.load_model(str(tmp_path / "saved"))
    assert pyfunc.metadata.signature.inputs.input_names() == NAMES
    example = pyfunc.input_example if hasattr(pyfunc, "input_example") else pyfunc.metadata.load_input_example()
    assert len(pyfunc.predict(example)) == 1
    whole = frame_of(make_rows(5)).assign(age=pd.Series([31, 40, 25, 60, 19], dtype="int64"))
    assert len(pyfunc.predict(whole)) == 5
    without = pyfunc.predict(whole.drop(columns="income"))
    assert without["prediction"].tolist() == make_model().predict(whole.assign(income=None)).tolist()


def test_a_registered_version_is_a_place_of_a_model(tracking: Path, capsys: pytest.CaptureFixture[str]):
    first, second = make_model(seed=1), make_model(seed=2)
    for model in (first, second):
        log_model(model, registered_model_name="price")
    rows = make_rows(20, seed=3)
    assert load_place("models:/price/1").predict(rows).tolist() == first.predict(rows).tolist()
    assert load_place("models:/price").predict(rows).tolist() == second.predict(rows).tolist()
    mlflow.MlflowClient().set_registered_model_alias("price", "champion", "1")
    assert load_place("models:/price@champion").predict(rows).tolist() == first.predict(rows).tolist()
    assert load_model("models:/price/2").predict(rows).tolist() == second.predict(rows).tolist()
    assert open_store("models:/price/2").versions("price") == [1, 2]
    frame_of(rows).to_csv(tracking / "rows.csv", index=False)
    assert main(["compare", "models:/price/1", "models:/price/2", str(tracking / "rows.csv")]) == 0
    assert "price/2 compared with price/1" in capsys.readouterr().out


def test_what_is_not_there_is_named(tracking: Path):
    for place in ("models:/nothing/1", "models:/nothing", "models:/a/b/c", "models:/nothing@best"):
        with pytest.raises(ModelNotFoundError, match="no model at models:/"):
            load_place(place)


def test_another_flavour_is_refused(tmp_path: Path):
    class Other(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    mlflow.pyfunc.save_model(tmp_path / "other", python_model=Other())
    with pytest.raises(CheckpointError, match="is not a model of Eigenserve"):
        load_model(str(tmp_path / "other"))
