"""Settings of records that would do nothing, or something else than was meant, are refused at the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.app_client import app_client

pytest.importorskip("pyarrow", reason="needs pyarrow")

from eigenserve.app.api import counterfactuals, drift, kserve_v1, mlflow, open_inference, predictions, reasons
from eigenserve.app.observability.records import check_records
from eigenserve.app.observability.records.opening import ROUTES
from eigenserve.app.settings import Settings
from eigenserve.errors import UserError
from eigenserve.model import ModelStore

#: Routes that take a body, and answer with no decision.
OTHERS = {"/counterfactuals", "/outcomes", "/models/{name}/promote", "/v2/repository/index"} | {
    f"/v2/repository/models/{{name}}/{verb}" for verb in ("load", "unload")
}


@pytest.mark.parametrize("sample", ["predict=0", "/predict/=0", "/predictions=0.5", "/predict=0,/counterfactuals=1"])
def test_a_route_that_is_not_recorded_is_refused(tmp_path: Path, sample: str):
    with pytest.raises(UserError, match=r"RECORDS_SAMPLE: no route '.*' is recorded; those are /predict, /explain"):
        check_records(Settings(records=str(tmp_path), records_sample=sample))


def test_routes_of_records_are_those_of_the_service(tmp_path: Path):
    modules = (predictions, drift, counterfactuals, reasons, kserve_v1, open_inference, mlflow)
    posts = {
        getattr(route, "path", "")
        for module in modules
        for route in module.router.routes
        if "POST" in (getattr(route, "methods", None) or ())
    }
    assert posts - OTHERS == {*ROUTES}
    check_records(
        Settings(records=str(tmp_path), records_sample="/mine=0,/v1/models/{name}:predict=1", predict_route="/mine")
    )


def test_a_key_that_would_sign_nothing_is_refused(tmp_path: Path):
    pytest.importorskip("cryptography", reason="needs cryptography")
    (tmp_path / "private.pem").touch()
    with pytest.raises(UserError, match="RECORDS_KEY signs Parquet parts"):
        check_records(Settings(records="http://127.0.0.1:1/", records_key=tmp_path / "private.pem"))


@pytest.mark.parametrize("records", [",", " ", " , "])
def test_places_that_are_none_are_refused(store: ModelStore, records: str):
    with pytest.raises(UserError, match="RECORDS must name a folder or a URL"):
        check_records(Settings(records=records))
    with pytest.raises(UserError, match="RECORDS must name"), app_client(store, records=records):
        pass
